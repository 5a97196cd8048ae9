"""The report: one HTML file with what was built and what was learned.

INPUT:  datasets/*/manifest.json, evaluation/*/metrics.json, studies/*/study.json
OUTPUT: report.html
"""


rule report:
    """Write the report."""
    input:
        dataset=expand(paths.manifest, dataset=run_config.datasets),
        evaluation=expand(paths.metrics, fit=run_config.training),
        study=expand(paths.study, study=run_config.studies),
    output:
        paths.report,
    log:
        paths.log("report/report"),
    localrule: True
    params:
        name=run_config.name,
        inputs=lambda wildcards, input: [
            f"--{kind} {file}"
            for kind in ("dataset", "evaluation", "study")
            for file in input.get(kind)
        ],
        version=2,
    shell:
        "python -m workflow report --name {params.name} {params.inputs} --output {output}"
        " > {log} 2>&1"
