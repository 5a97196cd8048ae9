"""The generator record of a batch of events, as flat arrays."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

DTYPES = {
    "offsets": np.int64,
    **dict.fromkeys(("pid", "status", "m1", "m2", "d1", "d2", "charge"), np.int32),
    **dict.fromkeys(("mass", "e", "px", "py", "pz", "x", "y", "z", "t"), np.float64),
}

# Status codes of HepMC, which are those of Delphes' particles.
STABLE, DECAYED, BEAM = 1, 2, 4


@dataclass(frozen=True)
class GeneratorRecord:
    """Particles of a batch of events, one flat array per property.

    The particles of event `i` are rows `offsets[i]` to `offsets[i + 1]` of every other array. Order
    and links are those of Delphes' `Particle` branch for Pythia events.

    Attributes
    ----------
    offsets
        (n_events + 1,) int64, starting with 0 and ending with the number of particles.
    pid, status
        (n,) int32, PDG code and generator status; status 1 marks stable particles.
    m1, m2, d1, d2
        (n,) int32, first and last mother and daughter, counted from the event's first particle;
        -1 where there is none.
    charge
        (n,) int32, in units of the proton's charge; -999 for unknown codes.
    mass
        (n,) float64, GeV.
    e, px, py, pz
        (n,) float64, GeV.
    x, y, z, t
        (n,) float64, production vertex in mm; time in mm/c.
    """

    offsets: NDArray[np.int64]
    pid: NDArray[np.int32]
    status: NDArray[np.int32]
    m1: NDArray[np.int32]
    m2: NDArray[np.int32]
    d1: NDArray[np.int32]
    d2: NDArray[np.int32]
    charge: NDArray[np.int32]
    mass: NDArray[np.float64]
    e: NDArray[np.float64]
    px: NDArray[np.float64]
    py: NDArray[np.float64]
    pz: NDArray[np.float64]
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    z: NDArray[np.float64]
    t: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Give every array its own type and check that the lengths agree."""
        for field in fields(self):
            array = np.ascontiguousarray(getattr(self, field.name), dtype=DTYPES[field.name])
            object.__setattr__(self, field.name, array)
            if field.name != "offsets" and array.shape != (self.offsets[-1],):
                raise ValueError(
                    f"generator record: {field.name} has shape {array.shape}, "
                    f"the offsets end at {self.offsets[-1]}"
                )

    @property
    def n_events(self) -> int:
        """Number of events in the batch."""
        return len(self.offsets) - 1

    def select_events(self, start: int, stop: int) -> "GeneratorRecord":
        """Return events `start` to `stop` (exclusive) as a record of their own."""
        stop = min(stop, self.n_events)
        first, last = self.offsets[start], self.offsets[stop]
        columns = {name: getattr(self, name)[first:last] for name in DTYPES if name != "offsets"}
        return GeneratorRecord(offsets=self.offsets[start : stop + 1] - first, **columns)
