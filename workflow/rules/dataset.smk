"""The dataset: the manifest of all shards, whichever backend made them.

INPUT:  dataset/<part>_<index>.parquet and their ledgers
OUTPUT: dataset/manifest.json
"""


rule manifest:
    """List every shard with its split, rows, checksum and label counts; written last."""
    input:
        shards=paths.shards(run_config),
    output:
        paths.manifest,
    log:
        paths.log("manifest/manifest"),
    localrule: True
    params:
        name=run_config.name,
        seed=run_config.seed,
        # Bash expands the range: a command line of 2,010 names would be too long to quote, and
        # every *.parquet in the folder may be too many.
        shards=lambda wildcards: [
            paths.shard.format(
                part=part, index=f"{{0000..{shard_index(content.shards - 1)}}}"
            )
            for part, content in run_config.dataset.parts.items()
        ],
        fingerprint=fingerprint.dataset_fingerprint(run_config),
    shell:
        "python -m ntuplizer manifest {params.shards}"
        " --name {params.name}"
        " --seed {params.seed}"
        " --config-sha256 {params.fingerprint}"
        " --output {output}"
        " 2>&1 | tee {log}"
