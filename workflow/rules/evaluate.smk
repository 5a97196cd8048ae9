"""Evaluation: numbers and figures of a trained model on the test split.

INPUT:  dataset/manifest.json, training/<task>/checkpoint.ckpt
OUTPUT: evaluation/<task>/metrics.json and figures
"""


rule evaluate:
    """Evaluate a model on the test split."""
    input:
        manifest=paths.manifest,
        checkpoint=paths.checkpoint,
    output:
        paths.metrics,
    log:
        paths.log("evaluate/{task}"),
    benchmark:
        paths.benchmark("evaluate/{task}")
    threads: 2
    resources:
        runtime=240,
        mem_mb=16000,
    params:
        folder=paths.evaluation,
        version=fingerprint.TRAINING_VERSION,
    shell:
        "python -m training evaluate"
        " --checkpoint {input.checkpoint}"
        " --manifest {input.manifest}"
        " --output {params.folder}"
        " 2>&1 | tee {log}"
