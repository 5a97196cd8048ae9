"""The embedded backend: Pythia 8 and fastsim from the Python environment, one job per shard.

OUTPUT: pileup/minbias.arrow, memory-mapped by every job that adds pile-up;
        dataset/<part>_<index>.parquet and its ledger
"""


rule pileup_library:
    """Simulate minimum-bias events once, to be overlaid on every hard event."""
    output:
        paths.pileup,
    log:
        paths.log("pileup_library/minbias"),
    benchmark:
        paths.benchmark("pileup_library/minbias")
    resources:
        runtime=30,
        mem_mb=2000,
    params:
        events=run_config.generation.pileup_events,
        seed=run_config.seed,
        fingerprint=fingerprint.pileup_fingerprint(run_config),
    shell:
        "python -m generation pileup"
        " --events {params.events}"
        " --seed {params.seed}"
        " --output {output}"
        " 2>&1 | tee {log}"


# Computed once, not for every job.
shard_fingerprints = {
    part: fingerprint.shard_fingerprint(run_config, part)
    for part in run_config.dataset.parts
}


rule shard:
    """Simulate and ntuplize events in steps until the shard is full, then shuffle and write it.

    One job per shard: event files live in scratch only until their jets are made, and the number
    of events adapts to what they yield, so that next to no jet is simulated in vain.
    """
    input:
        pileup=paths.pileup,
    output:
        shard=paths.shard,
        ledger=f"{paths.shard}.json",
    log:
        paths.log("shard/{part}_{index}"),
    benchmark:
        paths.benchmark("shard/{part}_{index}")
    resources:
        # 100,000 jets take about an hour; a retry asks for more of both.
        runtime=lambda wildcards, attempt: 180 * attempt,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        processes=lambda wildcards: [
            f"{name}={share}"
            for name, share in run_config.dataset.parts[
                wildcards.part
            ].processes.items()
        ],
        qcd_labels=lambda wildcards: (
            "--qcd-labels"
            if run_config.dataset.parts[wildcards.part].qcd_labels
            else ""
        ),
        split=lambda wildcards: split_of(
            int(wildcards.index), run_config.dataset.parts[wildcards.part].shards
        ),
        dataset=run_config.name,
        seed=run_config.seed,
        card=run_config.generation.card,
        events_per_batch=run_config.generation.events_per_batch,
        jet_radius=run_config.ntuplizer.jet_radius,
        stored_parton_pt=run_config.ntuplizer.stored_parton_pt,
        jets=run_config.dataset.jets_per_shard,
        max_events=run_config.dataset.max_events_per_shard,
        fingerprint=lambda wildcards: shard_fingerprints[wildcards.part],
    shell:
        "python -m workflow shard"
        " --part {wildcards.part}"
        " --index {wildcards.index}"
        " --split {params.split}"
        " --processes {params.processes}"
        " --seed {params.seed}"
        " --card {params.card:q}"
        " --pileup {input.pileup}"
        " --events-per-batch {params.events_per_batch}"
        " --jet-radius {params.jet_radius}"
        " --stored-parton-pt {params.stored_parton_pt}"
        " {params.qcd_labels}"
        " --jets {params.jets}"
        " --max-events {params.max_events}"
        " --fingerprint {params.fingerprint}"
        " --scratch {resources.tmpdir:q}"
        " --output {output.shard}"
        " 2>&1 | tee {log}"
