"""Training: one model per task, on the dataset's train and val splits.

INPUT:  dataset/manifest.json
OUTPUT: training/weights.json, training/<task>/checkpoint.ckpt and history.csv
"""


rule sampling_weights:
    """Compute once how often each jet is drawn, flat in pT and soft-drop mass."""
    input:
        paths.manifest,
    output:
        paths.weights,
    log:
        paths.log("sampling_weights/weights"),
    benchmark:
        paths.benchmark("sampling_weights/weights")
    resources:
        runtime=240,
        mem_mb=4000,
    params:
        version=fingerprint.TRAINING_VERSION,
        config=run_config.training["sophon"].config if run_config.training else "",
        selection=[
            word
            for training in run_config.training.values()
            for key, value in training.set.items()
            if key.startswith("data.selection")
            for word in ("--set", f"{key}={value}")
        ],
    shell:
        "python -m training weights"
        " --config {params.config:q}"
        " {params.selection:q}"
        " --manifest {input}"
        " --output {output}"
        " 2>&1 | tee {log}"


rule train:
    """Train a model; on a cluster with a GPU, on a laptop without."""
    input:
        manifest=paths.manifest,
        weights=lambda wildcards: (
            [paths.weights]
            if run_config.training[wildcards.task].flat_sampling
            else []
        ),
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
            word
            for key, value in run_config.training[wildcards.task].set.items()
            for word in ("--set", f"{key}={value}")
        ],
        weights=lambda wildcards, input: [
            f"--set data.weights={file}" for file in input.weights
        ],
        folder=paths.training,
        seed=run_config.seed,
        fingerprint=lambda wildcards: fingerprint.training_fingerprint(
            run_config, wildcards.task
        ),
    shell:
        "python -m training fit"
        " --config {params.config:q}"
        " {params.overrides:q}"
        " {params.weights}"
        " --set seed={params.seed}"
        " --manifest {input.manifest}"
        " --output {params.folder}"
        " 2>&1 | tee {log}"
