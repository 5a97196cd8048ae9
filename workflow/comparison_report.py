"""A page that compares fastsim with a Delphes file of the user's: `python -m workflow compare`."""

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from generation.simulate import resimulate
from ntuplizer.schema import JET_SCHEMA
from provenance.errors import UserError
from provenance.files import atomic_output
from workflow import detector_comparison as detectors
from workflow import figures
from workflow.detector_comparison import QUANTITIES, Sample, Values

# Numbers of the events of different files are kept apart by this much.
EVENTS_PER_FILE = 1_000_000
NAMES = ("Delphes", "fastsim")
FIGURE = "distributions.png"


def write_comparison(
    real: list[Path],
    reruns: list[Path],
    card: Path,
    pileup: Path,
    repeats: int,
    jet_radius: float,
    output: Path,
) -> None:
    """Simulate the generator events of real Delphes files with fastsim and compare the two.

    Parameters
    ----------
    real
        Event files that Delphes wrote.
    reruns
        Jet files of Delphes run again on the same generator events, equally often for each file of
        `real`; may be empty. They add to its jets and show how much two runs of Delphes differ.
    card, pileup
        For fastsim.
    repeats
        How often fastsim simulates each event, with another seed each time.
    jet_radius
        Of the anti-kT jets.
    output
        Folder for `README.md` and the figure.

    Raises
    ------
    UserError
        When a file cannot be read or `repeats` is not positive.
    """
    if repeats < 1:
        raise UserError(f"--repeats {repeats}: at least 1 is needed")
    first = [
        detectors.read_sample(file, jet_radius, number * EVENTS_PER_FILE)
        for number, file in enumerate(real)
    ]
    rerun_jets = [read_foreign_jets(file) for file in reruns]
    second = []
    with tempfile.TemporaryDirectory(prefix="comparison-") as folder:
        simulated = Path(folder) / "events.root"
        for number, file in enumerate(real):
            for seed in range(1, repeats + 1):
                resimulate(file, seed, simulated, card, pileup)
                second.append(
                    detectors.read_sample(simulated, jet_radius, number * EVENTS_PER_FILE)
                )
    values = {
        name: (
            join(first, name, [detectors.jet_quantities(jets) for jets in rerun_jets]),
            join(second, name, []),
        )
        for name in QUANTITIES
    }
    figures.style()
    drawn = detectors.plot_quantities(
        {name: pair[0] for name, pair in values.items()},
        {name: pair[1] for name, pair in values.items()},
        NAMES,
    )
    with atomic_output(output / FIGURE) as temporary:
        drawn.savefig(temporary, dpi=60, metadata={"Software": None})
    jets = [sample.jets for sample in first], [sample.jets for sample in second]
    text = page(real, repeats, values, *classifications(*jets, rerun_jets))
    with atomic_output(output / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


def read_foreign_jets(path: Path) -> pa.Table:
    """Read a jet file that another ntuplizer wrote, with the same columns in its own types."""
    try:
        return pq.read_table(path).select(JET_SCHEMA.names).cast(JET_SCHEMA)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise UserError(f"{path}: not a jet file ({error})") from None


def join(samples: list[Sample], name: str, more: list[dict[str, Values]]) -> Values:
    """Return one quantity of several samples together; samples of the same events become runs."""
    parts = [sample.quantities[name] for sample in samples]
    parts += [quantities[name] for quantities in more if name in quantities]
    runs: list[int] = []
    for number, part in enumerate(parts):
        overlapping = [
            runs[before]
            for before in range(number)
            if np.isin(part.event, parts[before].event, kind="sort").any()
        ]
        runs.append(max(overlapping, default=-1) + 1)
    return Values(
        np.concatenate([part.values for part in parts]),
        np.concatenate([part.event for part in parts]),
        np.repeat(runs, [len(part.values) for part in parts]),
    )


def classifications(
    first: list[pa.Table], second: list[pa.Table], reruns: list[pa.Table]
) -> tuple[tuple[float, float], tuple[float, float] | None]:
    """Return the classifier's AUC with its error: fastsim against Delphes, Delphes against itself.

    Delphes against itself is `first` against the reruns; None without them.
    """
    delphes = pa.concat_tables(first + reruns)
    against = detectors.classify(delphes, pa.concat_tables(second))
    if not reruns:
        return against, None
    return against, detectors.classify(pa.concat_tables(first), pa.concat_tables(reruns))


def page(
    real: list[Path],
    repeats: int,
    values: dict[str, tuple[Values, Values]],
    against: tuple[float, float],
    itself: tuple[float, float] | None,
) -> str:
    """Return the page as Markdown."""
    rows = []
    for name, quantity in QUANTITIES.items():
        first, second = values[name]
        found = detectors.compare(first, second, quantity)
        rows.append(
            f"| {quantity.label} | {len(first.values):,} | {len(second.values):,} "
            f"| {100 * found.mean:+.2f} ± {100 * found.mean_error:.2f} "
            f"| {100 * found.width:+.2f} ± {100 * found.width_error:.2f} | {found.p_value:.3f} |"
        )
    baseline = (
        "" if itself is None else f" Delphes against itself: {itself[0]:.3f} ± {itself[1]:.3f}."
    )
    files = ", ".join(f"`{file.name}`" for file in real)
    table = "\n".join(rows)
    return f"""# fastsim beside Delphes

The same generator events, from {files}, through Delphes and {repeats} times through fastsim.
Made by `python -m workflow compare`; run it on a Delphes file of your own.

**Boosted trees that try to tell the jets of the two apart reach an AUC of {against[0]:.3f} ±
{against[1]:.3f}** (0.5 is chance).{baseline}

Differences are fastsim minus Delphes. That of the mean is relative to the larger of |mean| and
width; the width is the standard deviation within the range of the figure. Errors come from a
bootstrap over events. The last column is the p-value of the Kolmogorov-Smirnov distance, calibrated
by exchanging whole events between the two.

| Quantity | Delphes | fastsim | Mean (%) | Width (%) | p |
|---|---|---|---|---|---|
{table}

![Each quantity in both simulations, normalised, and their ratio]({FIGURE})
"""
