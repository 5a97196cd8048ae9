"""The minimum-bias library.

OUTPUT: pileup/minbias.arrow, memory-mapped by every job that adds pile-up.
"""

from workflow import fingerprint


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
