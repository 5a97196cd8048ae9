"""A page that compares fastsim with Delphes files: `python -m validation compare`."""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import mplhep
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from generation.delphes_file import read_generator_records
from generation.pileup import PileupLibrary
from ntuplizer.products import get_product
from provenance.errors import UserError
from provenance.files import atomic_output, write_json
from validation import quantities
from validation.leaves import Leaf, LeafComparison, LeafScan, join_leaves, read_leaves
from validation.quantities import (
    MEAN_BOUND,
    QUANTITIES,
    WIDTH_BOUND,
    Comparison,
    Difference,
    Jets,
    Sample,
    Values,
    event_quantities,
    summarise,
)
from validation.steps import FastSimulation, read_steps, rows_of

# Numbers of the events of different files are kept apart by this much.
EVENTS_PER_FILE = 1_000_000
# What decides on the bins of leaves: the first events of so many files.
EXAMPLE_FILES, EXAMPLE_EVENTS = 10, 100
NAMES = ("Delphes", "fastsim")
FIGURE, LEAF_FIGURE, LEAVES = "distributions.png", "leaves.png", "leaves.md"
FOR_REPORT = "comparison.json"
# p-values below this are drawn here.
SMALLEST_DRAWN = 1e-6

CHANCE = (
    "Delphes 3.5.1 looks it up in the wrong list for neutral towers, where chance decides; fastsim "
    "writes what the name says"
)
LATER = "Delphes 3.5.0 {}; later versions, and fastsim, {}"
NULL_VECTOR = "without neutrinos, the direction of a vector that is zero but for rounding"
LEFT_OUT = "Left out of the decision, because they may differ for a reason that is known"
# Leaves that differ for a reason that is no concern of the detector's.
EXPLAINED = {
    "ParticleFlowCandidate.IsPU": CHANCE,
    "ParticleFlowCandidate.HardEnergyFraction": CHANCE,
    "Particle.P": LATER.format("leaves what was in memory", "write the momentum"),
    "ParticleFlowCandidate.Eta": LATER.format(
        "writes where a candidate enters the calorimeter", "write its direction"
    ),
    "ParticleFlowCandidate.L": LATER.format(
        "writes 0 for neutral candidates", "write how far away the tower is"
    ),
    **dict.fromkeys(
        [f"ParticleFlowCandidate.{axis}Outer" for axis in "XYZ"],
        LATER.format(
            "takes towers of the barrel for ones of the end caps when rounding puts them inside",
            "know them apart",
        ),
    ),
    "GenMissingET.Eta": NULL_VECTOR,
    "GenMissingET.Phi": NULL_VECTOR,
}


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
        Folder for `README.md`, `leaves.md`, the figures and `comparison.json`, of which a run's
        report makes a section.

    Raises
    ------
    UserError
        When a file cannot be read or `repeats` is not positive.
    """
    if repeats < 1:
        raise UserError(f"--repeats {repeats}: at least 1 is needed")
    for file in real:
        # What is no event file is named here, before anything is simulated.
        next(read_generator_records(file, 1), None)
    detector = FastSimulation(card, pileup)
    scan = LeafScan(example_leaves(real))
    samples = {kind_of(file): (Sample(), Sample()) for file in real}
    events: Counter[str] = Counter()
    for number, file in enumerate(real):
        kind, rows = kind_of(file), rows_of(file, jet_radius)
        first, second = samples[kind]
        for step in read_steps(file, rows):
            start = number * EVENTS_PER_FILE + step.start
            events[kind] += step.record.n_events
            first.add(event_quantities(step.leaves, step.jets, start), step.jets)
            passes = []
            for repeat in range(repeats):
                # One seed draws the same pile-up for every file: events would not be independent.
                made, jets = detector.simulate(step, number * repeats + repeat, rows)
                second.add(event_quantities(made, jets, start, repeat), jets)
                passes.append(made)
            scan.add(step.leaves, passes)
        rows.counts.check_losses(str(file))
    both = [Sample.join([pair[i] for pair in samples.values()]) for i in (0, 1)]
    rerun_jets = [read_foreign_jets(file) for file in reruns]
    values = {
        name: (
            Values.join([both[0].values(name), *rerun_values(name, rerun_jets)]),
            both[1].values(name),
        )
        for name in QUANTITIES
    }
    compared = compare_all(values)
    by_kind = {
        kind: compare_all({name: (one.values(name), two.values(name)) for name in QUANTITIES})
        for kind, (one, two) in samples.items()
        if len(samples) > 1
    }
    leaves = scan.compare()
    with plt.style.context([mplhep.style.CMS, {"font.size": 15}]):
        first_values, second_values = (
            {name: pair[number] for name, pair in values.items()} for number in (0, 1)
        )
        save(quantities.plot_quantities(first_values, second_values, NAMES), output / FIGURE)
        save(plot_leaves(leaves), output / LEAF_FIGURE)
    with atomic_output(output / LEAVES) as temporary:
        temporary.write_text(leaf_page(leaves), encoding="utf-8")
    auc = classifications(both[0].jets, both[1].jets, rerun_jets)
    write_json(output / FOR_REPORT, for_report(real, card, compared, values, leaves, auc[0]))
    text = "\n".join(
        [
            introduction(events, len(reruns) // len(real), repeats, card, jet_radius, pileup),
            *decision(compared, leaves, *auc),
            quantity_section(compared, values),
            *([kind_section(by_kind)] if by_kind else []),
            leaf_section(leaves),
        ]
    )
    with atomic_output(output / "README.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


def kind_of(file: Path) -> str:
    """Return what a file holds by its name: `qcd` of `qcd_12.root`."""
    return re.sub(r"_\d+$", "", file.stem)


def example_leaves(files: list[Path]) -> dict[str, Leaf]:
    """Return the leaves of some events of each kind of file, or of several files."""
    chosen = files[:: -(-len(files) // EXAMPLE_FILES)]
    return join_leaves([read_leaves(file, 0, EXAMPLE_EVENTS) for file in chosen])


def compare_all(values: Mapping[str, tuple[Values, Values]]) -> dict[str, Comparison]:
    """Compare every quantity that two simulations have."""
    return {
        name: quantities.compare(*values[name], quantity) for name, quantity in QUANTITIES.items()
    }


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG whose bytes depend on what it shows alone."""
    with atomic_output(path) as temporary:
        figure.savefig(temporary, dpi=60, metadata={"Software": None})


def read_foreign_jets(path: Path) -> pa.Table:
    """Read a jet file that another ntuplizer wrote, with the same columns in its own types."""
    jets = get_product("jets")
    schema = jets.schema(jets.Options())
    try:
        return pq.read_table(path).select(schema.names).cast(schema)
    except (pa.ArrowException, KeyError, OSError) as error:
        raise UserError(f"{path}: not a jet file ({error})") from None


def rerun_values(name: str, reruns: list[pa.Table]) -> list[Values]:
    """Return a quantity of Delphes' jets run again: runs 1, 2, ... of the same events."""
    runs: list[int] = []
    groups = [np.unique(quantities.jet_groups(jets)) for jets in reruns]
    for number, own in enumerate(groups):
        before = [runs[i] for i in range(number) if np.isin(own, groups[i]).any()]
        runs.append(max(before, default=0) + 1)
    found = [quantities.jet_quantities(jets, run) for jets, run in zip(reruns, runs, strict=True)]
    return [own[name] for own in found if name in own]


def classifications(
    first: Jets, second: Jets, reruns: list[pa.Table]
) -> tuple[tuple[float, float], tuple[float, float] | None]:
    """Return the classifier's AUC with its error: fastsim against Delphes, Delphes against itself.

    Delphes against itself is `first` against the reruns; None without them.
    """
    if not reruns:
        return quantities.classify(first, second), None
    again = Jets.join([summarise(jets) for jets in reruns])
    against = quantities.classify(Jets.join([first, again]), second)
    return against, quantities.classify(first, again)


def introduction(
    events: Mapping[str, int],
    reruns: int,
    repeats: int,
    card: Path,
    jet_radius: float,
    pileup: Path,
) -> str:
    """Return what was compared, as Markdown."""
    samples = " and ".join(f"{number:,} of `{kind}`" for kind, number in events.items())
    again = f" and {reruns} times more for the jets" if reruns else ""
    n_pileup = PileupLibrary.open(pileup).n_events
    return f"""# fastsim beside Delphes

The same generator events, {samples}: once through Delphes{again}, {repeats} times through
fastsim with the card `{card.name}` and pile-up drawn from {n_pileup:,} minimum-bias events. Jets
have R = {jet_radius:g}.

Made by `python -m validation compare`; run it on a Delphes file of your own, and give it the
minimum-bias sample that Delphes had: means over another one, of N events, differ by the spread of
minimum-bias events over √N, which no error on this page includes.
"""


def for_report(
    real: list[Path],
    card: Path,
    compared: dict[str, Comparison],
    values: dict[str, tuple[Values, Values]],
    leaves: list[LeafComparison],
    against: tuple[float, float],
) -> dict[str, Any]:
    """Return what a report shows: text, tables of numbers and text, captions of the figures."""
    bounds = []
    for what, bound, found in (
        ("means", MEAN_BOUND, [c.mean for c in compared.values()]),
        ("widths", WIDTH_BOUND, [c.width for c in compared.values()]),
    ):
        verdicts = [difference.verdict(bound) for difference in found]
        counts = [verdicts.count(verdict) for verdict in ("met", "missed", "open")]
        apart = sum(bool(abs(d.value) > 2 * d.error) for d in found)
        bounds.append([f"{what} within {100 * bound:.0f} %", *counts, apart, len(found)])
    rows = [
        [name, len(values[name][0].values), len(values[name][1].values)]
        + [
            item
            for difference, bound in ((found.mean, MEAN_BOUND), (found.width, WIDTH_BOUND))
            for item in (
                100 * float(difference.value),
                100 * float(difference.error),
                difference.verdict(bound),
            )
        ]
        + [float(found.p_value)]
        for name, found in compared.items()
    ]
    files = ", ".join(file.name for file in real)
    differing = [leaf.name for leaf in leaves if (leaf.adjusted or 1) < 0.05]
    unexplained = [name for name in differing if name not in EXPLAINED]
    return {
        "text": [
            f"The same generator events, from {files}, once through Delphes and through fastsim "
            f"with {card.name}. A bound is met when two standard deviations around the "
            "difference lie within it, missed when they lie outside, and open when these events "
            "are too few to tell.",
            f"Boosted trees that tell the jets of the two apart reach an AUC of {against[0]:.3f} ± "
            f"{against[1]:.3f} (0.5 is chance). Of {len(leaves)} leaves of the files, "
            f"{len(unexplained)} differ beyond chance after Holm's correction without a known "
            f"reason{': ' if unexplained else '.'}{', '.join(unexplained)}",
        ],
        "tables": [
            {
                "caption": "Bounds on the differences",
                "head": ["Bound", "Met", "Missed", "Open", "Beyond 2 σ", "Quantities"],
                "rows": bounds,
            },
            {
                "caption": "Quantities, fastsim minus Delphes in per cent",
                "head": [
                    "Quantity", "Values, Delphes", "Values, fastsim", "Mean", "± of the mean",
                    "Bound on the mean", "Width", "± of the width", "Bound on the width", "p",
                ],
                "rows": rows,
            },
        ],
        "figures": {
            Path(FIGURE).stem: "Each quantity in both simulations, normalised, and their ratio.",
            Path(LEAF_FIGURE).stem: "p-values of the leaves in rising order; like detectors lie on "
            "the line.",
        },
    }  # fmt: skip


def decision(
    compared: dict[str, Comparison],
    leaves: list[LeafComparison],
    against: tuple[float, float],
    itself: tuple[float, float] | None,
) -> list[str]:
    """Return what the comparison decides, as Markdown."""
    rows = []
    for what, bound, found in (
        ("Means", MEAN_BOUND, {name: c.mean for name, c in compared.items()}),
        ("Widths", WIDTH_BOUND, {name: c.width for name, c in compared.items()}),
    ):
        verdicts = [difference.verdict(bound) for difference in found.values()]
        apart = sum(abs(d.value) > 2 * d.error for d in found.values())
        worst = max(found, key=lambda name: abs(found[name].value) / max(found[name].error, 1e-12))
        sigma = found[worst].value / max(found[worst].error, 1e-12)
        rows.append(
            f"| {what} within {100 * bound:.0f} % | {verdicts.count('met')} "
            f"| {verdicts.count('missed')} | {verdicts.count('open')} "
            f"| {apart} of {len(found)} | {QUANTITIES[worst].label}: {sigma:+.1f} σ |"
        )
    table = "\n".join(rows)
    p_values = [c.p_value for c in compared.values()]
    smallest = min(1.0, min(p_values) * len(p_values))
    unexplained = [
        leaf for leaf in leaves if leaf.adjusted is not None and leaf.name not in EXPLAINED
    ]
    least = min(unexplained, key=lambda leaf: leaf.p_value or 0.0)
    baseline = (
        "" if itself is None else f" Delphes against itself: {itself[0]:.3f} ± {itself[1]:.3f}."
    )
    return [
        f"""## Decision

| Bound | met | missed | open | beyond 2 σ | farthest |
|---|---|---|---|---|---|
{table}

A bound is *met* when two standard deviations around the difference lie within it, *missed* when
they lie outside, and *open* when these events are too few to tell. Of differences that are chance,
one in twenty is beyond 2 σ. The smallest p-value of a distribution, times their number, is
{smallest:.2f}.

Boosted trees that try to tell the jets of the two apart reach an AUC of **{against[0]:.3f} ±
{against[1]:.3f}** (0.5 is chance; keeping jets of one GEN-jet together pushes it below).{baseline}

Of {len(leaves)} leaves of the files, `{least.name}` differs most: p = {least.adjusted:.2f} after
Holm's correction for their number ([all of them]({LEAVES})).
"""
    ]


def quantity_section(
    compared: dict[str, Comparison], values: dict[str, tuple[Values, Values]]
) -> str:
    """Return the table of quantities and their figure, as Markdown."""

    def cell(difference: Difference) -> str:
        return f"{100 * difference.value:+.2f} ± {100 * difference.error:.2f}"

    rows = "\n".join(
        f"| {QUANTITIES[name].label} | {len(values[name][0].values):,} "
        f"| {len(values[name][1].values):,} "
        f"| {cell(found.mean)} | {found.mean.verdict(MEAN_BOUND)} "
        f"| {cell(found.width)} | {found.width.verdict(WIDTH_BOUND)} "
        f"| {cell(found.core)} | {found.p_value:.3f} |"
        for name, found in compared.items()
    )
    return f"""## Quantities

Differences are fastsim minus Delphes, in per cent. That of the mean is relative to the larger of
|mean| and width; the width is the standard deviation within the range of the figure, the core half
the central 68 % interval. Errors come from a bootstrap over events. The last column is the p-value
of the Kolmogorov-Smirnov distance, calibrated by exchanging whole events between the two.

| Quantity | Delphes | fastsim | Mean | 1 % | Width | 3 % | Core | p |
|---|---|---|---|---|---|---|---|---|
{rows}

![Each quantity in both simulations, normalised, and their ratio]({FIGURE})
"""


def kind_section(by_kind: Mapping[str, dict[str, Comparison]]) -> str:
    """Return what each kind of events says on its own, as Markdown."""
    rows = []
    for kind, compared in by_kind.items():
        found = [
            (difference, bound, name)
            for name, c in compared.items()
            for difference, bound in ((c.mean, MEAN_BOUND), (c.width, WIDTH_BOUND))
        ]
        verdicts = [difference.verdict(bound) for difference, bound, _ in found]
        sigmas = [d.value / max(d.error, 1e-12) for d, _, _ in found]
        worst = int(np.argmax(np.abs(sigmas)))
        label = QUANTITIES[found[worst][2]].label
        apart = sum(abs(sigma) > 2 for sigma in sigmas)
        rows.append(
            f"| `{kind}` | {verdicts.count('met')} | {verdicts.count('missed')} "
            f"| {verdicts.count('open')} | {apart} of {len(sigmas)} "
            f"| {label}: {sigmas[worst]:+.1f} σ |"
        )
    table = "\n".join(rows)
    return f"""## Each kind of events by itself

All bounds, of means and of widths:

| Events | met | missed | open | beyond 2 σ | farthest |
|---|---|---|---|---|---|
{table}
"""


def leaf_section(leaves: list[LeafComparison]) -> str:
    """Return the summary of the leaves, as Markdown."""
    tested = [leaf for leaf in leaves if leaf.adjusted is not None]
    below = sum((leaf.p_value or 0.0) < 0.05 for leaf in tested if leaf.name not in EXPLAINED)
    notes = "\n".join(
        f"- `{leaf.name}` (p = {leaf.adjusted:.1g} after Holm): {EXPLAINED[leaf.name]}"
        for leaf in tested
        if leaf.name in EXPLAINED
    )
    known = f"\n{LEFT_OUT}:\n\n{notes}\n" if notes else ""
    n_same = len(leaves) - len(tested)
    n_judged = sum(leaf.name not in EXPLAINED for leaf in tested)
    return f"""## Every leaf

Both files share {len(leaves)} leaves, elements of arrays counted singly. {n_same} hold the same in
every event (the generator's particles and jets) or one value throughout. For each of the others,
Hotelling's T² tests numbers and distribution at once, with the event as the unit: p is below 0.05
for {below} of {n_judged}, where chance gives {0.05 * n_judged:.0f}. Leaves of one branch are not
independent of each other.
{known}
![p-values of the leaves in rising order]({LEAF_FIGURE})
"""


def leaf_page(leaves: list[LeafComparison]) -> str:
    """Return the table of all leaves, as Markdown."""
    rows = []
    for leaf in leaves:
        p = "same" if leaf.p_value is None else f"{leaf.p_value:.3g}"
        adjusted = "" if leaf.adjusted is None else f"{leaf.adjusted:.3g}"
        note = EXPLAINED.get(leaf.name, "") if leaf.p_value is not None else ""
        first, second = leaf.means
        rows.append(
            f"| `{leaf.name}` | {leaf.values:,} | {first:.5g} | {second:.5g} | {p} | {adjusted} "
            f"| {note} |"
        )
    table = "\n".join(rows)
    return f"""# Every leaf in both detectors

How they are compared: [fastsim beside Delphes](README.md). "same": the same in every event, or one
value throughout.

| Leaf | Values | Mean, Delphes | Mean, fastsim | p | p (Holm) | Note |
|---|---|---|---|---|---|---|
{table}
"""


def plot_leaves(leaves: list[LeafComparison]) -> Figure:
    """Draw the p-values of the leaves in rising order, beside those of like detectors."""
    known = [leaf.p_value for leaf in leaves if leaf.p_value is not None and leaf.name in EXPLAINED]
    others = [
        leaf.p_value for leaf in leaves if leaf.p_value is not None and leaf.name not in EXPLAINED
    ]
    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    expected = (np.arange(len(others)) + 0.5) / max(len(others), 1)
    axes.plot(expected, np.maximum(sorted(others), SMALLEST_DRAWN), "o", ms=5, label="leaves")
    axes.plot([1e-3, 1], [1e-3, 1], color="0.6", label="like detectors")
    if known:
        place = np.full(len(known), expected[0])
        axes.plot(place, np.maximum(known, SMALLEST_DRAWN), "x", ms=9, label="known to differ")
    axes.set(xscale="log", yscale="log", xlim=(1e-3, 1.2), ylim=(SMALLEST_DRAWN / 2, 1.5))
    axes.set_xlabel("expected p-value")
    axes.set_ylabel("p-value")
    axes.legend(fontsize=14)
    return figure
