"""Tables (printed) and figures of what `benchmarks.joint_embedding` measured, for docs/jepa.md.

python -m benchmarks.joint_embedding_page OUTPUT --manifest JETS --figures docs/images
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from PIL import Image
from scipy.stats import t as student
from sklearn.manifold import TSNE

from benchmarks.joint_embedding.points import SEEDS, SHAPE, TREE, Item
from benchmarks.joint_embedding.recipes import pretraining
from provenance.files import read_json
from training.checkpoint import make_task
from training.data.shards import list_row_groups, read_dataset
from training.evaluate import figures
from training.tasks.joint_embedding.evaluation import draw_masks, neighbour_accuracy

CLASSES = {
    "groups": ("QCD", "X", "YY"), "top": ("QCD", "top"), "quark_gluon": ("gluon", "quark"),
}  # fmt: skip
TITLES = {"groups": "Groups of labels", "top": "Top", "quark_gluon": "Quark, gluon"}
# Drawn: way → colour and line. Shuffled labels would stretch the axes.
DRAWN = {
    "scratch": ("black", "o-"),
    "fine-tuned": ("#bd1f01", "s-"),
    "scratch, longer": ("black", "*"),
    "fine-tuned, longer": ("#bd1f01", "*"),
    "attentive": ("#3f90da", "^-"),
    "linear": ("#3f90da", "v--"),
    "linear, random encoder": ("0.6", "v--"),
    "linear, shape of the jet": ("#ffa90e", "d--"),
    "trees": ("#832db6", "x:"),
    "fine-tuned, 188 labels": ("#e76300", "P-."),
}
# Ways whose difference is given.
COMPARED = (
    ("linear", "linear, random encoder"),
    ("attentive", "attentive, random encoder"),
    ("fine-tuned", "scratch"),
    ("fine-tuned, longer", "scratch, longer"),
    ("fine-tuned, 188 labels", "scratch"),
    ("linear", SHAPE),
    ("fine-tuned", TREE),
)
DPI, WIDEST, COLOURS = 60, 1400, 96
REPLICAS, MAPPED = 200, 1200

Point = tuple[str, str, int]
Values = Mapping[Point, Mapping[int, Mapping[str, Any]]]


def read_points(folder: Path) -> Values:
    """Return study, way and number of labels → seed → what was measured."""
    found: dict[Point, dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in sorted(folder.glob("*.json")):
        row = read_json(path)
        found[row["study"], row["way"], row["jets"]][row["seed"]] = row
    return found


def interval(values: np.ndarray, spread: float = 0.0) -> tuple[float, float, float]:
    """Return the mean and the ends of its 95 % interval.

    Parameters
    ----------
    values
        (n,) of draws of labels (Student).
    spread
        Standard deviation of the mean for another cause, added in quadrature.
    """
    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("nan"), float("nan")
    half = student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    half = float(np.hypot(half, 1.96 * spread))
    return mean, mean - half, mean + half


def gain(
    points: Values, results: Path, study: str, ways: tuple[str, str], jets: int
) -> tuple[float, float, float]:
    """Return how much larger the AUC of a way is than of another.

    Returns
    -------
    tuple
        The mean over the draws of labels, paired, and the ends of its 95 % interval, for other
        draws of labels and for other test jets.
    """
    own, other = (points.get((study, way, jets), {}) for way in ways)
    seeds = sorted(set(own) & set(other))
    differences = np.array([own[seed]["auc"] - other[seed]["auc"] for seed in seeds])
    if len(differences) < 2:
        return (float(differences.mean()) if seeds else float("nan")), float("nan"), float("nan")
    with np.load(results / f"embedding-{study}.npz") as content:
        truth = content["label"]
    counts = np.random.default_rng(0).multinomial(
        len(truth), np.full(len(truth), 1 / len(truth)), REPLICAS
    )
    drawn = np.zeros(REPLICAS)
    for sign, rows in ((1, own), (-1, other)):
        for seed in seeds:
            item = Item(study, rows[seed]["size"], seed, rows[seed]["way"])
            found = np.load(results / f"{item.name}.npy").astype(np.float64)
            drawn += sign * weighted_areas(found, truth, counts) / len(seeds)
    return interval(differences, float(drawn.std(ddof=1)))


def weighted_areas(found: np.ndarray, truth: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mean AUC over classes, (k,), for weights of the jets, (k, n)."""
    total = np.zeros(len(counts))
    for index in range(found.shape[1]):
        order = np.argsort(found[:, index], kind="stable")
        own, weight = truth[order] == index, counts[:, order]
        signal, other = weight * own, weight * ~own
        below = np.cumsum(other, axis=1) - other / 2
        total += (signal * below).sum(1) / signal.sum(1) / other.sum(1)
    return total / found.shape[1]


def tables(points: Values, results: Path) -> Iterator[str]:
    """Yield the lines of the tables, in Markdown."""
    for study in CLASSES:
        sizes = sorted({jets for name, _, jets in points if name == study})
        ways = list(dict.fromkeys(way for name, way, _ in points if name == study))
        yield from ("", f"**{TITLES[study]}**, AUC", "")
        yield "| way | " + " | ".join(f"{size:,}" for size in sizes) + " |"
        yield "|---" * (len(sizes) + 1) + "|"
        for way in ways:
            cells = [_cell(points, study, way, size) for size in sizes]
            yield f"| {way} | " + " | ".join(cells) + " |"
        yield from ("", f"**{TITLES[study]}**, gains", "")
        for pair in COMPARED:
            cells = [_gain(points, results, study, pair, size) for size in sizes]
            yield f"| {pair[0]} − {pair[1]} | " + " | ".join(cells) + " |"
        yield from ("", f"**{TITLES[study]}**, rejection at 30 % and 50 %, all labels", "")
        for way in ways:
            own = points.get((study, way, sizes[-1]), {}).values()
            cells = []
            for metric in ("rejection_at_30%", "rejection_at_50%"):
                known = [row[metric] for row in own if row[metric] is not None]
                cells.append(f"{np.mean(known):.3g}" if known else "")
            yield f"| {way} | " + " | ".join(cells) + " |"


def _gain(points: Values, results: Path, study: str, ways: tuple[str, str], size: int) -> str:
    mean, low, high = gain(points, results, study, ways, size)
    if not np.isfinite(low):
        return f"{mean:+.3f}" if np.isfinite(mean) else ""
    shown = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"**{shown}**" if low > 0 else shown


def _cell(points: Values, study: str, way: str, size: int) -> str:
    own = points.get((study, way, size), {})
    values = np.array([row["auc"] for row in own.values()])
    if not len(values):
        return ""
    drawn = f" ({len(values)})" if len(values) < len(SEEDS) else ""
    if len(values) < 2:
        return f"{values.mean():.3f}{drawn}"
    return f"{values.mean():.3f} ± {values.std(ddof=1) / len(values) ** 0.5:.3f}{drawn}"


def save(canvas: Figure, path: Path) -> None:
    """Save a small PNG."""
    canvas.savefig(path, dpi=DPI)
    plt.close(canvas)
    shrink(path)


def shrink(path: Path) -> None:
    """Make a PNG small: few colours, so wide as a page shows it."""
    with Image.open(path) as content:
        image = content.convert("RGB")
    if image.width > WIDEST:
        image = image.resize(
            (WIDEST, image.height * WIDEST // image.width), Image.Resampling.LANCZOS
        )
    image.quantize(COLOURS).save(path, optimize=True)


def draw_curves(points: Values, path: Path, metric: str, label: str) -> None:
    """Draw a number against labels, with a panel for each study."""
    canvas, panels = plt.subplots(1, 3, figsize=(24, 8), layout="constrained")
    for axes, study in zip(panels, CLASSES, strict=True):
        for way, (color, line) in DRAWN.items():
            sizes = sorted(jets for name, own, jets in points if (name, own) == (study, way))
            rows = [
                np.array([r[metric] for r in points[study, way, size].values() if r[metric]])
                for size in sizes
            ]
            kept = [(size, row) for size, row in zip(sizes, rows, strict=True) if len(row)]
            if not kept:
                continue
            axes.errorbar(
                [size for size, _ in kept], [row.mean() for _, row in kept],
                [row.std(ddof=1) / len(row) ** 0.5 if len(row) > 1 else 0 for _, row in kept],
                fmt=line, color=color, label=way, markersize=9,
            )  # fmt: skip
        axes.set(xscale="log", xlabel="Labels", ylabel=label, title=TITLES[study])
        axes.xaxis.set_minor_formatter(NullFormatter())
    panels[-1].legend(fontsize=14, loc="center left", bbox_to_anchor=(1, 0.5))
    save(canvas, path)


def draw_watch(choice: Mapping[str, Any], path: Path) -> None:
    """Draw the loss and what shows a collapse, for every recipe."""
    names = {
        "loss": "Validation loss", "effective_rank": "Effective rank",
        "prediction_std": "Std. dev. of predictions", "target_std": "Std. dev. of targets",
    }  # fmt: skip
    canvas, panels = plt.subplots(1, len(names), figsize=(32, 7), layout="constrained")
    histories = {recipe: found["history"] for recipe, found in choice["validation"].items()}
    histories |= {f"{recipe} (collapsed)": rows for recipe, rows in choice["stopped"].items()}
    for recipe, history in histories.items():
        for axes, (name, label) in zip(panels, names.items(), strict=True):
            values = [row[f"val_{name}"] for row in history]
            axes.plot([row["step"] for row in history], values, "o-", label=recipe)
            axes.set(xlabel="Step", ylabel=label)
    panels[0].legend(fontsize=16)
    save(canvas, path)


def draw_maps(results: Path, path: Path) -> None:
    """Draw t-SNE of the embeddings of the test jets of each study."""
    canvas, panels = plt.subplots(1, 3, figsize=(21, 7), layout="constrained")
    for axes, (study, names) in zip(panels, CLASSES.items(), strict=True):
        file = results / f"embedding-{study}.npz"
        if not file.exists():
            continue
        with np.load(file) as content:
            # They come class by class.
            order = np.random.default_rng(0).permutation(len(content["label"]))
            embedding = content["embedding"][order].astype(np.float32)
            label = content["label"][order]
        accuracy, chance = neighbour_accuracy(embedding, label)
        shown = slice(0, MAPPED)
        tsne = TSNE(perplexity=30, random_state=0, init="pca")
        places, kind = tsne.fit_transform(embedding[shown]), label[shown]
        for index, name in enumerate(names):
            axes.scatter(*places[kind == index].T, s=10, label=name)
        title = f"10 neighbours: {accuracy:.3f} (largest class {chance:.3f})"
        axes.set(xticks=[], yticks=[], title=title)
        axes.legend(fontsize=16, markerscale=2.5)
    save(canvas, path)


def draw_hidden(recipe: str, manifest: Path, path: Path, small: bool) -> None:
    """Draw what a recipe hides of a jet."""
    reader = make_task(pretraining(recipe, small)).reader
    groups = list_row_groups(read_dataset(manifest).shards("test")[:1], reader)
    draw_masks(path.with_suffix(""), reader.collate(reader.read(groups), np.arange(64)))
    path.with_suffix(".pdf").unlink()
    shrink(path)


def main() -> None:
    """Parse the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.joint_embedding_page")
    parser.add_argument("output", type=Path)
    parser.add_argument("--manifest", type=Path, help="of jets, one of which is drawn")
    parser.add_argument("--figures", type=Path, required=True)
    parser.add_argument("--small", action="store_true", help="networks are small")
    options = parser.parse_args()
    torch.set_num_threads(1)
    points, choice = (
        read_points(options.output / "results"),
        read_json(options.output / "choice.json"),
    )
    lines = [
        f"chosen: {choice['chosen']}, on {choice['device']}",
        "",
        "| recipe | pre-trained | random | told | random | steps | seconds |",
    ]
    for recipe, found in choice["validation"].items():
        numbers = [found["pre-trained"], found["random"], *found["told"].values()]
        cells = [f"{number:.3f}" for number in numbers]
        cells += [f"{found['history'][-1]['step']:.0f}", f"{found['seconds']:.0f}"]
        lines.append(f"| {recipe} | " + " | ".join(cells) + " |")
    print("\n".join([*lines, *tables(points, options.output / "results")]))
    options.figures.mkdir(exist_ok=True)
    with figures.style():
        draw_curves(points, options.figures / "jepa_few_labels.png", "auc", "AUC")
        draw_curves(
            points, options.figures / "jepa_rejection.png", "rejection_at_50%", "Rejection at 50 %"
        )
        draw_watch(choice, options.figures / "jepa_watch.png")
        draw_maps(options.output / "results", options.figures / "jepa_embedding.png")
    if options.manifest is not None:
        path = options.figures / "jepa_masks.png"
        draw_hidden(choice["chosen"], options.manifest, path, options.small)


if __name__ == "__main__":
    main()
