"""The datasets: the manifest of all shards of each, whichever backend made them.

INPUT:  datasets/<dataset>/<part>_<index>.parquet and their ledgers
OUTPUT: datasets/<dataset>/manifest.json
"""


rule manifest:
    """List every shard with its split, rows, checksum and label counts; written last."""
    input:
        lambda wildcards: paths.shards(run_config, wildcards.dataset),
    output:
        paths.manifest,
    log:
        paths.log("manifest/{dataset}"),
    localrule: True
    params:
        seed=lambda wildcards: dataset_seed(run_config, wildcards.dataset),
        shards=lambda wildcards: paths.shard_ranges(run_config, wildcards.dataset),
        fingerprint=lambda wildcards: shard_jobs.dataset_fingerprint(wildcards.dataset),
    shell:
        "python -m ntuplizer manifest {params.shards} --name {wildcards.dataset}"
        " --seed {params.seed} --fingerprint {params.fingerprint} --output {output}"
        " > {log} 2>&1"
