"""Les Houches event files of MadGraph5_aMC@NLO, checked with pylhe before Pythia showers them."""

import gzip
import math
import re
import shutil
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from generation.process import LheValue, Process, beam_energy
from provenance.errors import UserError
from provenance.scratch import Scratch

if TYPE_CHECKING:
    import pylhe

INCOMING, OUTGOING = -1, 1
# Of the energy: MadGraph writes ten digits and balances momenta to fewer.
BALANCE_TOLERANCE = 1e-4
# Of the squared energy. The mass of a relativistic particle is a small difference of its digits.
MASS_SHELL_TOLERANCE = 1e-4
# Of the header, which holds all cards, and of one event: more is padding, which fills the memory.
HEADER_LIMIT, EVENT_LIMIT = 8 << 20, 1 << 20
EVENT_END = b"</event>"
GZIP_MAGIC = b"\x1f\x8b"
EVENT_COUNT = re.compile(r"Number of Events\s*:\s*(\d+)")
MASS_BLOCK = re.compile(r"^block\s+mass\b.*?$(.*?)(?=^\s*(?:block|decay)\b|\Z)", re.I | re.M | re.S)
MASS_LINE = re.compile(r"^[^\S\n]*(\d+)[^\S\n]+(\S+)", re.M)
WIDTH_LINE = re.compile(r"^[^\S\n]*decay[^\S\n]+(\d+)[^\S\n]+(\S+)", re.I | re.M)


@dataclass(frozen=True)
class CheckedLhe:
    """A Les Houches event file that was checked.

    Attributes
    ----------
    path
        The file, compressed or not.
    events
        How many events it holds.
    point
        The parameter point at which they were made.
    """

    path: Path
    events: int
    point: dict[str, float]


def check_lhe(path: str | Path, process: Process) -> CheckedLhe:
    """Read a Les Houches event file through and check that its events are those of a process.

    Checked are: that the file is whole and holds as many events as its header says, the beams, the
    outgoing particles, the balance of energy and momentum, and the mass shells.

    Parameters
    ----------
    path
        `.lhe` or `.lhe.gz` file of MadGraph.
    process
        The process that the events are meant to be.

    Raises
    ------
    UserError
        Naming the file and the first event that is not right.
    """
    path = Path(path)
    if process.lhe is None:
        raise UserError(f"process {process.name} takes no MadGraph events: Pythia makes it alone")
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    import pylhe

    try:
        with warnings.catch_warnings():
            # pylhe only warns of a file that ends too early.
            warnings.simplefilter("error", RuntimeWarning)
            file = pylhe.LHEFile.frombuffer(_Bounded(path, _open(path)))
            beams = file.init.initInfo
            if (beams.energyA, beams.energyB) != (beam_energy(), beam_energy()):
                raise UserError(
                    f"{path}: beams of {beams.energyA:g} and {beams.energyB:g} GeV instead of "
                    f"{beam_energy():g} each"
                )
            lowest_pt: dict[int, float] = {}
            events = 0
            for event in file.events:
                events += 1
                _check_event(event, process.lhe.final_state, f"{path}: event {events}", lowest_pt)
            elements = file.header.extra_elements if file.header else []
            header = {element.tag: element.text or "" for element in elements}
    except UserError:
        raise
    except (
        RuntimeWarning, RecursionError, ArithmeticError, AttributeError, EOFError, LookupError,
        OSError, ValueError, zlib.error,
    ) as error:  # fmt: skip
        raise UserError(f"{path}: not a whole Les Houches event file ({error})") from None
    _check_count(path, events, header)
    point = {
        name: _value(value, header.get("slha", ""), lowest_pt, path)
        for name, value in process.lhe.point.items()
    }
    return CheckedLhe(path, events, point)


def _check_event(
    event: "pylhe.LHEEvent", final_state: list[int], place: str, lowest_pt: dict[int, float]
) -> None:
    """Check one event; update the lowest pT of each kind of outgoing particle."""
    if event.eventinfo.nparticles != len(event.particles):
        raise UserError(
            f"{place} holds {len(event.particles)} particles where its first line says "
            f"{event.eventinfo.nparticles}"
        )
    codes = [int(p.id) for p in event.particles if p.status == OUTGOING]
    if sorted(codes) != sorted(final_state):
        raise UserError(f"{place} has the final state {codes} instead of {final_state}")
    momenta = np.array([(p.e, p.px, p.py, p.pz, p.m) for p in event.particles])
    if not np.all(np.isfinite(momenta)):
        raise UserError(f"{place} holds a momentum that is not a number")
    status = np.array([p.status for p in event.particles])
    incoming, outgoing = momenta[status == INCOMING], momenta[status == OUTGOING]
    energy = incoming[:, 0].sum()
    if np.abs(incoming[:, :4].sum(0) - outgoing[:, :4].sum(0)).max() > BALANCE_TOLERANCE * energy:
        raise UserError(f"{place} does not conserve energy and momentum")
    if np.any(incoming[:, 0] > beam_energy()):
        raise UserError(f"{place} takes more energy from a beam than it has")
    shell = outgoing[:, 0] ** 2 - (outgoing[:, 1:4] ** 2).sum(1) - outgoing[:, 4] ** 2
    if np.any(np.abs(shell) > MASS_SHELL_TOLERANCE * outgoing[:, 0] ** 2):
        raise UserError(f"{place} holds an outgoing particle off its mass shell")
    pt = np.hypot(outgoing[:, 1], outgoing[:, 2])
    for code, value in zip(codes, pt, strict=True):
        lowest_pt[abs(code)] = min(float(value), lowest_pt.get(abs(code), np.inf))


def _check_count(path: Path, events: int, header: dict[str, str]) -> None:
    if events == 0:
        raise UserError(f"{path}: holds no events")
    promised = EVENT_COUNT.search(header.get("MGGenerationInfo", ""))
    if promised is not None and promised[1].lstrip("0") != str(events):
        raise UserError(f"{path}: holds {events} events where its header says {promised[1]}")


def _value(value: LheValue, slha: str, lowest_pt: dict[int, float], path: Path) -> float:
    """Return a parameter of the point from the header's parameter card, or from the events."""
    if value.pt_min_of is not None:
        return lowest_pt[value.pt_min_of]
    if value.mass_of is not None:
        block = MASS_BLOCK.search(slha)
        kind, code, lines = "mass", value.mass_of, MASS_LINE.findall(block[1] if block else "")
    else:
        assert value.width_of is not None  # the model admits just one of the three
        kind, code, lines = "width", value.width_of, WIDTH_LINE.findall(slha)
    for found, number in lines:
        if found.lstrip("0") == str(code):
            try:
                # SLHA allows for Fortran's exponents.
                value_of_card = float(number.upper().replace("D", "E"))
            except ValueError:
                value_of_card = math.nan
            if not math.isfinite(value_of_card):
                raise UserError(
                    f"{path}: the parameter card in its header gives {number} as the {kind} of "
                    f"{code}, which is no number"
                )
            return value_of_card
    raise UserError(f"{path}: the parameter card in its header gives no {kind} of {code}")


@contextmanager
def uncompressed(path: Path) -> Iterator[Path]:
    """Give a checked file's uncompressed copy in a temporary folder, or the file itself."""
    with _open(path) as source:
        if not isinstance(source, gzip.GzipFile):
            yield path
            return
        with Scratch("lhe") as folder:
            plain = Path(folder, "events.lhe")
            with plain.open("wb") as target:
                shutil.copyfileobj(source, target)
            yield plain


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    """Open a file, which is compressed where it begins so; its name says nothing."""
    with path.open("rb") as file:
        is_compressed = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    return gzip.open(path) if is_compressed else path.open("rb")


class _Bounded:
    """A Les Houches event file that is read piece by piece, as long as its parts have a size.

    Parameters
    ----------
    path
        For the sentence.
    file
        Uncompressed on reading.
    """

    def __init__(self, path: Path, file: BinaryIO | gzip.GzipFile):
        self._path, self._file = path, file
        self._since, self._limit = 0, HEADER_LIMIT
        self._end = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes.

        Raises
        ------
        UserError
            When the header, an event or what stands between events is endless.
        """
        piece = self._file.read(size)
        # An end can be cut in two by the pieces.
        joined = self._end + piece
        place = joined.rfind(EVENT_END)
        if place >= 0:
            self._since, self._limit = len(joined) - place - len(EVENT_END), EVENT_LIMIT
        else:
            self._since += len(piece)
        if self._since > self._limit:
            what = "header is" if self._limit == HEADER_LIMIT else "event is"
            raise UserError(
                f"{self._path}: its {what} larger than {self._limit >> 20} MB: not of MadGraph"
            )
        self._end = joined[1 - len(EVENT_END) :]
        return piece

    def __enter__(self) -> "_Bounded":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
