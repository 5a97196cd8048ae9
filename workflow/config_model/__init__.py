"""The configuration: every key typed, described and checked before any job starts.

A room for each part of the file; this is what others import. `workflow/config_docs.py` makes the
JSON schema that editors use and the reference page of these classes; a test keeps them in step.
"""

from workflow.config_model.collisions import Collisions
from workflow.config_model.datasets import (
    BATCHES_PER_SHARD,
    MINIMUM_BIAS,
    SPLIT_RATIO,
    detector_card,
)
from workflow.config_model.generation import Containers
from workflow.config_model.run import Config, load_config
from workflow.config_model.sections import ROOT, Section, nested_section
from workflow.config_model.studies import Study, Way
from workflow.config_model.trainings import Start, Training

__all__ = [
    "BATCHES_PER_SHARD",
    "MINIMUM_BIAS",
    "ROOT",
    "SPLIT_RATIO",
    "Collisions",
    "Config",
    "Containers",
    "Section",
    "Start",
    "Study",
    "Training",
    "Way",
    "detector_card",
    "load_config",
    "nested_section",
]
