"""Les Houches event files of MadGraph5_aMC@NLO, checked with pylhe before Pythia showers them."""

import gzip
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from generation.process import LheValue, Process, beam_energy
from provenance.errors import UserError

if TYPE_CHECKING:
    import pylhe

INCOMING, OUTGOING = -1, 1
# Of the energy: MadGraph writes ten digits and balances momenta to fewer.
BALANCE_TOLERANCE = 1e-4
# Of the squared energy. The mass of a relativistic particle is a small difference of its digits.
MASS_SHELL_TOLERANCE = 1e-4
EVENT_COUNT = re.compile(r"Number of Events\s*:\s*(\d+)")
MASS_BLOCK = re.compile(r"^block\s+mass\b.*?$(.*?)(?=^\s*(?:block|decay)\b|\Z)", re.I | re.M | re.S)
MASS_LINE = re.compile(r"^\s*(\d+)\s+([-+.\deE]+)", re.M)
WIDTH_LINE = re.compile(r"^\s*decay\s+(\d+)\s+([-+.\deE]+)", re.I | re.M)


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
            file = pylhe.LHEFile.fromfile(path)
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
    except (RuntimeWarning, ValueError, IndexError, EOFError, OSError, AttributeError) as error:
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
    if promised is not None and int(promised[1]) != events:
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
        if int(found) == code:
            return float(number)
    raise UserError(f"{path}: the parameter card in its header gives no {kind} of {code}")


@contextmanager
def uncompressed(path: Path) -> Iterator[Path]:
    """Give a file's uncompressed copy in a temporary folder, or the file itself."""
    if path.suffix != ".gz":
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="lhe-") as folder:
        plain = Path(folder, "events.lhe")
        with gzip.open(path, "rb") as source, plain.open("wb") as target:
            shutil.copyfileobj(source, target)
        yield plain
