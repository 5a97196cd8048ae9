"""Run the ntuplizer on damaged copies of an event file; print how often each outcome came.

    python fuzz_worker.py FILE SEED COUNT

Outcomes: `error` (a UserError), `same` (the jets of the sound file), `different`. Anything else is
a traceback and a non-zero exit code. Memory is limited, so that a damaged length cannot fill it.
"""

import json
import resource
import sys
import tempfile
from collections import Counter
from pathlib import Path

import awkward as ak
import numpy as np
import pyarrow as pa

from ntuplizer.labels import LABELS
from ntuplizer.ntuplize import ntuplize
from provenance.errors import UserError

MEMORY_LIMIT = 6 << 30


def damage(sound: bytes, rng: np.random.Generator) -> bytes:
    """Flip bits, overwrite, cut, drop or repeat a piece of the file."""
    content = bytearray(sound)
    place = int(rng.integers(len(content)))
    length = int(rng.integers(1, 2000))
    kind = rng.choice(["bit", "bits", "header", "zero", "noise", "cut", "drop", "repeat"])
    if kind == "bit":
        content[place] ^= 1 << int(rng.integers(8))
    elif kind == "bits":
        for where in rng.integers(len(content), size=20):
            content[where] ^= 1 << int(rng.integers(8))
    elif kind == "header":  # names, sizes and pointers lie at the file's two ends
        where = int(rng.integers(300)) if rng.random() < 0.3 else -1 - int(rng.integers(30_000))
        content[max(where, -len(content))] = int(rng.integers(256))
    elif kind == "zero":
        content[place : place + length] = bytes(len(content[place : place + length]))
    elif kind == "noise":
        piece = content[place : place + length]
        content[place : place + length] = rng.bytes(len(piece))
    elif kind == "cut":
        del content[place:]
    elif kind == "drop":
        del content[place : place + length]
    else:
        content[place:place] = content[place : place + length]
    return bytes(content)


def check_finite(table: pa.Table) -> None:
    """Raise an AssertionError for NaN, infinity or a label that does not exist."""
    for field in table.schema:
        values = ak.flatten(ak.from_arrow(table[field.name]), axis=None)
        assert np.isfinite(ak.to_numpy(values)).all(), field.name
    assert all(0 <= label < len(LABELS) for label in table["jet_label"].to_pylist())


def main() -> None:
    source, seed, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    options = {"qcd_labels": True}
    expected, _ = ntuplize(source, "jets", options)
    sound = source.read_bytes()
    outcomes: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            damaged = Path(folder) / f"{number}.root"
            damaged.write_bytes(damage(sound, np.random.default_rng([seed, number])))
            try:
                table, _ = ntuplize(damaged, "jets", options)
            except UserError:
                outcomes["error"] += 1
            except BaseException:
                sys.stderr.write(f"damage {seed} {number}\n")
                raise
            else:
                outcomes["same" if table.equals(expected) else "different"] += 1
                check_finite(table)
            damaged.unlink()
    sys.stdout.write(json.dumps(outcomes) + "\n")


if __name__ == "__main__":
    main()
