"""Evaluation: numbers and figures of every network on the test split, and of every study.

INPUT:  datasets/<dataset>/manifest.json, training/<fit>/checkpoint.ckpt
OUTPUT: evaluation/<fit>/metrics.json and figures; studies/<study>/study.json and its figure
"""

from workflow.jobs.study import study_job


rule evaluate:
    """Evaluate a network on the test split."""
    input:
        manifest=manifest_of,
        checkpoint=paths.checkpoint,
    output:
        report(
            paths.metrics,
            caption="../report/captions/metrics.rst",
            category="Networks",
            subcategory="{fit}",
            labels={"content": "numbers"},
        ),
    log:
        paths.log("evaluate/{fit}"),
    benchmark:
        paths.benchmark("evaluate/{fit}")
    threads: 2
    resources:
        runtime=240,
        mem_mb=16000,
    params:
        folder=paths.evaluation,
        version=lambda wildcards: fits[wildcards.fit].config.version,
    shell:
        "python -m training evaluate --checkpoint {input.checkpoint}"
        " --manifest {input.manifest} --output {params.folder} > {log} 2>&1"


rule study:
    """Gather the points of a study: mean, standard error and paired differences, and a figure."""
    input:
        lambda wildcards: [
            paths.metrics.format(fit=point.fit) for point in points[wildcards.study]
        ],
    output:
        numbers=report(
            paths.study,
            caption="../report/captions/study.rst",
            category="Studies",
            subcategory="{study}",
            labels={"content": "numbers"},
        ),
        figure=report(
            paths.study_figure,
            caption="../report/captions/study.rst",
            category="Studies",
            subcategory="{study}",
            labels={"content": "figure"},
        ),
    log:
        paths.log("study/{study}"),
    localrule: True
    params:
        job=lambda wildcards: study_job(
            wildcards.study,
            run_config.studies[wildcards.study],
            points[wildcards.study],
        ),
        evaluations=paths.evaluation.format(fit=""),
        version=2,
    shell:
        "python -m workflow study --job {params.job:q} --evaluations {params.evaluations}"
        " --output {output.numbers} > {log} 2>&1"
