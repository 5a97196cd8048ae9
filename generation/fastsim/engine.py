"""The detector: the modules of a card, run on batches of generator events."""

import importlib
import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np

from generation.fastsim.branches import Branch, concatenate
from generation.fastsim.candidates import Candidates
from generation.fastsim.card import Card, ModuleConfig, ParameterError
from generation.fastsim.module import EventStore, Module
from generation.fastsim.modules import MODULE_FILES
from generation.fastsim.pruning import choose_branches
from generation.record import STABLE, GeneratorRecord
from generation.seeds import Stage, stream
from provenance.errors import UserError

if TYPE_CHECKING:
    from generation.pileup import PileupLibrary

# Interactions, pile-up included, and events processed at a time: enough to hide the cost of calls,
# few enough for the memory. Part of the definition of a batch's random numbers.
CHUNK_INTERACTIONS = 1300
CHUNK_EVENTS = 50

UNKNOWN_CHARGE = -999

# Whose stream the event store has before the first module runs.
NO_MODULE = ""

# Codes of Delphes' partons: quarks up to b, gluons and τ leptons, unless stable.
PARTON_CODES = (0, 1, 2, 3, 4, 5, 15, 21)


class Detector:
    """A simulated detector.

    Parameters
    ----------
    card
        Its card.
    pileup
        Minimum-bias events; needed by a card with pile-up.
    branches
        Which of its branches are wanted: only the modules that these need are run, and the branches
        are the same as if all were. None stands for the card as it is.

    Attributes
    ----------
    modules
        The modules that run, in order.
    seconds
        Processor time spent in each module so far, by name.

    Raises
    ------
    UserError
        For a module or parameter that is not implemented, naming card and line, or a branch that
        the card does not write.
    """

    def __init__(
        self,
        card: Card,
        pileup: "PileupLibrary | None" = None,
        branches: Collection[str] | None = None,
    ) -> None:
        self.pileup = pileup
        self._all_modules = [_make(config) for config in card.sequence()]
        self.modules = (
            self._all_modules
            if branches is None
            else choose_branches(self._all_modules, branches, card.path)
        )
        self.seconds: dict[str, float] = defaultdict(float)

    def simulate(self, record: GeneratorRecord, key: int) -> dict[str, Branch]:
        """Simulate a batch of events.

        Parameters
        ----------
        record
            The generator's events.
        key
            Of the batch, from `generation.seeds`; the same key gives the same events. What a module
            draws comes from a stream of its own and does not depend on which others run.

        Returns
        -------
        dict
            Branch name to branch, in the order of the card's TreeWriter; every event of the
            record is in each of them.
        """
        size = self.events_per_chunk
        streams = {name: stream(Stage.DETECTOR, key, name) for name in self._names}
        chunks = [
            self._simulate_chunk(record.select_events(start, start + size), streams)
            for start in range(0, max(record.n_events, 1), size)
        ]
        return {name: concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}

    @property
    def events_per_chunk(self) -> int:
        """How many events are processed at a time, whichever modules run."""
        interactions = 1.0 + sum(module.interactions for module in self._all_modules)
        return max(1, min(CHUNK_EVENTS, round(CHUNK_INTERACTIONS / interactions)))

    def start(self, record: GeneratorRecord, rng: np.random.Generator) -> EventStore:
        """Return the event store that the first module sees."""
        return EventStore(_generator_arrays(record), rng, self.pileup)

    def _simulate_chunk(
        self, record: GeneratorRecord, streams: Mapping[str, np.random.Generator]
    ) -> dict[str, Branch]:
        store = self.start(record, streams[NO_MODULE])
        for module in self.modules:
            name = module.config.name
            store.rng = streams[name]
            start = time.process_time()
            module.run(store)
            self.seconds[name] += time.process_time() - start
        return store.branches

    @property
    def _names(self) -> set[str]:
        return {NO_MODULE, *(module.config.name for module in self.modules)}


def not_implemented(card: Card) -> list[str]:
    """Return what the execution path of a card needs and this detector lacks.

    Parameters
    ----------
    card
        The card.

    Returns
    -------
    list
        Sorted: `Class`, or `Class (Parameter, ...)` where a class is implemented but not for the
        values that the card gives to these parameters.

    Raises
    ------
    UserError
        When the path names a module that the card does not configure.
    """
    refused: dict[str, set[str]] = {}
    for config in card.sequence():
        if config.type not in MODULE_FILES:
            refused[config.type] = set()
            continue
        try:
            _make(config)
        except ParameterError as error:
            refused.setdefault(config.type, set()).add(error.parameter)
    return [
        f"{name} ({', '.join(sorted(parameters))})" if parameters else name
        for name, parameters in sorted(refused.items())
    ]


def _make(config: ModuleConfig) -> Module:
    """Return the module that a card's entry configures."""
    try:
        file = MODULE_FILES[config.type]
    except KeyError:
        raise UserError(
            f"{config.path}:{config.line}: module '{config.name}' is of the class "
            f"'{config.type}', which is not implemented"
        ) from None
    library = importlib.import_module(f"generation.fastsim.modules.{file}")
    module = getattr(library, config.type)(config)
    config.reject_unknown()
    return module


def _generator_arrays(record: GeneratorRecord) -> dict[str, Candidates]:
    """Return the arrays that Delphes' reader makes of the generator record."""
    names = (
        "pid", "status", "m1", "m2", "d1", "d2", "charge", "mass",
        "e", "px", "py", "pz", "x", "y", "z", "t",
    )  # fmt: skip
    everything = Candidates(record.offsets, {name: getattr(record, name) for name in names})
    known = record.charge != UNKNOWN_CHARGE
    stable = known & (record.status == STABLE)
    partons = known & (record.status != STABLE) & np.isin(np.abs(record.pid), PARTON_CODES)
    return {
        "Delphes/allParticles": everything,
        "Delphes/stableParticles": everything.select(stable),
        "Delphes/partons": everything.select(partons),
    }
