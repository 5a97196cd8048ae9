"""The datasets: the manifest of all shards of each, whichever backend made them.

INPUT:  datasets/<dataset>/<part>_<index>.parquet and their ledgers
OUTPUT: datasets/<dataset>/manifest.json; README.md and croissant.json beside it, when asked for
"""


rule manifest:
    """List every shard with its split, rows, checksum and label counts; written last."""
    input:
        lambda wildcards: paths.shards(run_config, wildcards.dataset),
    output:
        report(
            paths.manifest,
            caption="../report/captions/manifest.rst",
            category="Datasets",
            subcategory="{dataset}",
            labels={"figure": "manifest"},
        ),
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


rule card:
    """Write what those need who find the dataset published."""
    input:
        paths.manifest,
    output:
        card=paths.card,
        croissant=paths.croissant,
    log:
        paths.log("card/{dataset}"),
    localrule: True
    shell:
        "python -m ntuplizer card {input} > {log} 2>&1"
