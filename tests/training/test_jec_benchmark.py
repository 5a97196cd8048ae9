"""Corrections from texts on files of CMS: numbers, time, and what is refused."""

import json

import numpy as np
import pytest

from provenance.errors import UserError
from training.cli import main
from training.jec.benchmark import benchmark_texts, read_jets
from training.jec.text import LEVELS

TEXTS = [f"cms/Summer19UL18_V5_MC_{level}_AK4PFchs.txt" for level in LEVELS]


def test_corrected_jets_have_the_response_of_their_gen_jets(reference, tmp_path):
    output = tmp_path / "benchmark.json"
    texts = [str(reference(name)) for name in TEXTS]
    file = str(reference("cms/pfnano.root"))
    main(["standard-benchmark", "--input", file, "--texts", *texts, "--output", str(output)])
    found = json.loads(output.read_text())
    assert found["texts"] == [name.removeprefix("cms/") for name in TEXTS]
    assert found["jets_per_pass"] == 1_000_000
    assert len(found["seconds"]) == 5
    assert found["jets_per_second"] > 100_000
    # The file was corrected by texts of another version.
    assert found["median_over_file"] == pytest.approx(1, abs=0.01)
    assert found["response"]["raw"]["median"] == pytest.approx(0.94, abs=0.02)
    assert found["response"]["corrected"]["median"] == pytest.approx(1, abs=0.02)


def test_jets_are_those_of_the_file(reference):
    jets = read_jets(reference("cms/pfnano.root"), "AK4PFchs")
    assert len(jets["pt"]) == 64
    assert (jets["rho"][:8] == jets["rho"][0]).all()
    assert jets["pt"][0] == pytest.approx(1676)
    assert np.median(jets["pt_raw"][:2] / jets["pt_gen"][:2]) == pytest.approx(0.9, abs=0.1)


def test_files_that_are_not_of_cms_are_refused(reference, tmp_path):
    texts = [reference(name) for name in TEXTS]
    wrong = tmp_path / "events.root"
    wrong.write_text("no ROOT file")
    with pytest.raises(UserError, match="not NanoAOD with jets and rho"):
        benchmark_texts([wrong], texts, "AK4PFchs", tmp_path / "out.json")
    with pytest.raises(UserError, match="are not AK4PFPuppi"):
        read_jets(reference("cms/pfnano.root"), "AK4PFPuppi")
    with pytest.raises(UserError, match="no such file"):
        benchmark_texts([tmp_path / "none.root"], texts, "AK4PFchs", tmp_path / "out.json")
    with pytest.raises(UserError, match="not for AK4PFPuppi"):
        benchmark_texts([wrong], texts, "AK4PFPuppi", tmp_path / "out.json")
    assert not list(tmp_path.glob("out*"))
