"""What a user reads: before the first job what will be done, after a failure why, once."""

import subprocess
import sys
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import yaml
from mini_dataset import PILEUP, SHARDS, build, write_config

from workflow.announcement import announce, estimate, steps
from workflow.config_model import ROOT, load_config
from workflow.failures import LINES, show_log_ends
from workflow.fits import resolve_fits
from workflow.paths import Paths


@dataclass
class Job:
    """As Snakemake describes one."""

    rule: str
    wildcards: SimpleNamespace
    benchmark: str | None = None


def job(rule, **wildcards):
    return Job(rule, SimpleNamespace(**wildcards))


@pytest.fixture(scope="module")
def quickstart():
    config = load_config(yaml.safe_load((ROOT / "config" / "quickstart.yaml").read_text()))
    return config, resolve_fits(config)[0]


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """Return a run whose manifest cannot be made: its shards are empty files."""
    folder = tmp_path_factory.mktemp("failed")
    for file in (folder / path for path in (PILEUP, *SHARDS)):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        file.with_name(f"{file.name}.json").touch()
    result = build(folder, write_config(folder), "datasets")
    assert result.returncode != 0
    return result.stdout + result.stderr


def test_a_run_says_what_it_will_do(failed):
    assert "Run mini: 1 job to do, 1 manifest\n" in failed
    assert "\n  datasets   jets (48 rows)\n" in failed
    assert "\n  results    results/mini, at the end results/mini/report.html\n" in failed
    # Nothing is clustered.
    assert "FastJet" not in failed


def test_a_failed_job_says_why_once(failed):
    assert failed.count("Res34P_0000.parquet: not a readable Parquet file") == 1, failed[-3000:]
    assert "\nThe log results/mini/logs/manifest/jets.log:\nerror: " in failed


def test_of_a_long_log_the_end_is_shown(tmp_path):
    log = tmp_path / "shard.log"
    log.write_bytes(b"\xff\n" + b"".join(b"batch %d\rbatch %d\n" % (i, i) for i in range(9_000)))
    _, heading, *lines, _ = show_log_ends([str(log)])
    assert heading == f"The end of the log {log}:"
    assert lines == [f"batch {9_000 - i // 2}" for i in range(LINES + 1, 1, -1)]


def test_a_log_can_be_short_empty_or_missing(tmp_path):
    short, empty, missing = (tmp_path / f"{name}.log" for name in ("short", "empty", "missing"))
    short.write_text("error: no disk\n")
    empty.touch()
    assert list(show_log_ends(map(str, (short, empty, missing)))) == [
        "", f"The log {short}:", "error: no disk", "", f"{empty} is empty",
        f"{missing} is not there: the job did not begin",
    ]  # fmt: skip


def test_time_follows_from_sizes(quickstart):
    config, fits = quickstart
    shard = job("shard", dataset="jets", part="QCD", index="0000")
    train = job("train", fit="sophon")
    assert 4 < estimate(shard, config, fits) < 15
    assert 10 < estimate(train, config, fits) < 120
    # 18 shards of 400 jets, two thirds of them to learn from, in batches of 64.
    assert steps(fits["sophon"].config, 4800) == 8 * 75
    assert steps(fits["higgs-or-top"].config, 10**6) == 300


def test_time_is_what_the_job_took_before(quickstart, tmp_path):
    measured = tmp_path / "shard.tsv"
    measured.write_text("s\th:m:s\tmax_rss\n81.5\t0:01:21\t500\n")
    shard = job("shard", dataset="jets", part="QCD", index="0000")
    shard.benchmark = str(measured)
    assert estimate(shard, *quickstart) == 81.5


@pytest.mark.parametrize("content", [b"", b"s\th:m:s\n", b"h:m:s\n0:01:21\n", b"s\n\xff\n"])
def test_a_measurement_that_a_full_disk_cut_short_stops_no_run(quickstart, tmp_path, content):
    shard = job("shard", dataset="jets", part="QCD", index="0000")
    expected = estimate(shard, *quickstart)
    (tmp_path / "shard.tsv").write_bytes(content)
    shard.benchmark = str(tmp_path / "shard.tsv")
    assert estimate(shard, *quickstart) == expected


def test_what_cannot_be_known_is_said(quickstart):
    config, fits = quickstart
    gpu = fits["sophon"].config.model_copy(
        update={"run": fits["sophon"].config.run.model_copy(update={"accelerator": "auto"})}
    )
    fits = fits | {"sophon": SimpleNamespace(config=gpu, dataset="jets")}
    jobs = [job("train", fit="sophon"), job("report"), job("all")]
    text = announce(config, Paths(config), fits, jobs, cores=2)
    assert "Run quickstart: 2 jobs to do, 1 train, 1 report\n" in text
    assert "about 4 s of a processor, 2 s on 2 cores, and 1 more whose time is not known" in text
    assert announce(config, Paths(config), fits, [job("all")], 2) == "Nothing is left to do.\n"


def test_fastjet_speaks_once_in_a_run():
    code = (
        "from workflow.fastjet_notice import show_notice, silence_where_shown\n"
        "import fastjet\nsilence_where_shown()\n"
        "fastjet._swig.ClusterSequence.print_banner()\n"
    )

    def said(**environment):
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return done.stdout

    assert "Please cite EPJC72(2012)1896" in said()
    assert said(FASTJET_NOTICE_SHOWN="yes") == ""
