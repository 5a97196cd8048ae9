"""What this project's Particle Transformer and weaver's learn from the same jets.

Both have the sizes of `training/configs/sophon-small.yaml` and see the same batches in the same
order under the same optimiser and schedule, without averaging of weights; then both are measured on
the test split. Run as `python -m benchmarks.accuracy --manifest M [--seeds 1 2 3] [--json FILE]`;
weaver-core 0.5.3 is needed as for `benchmarks.part`.
"""

import argparse
import datetime
import json
import math
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.part import FEATURES, cpu_name, weaver_network
from ntuplizer.labels import LABELS
from training.config import load_config
from training.data.loaders import evaluation_loader
from training.data.reader import Batch
from training.data.shards import list_row_groups, read_dataset
from training.data.stream import TrainingStream
from training.models.particle_transformer import ParticleTransformer
from training.optimizers import make_optimizer, make_schedule
from training.tasks.sophon.config import Config
from training.tasks.sophon.task import Sophon

CONFIG = Path(__file__).parents[1] / "training" / "configs" / "sophon-small.yaml"


def logits(network: nn.Module, batch: Batch) -> torch.Tensor:
    """Apply a network to a batch."""
    return network(batch["features"], batch["vectors"], batch["mask"])


def train(network: nn.Module, batches: list[Batch], config: Config) -> None:
    """Train a network on a list of batches."""
    optimizer = make_optimizer(network, config.optimizer)
    schedule = make_schedule(optimizer, config.optimizer.schedule, len(batches))
    network.train()
    for batch in batches:
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits(network, batch), batch["label"]).backward()
        nn.utils.clip_grad_norm_(network.parameters(), config.optimizer.gradient_clip or math.inf)
        optimizer.step()
        schedule.step()


@torch.inference_mode()
def measure(network: nn.Module, batches: list[Batch]) -> dict[str, float]:
    """Return loss and accuracy on a list of batches."""
    network.eval()
    scores = torch.cat([logits(network, batch) for batch in batches])
    labels = torch.cat([batch["label"] for batch in batches])
    accuracy = (scores.argmax(1) == labels).float().mean()
    return {
        "loss": round(float(nn.functional.cross_entropy(scores, labels)), 4),
        "accuracy": round(float(accuracy), 4),
    }


def main() -> None:
    """Train both with each seed and print their numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--manifest", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--json", type=Path, help="also write the numbers here")
    options = parser.parse_args()
    torch.set_num_threads(1)
    config = load_config(CONFIG)
    assert isinstance(config, Config)
    dataset, reader = read_dataset(options.manifest), Sophon(config).reader
    groups = {split: list_row_groups(dataset.shards(split), reader) for split in ("train", "test")}
    loader = evaluation_loader(groups["test"], reader, config.data)
    test = [drawn.batch for drawn in loader]
    runs: dict[str, list[dict[str, float]]] = {"project": [], "weaver": []}
    sizes = config.model
    for seed in options.seeds:
        stream = TrainingStream(groups["train"], reader, config.data, None, seed=seed)
        batches = [drawn.batch for drawn in islice(stream, options.steps)]
        for name, found in runs.items():
            torch.manual_seed(seed)
            network = (
                ParticleTransformer(sizes, FEATURES, len(LABELS))
                if name == "project"
                else weaver_network(
                    embed_dims=list(sizes.embedding),
                    pair_embed_dims=list(sizes.pair_embedding),
                    num_heads=sizes.heads,
                    num_layers=sizes.blocks,
                    num_cls_layers=sizes.class_blocks,
                    fc_params=[(width, sizes.dropout) for width in sizes.head],
                    block_params={
                        "ffn_ratio": sizes.feedforward_ratio,
                        "dropout": sizes.dropout,
                        "attn_dropout": sizes.dropout,
                        "activation_dropout": sizes.dropout,
                    },
                    cls_block_params={"ffn_ratio": sizes.feedforward_ratio},
                )
            )
            train(network, batches, config)
            found.append({"seed": seed, **measure(network, test)})
            print(name, found[-1], flush=True)
    results = {
        "date": datetime.date.today().isoformat(),
        "device": "one core, " + cpu_name(),
        "training_jets": options.steps * config.data.batch_size,
        "runs": runs,
        "mean": {
            name: {
                key: round(float(np.mean([run[key] for run in found])), 4)
                for key in ("loss", "accuracy")
            }
            for name, found in runs.items()
        },
    }
    print(json.dumps(results["mean"], indent=1))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
