"""The container backend: MadGraph and DelphesPythia8, in a container, a conda environment or as
programs on the PATH.

OUTPUT: hard_process/<process>/library.json and the archives of events that it lists;
        pileup/minbias.pileup; events and jets of each job, removed once they are used;
        dataset/<part>_<index>.parquet and its ledger
"""

from generation.external.points import has_hard_process
from workflow.batches import batches_per_shard, format_shares
from workflow.software import ENVIRONMENT, image, python_path, refuse_missing_programs

containers = run_config.generation.containers
blocks = range(containers.hard_process_jobs)
jobs = [f"{job:02d}" for job in range(containers.jobs_per_shard)]
# The part that holds a process decides how many events it has to make.
part_of = {
    process: name
    for name, part in run_config.dataset.parts.items()
    for process in part.processes
}
hard_processes = [process for process in part_of if has_hard_process(process)]
# Computed once, not for every job.
event_fingerprints = {
    part: fingerprint.delphes_fingerprint(run_config, part)
    for part in run_config.dataset.parts
}
hard_process_fingerprints = {
    process: fingerprint.hard_process_fingerprint(run_config, process)
    for process in hard_processes
}

# The environments of the programs have no copy of this project.
os.environ.update(python_path(workflow.basedir))


if not workflow.deployment_settings.deployment_method:
    checks.append(lambda: refuse_missing_programs(bool(hard_processes)))


wildcard_constraints:
    process="|".join(hard_processes) or "none",
    model="|".join(containers.models) or "none",
    block=r"\d{4}",
    job=r"\d{2}",


localrules:
    ufo_model,
    hard_process_plan,
    hard_process_library,


rule ufo_model:
    """Fetch a model that MadGraph does not bring with it; a wrong checksum is an error."""
    output:
        paths.model,
    log:
        paths.log("ufo_model/{model}"),
    params:
        url=lambda wildcards: containers.models[wildcards.model].url,
        sha256=lambda wildcards: containers.models[wildcards.model].sha256,
    shell:
        "python -m generation.external fetch"
        " --url {params.url:q}"
        " --sha256 {params.sha256}"
        " --output {output}"
        " 2>&1 | tee {log}"


rule process_directory:
    """Let MadGraph write the code of a process, once for all its runs."""
    input:
        expand(paths.model, model=containers.models),
    output:
        directory=paths.process_directory,
        ledger=f"{paths.process_directory}.json",
    log:
        paths.log("process_directory/{process}"),
    benchmark:
        paths.benchmark("process_directory/{process}")
    conda:
        ENVIRONMENT
    container:
        image(containers, workflow.basedir)
    resources:
        runtime=60,
        mem_mb=4000,
    params:
        models=[
            f"--model {name}={paths.model.format(model=name)}"
            for name in containers.models
        ],
        fingerprint=lambda wildcards: hard_process_fingerprints[wildcards.process],
    shell:
        "python -m generation.external process-directory"
        " --process {wildcards.process}"
        " {params.models}"
        " --scratch {resources.tmpdir:q}"
        " --output {output.directory}"
        " 2>&1 | tee {log}"


rule hard_process_plan:
    """Draw the parameter point of every batch and give it a slice of that point's events."""
    output:
        paths.plan,
    log:
        paths.log("hard_process_plan/{process}"),
    params:
        processes=lambda wildcards: format_shares(
            run_config, part_of[wildcards.process]
        ),
        shards=lambda wildcards: (
            run_config.dataset.parts[part_of[wildcards.process]].shards
        ),
        batches=lambda wildcards: batches_per_shard(
            run_config, part_of[wildcards.process]
        ),
        events_per_batch=run_config.generation.events_per_batch,
        seed=run_config.seed,
        fingerprint=lambda wildcards: hard_process_fingerprints[wildcards.process],
    shell:
        "python -m workflow plan"
        " --process {wildcards.process}"
        " --processes {params.processes}"
        " --shards {params.shards}"
        " --batches {params.batches}"
        " --seed {params.seed}"
        " --events-per-batch {params.events_per_batch}"
        " --output {output}"
        " 2>&1 | tee {log}"


rule hard_process:
    """Run MadGraph at a share of the parameter points, once at each for all batches that use it."""
    input:
        plan=paths.plan,
        directory=paths.process_directory,
    output:
        events=paths.hard_process,
        ledger=f"{paths.hard_process}.json",
    log:
        paths.log("hard_process/{process}_{block}"),
    benchmark:
        paths.benchmark("hard_process/{process}_{block}")
    conda:
        ENVIRONMENT
    container:
        image(containers, workflow.basedir)
    resources:
        # Fifty points at full scale, one to three minutes each.
        runtime=lambda wildcards, attempt: 360 * attempt,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        block=lambda wildcards: int(wildcards.block),
        blocks=len(blocks),
        events_per_run=containers.events_per_run,
        version=containers.madgraph,
        fingerprint=lambda wildcards: hard_process_fingerprints[wildcards.process],
    shell:
        "python -m generation.external hard-process"
        " --plan {input.plan}"
        " --directory {input.directory}"
        " --block {params.block}"
        " --blocks {params.blocks}"
        " --events-per-run {params.events_per_run}"
        " --version {params.version}"
        " --scratch {resources.tmpdir:q}"
        " --output {output.events}"
        " 2>&1 | tee {log}"


rule hard_process_library:
    """Check that all events of a process are there; every shard depends on this one file."""
    input:
        plan=paths.plan,
        events=expand(
            paths.hard_process,
            block=[f"{block:04d}" for block in blocks],
            allow_missing=True,
        ),
    output:
        paths.library,
    log:
        paths.log("hard_process_library/{process}"),
    shell:
        "python -m generation.external library"
        " {input.events}"
        " --plan {input.plan}"
        " --output {output}"
        " 2>&1 | tee {log}"


rule pileup_delphes:
    """Simulate minimum-bias events and convert them to Delphes' pile-up file."""
    output:
        pileup=paths.delphes_pileup,
        ledger=f"{paths.delphes_pileup}.json",
    log:
        paths.log("pileup_delphes/minbias"),
    benchmark:
        paths.benchmark("pileup_delphes/minbias")
    conda:
        ENVIRONMENT
    container:
        image(containers, workflow.basedir)
    resources:
        runtime=120,
        mem_mb=4000,
    params:
        events=run_config.generation.pileup_events,
        seed=run_config.seed,
        fingerprint=fingerprint.pileup_fingerprint(run_config),
    shell:
        "python -m generation.external pileup"
        " --events {params.events}"
        " --seed {params.seed}"
        " --scratch {resources.tmpdir:q}"
        " --output {output.pileup}"
        " 2>&1 | tee {log}"


rule delphes:
    """Simulate some of a shard's batches: Pythia reads the hard process, Delphes the rest."""
    input:
        pileup=paths.delphes_pileup,
        library=lambda wildcards: [
            paths.library.format(process=process)
            for process in run_config.dataset.parts[wildcards.part].processes
            if process in hard_processes
        ],
    output:
        events=temp(paths.events),
        ledger=temp(f"{paths.events}.json"),
    log:
        paths.log("delphes/{part}_{index}_{job}"),
    benchmark:
        paths.benchmark("delphes/{part}_{index}_{job}")
    group:
        "jets"
    conda:
        ENVIRONMENT
    container:
        image(containers, workflow.basedir)
    resources:
        runtime=lambda wildcards, attempt: 180 * attempt,
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
    params:
        processes=lambda wildcards: format_shares(run_config, wildcards.part),
        index=lambda wildcards: int(wildcards.index),
        batches=lambda wildcards: batches_per_shard(run_config, wildcards.part),
        job=lambda wildcards: int(wildcards.job),
        jobs=len(jobs),
        seed=run_config.seed,
        events_per_batch=run_config.generation.events_per_batch,
        card=run_config.generation.card,
        fingerprint=lambda wildcards: event_fingerprints[wildcards.part],
    shell:
        "python -m workflow delphes"
        " --index {params.index}"
        " --processes {params.processes}"
        " --batches {params.batches}"
        " --job {params.job}"
        " --jobs {params.jobs}"
        " --seed {params.seed}"
        " --events-per-batch {params.events_per_batch}"
        " --card {params.card:q}"
        " --pileup {input.pileup}"
        " --library {input.library}"
        " --scratch {resources.tmpdir:q}"
        " --output {output.events}"
        " 2>&1 | tee {log}"


rule ntuplize:
    """Make labelled jets of an event file, which is removed then."""
    input:
        paths.events,
    output:
        jets=temp(paths.jets),
        ledger=temp(f"{paths.jets}.json"),
    log:
        paths.log("ntuplize/{part}_{index}_{job}"),
    group:
        "jets"
    resources:
        runtime=60,
        mem_mb=lambda wildcards, attempt: 3000 * attempt,
    params:
        jet_radius=run_config.ntuplizer.jet_radius,
        stored_parton_pt=run_config.ntuplizer.stored_parton_pt,
        qcd_labels=lambda wildcards: (
            "--qcd-labels"
            if run_config.dataset.parts[wildcards.part].qcd_labels
            else ""
        ),
        version=fingerprint.NTUPLIZER_VERSION,
    shell:
        "python -m ntuplizer jets {input}"
        " --jet-radius {params.jet_radius}"
        " --stored-parton-pt {params.stored_parton_pt}"
        " {params.qcd_labels}"
        " --output {output.jets}"
        " 2>&1 | tee {log}"


rule merge_shard:
    """Join a shard's jets, take as many as it holds, shuffle and write them."""
    input:
        jets=expand(paths.jets, job=jobs, allow_missing=True),
        jet_ledgers=expand(f"{paths.jets}.json", job=jobs, allow_missing=True),
        event_ledgers=expand(f"{paths.events}.json", job=jobs, allow_missing=True),
    output:
        shard=paths.shard,
        ledger=f"{paths.shard}.json",
    log:
        paths.log("shard/{part}_{index}"),
    resources:
        runtime=30,
        mem_mb=lambda wildcards, attempt: 4000 * attempt,
    params:
        index=lambda wildcards: int(wildcards.index),
        split=lambda wildcards: split_of(
            int(wildcards.index), run_config.dataset.parts[wildcards.part].shards
        ),
        seed=run_config.seed,
        jets=run_config.dataset.jets_per_shard,
        fingerprint=lambda wildcards: event_fingerprints[wildcards.part],
    shell:
        "python -m workflow merge"
        " --part {wildcards.part}"
        " --index {params.index}"
        " --split {params.split}"
        " --seed {params.seed}"
        " --jets {params.jets}"
        " --files {input.jets}"
        " --event-ledgers {input.event_ledgers}"
        " --fingerprint {params.fingerprint}"
        " --output {output.shard}"
        " 2>&1 | tee {log}"
