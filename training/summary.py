"""The size of a network, layer group by layer group."""

from training.checkpoint import make_task
from training.config import FitConfig


def summary(config: FitConfig) -> str:
    """Return a table of the parameters of a configuration's network."""
    network = make_task(config).network
    counts = {
        name: sum(parameter.numel() for parameter in module.parameters())
        for name, module in network.named_children()
    }
    total = sum(parameter.numel() for parameter in network.parameters())
    if total > sum(counts.values()):
        counts["others"] = total - sum(counts.values())
    lines = [f"{name:20s}{count:>12,}" for name, count in counts.items()]
    return "\n".join([*lines, f"{'parameters':20s}{total:>12,}"])
