"""Training: every network of the run, on the train and val splits of its dataset.

INPUT:  datasets/<dataset>/manifest.json, the checkpoint that a training begins with
OUTPUT: training/<fit>/checkpoint.ckpt and history.csv, training/<fit>/weights.json
"""


def manifest_of(wildcards):
    """Return the manifest of the dataset that a network learns from."""
    return paths.manifest.format(dataset=fits[wildcards.fit].dataset)


def start_of(wildcards):
    """Return the checkpoint that a training begins with, if it is another training's."""
    start = fits[wildcards.fit].start
    return [] if start is None else paths.checkpoint.format(fit=start)


def file_of_start(fit):
    """Return the checkpoint file that a training begins with, if it is of another run."""
    file = fit.config.start.checkpoint
    return [] if file is None else str(file)


rule sampling_weights:
    """Compute once how often each jet is drawn, flat in pT and soft-drop mass."""
    input:
        manifest_of,
    output:
        weights=paths.weights,
        ledger=f"{paths.weights}.json",
    log:
        paths.log("sampling_weights/{fit}"),
    benchmark:
        paths.benchmark("sampling_weights/{fit}")
    resources:
        runtime=240,
        mem_mb=4000,
    params:
        version=lambda wildcards: fits[wildcards.fit].config.version,
        config=lambda wildcards: fits[wildcards.fit].text,
    shell:
        "python -m training weights --config {params.config:q} --manifest {input}"
        " --output {output.weights} > {log} 2>&1"


rule train:
    """Train a network; on a cluster with a GPU, on a laptop without.

    A job that was interrupted goes on from its last checkpoint.
    """
    input:
        manifest=manifest_of,
        start=start_of,
        # Named in `config`; here, so that another file in its place trains anew.
        file=lambda wildcards: file_of_start(fits[wildcards.fit]),
        weights=lambda wildcards: (
            paths.weights if fits[wildcards.fit].flat_sampling else []
        ),
    output:
        checkpoint=paths.checkpoint,
        ledger=f"{paths.checkpoint}.json",
        history=report(
            paths.history,
            caption="../report/captions/history.rst",
            category="Networks",
            subcategory="{fit}",
            labels={"content": "history"},
        ),
    log:
        paths.log("train/{fit}"),
    benchmark:
        paths.benchmark("train/{fit}")
    wildcard_constraints:
        fit="|".join(fit for fit in fits if fit not in of_ensembles) or "none",
    threads: 2
    resources:
        runtime=1440,
        mem_mb=16000,
    params:
        version=lambda wildcards: fits[wildcards.fit].config.version,
        config=lambda wildcards: fits[wildcards.fit].text,
        options=lambda wildcards, input: [
            f"--{name} {input.get(name)}"
            for name in ("start", "weights")
            if input.get(name)
        ],
        folder=paths.training,
    shell:
        "python -m training fit --config {params.config:q} --manifest {input.manifest}"
        " {params.options} --output {params.folder} > {log} 2>&1"
