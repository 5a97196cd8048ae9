"""What can be learned: each task binds a network, a loss and metrics."""

from ntuplizer.labels import LABELS
from training.config import FitConfig
from training.models.particle_transformer import ParticleTransformer
from training.tasks.sophon import Sophon
from training.tasks.transfer import Transfer


def make_task(config: FitConfig, pretrained: ParticleTransformer | None = None) -> Sophon:
    """Return the task of a configuration, with new weights where `pretrained` has none."""
    if config.task == "transfer":
        return Transfer(config, config.transfer.labels, pretrained)
    return Sophon(config, LABELS)
