"""The image's two recipes and the environment say the same."""

import yaml

from workflow.containers.recipes import ENVIRONMENT, FOLDER, ROOT, recipes


def test_the_recipes_are_written_from_the_list():
    assert recipes() == {name: (FOLDER / name).read_text() for name in recipes()}


def test_both_recipes_hold_the_same():
    sources = yaml.safe_load((FOLDER / "sources.yaml").read_text())
    densities = sources["parton_densities"]
    environment = yaml.safe_load((ROOT / ENVIRONMENT).read_text())["dependencies"]
    pinned = dict(entry.split("=", 1) for entry in environment if entry.count("=") == 1)
    for text in recipes().values():
        for part in (sources["base"], ENVIRONMENT, densities["url"], densities["sha256"]):
            assert part in text
        for name in sources["labels"]:
            assert f"version.{name}" in text
            assert pinned[name] in text
        assert text.count("/opt/smoke-test/smoke_test.sh") >= 2


def test_the_smoke_test_makes_a_parquet_file_of_twenty_events():
    text = (FOLDER / "smoke_test.sh").read_text()
    assert "--events-per-batch 20" in text
    assert "python -m ntuplizer jets events.root" in text
