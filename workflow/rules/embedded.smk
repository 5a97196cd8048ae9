"""The embedded backend: Pythia 8 and fastsim from the Python environment, one job per shard.

OUTPUT: pileup/minbias.arrow, memory-mapped by every job that adds pile-up;
        datasets/<dataset>/<part>_<index>.parquet and its ledger
"""

from workflow.fingerprint import pileup_inputs


rule pileup_library:
    """Simulate minimum-bias events once, to be overlaid on every hard event."""
    output:
        library=paths.pileup,
        ledger=f"{paths.pileup}.json",
    log:
        paths.log("pileup_library/minbias"),
    benchmark:
        paths.benchmark("pileup_library/minbias")
    resources:
        runtime=30,
        mem_mb=2000,
    params:
        **pileup_inputs(run_config),
    shell:
        "python -m generation pileup --events {params.events} --seed {params.seed}"
        " --output {output.library} > {log} 2>&1"


rule shard:
    """Simulate and ntuplize events in steps until the shard is full, then shuffle and write it.

    One job per shard: events live in memory only until their rows are made, and their number adapts
    to what they yield, so that next to no row is simulated in vain.
    """
    input:
        pileup=paths.pileup,
    output:
        shard=paths.shard,
        ledger=f"{paths.shard}.json",
    log:
        paths.log("shard/{dataset}/{part}_{index}"),
    benchmark:
        paths.benchmark("shard/{dataset}/{part}_{index}")
    resources:
        # 100,000 jets take about an hour; a retry asks for more of both.
        runtime=lambda wildcards, attempt: 180 * attempt,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        job=lambda wildcards: shard_jobs.job(
            wildcards.dataset, wildcards.part, int(wildcards.index)
        ).text,
    shell:
        "python -m workflow shard --job {params.job:q} --pileup {input.pileup}"
        " --output {output.shard} > {log} 2>&1"
