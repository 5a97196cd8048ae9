"""The report: one HTML file with what was built and what was learned.

INPUT:  datasets/*/manifest.json, evaluation/*/metrics.json, training/*/checkpoint.ckpt.json,
        studies/*/study.json, comparison/*/comparison.json where there are any
OUTPUT: report.html; report/, PDF and data of its figures
"""

import json


rule report:
    """Write the report."""
    input:
        dataset=expand(paths.manifest, dataset=run_config.products),
        evaluation=expand(paths.metrics, fit=run_config.training),
        checkpoint=expand(f"{paths.checkpoint}.json", fit=run_config.training),
        study=expand(paths.study, study=run_config.studies),
        # Made by hand, where Delphes' files are.
        comparison=sorted(
            map(str, Path().glob(paths.comparison.format(comparison="*")))
        ),
    output:
        page=report(
            paths.report,
            caption="../report/captions/page.rst",
            category="Report",
            labels={"content": "the report"},
        ),
        figures=report(
            directory(paths.report_figures),
            patterns=["{dataset}/{figure}.pdf"],
            caption="../report/captions/figure.rst",
            category="Datasets",
            subcategory="{dataset}",
            labels={"figure": "{figure}"},
        ),
    log:
        paths.log("report/report"),
    localrule: True
    params:
        name=run_config.name,
        inputs=lambda wildcards, input: [
            word
            for kind in ("dataset", "evaluation", "checkpoint", "study", "comparison")
            for file in input.get(kind)
            for word in (f"--{kind}", file)
        ],
        benchmarks=paths.benchmarks,
        # A function: braces of names are no wildcards.
        config=lambda wildcards: json.dumps(
            run_config.model_dump(mode="json", exclude_unset=True, by_alias=True)
        ),
        version=4,
    shell:
        "python -m workflow report --name {params.name} {params.inputs:q}"
        " --benchmarks {params.benchmarks} --config {params.config:q} --output {output.page}"
        " > {log} 2>&1"
