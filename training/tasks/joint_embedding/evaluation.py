"""What embeddings are like: how they spread, who their neighbours are, what was hidden."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from torch import Tensor

from ntuplizer.labels import LABELS, group_of
from training.data.reader import Batch
from training.evaluate import figures
from training.jets.constituents import directions
from training.models.regularisers import effective_rank
from training.task import Evaluation

# Neighbours that vote, and rows that are measured and drawn at most.
NEIGHBOURS = 10
MEASURED, DRAWN = 20_000, 2_000
# Marker areas are shares of the jet's pT, this large for the hardest constituent.
MARKER_AREA = 500


def evaluate_embeddings(
    embedding: np.ndarray, label: np.ndarray | None, classes: Sequence[str], folder: Path
) -> Evaluation:
    """Measure embeddings.

    Parameters
    ----------
    embedding
        (n, width).
    label
        (n,) index of the class of each jet; None: jets have no classes.
    classes
        Names of the classes; the 188 labels are taken by groups.
    folder
        For the figure `embedding`.
    """
    # Files come part by part.
    chosen = np.random.default_rng(0).permutation(len(embedding))[:MEASURED]
    embedding = embedding[chosen]
    rank = float(effective_rank(torch.from_numpy(embedding)))
    summary: dict[str, float | None] = {
        "jets": len(embedding),
        "effective_rank": rank,
        "embedding_std": float(embedding.std(axis=0).mean()),
    }
    if label is None:
        return Evaluation(summary, {})
    names, group = _groups(label[chosen], classes)
    accuracy, chance = neighbour_accuracy(embedding, group)
    summary |= {"neighbour_accuracy": accuracy, "largest_class": chance}
    _draw_map(folder / "embedding", embedding[:DRAWN], group[:DRAWN], names, accuracy, chance)
    return Evaluation(
        summary,
        {
            "embedding": f"t-SNE of the embeddings of {min(len(embedding), DRAWN)} jets, with the "
            f"share of jets whose class {NEIGHBOURS} neighbours in the embedding itself tell."
        },
    )


def neighbour_accuracy(embedding: np.ndarray, label: np.ndarray) -> tuple[float | None, float]:
    """Return how often the neighbours in one half tell the class of the other, and chance.

    Parameters
    ----------
    embedding
        (n, width).
    label
        (n,) classes.

    Returns
    -------
    accuracy : float or None
        None for too few rows.
    chance : float
        Share of the largest class.
    """
    half = len(label) // 2
    counts = np.bincount(label)
    chance = float(counts.max() / len(label))
    if half < NEIGHBOURS:
        return None, chance
    scale = embedding[:half].std(axis=0) + 1e-12
    from sklearn.neighbors import KNeighborsClassifier

    neighbours = KNeighborsClassifier(NEIGHBOURS).fit(embedding[:half] / scale, label[:half])
    return float(neighbours.score(embedding[half:] / scale, label[half:])), chance


def draw_masks(path: Path, batch: Batch) -> Mapping[str, str]:
    """Draw which constituents of a jet are seen and which are to be predicted.

    Parameters
    ----------
    path
        Of the figure, without suffix.
    batch
        Of the reader, with masks; the jet with most constituents is drawn.
    """
    jet = int(batch["mask"].sum(dim=1).argmax())
    real = batch["mask"][jet].numpy()
    pt, places = directions(batch["vectors"][jet].numpy())
    pt, places = pt[real], places[real]
    centre = places[0]
    delta = places - centre
    delta[:, 1] = (delta[:, 1] + np.pi) % (2 * np.pi) - np.pi
    area = np.maximum(MARKER_AREA * pt / pt.max(), 6)
    sets = [batch["context"][jet], *batch["targets"][jet]]
    with figures.style():
        canvas, panels = plt.subplots(
            1,
            len(sets),
            figsize=(5.2 * len(sets), 5.6),
            layout="constrained",
            sharex=True,
            sharey=True,
            squeeze=False,
        )
        for number, (axes, chosen) in enumerate(zip(panels[0], sets, strict=True)):
            inside = _constituents(batch, jet, chosen)[real]
            axes.scatter(*delta[~inside].T, s=area[~inside], color="0.85")
            color = "#3f90da" if number == 0 else "#bd1f01"
            axes.scatter(*delta[inside].T, s=area[inside], color=color, alpha=0.7)
            title = "context" if number == 0 else f"target {number}"
            axes.set(title=title, xlabel=r"$\Delta\eta$")
        panels[0, 0].set(ylabel=r"$\Delta\phi$")
        figures.save(canvas, path)
    return {
        path.name: "Constituents of a jet around the hardest, areas by transverse momentum: what "
        "the student sees (blue) and the sets that it predicts (red)."
    }


def _constituents(batch: Batch, jet: int, tokens: Tensor) -> np.ndarray:
    """Return which constituents are in some tokens of a jet, (N,) bool."""
    if "patch" in batch:
        return tokens[batch["patch"][jet]].numpy()
    return tokens.numpy()


def _groups(label: np.ndarray, classes: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Return names and index of the groups of labels; only the 188 have any."""
    if tuple(classes) != LABELS:
        return list(classes), label
    of_label = [group_of(name) for name in LABELS]
    names = list(dict.fromkeys(of_label))
    return names, np.array([names.index(name) for name in of_label])[label]


def _draw_map(
    path: Path,
    embedding: np.ndarray,
    group: np.ndarray,
    names: Sequence[str],
    accuracy: float | None,
    chance: float,
) -> None:
    perplexity = min(30.0, (len(embedding) - 1) / 3)
    # Of a collapsed network all embeddings are one point, on which t-SNE crashes.
    if perplexity < 1 or not np.ptp(embedding, axis=0).any():
        places = embedding[:, :2]
    else:
        from sklearn.manifold import TSNE

        places = TSNE(perplexity=perplexity, random_state=0, init="pca").fit_transform(embedding)
    colors = plt.get_cmap("tab20")
    with figures.figure(path, (11, 8)) as axes:
        for index, name in enumerate(names):
            own = group == index
            if own.any():
                x, y = places[own].T
                axes.scatter(x, y, s=8, color=colors(index % colors.N), label=name)
        axes.set(xticks=[], yticks=[])
        if accuracy is not None:
            axes.set_title(
                f"{NEIGHBOURS} neighbours: accuracy {accuracy:.3f} (largest class {chance:.3f})",
                fontsize=16,
            )
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=12, markerscale=2.5)
