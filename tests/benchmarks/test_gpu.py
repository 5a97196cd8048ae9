"""The benchmark of networks on a GPU, small, on a CPU: complete, and no row stops the others."""

import json
import sys
import time
from dataclasses import replace

import pytest
import torch

from benchmarks.gpu import __main__, costs, report
from benchmarks.gpu.settings import Settings
from benchmarks.networks import NETWORKS
from benchmarks.part import CLASSES, FEATURES
from training.models.particle_transformer import ParticleTransformer
from training.models.sizes import ParticleTransformerConfig

SMALL = ParticleTransformerConfig(
    embedding=(16, 16), pair_embedding=(8,), heads=2, blocks=1, class_blocks=1, head=()
)


def small() -> ParticleTransformer:
    return ParticleTransformer(SMALL, FEATURES, CLASSES)


def broken() -> ParticleTransformer:
    raise ValueError("no such\nnetwork")


@pytest.fixture
def networks(monkeypatch):
    """Two networks, an entry each: one that works and one that does not."""
    sophon = NETWORKS["sophon"]
    entries = {"sophon": replace(sophon, make=small), "broken": replace(sophon, make=broken)}
    monkeypatch.setattr(report, "NETWORKS", entries)
    monkeypatch.setattr(report, "WEAVER", replace(sophon, make=small))


def test_a_trial_on_a_cpu_gives_every_row(networks, monkeypatch, tmp_path, capsys):
    arguments = ["gpu", "--device", "cpu", "--quick", "--output", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    __main__.main()
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["date"]
    assert written["device"]
    assert written["driver"] is None
    assert {"python", "torch", "numpy", "pyarrow", "numba"} <= written["versions"].keys()
    rows = written["rows"]
    measured = {
        (row["network"], row["what"], row["precision"], row.get("batch")): row
        for row in rows
        if "network" in row
    }
    for precision in ("fp32", "bf16"):
        assert measured["sophon", "agreement", precision, None]["outputs"] <= 10 * 2**-9
        for what in ("training step", "inference"):
            for batch in (8, 16):
                row = measured["sophon", what, precision, batch]
                assert row["rows_per_second"] == pytest.approx(1e3 * batch / row["milliseconds"])
                assert row["tflops"] > 0
                assert row["tb_per_second_over_peak"] > 0
                failed = measured["broken", what, precision, batch]
                assert failed["error"] == "ValueError: no such network"
    for what in ("loader", "training from Parquet"):
        assert [row["rows_per_second"] > 0 for row in rows if row["what"] == what] == [True]
    assert measured["sophon", "training step", "bf16", 8]["loader_processes_needed"] > 0
    assert "profile" in (tmp_path / "profile-sophon-eager.txt").name
    table = capsys.readouterr().out.split("\n\n")[-1].strip().splitlines()
    assert len(table) == 2 + len(rows)
    assert all(line.count("|") == len(report.TABLE) + 1 for line in table)
    # Another call measures what is missing, and nothing else.
    rows.remove(measured["sophon", "inference", "fp32", 16])
    (tmp_path / "gpu.json").write_text(json.dumps(written))
    monkeypatch.setattr(sys, "argv", [*arguments, "--resume"])
    __main__.main()
    assert capsys.readouterr().out.count('{"row"') == 1
    again = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert [row["row"] for row in again[:-1]] == [row["row"] for row in rows]
    assert again[-1]["row"] == "sophon inference fp32 False 16"


def test_the_cost_counts_the_products_of_a_step():
    forwards = costs.cost(NETWORKS["sophon"], "fp32", training=False, jets=4)
    both = costs.cost(NETWORKS["sophon"], "fp32", training=True, jets=4)
    # Two more products for each: one for either factor.
    assert both.flops == 3 * forwards.flops
    # Published: 340 million multiplications and additions for jets of 50 constituents.
    assert 5e7 < forwards.flops < 5e8


def test_a_row_that_takes_too_long_or_comes_too_late_says_so(tmp_path):
    settings = Settings(torch.device("cpu"), True, tmp_path, seconds=2.2)
    rows = report.Report(settings)
    rows.add(lambda: time.sleep(10) or {}, 1.1, what="slow")
    rows.add(lambda: {"rows_per_second": 1.0}, 1.1, what="quick")
    time.sleep(1.2)
    rows.add(lambda: {"rows_per_second": 1.0}, 1.1, what="late")
    slow, quick, late = rows.rows
    assert slow["error"] == "TimeoutError: took longer than 1 s"
    assert slow["seconds"] < 2
    assert "rows_per_second" in quick or "error" in quick
    assert "used up" in late["error"]


def test_a_row_that_fails_on_a_gpu_leaves_the_others_to_a_new_process(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "device", lambda where: "none")
    monkeypatch.setattr(sys, "argv", ["gpu", "--output", str(tmp_path), "--seconds", "60"])
    calls = []

    def replace_process(*command):
        calls.append(command)
        raise SystemExit

    monkeypatch.setattr("os.execv", replace_process)

    def measure(settings, wanted, known):
        rows = report.Report(settings, wanted, known)
        rows.add(lambda: {"rows_per_second": 1.0}, 9, what="good")
        rows.add(lambda: 1 / 0, 9, what="bad")
        raise AssertionError("goes on")

    monkeypatch.setattr(__main__, "measure", measure)
    with pytest.raises(SystemExit):
        __main__.main()
    ((program, arguments),) = calls
    assert program == sys.executable
    assert arguments[1:6] == ["-m", "benchmarks.gpu", "--output", str(tmp_path), "--seconds"]
    assert arguments[7:9] == ["--resume", "--seconds"]
    assert 40 < float(arguments[9]) < 53
    good, bad = json.loads((tmp_path / "gpu.json").read_text())["rows"]
    assert good["rows_per_second"] == 1
    assert bad["error"] == "ZeroDivisionError: division by zero"
