"""The documentation: it builds without a warning, and what it tells to type is what works."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from commandline.parser import Commands, make_parser
from generation.fastsim.card import read_card
from generation.process import Process, process_names
from training.config import load_config as load_training
from workflow.config_model import ROOT, datasets, load_config
from workflow.fits import resolve_fits
from workflow.reference_pages import PACKAGES, PAGES

DOCS = ROOT / "docs"
TUTORIALS = DOCS / "tutorials"
# ```yaml, and in its first line the file that the block is.
BLOCK = re.compile(r"```(?:yaml|tcl)\n# ([\w/.-]+)[^\n]*\n(.*?)```", re.S)


def blocks(name):
    """Return the files that a tutorial shows, those of one path joined."""
    files: dict[str, str] = {}
    for path, text in BLOCK.findall((TUTORIALS / f"{name}.md").read_text()):
        files[path] = files.get(path, "") + text
    return files


def build(source: Path, output: Path) -> str:
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", str(source), str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


@pytest.mark.parametrize("path", PAGES)
def test_reference_pages_are_those_of_the_code(path):
    assert (ROOT / path).read_text() == PAGES[path](), "run: python -m workflow schema"


def test_the_site_builds_without_a_warning(tmp_path):
    assert build(DOCS, tmp_path / "html") == ""
    assert (tmp_path / "html" / "tutorials" / "first_run.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("# A\n\n[gone](nowhere.md)\n", "cross-reference target not found: 'nowhere.md'"),
        ("# A\n\n[gone](index.md#nothing)\n", "nothing"),
    ],
)
def test_a_dead_link_ends_the_build(tmp_path, text, complaint):
    source = tmp_path / "docs"
    source.mkdir()
    (source / "conf.py").write_text((DOCS / "conf.py").read_text())
    (source / "index.md").write_text(text)
    assert complaint in build(source, tmp_path / "html")


def test_the_tutorials_resonance_can_be_generated():
    text = blocks("own_resonance")["generation/processes/scalar/process.yaml"]
    process = Process(name="scalar", **yaml.safe_load(text))
    assert sum(channel.fraction for channel in process.decays[25]) == 1
    assert process.point["m_X"].values() == [80, 100, 120, 140, 160, 180, 200]


def test_the_tutorials_detector_changes_what_it_says(tmp_path):
    for file in (ROOT / "delphes_cards").rglob("*.tcl"):
        copy = tmp_path / file.relative_to(ROOT / "delphes_cards")
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(file.read_text())
    (tmp_path / "busy.tcl").write_text(blocks("own_detector")["delphes_cards/busy.tcl"])
    busy, usual = (read_card(tmp_path / name) for name in ("busy.tcl", "jetclass2_fatjet.tcl"))
    assert busy.execution_path == usual.execution_path
    changed = {name for name in usual.modules if busy.modules[name] != usual.modules[name]}
    assert changed == {"PileUpMerger", "ChargedHadronTrackingEfficiency"}


def test_the_tutorials_run_is_a_configuration(monkeypatch, tmp_path):
    """All of its parts together, with the files that the tutorials make."""
    raw = yaml.safe_load(blocks("own_resonance")["config/mine.yaml"])
    raw["datasets"] |= yaml.safe_load(blocks("own_detector")["config/mine.yaml"])
    raw |= yaml.safe_load(blocks("own_model")["config/mine.yaml"])
    raw |= yaml.safe_load(blocks("own_study")["config/mine.yaml"])
    training = tmp_path / "mine.yaml"
    training.write_text(blocks("own_model")["training/configs/mine.yaml"])
    assert load_training(training).task == "sophon"
    # What the tutorials make is not in the project.
    raw["training"]["tagger"]["config"] = str(training)
    raw["datasets"]["busy"]["card"] = raw["datasets"]["jets"]["card"]
    known = [*process_names(), "scalar"]
    monkeypatch.setattr(datasets, "process_names", lambda: known)
    assert len(resolve_fits(load_config(raw))[0]) == 1 + 8


def commands_of(package):
    commands = Commands(make_parser(package, ""))
    import_module(f"{package}.cli").add_commands(commands)
    return commands.parsers


def test_every_command_that_is_told_exists():
    """`python -m <package> <command>` of all pages, README and CONTRIBUTING included."""
    told = re.compile(r"python -m ([a-z.]+) ([a-z][a-z_-]+)\b")
    known = {package: commands_of(package) for package in PACKAGES}
    unknown = [
        f"{page.relative_to(ROOT)}: {package} {command}"
        for page in (*DOCS.rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md")
        for package, command in told.findall(page.read_text())
        if package in known and command not in known[package]
    ]
    assert unknown == []
