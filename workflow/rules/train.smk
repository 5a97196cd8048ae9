"""Training: one model per task, on the dataset's train and val splits.

INPUT:  dataset/manifest.json
OUTPUT: training/<task>/checkpoint.ckpt and history.csv
"""


rule train:
    """Train a model; on a cluster with a GPU, on a laptop without."""
    input:
        manifest=paths.manifest,
    output:
        checkpoint=paths.checkpoint,
        history=paths.history,
    log:
        paths.log("train/{task}"),
    benchmark:
        paths.benchmark("train/{task}")
    threads: 2
    resources:
        runtime=1440,
        mem_mb=16000,
    params:
        config=lambda wildcards: run_config.training[wildcards.task].config,
        overrides=lambda wildcards: [
            f"--set {key}={value}"
            for key, value in run_config.training[wildcards.task].set.items()
        ],
        folder=paths.training,
        seed=run_config.seed,
        fingerprint=lambda wildcards: fingerprint.training_fingerprint(
            run_config, wildcards.task
        ),
    shell:
        "python -m training fit"
        " --config {params.config:q}"
        " {params.overrides}"
        " --set seed={params.seed}"
        " --manifest {input.manifest}"
        " --output {params.folder}"
        " 2>&1 | tee {log}"
