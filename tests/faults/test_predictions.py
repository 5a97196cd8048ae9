"""Impossible numbers do not reach a network: the file, the column and the row are named."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from tiny import make_tiny_task, real_jets, write_task

from ntuplizer.products import get_product
from provenance.errors import UserError
from training.predict import predict

JETS = get_product("jets")
SCHEMA = JETS.schema(JETS.Options())
ROW = 3


@pytest.fixture
def checkpoint(tmp_path):
    return write_task(tmp_path / "checkpoint.ckpt", make_tiny_task())


def changed(table: pa.Table, name: str, value: object) -> pa.Table:
    """Return a table with another value in a row, the first of its list where it holds one."""
    values = table[name].to_pylist()
    values[ROW] = [value, *values[ROW][1:]] if isinstance(values[ROW], list) else value
    kind = table.schema.field(name).type
    kind = pa.list_(kind.value_type) if pa.types.is_list(kind) else kind
    return table.set_column(table.column_names.index(name), name, pa.array(values, kind))


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("part_charge", 300, "300 in row 3, where -1 to 1 is possible"),
        ("part_charge", None, "nothing in row 3"),
        ("part_px", None, "nothing in row 3"),
        ("jet_pt", None, "nothing in row 3"),
        ("jet_label", None, "nothing in row 3"),
        ("part_px", 3e38, "3e+38 in row 3, where -1e+06 to 1e+06 is possible"),
        ("part_pz", float("nan"), "NaN or infinity in row 3"),
        ("part_dzerr", float("inf"), "NaN or infinity in row 3"),
        ("part_deta", 1e30, "1e+30 in row 3, where -1e+09 to 1e+09 is possible"),
        ("part_energy", -5.0, "-5 in row 3, where 0 to 1e+06 is possible"),
        ("jet_pt", 0.0, "0 in row 3, where 0.001 to 1e+06 is possible"),
        ("jet_sdmass", float("-inf"), "NaN or infinity in row 3"),
        ("jet_label", -5, "-5 in row 3, where an index of the 188 classes is expected"),
        ("jet_label", 188, "188 in row 3, where an index of the 188 classes is expected"),
    ],
)
def test_impossible_values_are_named(checkpoint, reference, tmp_path, name, value, reason):
    source, output = tmp_path / "jets.parquet", tmp_path / "scores.parquet"
    # In the second row group, so that rows are counted through the file.
    pq.write_table(changed(real_jets(reference, SCHEMA), name, value), source, row_group_size=2)
    with pytest.raises(UserError) as error:
        predict(checkpoint, source, output)
    assert str(error.value) == f"{source}: column {name} holds {reason}"
    assert {path.name for path in tmp_path.iterdir()} == {
        "jets.parquet", "checkpoint.ckpt", "checkpoint.ckpt.json"
    }  # fmt: skip


def test_other_lengths_and_kinds_are_named(checkpoint, reference, tmp_path):
    source, output = tmp_path / "jets.parquet", tmp_path / "scores.parquet"
    table = real_jets(reference, SCHEMA)
    # One constituent less in a row, one more in the next: as many of both in all.
    values = table["part_py"].to_pylist()
    values[3], values[4] = values[3][:-1], [*values[4], 1.0]
    place = table.column_names.index("part_py")
    shifted = table.set_column(place, "part_py", pa.array(values, pa.list_(pa.float32())))
    pq.write_table(shifted, source)
    with pytest.raises(UserError, match=r"part_px and part_py differ in length, .* in row 3$"):
        predict(checkpoint, source, output)
    words = [["a"] * len(row) for row in table["part_px"].to_pylist()]
    pq.write_table(table.set_column(place, "part_py", pa.array(words)), source)
    with pytest.raises(UserError, match="column part_py is string, where numbers are expected"):
        predict(checkpoint, source, output)


def test_a_row_of_which_the_network_can_say_nothing(reference, tmp_path):
    source, output = tmp_path / "jets.parquet", tmp_path / "scores.parquet"
    pq.write_table(real_jets(reference, SCHEMA), source)
    task = make_tiny_task()
    with torch.no_grad():
        for parameter in task.network.parameters():
            parameter.fill_(1e38)
    checkpoint = write_task(tmp_path / "checkpoint.ckpt", task)
    with pytest.raises(UserError, match="the network's probabilities of row 0 are NaN or infinity"):
        predict(checkpoint, source, output)
    assert not output.exists()


def test_the_command_says_one_sentence(checkpoint, reference, tmp_path):
    source, output = tmp_path / "jets.parquet", tmp_path / "scores.parquet"
    pq.write_table(changed(real_jets(reference, SCHEMA), "part_charge", 300), source)
    command = [sys.executable, "-m", "training", "predict", "--checkpoint", str(checkpoint)]
    command += ["--input", str(source), "--output", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {source}: column part_charge holds 300 in row 3")
    assert done.stderr.count("\n") == 1
    assert not output.exists()


def test_sound_rows_are_predicted_whatever_their_label_says(checkpoint, reference, tmp_path):
    table = real_jets(reference, SCHEMA)
    pq.write_table(table, tmp_path / "jets.parquet")
    predict(checkpoint, tmp_path / "jets.parquet", tmp_path / "scores.parquet")
    scores = pq.read_table(tmp_path / "scores.parquet")
    assert np.isfinite(np.stack(scores["probabilities"].to_numpy(zero_copy_only=False))).all()
    assert scores["jet_label"].to_pylist() == table["jet_label"].to_pylist()
    assert torch.is_inference_mode_enabled() is False
