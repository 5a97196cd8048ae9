"""Growing a dataset moves nothing: a shard that exists stays in its split."""

import sys
from pathlib import Path

from provenance.errors import UserError
from provenance.files import read_json
from workflow.config_model import Config
from workflow.paths import Paths, split_of


def refuse_moved_splits(config: Config, paths: Paths) -> None:
    """Stop when the configuration would move a shard of an existing dataset to another split.

    Raises
    ------
    SystemExit
        Naming the shard and how to grow instead.
    """
    for dataset, content in config.datasets.items():
        manifest = Path(paths.manifest.format(dataset=dataset))
        if not manifest.is_file():
            continue
        try:
            files = read_json(manifest)["files"]
            before = {(file["part"], file["index"]): file["split"] for file in files}
        except (UserError, KeyError, TypeError):
            continue  # damaged: the rule that makes it says so, or it is made anew
        for (part, index), split in before.items():
            blocks = content.parts[part].blocks if part in content.parts else ()
            if index < sum(blocks) and split_of(index, blocks) != split:
                sys.exit(
                    f"error: {part}_{index:04d} of {manifest.parent} is in the split {split} and "
                    f"datasets.{dataset}.parts.{part}.shards would move it to "
                    f"{split_of(index, blocks)}: to grow a part, append a block, as in "
                    "shards: [6, 12], or give the run another name"
                )
