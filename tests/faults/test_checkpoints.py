"""Checkpoints of strangers and damaged ones: refused in one sentence, nothing run, nothing lost."""

import os
import pickle
import time
import zipfile

import pytest
import torch
from damage import peak_memory
from tiny import MODEL, make_tiny_task, write_task

from provenance.errors import UserError
from training.checkpoint import load_task


class Hostile:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def write(path, content: object) -> None:
    torch.save(content, path)


def whole() -> dict:
    task = make_tiny_task()
    return {"description": task.describe(), "state_dict": task.state_dict()}


def with_model(**sizes) -> dict:
    content = whole()
    config = content["description"]["config"]
    config["model"] = config["model"] | MODEL | sizes
    return content


def with_weights(change) -> dict:
    content = whole()
    name = next(n for n, x in content["state_dict"].items() if x.is_floating_point() and x.ndim)
    content["state_dict"][name] = change(content["state_dict"][name])
    return content


ODD = {
    "a list": lambda: [1, 2],
    "a number": lambda: 5,
    "no description": lambda: {"state_dict": {}},
    "description of another kind": lambda: whole() | {"description": [1]},
    "no configuration": lambda: whole() | {"description": {"task": "sophon"}},
    "another task": lambda: whole() | {"description": {"task": "../sophon", "config": {}}},
    "task of another kind": lambda: whole() | {"description": {"task": ["sophon"], "config": {}}},
    "no weights": lambda: {"description": whole()["description"]},
    "weights of another kind": lambda: whole() | {"state_dict": [torch.zeros(3)]},
    "a weight of another kind": lambda: with_weights(lambda _: "zero"),
    "a weight of another shape": lambda: with_weights(lambda x: torch.stack([x, x])),
    "an endless weight": lambda: with_weights(lambda _: torch.zeros(1).expand(10**12)),
    "a weight that is no number": lambda: with_weights(lambda x: x * float("nan")),
    "an infinite weight": lambda: with_weights(lambda x: x + float("inf")),
    "a network too deep": lambda: with_model(blocks=10_000_000),
    "a network too wide": lambda: with_model(embedding=(10_000_000, 10_000_000, 8)),
    "a network wider than any memory": lambda: with_model(embedding=(10**18, 8)),
    "heads that divide nothing": lambda: with_model(heads=7),
    "no embedding": lambda: with_model(embedding=()),
    "a width of zero": lambda: with_model(embedding=(0, 8)),
    "another width": lambda: with_model(embedding=(16,)),
}


@pytest.mark.parametrize("content", ODD.values(), ids=ODD)
def test_odd_checkpoints_are_refused(tmp_path, content):
    path = tmp_path / "odd.ckpt"
    write(path, content())
    started, before = time.perf_counter(), peak_memory()
    with pytest.raises(UserError, match=r"odd\.ckpt: "):
        load_task(path)
    assert time.perf_counter() - started < 10
    assert peak_memory() - before < 200 << 20


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b"PK\x05\x06" + b"\x00" * 18, b"not one"])
def test_files_of_another_kind_are_refused(tmp_path, content):
    path = tmp_path / "odd.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"odd\.ckpt: not a checkpoint \(.+\)"):
        load_task(path)


def test_no_code_is_run(tmp_path):
    trace = tmp_path / "trace"
    for number, content in enumerate(
        (Hostile(f"touch {trace}"), whole() | {"extra": Hostile(f"touch {trace}")})
    ):
        write(tmp_path / f"{number}.ckpt", content)
        with pytest.raises(UserError, match=rf"{number}\.ckpt: not a checkpoint"):
            load_task(tmp_path / f"{number}.ckpt")
    (tmp_path / "old.ckpt").write_bytes(pickle.dumps(Hostile(f"touch {trace}")))
    with pytest.raises(UserError, match=r"old\.ckpt: not a checkpoint"):
        load_task(tmp_path / "old.ckpt")
    assert not trace.exists()


def test_packed_records_are_not_unfolded(tmp_path):
    """A few kilobytes that would unfold to a gigabyte."""
    sound = write_task(tmp_path / "sound.ckpt", make_tiny_task())
    packed = tmp_path / "packed.ckpt"
    with (
        zipfile.ZipFile(sound) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for record in source.namelist():
            target.writestr(record, source.read(record))
        with target.open("archive/data/999", "w") as stream:
            for _ in range(50):
                stream.write(bytes(1 << 20))
    before = peak_memory()
    with pytest.raises(UserError, match=r"packed\.ckpt: not a checkpoint"):
        load_task(packed)
    assert peak_memory() - before < 20 << 20
