"""The report: one HTML file with what was built and what was learned.

INPUT:  dataset/manifest.json, training/*/history.csv, evaluation/*/metrics.json
OUTPUT: report.html
"""


rule report:
    """Write the report."""
    input:
        manifest=paths.manifest,
        metrics=expand(paths.metrics, task=run_config.training),
    output:
        paths.report,
    log:
        paths.log("report/report"),
    localrule: True
    params:
        evaluations=[
            f"--evaluation {Path(file).parent}"
            for file in expand(paths.metrics, task=run_config.training)
        ],
        version=1,
    shell:
        "python -m workflow report"
        " --manifest {input.manifest}"
        " {params.evaluations}"
        " --output {output}"
        " 2>&1 | tee {log}"
