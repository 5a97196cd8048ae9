"""Training the seeds of a study's point at once, where the study is vectorised.

INPUT:  datasets/<dataset>/manifest.json, the checkpoint that all members begin with
OUTPUT: training/<fit>/checkpoint.ckpt and history.csv of each member
"""

from workflow.ensembles import ensembles

try:
    members = ensembles(run_config, fits)
except UserError as error:
    sys.exit(f"error: {error}")
alone = set(fits) - {fit.name for group in members.values() for fit in group}

for ensemble_number, ensemble_group in enumerate(members.values()):
    ensemble_first = ensemble_group[0]
    ensemble_names = [fit.name for fit in ensemble_group]

    rule:
        name:
            f"train_ensemble_{ensemble_number}"
        input:
            manifest=paths.manifest.format(dataset=ensemble_first.dataset),
            start=(
                paths.checkpoint.format(fit=ensemble_first.start)
                if ensemble_first.start
                else []
            ),
        output:
            checkpoints=expand(paths.checkpoint, fit=ensemble_names),
            ledgers=expand(f"{paths.checkpoint}.json", fit=ensemble_names),
            histories=expand(paths.history, fit=ensemble_names),
        log:
            paths.log(f"train/{ensemble_names[0]}"),
        benchmark:
            paths.benchmark(f"train/{ensemble_names[0]}")
        threads: 2
        resources:
            runtime=1440,
            mem_mb=16000,
        params:
            version=ensemble_first.config.version,
            config=ensemble_first.text,
            seeds=[fit.config.seed for fit in ensemble_group],
            folders=expand(paths.training, fit=ensemble_names),
            options=lambda wildcards, input: (
                f"--start {input.start}" if input.get("start") else ""
            ),
        shell:
            "python -m training ensemble --config {params.config:q}"
            " --manifest {input.manifest} {params.options} --seeds {params.seeds}"
            " --outputs {params.folders} 2>&1 | tee {log}"
