"""Training the seeds of a study's point at once, where the study is vectorised.

INPUT:  datasets/<dataset>/manifest.json, the checkpoint that all members begin with
OUTPUT: training/<study>/<way>_<size>/<seed>/, and of each member training/<fit>/checkpoint.ckpt and
        history.csv
"""

members = plan.ensembles
of_ensembles = {fit.name: name for name, group in members.items() for fit in group}


wildcard_constraints:
    ensemble="|".join(members) or "none",


def first_of(wildcards):
    """Return the first member, from which the others differ in their seeds."""
    return members[wildcards.ensemble][0]


rule train_ensemble:
    """Train the networks of all seeds as one."""
    input:
        manifest=lambda wildcards: paths.manifest.format(
            dataset=first_of(wildcards).dataset
        ),
        start=lambda wildcards: (
            paths.checkpoint.format(fit=first_of(wildcards).start)
            if first_of(wildcards).start
            else []
        ),
        file=lambda wildcards: file_of_start(first_of(wildcards)),
    output:
        directory(paths.ensemble),
    log:
        paths.log("train_ensemble/{ensemble}"),
    benchmark:
        paths.benchmark("train_ensemble/{ensemble}")
    threads: 2
    resources:
        runtime=1440,
        mem_mb=16000,
    params:
        version=lambda wildcards: first_of(wildcards).config.version,
        config=lambda wildcards: first_of(wildcards).text,
        seeds=lambda wildcards: [fit.config.seed for fit in members[wildcards.ensemble]],
        start=lambda wildcards, input: (
            f"--start {input.start}" if input.get("start") else ""
        ),
    shell:
        "python -m training ensemble --config {params.config:q} --manifest {input.manifest}"
        " {params.start} --seeds {params.seeds} --output {output} > {log} 2>&1"


rule member:
    """Take a network out of its ensemble."""
    input:
        lambda wildcards: paths.ensemble.format(ensemble=of_ensembles[wildcards.fit]),
    output:
        checkpoint=paths.checkpoint,
        ledger=f"{paths.checkpoint}.json",
        history=paths.history,
    log:
        paths.log("member/{fit}"),
    wildcard_constraints:
        fit="|".join(of_ensembles) or "none",
    localrule: True
    params:
        seed=lambda wildcards: fits[wildcards.fit].config.seed,
    shell:
        "cp {input}/{params.seed}/{{checkpoint.ckpt,checkpoint.ckpt.json,history.csv}}"
        " $(dirname {output.checkpoint}) > {log} 2>&1"
