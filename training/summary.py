"""The size of a network, layer group by layer group."""

from ntuplizer.labels import LABELS
from training.config import FitConfig
from training.tasks.sophon import Sophon


def summary(task: str) -> str:
    """Return a table of a task's parameters at its default sizes."""
    network = Sophon(FitConfig(task=task), LABELS).network
    counts = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in network.named_children()
    }
    total = sum(parameter.numel() for parameter in network.parameters())
    counts["class_token"] = total - sum(counts.values())
    lines = [f"{name:20s}{count:>12,}" for name, count in counts.items()]
    return "\n".join([*lines, f"{'parameters':20s}{total:>12,}"])
