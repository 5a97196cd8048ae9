"""Configuration files that are damaged, ambiguous or mean harm: one sentence before any job."""

import subprocess
import sys

import pytest

from provenance.errors import UserError
from training.config import load_config
from workflow.config_model import ROOT
from workflow.planning import make_plan, read_files

QUICKSTART = (ROOT / "config" / "quickstart.yaml").read_text(encoding="utf-8")
LAUGHS = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)
DAMAGED = {
    "twice": (QUICKSTART.replace("seed: 1\n", "seed: 1\nseed: 2\n", 1), "seed stands twice"),
    "twice deep down": (
        QUICKSTART.replace("shards: 6\n", "shards: 6\n        shards: 12\n", 1),
        "shards stands twice",
    ),
    "latin": (QUICKSTART.encode() + "# \xe9".encode("latin-1"), "not UTF-8 text"),
    "utf-16": (QUICKSTART.encode("utf-16"), "not UTF-8 text"),
    "binary": (bytes(range(256)), "not UTF-8 text"),
    "null": (QUICKSTART + "\0", "not YAML"),
    "truncated": (QUICKSTART[:-20] + "{", "not YAML"),
    "tabs": (QUICKSTART.replace("  events_per_batch", "\tevents_per_batch"), "not YAML"),
    "list": ("- 1\n- 2\n", "no mapping"),
    "text": ("quickstart", "no mapping"),
    "empty": ("", "no configuration"),
    "two documents": (QUICKSTART + "---\n" + QUICKSTART, "not YAML"),
    "unfolding": (LAUGHS, "unfolds to more than"),
    "endless": ("a: &a [*a]\n", "holds itself"),
    "deep": ("a: " + "[" * 5000, "nested too deep"),
    "large": ("# " + "x" * 1_000_000, "larger than a configuration"),
    "code": (QUICKSTART + "x: !!python/object/apply:os.system [touch harm]\n", "not YAML"),
    "expressions": ("__use_yte__: true\n" + QUICKSTART, "__use_yte__ is unknown"),
    "date": (QUICKSTART.replace("seed: 1\n", "seed: 2026-01-01\n", 1), "seed = '2026-01-01'"),
    "odd keys": (QUICKSTART + "? [1, 2]\n: 3\n", "not YAML"),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_is_refused(name, tmp_path, monkeypatch):
    content, sentence = DAMAGED[name]
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "run.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=sentence) as refused:
        make_plan(read_files([path]))
    assert "\n" not in str(refused.value)
    assert [file.name for file in tmp_path.iterdir()] == ["run.yaml"]
    # The same file as a training's configuration.
    with pytest.raises(UserError):
        load_config(path)


@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "1E-4", ".0001", "0.0001"])
def test_every_way_to_write_a_number_is_one(number, tmp_path):
    path = tmp_path / "training.yaml"
    path.write_text(f"task: sophon\noptimizer: {{learning_rate: {number}}}\n")
    assert load_config(path).optimizer.learning_rate == 1e-4
    assert load_config(path, [f"optimizer.epsilon={number}"]).optimizer.epsilon == 1e-4


def test_aliases_are_no_mistake(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("a: &a {x: 1}\nb: *a\nc: {<<: *a, x: 2}\n")
    assert read_files([path]) == {"a": {"x": 1}, "b": {"x": 1}, "c": {"x": 2}}


@pytest.mark.parametrize("word", ["check", "snakemake"])
def test_both_ways_to_start_a_run_refuse(word, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text(DAMAGED["twice"][0])
    call = [sys.executable, "-m", "workflow", "check", path]
    if word == "snakemake":
        call = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile", "--dry-run",
                "--directory", tmp_path, "--configfile", path]  # fmt: skip
    result = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, check=False)
    assert result.returncode == 1
    assert f"error: {path}: the key seed stands twice, in lines 6 and 7" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()
