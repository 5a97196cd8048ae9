"""What is measured: tasks, ways, sizes and seeds, the most wanted first."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from benchmarks.joint_embedding.recipes import SUPERVISED

STUDIES: dict[str, dict[str, Any]] = {
    "groups": {"dataset": "labelled", "settings": []},
    "top": {"dataset": "top", "settings": ["data.labels=[QCD, top]", "data.classes=null"]},
    "quark_gluon": {
        "dataset": "quark_gluon",
        "settings": ["data.labels=[gluon, quark]", "data.classes=null"],
    },
}
# Of top, quarks and gluons jets of any mass are used, so that 5,000 labels are there.
ANY_MASS = "data.selection={jet_pt: [200, 2500], jet_sdmass: [-1, 500]}"
# The last is more than there are: all.
ALL = 1_000_000
SEEDS = (1, 2, 3, 4, 5)
EMBEDDED = {  # linear probes: how the encoder begins
    "linear": "chosen",
    "linear, random encoder": None,
    "linear, 188 labels": SUPERVISED,
}
SHAPE, TREE = "linear, shape of the jet", "trees"
# What is trained: how the encoder begins, whether it is frozen.
NETWORKS = {
    "scratch": (None, False),
    "fine-tuned": ("chosen", False),
    "attentive": ("chosen", True),
    "attentive, random encoder": (None, True),
    "fine-tuned, 188 labels": (SUPERVISED, False),
    "shuffled labels": ("chosen", False),
}
# The same with more steps: what fine-tuning saves a new encoder, and what it does not.
LONGER = {"scratch, longer": "scratch", "fine-tuned, longer": "fine-tuned"}
TIMES = 5
CHEAP = (*EMBEDDED, SHAPE, TREE)
# What is measured first, should the time end: sizes and ways, with every seed.
ORDER: tuple[tuple[tuple[int, ...], tuple[str, ...]], ...] = (
    ((500, 5_000), (*CHEAP, "scratch", "fine-tuned")),
    ((5_000,), tuple(LONGER)),
    ((ALL, 2_000), (*CHEAP, "scratch", "fine-tuned")),
    ((500, 5_000, ALL, 2_000), ("attentive", "attentive, random encoder")),
    ((500, 5_000), ("fine-tuned, 188 labels",)),
    ((ALL,), ("shuffled labels",)),
    ((ALL, 2_000), ("fine-tuned, 188 labels",)),
    ((20_000,), (*CHEAP, *NETWORKS)),
)


class Item(NamedTuple):
    """One thing to measure."""

    study: str
    size: int
    seed: int
    way: str

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.study}-{self.size}-{self.seed}-{self.way}".replace(",", "").replace(" ", "_")


def items() -> Iterator[Item]:
    """Yield what is to be measured, the most wanted first."""
    for sizes, ways in ORDER:
        for seed in SEEDS:
            for study in STUDIES:
                yield from (Item(study, size, seed, way) for size in sizes for way in ways)
