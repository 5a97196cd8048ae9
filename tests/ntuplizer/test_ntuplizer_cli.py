"""The command line: what a user types, and what a user may get wrong."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import uproot

from ntuplizer.cli import main
from ntuplizer.ntuplize import ntuplize
from ntuplizer.products import get_product, product_names
from provenance.errors import UserError

DATASET_COMMANDS = ("shard", "manifest", "verify")
SMALL = "published/events_delphes_higgs2p_example.root"


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "ntuplizer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_jets(reference, tmp_path):
    output = tmp_path / "new folder" / "jets.parquet"
    main(["jets", str(reference(SMALL)), "--output", str(output), "--qcd-labels"])
    expected, counts = ntuplize(reference(SMALL), "jets", {"qcd_labels": True})
    product = get_product("jets")
    assert pq.read_schema(output).equals(product.schema(product.Options()))
    assert pq.read_table(output).equals(expected)
    ledger = json.loads(output.with_name("jets.parquet.json").read_text())
    assert ledger["counts"] == counts.as_dict()
    assert ledger["counts"]["events"] == 10
    assert ledger["counts"]["rows"] == sum(ledger["counts"]["class_counts"].values()) > 0
    assert (ledger["product"], ledger["product_version"]) == ("jets", product.version)
    assert ledger["options"] == product.read_options({"qcd_labels": True}).model_dump()


def test_same_input_same_bytes(reference, tmp_path):
    for name in ("first", "second"):
        main(["jets", str(reference(SMALL)), "--output", str(tmp_path / name)])
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


def test_radius_and_threshold(reference, tmp_path):
    output = tmp_path / "jets.parquet"
    source = ["jets", str(reference(SMALL)), "--output", str(output), "--qcd-labels"]
    main([*source, "--jet-radius", "1.5"])
    wide = pq.read_table(output)["jet_pt"].to_pylist()
    main([*source, "--jet-radius", "1.5", "--jet-pt-min", "500"])
    hard = pq.read_table(output)["jet_pt"].to_pylist()
    assert min(wide) < 500 <= min(hard)
    assert hard == [pt for pt in wide if pt >= 500]


@pytest.fixture
def bad_input(reference, tmp_path):
    """Return a function that makes one of the files a user may hold by mistake."""

    def make(kind: str) -> Path:
        path = tmp_path / f"{kind}.root"
        if kind == "truncated":
            path.write_bytes(reference(SMALL).read_bytes()[:400_000])
        elif kind == "text":
            path.write_text("not ROOT")
        elif kind == "other_tree":
            with uproot.recreate(path) as file:
                file.mktree("Events", {"x": "f8"}).extend({"x": [1.0]})
        elif kind == "histogram":
            with uproot.recreate(path) as file:
                file["Delphes"] = "a string of the right name"
        elif kind == "no_branch":
            with uproot.recreate(path) as file:
                file.mktree("Delphes", {"x": "f8"}).extend({"x": [1.0]})
        elif kind == "folder":
            path.mkdir()
        return path

    return make


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", "no such event file"),
        ("folder", "no such event file"),
        ("text", "damaged"),
        ("truncated", "truncated"),
        ("other_tree", "no TTree named Delphes"),
        ("histogram", "no TTree named Delphes"),
        ("no_branch", "no branch Particle.PID"),
    ],
)
def test_bad_event_files(bad_input, tmp_path, kind, words):
    output = tmp_path / "out" / "jets.parquet"
    with pytest.raises(UserError, match=words) as caught:
        main(["jets", str(bad_input(kind)), "--output", str(output)])
    assert f"{kind}.root" in str(caught.value)
    assert not output.exists()
    assert not list(tmp_path.glob("out/*"))


@pytest.mark.parametrize(
    "options",
    [
        ["--jet-radius", "0"],
        ["--jet-radius", "nan"],
        ["--jet-pt-min", "-3"],
        ["--jet-pt-min", "inf"],
        ["--jet-pt-min", "much"],
        ["--jet-collection", "charged"],
        ["--stored-parton-pt", "-1"],
    ],
)
def test_bad_options(reference, tmp_path, options):
    with pytest.raises(UserError, match="is needed"):
        main(["jets", str(reference(SMALL)), "--output", str(tmp_path / "j.parquet"), *options])


def test_unwritable_output(reference, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="output folder"):
        main(["jets", str(reference(SMALL)), "--output", str(tmp_path / "file" / "jets.parquet")])


def test_full_disk(reference, tmp_path):
    output = tmp_path / "jets.parquet"
    code = (
        "import resource\n"
        "from ntuplizer.cli import main\n"
        "from provenance.errors import run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))\n"
        f"run(lambda: main(['jets', {str(reference(SMALL))!r}, '--output', {str(output)!r}]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{output}: cannot be written" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_sentence_and_no_traceback(tmp_path):
    done = run("jets", str(tmp_path / "nowhere.root"), "--output", str(tmp_path / "j.parquet"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_paths_with_spaces_and_letters(reference, tmp_path):
    odd = tmp_path / "a b" / "événements ✓.root"
    odd.parent.mkdir()
    shutil.copy(reference(SMALL), odd)
    output = odd.with_suffix(".parquet")
    main(["jets", str(odd), "--output", str(output)])
    assert pq.read_table(output).num_rows > 0


def test_help_needs_nothing_heavy():
    code = (
        "import sys\n"
        "from ntuplizer.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'numba', 'numpy', 'fastjet', 'awkward', 'uproot', 'pyarrow'}\n"
        "print(heavy & set(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "set()"


@pytest.mark.parametrize(
    "command", [(), *((n,) for n in (*product_names(), "nanoaod", "pfnano", *DATASET_COMMANDS))]
)
def test_help_fits_a_screen(command, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        main([*command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
