"""The benchmark of networks on a GPU, small, on a CPU: complete, and no row stops the others."""

import json
import sys
import tempfile

import pytest
import torch

from benchmarks.gpu import __main__, costs, processes, report
from benchmarks.gpu.settings import Settings
from benchmarks.networks import NETWORKS


def call(folder, monkeypatch, *more: str) -> list[dict]:
    """Call the script as a user would and return the rows of its file."""
    arguments = ["--device", "cpu", "--quick", "--networks", "small_networks", "--output"]
    monkeypatch.setattr(sys, "argv", ["gpu", *arguments, str(folder), *more])
    __main__.main()
    return json.loads((folder / "gpu.json").read_text())["rows"]


def test_a_trial_on_a_cpu_gives_every_row(monkeypatch, tmp_path, capsys):
    wanted = ["--rows", "peaks", "loader", "sophon", "broken inference fp32"]
    rows = call(tmp_path, monkeypatch, *wanted)
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert written["date"]
    assert written["device"]
    assert written["driver"] is None
    assert {"python", "torch", "numpy", "pyarrow", "numba"} <= written["versions"].keys()
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
    for batch in (8, 16):
        failed = measured["broken", "inference", "fp32", batch]
        assert failed["error"] == "ValueError: no such network"
    for what in ("loader", "training from Parquet"):
        assert [row["rows_per_second"] > 0 for row in rows if row["what"] == what] == [True]
    assert measured["sophon", "training step", "bf16", 8]["loader_processes_needed"] > 0
    assert (tmp_path / "profile-sophon-training-eager.txt").stat().st_size
    table = capsys.readouterr().out.split("\n\n")[-1].strip().splitlines()
    assert len(table) == 2 + len(rows)
    assert all(line.count("|") == len(report.TABLE) + 1 for line in table)
    # Another call measures what is missing, and nothing else.
    rows.remove(measured["sophon", "inference", "fp32", 16])
    (tmp_path / "gpu.json").write_text(json.dumps(written | {"rows": rows}))
    again = call(tmp_path, monkeypatch, *wanted, "--resume")
    assert capsys.readouterr().out.count('{"row"') == 1
    assert [row["row"] for row in again[:-1]] == [row["row"] for row in rows]
    assert again[-1]["row"] == "sophon inference fp32 False 16"


def test_the_cost_counts_the_products_of_a_step():
    forwards = costs.cost(NETWORKS["sophon"], "fp32", training=False, jets=4)
    both = costs.cost(NETWORKS["sophon"], "fp32", training=True, jets=4)
    # Two more products for each: one for either factor.
    assert both.flops == 3 * forwards.flops
    # Published: 340 million multiplications and additions for jets of 50 constituents.
    assert 5e7 < forwards.flops < 5e8


def test_rows_that_end_their_process_or_take_too_long_say_so(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "ROW_SECONDS", 6)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    rows = call(
        tmp_path, monkeypatch, "--rows", "lost inference fp32", "slow inference fp32 False 8"
    )
    lost, slow, *others = sorted(rows, key=lambda row: (row["batch"], row["network"]))
    assert lost["error"] == "the process ended with 3"
    assert slow["error"] == "took longer than 6 s"
    # A process of its own measured it, and ended as well.
    assert [row["error"] for row in others] == [lost["error"]]
    assert not list((tmp_path / "tmp").iterdir())


def test_what_there_is_no_time_for_says_so_and_is_measured_when_resumed(monkeypatch, tmp_path):
    wanted = "--rows", "peaks"
    (row,) = call(tmp_path, monkeypatch, *wanted, "--seconds", "0.1")
    assert row["error"] == processes.NO_TIME
    (row,) = call(tmp_path, monkeypatch, *wanted, "--resume")
    assert row["tflops"] > 0


@pytest.mark.parametrize(("left", "said"), [(0, processes.NO_TIME), (30, "took longer than 0 s")])
def test_what_the_end_cuts_off_had_no_time(tmp_path, left, said):
    """Else another call would take it for measured."""
    settings = Settings(torch.device("cpu"), True, tmp_path, left, "small_networks")
    unit = processes.Unit("sophon", "fp32")
    row = unit.rows(settings, tmp_path, lambda: None)[0]
    told = []
    measurement = processes.Measurement(settings, [], told.append)
    worker = object.__new__(processes.Worker)
    worker.missing, worker.at = {row.label: row}, row.label
    worker.connection, _other = processes.CONTEXT.Pipe()
    measurement.workers = [worker]
    measurement._hear(0, 0)
    assert [row["error"] for row in told] == [said]


@pytest.mark.parametrize("on_gpu", [False, True])
def test_a_process_of_a_gpu_ends_with_the_row_that_fails(monkeypatch, tmp_path, on_gpu):
    """What a failed capture leaves behind would fail the others."""
    monkeypatch.setattr(processes, "inductor", type("config", (), {}))
    settings = Settings(torch.device("cpu"), True, tmp_path, 60, "small_networks")
    unit = processes.Unit("broken", "fp32")
    labels = [row.label for row in unit.rows(settings, tmp_path, lambda: None)]
    said = []

    class Pipe:
        send = staticmethod(said.append)
        close = recv = staticmethod(lambda: None)

    if on_gpu:
        settings = Settings(torch.device("cuda"), True, tmp_path, 60, "small_networks")
    slots = processes.CONTEXT.Semaphore(1)
    wanted = [label for label in labels if "False" in label]
    if on_gpu:
        with pytest.raises(SystemExit):
            processes.work(unit, wanted, settings, slots, Pipe(), tmp_path)
    else:
        processes.work(unit, wanted, settings, slots, Pipe(), tmp_path)
    failed = [value for kind, value in said if kind == processes.ROW]
    assert len(failed) == (1 if on_gpu else len(wanted))
    assert all(row["error"] for row in failed)
    assert slots.acquire(block=False)
