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
        folder=Path(paths.manifest).parent,
        fingerprint=fingerprint.dataset_fingerprint(run_config),
    shell:
        "python -m ntuplizer manifest {params.folder}"
        " --name {params.name}"
        " --seed {params.seed}"
        " --config-sha256 {params.fingerprint}"
        " --output {output}"
        " 2>&1 | tee {log}"
