"""Datasets of collisions: rows of each file, then shards of all, each event once.

INPUT:  files of CMS, here or elsewhere
OUTPUT: collisions/<dataset>/<file>.parquet; datasets/<dataset>/Collisions_<index>.parquet, their
        ledgers, datasets/<dataset>/manifest.json
"""

from workflow.jobs.collisions import PART


def file_of(jobs):
    """Return what gives the file that is read as input: here, or fetched by a storage plugin."""

    def found(wildcards):
        index = int(wildcards.file)
        address = jobs.fetched(index)
        return jobs.local(index) or [] if address is None else storage(address)

    return found


collision_shards = {}

for collision_name, collision_jobs in plan.collision_jobs.items():
    collision_rows = paths.collision_rows.format(dataset=collision_name, file="{file}")
    shards_of_files = collision_shards[collision_name] = [
        paths.shard.format(dataset=collision_name, part=PART, index=f"{index:04d}")
        for index in range(collision_jobs.content.shards)
    ]
    # For Bash: a command line of thousands of names would be too long.
    rows_range = collision_rows.format(
        file=f"{{00000..{len(collision_jobs.files) - 1:05d}}}"
    )
    shards_range = paths.shard.format(
        dataset=collision_name,
        part=PART,
        index=f"{{0000..{collision_jobs.content.shards - 1:04d}}}",
    )

    rule:
        name:
            f"read_{collision_name}"
        input:
            file_of(collision_jobs),
        output:
            rows=collision_rows,
            ledger=f"{collision_rows}.json",
        log:
            paths.log(f"collisions/{collision_name}/{{file}}"),
        wildcard_constraints:
            file=r"\d{5}",
        retries: 2
        resources:
            runtime=240,
            mem_mb=4000,
        params:
            command=collision_jobs.content.format,
            address=lambda wildcards, jobs=collision_jobs: jobs.files[
                int(wildcards.file)
            ].address,
            options=lambda wildcards, input, jobs=collision_jobs: jobs.options(
                int(wildcards.file), jobs.fetched(int(wildcards.file)) and input[0]
            ),
            # Snakemake does not compare options, which depend on what was fetched.
            fingerprint=lambda wildcards, jobs=collision_jobs: jobs.rows_fingerprint(
                int(wildcards.file)
            ),
        shell:
            "python -m ntuplizer {params.command} {params.address:q} {params.options}"
            " --output {output.rows} > {log} 2>&1"

    rule:
        name:
            f"divide_{collision_name}"
        input:
            [
                collision_rows.format(file=f"{index:05d}")
                for index in range(len(collision_jobs.files))
            ],
        output:
            shards=shards_of_files,
            ledgers=[f"{shard}.json" for shard in shards_of_files],
        log:
            paths.log(f"collisions/{collision_name}/divide"),
        resources:
            runtime=60,
            mem_mb=8000,
        params:
            rows=lambda wildcards, pattern=rows_range: pattern,
            name=collision_name,
            splits=collision_jobs.splits,
            seed=dataset_seed(run_config, collision_name),
            fingerprint=collision_jobs.fingerprint,
            folder=paths.dataset.format(dataset=collision_name),
        shell:
            "python -m ntuplizer divide {params.rows} --dataset {params.name}"
            " --splits {params.splits} --seed {params.seed}"
            " --fingerprint {params.fingerprint} --output {params.folder}"
            " > {log} 2>&1"

    rule:
        name:
            f"list_{collision_name}"
        input:
            shards_of_files,
        output:
            paths.manifest.format(dataset=collision_name),
        log:
            paths.log(f"manifest/{collision_name}"),
        localrule: True
        params:
            shards=lambda wildcards, pattern=shards_range: pattern,
            name=collision_name,
            seed=dataset_seed(run_config, collision_name),
            fingerprint=collision_jobs.fingerprint,
        shell:
            "python -m ntuplizer manifest {params.shards} --name {params.name}"
            " --seed {params.seed} --fingerprint {params.fingerprint}"
            " --output {output} > {log} 2>&1"
