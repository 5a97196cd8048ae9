"""What a detector module is, and the event store that modules read from and write to."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from generation.fastsim.candidates import Candidates
from generation.fastsim.card import ModuleConfig
from generation.fastsim.formula import VARIABLES, Formula
from provenance.errors import UserError

if TYPE_CHECKING:
    from generation.fastsim.branches import Branch
    from generation.pileup import PileupLibrary


class EventStore:
    """The arrays of a batch of events while the modules run, by Delphes name (`ECal/ecalTowers`).

    Attributes
    ----------
    arrays
        Candidate collections by `module/array`.
    rng
        The random stream of the module that runs.
    pileup
        The minimum-bias library, or None.
    branches
        What the `TreeWriter` has made of the batch.
    """

    def __init__(
        self,
        arrays: dict[str, Candidates],
        rng: np.random.Generator,
        pileup: "PileupLibrary | None",
    ) -> None:
        self.arrays = arrays
        self.rng = rng
        self.pileup = pileup
        self.branches: dict[str, Branch] = {}

    @property
    def n_events(self) -> int:
        """Number of events in the batch."""
        return next(iter(self.arrays.values())).n_events


# Variable of a formula: column of the candidates. The angles depend on the module.
FORMULA_COLUMNS = {"pt": "pt", "energy": "e", "d0": "d0", "dz": "dz", "ctgTheta": "ctg_theta"}


def evaluate(
    formula: Formula, candidates: Candidates, eta: str = "eta", phi: str = "phi"
) -> NDArray[np.float64]:
    """Return the value of a formula for each candidate.

    Parameters
    ----------
    formula
        The formula.
    candidates
        What it is evaluated for.
    eta, phi
        The columns that are its angles.
    """
    columns = FORMULA_COLUMNS | {"eta": eta, "phi": phi}
    values = {name: candidates[columns[name]] for name in formula.names}
    return np.broadcast_to(formula(**values), len(candidates))


class Module:
    """Base of the detector modules.

    A subclass has the name of its Delphes class. Its `__init__` reads every parameter that it
    understands from the `ModuleConfig`; what the card sets beyond that is refused. `run` reads
    its input arrays from the store and writes its output arrays.

    Parameters
    ----------
    config
        The module's entry in the card.

    Attributes
    ----------
    interactions
        Mean number of interactions that the module adds to each event.
    marks
        Input array to the properties that the module sets on the candidates in it (`mark`).
    new_arrays
        Output arrays of candidates that are neither those of an input array nor clones of them.
        An array left out only makes the module run more often than it need.
    """

    interactions = 0.0

    def __init__(self, config: ModuleConfig) -> None:
        self.config = config
        self.marks: dict[str, tuple[str, ...]] = {}
        self.new_arrays: frozenset[str] = frozenset()

    def formula(
        self, parameter: str, default: str, variables: tuple[str, ...] = VARIABLES
    ) -> Formula:
        """Return a parameter as a compiled formula of `variables`."""
        try:
            return Formula(self.config.text(parameter, default), variables)
        except ValueError as error:
            raise self.config.error(parameter, f"is not a formula: {error}") from None

    def array(self, store: EventStore, name: str) -> Candidates:
        """Return the input array called `name`."""
        try:
            return store.arrays[name]
        except KeyError:
            raise UserError(
                f"{self.config.path}:{self.config.line}: module '{self.config.name}' reads the "
                f"array '{name}', which no module before it in the ExecutionPath makes"
            ) from None

    def export(self, store: EventStore, name: str, candidates: Candidates) -> None:
        """Write the output array called `name` under this module's own name."""
        store.arrays[f"{self.config.name}/{name}"] = candidates

    def run(self, store: EventStore) -> None:
        """Process the batch of events in `store`."""
        raise NotImplementedError
