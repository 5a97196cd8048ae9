"""The pages of promises: each has a test, and the tests are there."""

import re

import pytest

from workflow.config_model import ROOT

PAGES = ["docs/reliability.md", "docs/security.md"]


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_has_a_test_that_exists(page):
    folder = ""
    rows = [row for row in (ROOT / page).read_text(encoding="utf-8").splitlines() if "| `" in row]
    assert len(rows) > 10
    for row in rows:
        for path in re.findall(r"`((?:tests|…)/[\w/]+\.py)`", row.split("|")[-2]):
            file = path.replace("…", folder)
            folder = file.rpartition("/")[0]
            assert (ROOT / file).is_file(), f"{page}: {path}"
