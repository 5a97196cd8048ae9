"""Pythia 8: whole batches of events, each from a start of its own, as generator records."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import awkward as ak
import numpy as np
import pythia8mc
from numpy.typing import NDArray

from generation.process import Point, Process
from generation.pythia_record import ParticleTable, to_record
from generation.ranmar import set_state
from generation.record import GeneratorRecord
from generation.seeds import EXTERNAL_SEEDS, Stage, stream
from provenance.errors import UserError
from provenance.scratch import Scratch

SILENCE = ("Print:quiet = on", "Next:numberCount = 0")
# Of the start that integrates multiparton interactions for all others.
PREPARATION_KEY = 0
# Values of MultipartonInteractions:reuseInit.
SAVE_TO_FILE, READ_FROM_FILE = 1, 2
# Without these stages an event has no record.
RECORDED_STAGES = ("ProcessLevel:all", "PartonLevel:all")
HIGGS_BOSONS = {25, 35, 36, 37, 45, 46}
# Failures per event asked for after which a parameter point counts as impossible.
MOST_FAILURES = 50


class PairProduction(pythia8mc.Sigma2Process):
    """g g -> X X for a scalar X (PDG 25) through the trilinear coupling: g g -> X* -> X X.

    |M|² ∝ ŝ² (3 m² / (ŝ - m²))², the effective gluon coupling of an infinitely heavy top quark
    times the propagator. This is what MadGraph's `heft` model generates for `p p > h h`: it has no
    contact vertex of two gluons and two Higgs bosons, which in full would add the box as -1 inside
    the bracket (Glover and van der Bij, Nucl. Phys. B309 (1988) 282).
    """

    # Only the shape matters; this brings cross sections to the picobarns usual in Pythia, GeV⁻⁴.
    SCALE = 1e-8

    def sigmaKin(self) -> None:  # noqa: N802 - Pythia's name
        """Evaluate dσ/dt̂ ∝ |M|²/ŝ² at the current point of phase space."""
        self._sigma = self.SCALE * (3 * self.s3 / (self.sH - self.s3)) ** 2

    def sigmaHat(self) -> float:  # noqa: N802 - Pythia's name
        """Return the cross section dσ/dt̂, in GeV⁻⁴."""
        return self._sigma

    def setIdColAcol(self) -> None:  # noqa: N802 - Pythia's name
        """Set flavours and colours: the colours of the gluons annihilate."""
        self.setId(21, 21, 25, 25)
        self.setColAcol(1, 2, 2, 1, 0, 0, 0, 0)

    def name(self) -> str:
        """Return the name for Pythia's listings."""
        return "g g -> X X"

    def code(self) -> int:
        """Return the process code; Pythia leaves those above 9000 to users."""
        return 9001

    def inFlux(self) -> str:  # noqa: N802 - Pythia's name
        """Return the incoming partons."""
        return "gg"

    def id3Mass(self) -> int:  # noqa: N802 - Pythia's name
        """Return whose mass the first outgoing particle has."""
        return 25

    def id4Mass(self) -> int:  # noqa: N802 - Pythia's name
        """Return whose mass the second outgoing particle has."""
        return 25


HARD_PROCESSES: dict[str, Callable[[], pythia8mc.SigmaProcess]] = {"gg2XX": PairProduction}


@dataclass(frozen=True)
class GeneratedBatch:
    """Events as Pythia made them.

    Attributes
    ----------
    record
        All particles.
    event
        Properties of the events, (n_events,) arrays named like the leaves of Delphes' `Event`.
    failed
        How many more events Pythia gave up; they are not in the record.
    cross_section
        Pythia's estimate for the hard process, in mb; None for the hard processes of this module,
        which have no normalisation.
    """

    record: GeneratorRecord
    event: dict[str, NDArray]
    failed: int
    cross_section: float | None


class EventGenerator:
    """Pythia for one process, ready to make any of its batches.

    Every batch starts a Pythia of its own, so that its events depend on its parameter point and
    key alone. What all these starts have in common is done once: reading the tables of particles
    and settings, reading the parton densities, and integrating multiparton interactions.

    Parameters
    ----------
    process
        What to generate.

    Raises
    ------
    UserError
        When Pythia does not know a setting of the process, does not start with them, or records no
        particles with them.
    """

    def __init__(self, process: Process) -> None:
        self.process = process
        self._template = pythia8mc.Pythia("", False)
        _apply(self._template, SILENCE)
        self.particles = ParticleTable.of_pythia(self._template.particleData)
        self._folder = Scratch("pythia")
        self._densities = self._prepare()

    def batch(self, point: Point, key: int, n_events: int) -> GeneratedBatch:
        """Generate a batch of events.

        Parameters
        ----------
        point
            The parameter point, from `Process.draw_point`.
        key
            Of the batch, from `generation.seeds.batch_key`.
        n_events
            How many events; exactly so many come back.

        Raises
        ------
        UserError
            When Pythia does not start, or fails 50 times as often as it is asked for events: with
            these settings, or at this point, such events are impossible.
        """
        rng = stream(Stage.PYTHIA, key)
        pythia, _kept = self._start(point, rng, self._densities, self._switch_on)
        parts, missing, failed = [], n_events, 0
        while missing:
            made = _successful(pythia.nextBatch(missing, "none"))
            if len(made):
                parts.append(made)
            failed += missing - len(made)
            missing -= len(made)
            if failed > MOST_FAILURES * n_events:
                raise UserError(f"Pythia fails to generate {self.process.name} at {point}")
        normalised = not isinstance(self.process.hard_process, str)
        cross_section = pythia.infoPython().sigmaGen() if normalised else None
        events = parts[0] if len(parts) == 1 else ak.concatenate(parts)
        return self._batch(events, failed, cross_section)

    def shower(
        self, lhe: Path, point: Point, keys: Sequence[int], n_events: int, events_per_batch: int
    ) -> Iterator[tuple[int, GeneratedBatch]]:
        """Shower the first events of a Les Houches event file.

        Parameters
        ----------
        lhe
            The file, uncompressed and checked.
        point
            The parameter point at which its events were made.
        keys
            Of the batches, one for each.
        n_events, events_per_batch
            How many events of the file, and how many of them at a time.

        Yields
        ------
        int, GeneratedBatch
            Place of the batch in `keys`, and its events: fewer than were read where Pythia gave
            some up. A batch of which it gave up all is left out.
        """

        def read(pythia: pythia8mc.Pythia) -> list[pythia8mc.PhysicsBase]:
            # The masses and widths of the file's parameter card are in the point already.
            _apply(pythia, ("Beams:frameType = 4", "SLHA:readFrom = 0"))
            pythia.settings.word("Beams:LHEF", str(lhe))
            return []

        rng = stream(Stage.PYTHIA, keys[0])
        pythia, _kept = self._start(point, rng, self._densities, read)
        for batch, start in enumerate(range(0, n_events, events_per_batch)):
            if batch:
                set_state(pythia.rndm, stream(Stage.PYTHIA, keys[batch]))
            wanted = min(events_per_batch, n_events - start)
            events = _successful(pythia.nextBatch(wanted, "none"))
            if len(events) == 0:
                continue
            made = self._batch(events, wanted - len(events), pythia.infoPython().sigmaGen())
            yield batch, made

    def _batch(self, events: ak.Array, failed: int, cross_section: float | None) -> GeneratedBatch:
        record = to_record(events.prt, self.particles)
        return GeneratedBatch(record, _event_properties(events.info), failed, cross_section)

    def _prepare(self) -> tuple[pythia8mc.PDF, ...]:
        """Save the integrated multiparton interactions; return the parton densities."""
        point = self.process.draw_point(stream(Stage.PARAMETER_POINT, PREPARATION_KEY))
        _apply(self._template, self.process.pythia_settings(point))
        # For soft (1) and hard (2) processes, one for either beam.
        densities = tuple(
            self._template.getPDFPtr(2212, use, beam) for use in (1, 2) for beam in "AB"
        )
        self._start(point, stream(Stage.PREPARATION, PREPARATION_KEY), densities, self._switch_on)
        return densities

    def _start(
        self,
        point: Point,
        rng: np.random.Generator,
        densities: tuple[pythia8mc.PDF, ...],
        switch_on: Callable[[pythia8mc.Pythia], list[pythia8mc.PhysicsBase]],
    ) -> tuple[pythia8mc.Pythia, list[pythia8mc.PhysicsBase]]:
        """Start a Pythia; return it and what must live as long, for it does not own its parts."""
        pythia = pythia8mc.Pythia(self._template.settings, self._template.particleData, False)
        _apply(pythia, self.process.pythia_settings(point))
        # The start draws numbers too; Pythia seeds it itself, whatever state it finds.
        seed = 1 + int(rng.bit_generator.random_raw()) % EXTERNAL_SEEDS
        _apply(pythia, ("Random:setSeed = on", f"Random:seed = {seed}"))
        kept = switch_on(pythia)
        for stage in RECORDED_STAGES:
            if not pythia.settings.flag(stage):
                raise UserError(
                    f"{self.process.name} switches {stage} off, and Pythia records no particles "
                    "then: leave it on"
                )
        pythia.setPDFPtr(*densities)
        # The hard set is among them; the flag would make Pythia read it from file once more.
        pythia.settings.flag("PDF:useHard", False)
        multiparton = Path(self._folder.name, "multiparton.dat")
        reuse = READ_FROM_FILE if multiparton.exists() else SAVE_TO_FILE
        pythia.settings.mode("MultipartonInteractions:reuseInit", reuse)
        pythia.settings.word("MultipartonInteractions:initFile", str(multiparton))
        # Pythia's own Higgs bosons integrate widths, most of a start's time; ours are given.
        for pdg in HIGGS_BOSONS - set(self.process.calculated_widths):
            kept.append(pythia8mc.ResonanceGeneric(pdg))
            pythia.addResonancePtr(kept[-1])
        if not pythia.init():
            raise UserError(
                f"Pythia does not start for {self.process.name} at {point}: its settings make no "
                "events possible"
            )
        set_state(pythia.rndm, rng)
        return pythia, kept

    def _switch_on(self, pythia: pythia8mc.Pythia) -> list[pythia8mc.PhysicsBase]:
        """Switch the hard process on; return what it consists of."""
        hard_process = self.process.hard_process
        if not isinstance(hard_process, str):
            _apply(pythia, hard_process)
            return []
        cross_section = HARD_PROCESSES[hard_process]()
        pythia.setSigmaPtr(cross_section)
        return [cross_section]


def _apply(pythia: pythia8mc.Pythia, settings: Iterable[str]) -> None:
    for setting in settings:
        if not pythia.readString(setting):
            raise UserError(f"Pythia does not know the setting {setting!r}")


def _successful(events: ak.Array) -> ak.Array:
    """Return the events that are not None, contiguous in memory."""
    layout = events.layout
    if np.all(np.asarray(layout.index.data) >= 0):
        return ak.Array(layout.content)
    return ak.to_packed(ak.drop_none(events, axis=0))


def _event_properties(info: ak.Array) -> dict[str, NDArray]:
    """Return the properties that Delphes keeps of an event (AnalyzeEvent of its Pythia reader)."""
    layout = info.layout

    def column(name: str) -> NDArray:
        return np.asarray(layout[name].data)

    return {
        # Not 1 where phase space is sampled with a bias. The first is the nominal weight.
        "Weight": ak.to_numpy(ak.firsts(info.weights)).astype(np.float32),
        "Scale": np.sqrt(column("Q2Ren")).astype(np.float32),
        "AlphaQED": column("alphaEM").astype(np.float32),
        "AlphaQCD": column("alphaS").astype(np.float32),
        "ID1": column("id1"),
        "ID2": column("id2"),
        "X1": column("x1").astype(np.float32),
        "X2": column("x2").astype(np.float32),
        "ScalePDF": np.sqrt(column("Q2Fac")).astype(np.float32),
        "PDF1": column("pdf1").astype(np.float32),
        "PDF2": column("pdf2").astype(np.float32),
    }
