"""Processes as data: grids, decay tables, and the sentences about what is wrong in them."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.stats import chisquare, kstest

from generation import process as process_module
from generation.process import Process, load_process, process_files, process_names
from generation.seeds import Stage, stream
from provenance.errors import UserError


def draw(process, count=4000):
    points = [process.draw_point(stream(Stage.PARAMETER_POINT, seed)) for seed in range(count)]
    return {name: np.array([point[name] for point in points]) for name in points[0]}


def test_known_processes():
    expected = {"res2p", "res2p_charged", "res34p", "qcd", "ttbar", "2hdm", "minbias"}
    assert set(process_names()) >= expected


def test_unknown_process_lists_the_known_ones():
    with pytest.raises(UserError, match=r"no process 'res5p'; known are 2hdm, .*res34p, .*ttbar"):
        load_process("res5p")


@pytest.mark.parametrize("name", ["../process", "", "res2p/../res2p"])
@pytest.mark.parametrize("function", [load_process, process_files])
def test_name_is_no_path(name, function):
    with pytest.raises(UserError, match="there is no process"):
        function(name)


def test_files_of_a_process_are_all_that_shape_its_events():
    folder = process_module.FOLDER
    cards = ["process.yaml", "madgraph_process.dat", "madgraph_run.dat"]
    assert process_files("res2p") == [
        folder / "common.yaml",
        *(folder / "res2p" / c for c in cards),
    ]
    assert process_files("qcd") == [folder / "common.yaml", folder / "qcd" / "process.yaml"]
    for name in process_names():
        assert set((folder / name).iterdir()) <= set(process_files(name))


@pytest.mark.parametrize("name", ["res2p", "res2p_charged", "res34p"])
def test_resonance_grid(name):
    drawn = draw(load_process(name))
    masses = np.arange(15, 501, 5)
    assert len(masses) == 98
    found, counts = np.unique(drawn["m_X"], return_counts=True)
    assert found.tolist() == masses.tolist()
    assert chisquare(counts).pvalue > 1e-4
    momenta, counts = np.unique(drawn["pt_min_X"], return_counts=True)
    assert len(momenta) == 50
    assert momenta[:3].tolist() == [100, 106, 114]
    assert momenta[-1] == 2499
    assert chisquare(counts).pvalue > 1e-4


def test_res34p_draws_y_below_x():
    drawn = draw(load_process("res34p"))
    ratio, width = drawn["m_Y"] / drawn["m_X"], drawn["width_Y"] / drawn["m_Y"]
    assert kstest(ratio, "uniform", (0.1, 0.6)).pvalue > 1e-4
    assert kstest(width, "uniform", (0.01, 0.04)).pvalue > 1e-4


def test_qcd_grid():
    momenta, counts = np.unique(draw(load_process("qcd"))["pt_hat_min"], return_counts=True)
    assert np.allclose(momenta, 100 * 50 ** (np.arange(200) / 199))
    assert chisquare(counts).pvalue > 1e-4


def test_each_w_is_leptonic_in_half_of_the_batches():
    plus = draw(load_process("ttbar"), 400)["w_plus"]
    assert 160 < np.sum(plus == "11 13") < 240


def test_point_depends_on_the_seed_alone():
    process = load_process("res34p")
    first = process.draw_point(stream(Stage.PARAMETER_POINT, 5))
    process.draw_point(stream(Stage.PARAMETER_POINT, 6))
    assert process.draw_point(stream(Stage.PARAMETER_POINT, 5)) == first


def test_neutral_decays_are_those_of_the_published_sample():
    table = {tuple(c.products): c.fraction for c in load_process("res2p").decays[25]}
    expected = {
        (5, -5): 1 / 8, (4, -4): 1 / 8, (3, -3): 1 / 8, (2, -2): 1 / 16, (1, -1): 1 / 16,
        (21, 21): 1 / 8, (11, -11): 1 / 16, (13, -13): 1 / 16, (15, -15): 1 / 4,
    }  # fmt: skip
    assert table == expected
    neutral = {tuple(c.products): c.fraction for c in load_process("res34p").decays[35]}
    assert neutral == expected


def test_settings_hold_the_point_and_the_decays():
    settings = load_process("res34p").pythia_settings(
        {"m_X": 200.0, "pt_min_X": 106.0, "m_Y": 60.5, "width_Y": 1.25}
    )
    assert "25:m0 = 200.0" in settings
    assert "37:mWidth = 1.25" in settings
    assert "PhaseSpace:pTHatMin = 106.0" in settings
    assert "25:oneChannel = 1 0.5 100 37 -37" in settings
    assert not any("$" in setting for setting in settings)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seed_code": 3}, "seed_code: Extra inputs are not permitted"),
        ({"hard_process": "gg2YY"}, "hard_process"),
        ({"decays": {25: [{"fraction": 0.5, "products": [5, -5]}]}}, "add up to 0.5, not 1"),
        ({"point": {"m": {"first": 1}}}, "point.m"),
        ({"point": {"m": {"first": 10, "last": 5, "step": 1}}}, r"point\.m: last, 5, is below"),
        ({"point": {"m": {"fraction_of": "n", "low": 0, "high": 1}}}, "fraction of 'n', which is"),
        ({"point": {"m": {"fraction_of": "n", "low": 2, "high": 1}}}, "high, 1, is below low, 2"),
        ({"point": {"m": {"choice": [{"a": 1}, {"b": 1}]}}}, "values to the same parameters"),
        ({"settings": ["25:m0 = $m_X"]}, r"'25:m0 = \$m_X' uses \$m_X, which point does not draw"),
        ({"settings": ["25:m0 = 5$"]}, r"the \$ of '25:m0 = 5\$' is not followed by a name"),
    ],
)
def test_wrong_description_is_named(tmp_path, monkeypatch, change, complaint):
    folder = tmp_path / "mine"
    folder.mkdir()
    good = {"description": "test", "hard_process": ["HardQCD:all = on"]}
    (folder / "process.yaml").write_text(yaml.safe_dump(good | change))
    monkeypatch.setattr(process_module, "FOLDER", tmp_path)
    with pytest.raises(UserError, match=complaint) as raised:
        load_process("mine")
    assert "process.yaml" in str(raised.value)


def test_file_that_is_no_mapping(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "process.yaml").write_text("- just\n- a list\n")
    monkeypatch.setattr(process_module, "FOLDER", tmp_path)
    with pytest.raises(UserError, match="not a process description"):
        load_process("mine")


def test_channel_needs_two_products():
    channel = {"fraction": 1.0, "products": [5]}
    with pytest.raises(ValueError, match="products"):
        Process(name="x", description="", hard_process=[], decays={25: [channel]})


def test_example_of_the_documentation_is_a_process(tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "processes.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    (tmp_path / "zprime").mkdir()
    (tmp_path / "zprime" / "process.yaml").write_text(example.replace("# lhe:", "lhe:").replace(
        "#   final", "  final").replace("#   point", "  point"))  # fmt: skip
    (tmp_path / "common.yaml").write_text("settings: []\n")
    monkeypatch.setattr(process_module, "FOLDER", tmp_path)
    process = load_process("zprime")
    point = process.draw_point(stream(Stage.PARAMETER_POINT, 1))
    assert point["m"] in range(1000, 3001, 100)
    assert "32:oneChannel = 1 1.0 100 6 -6" in process.pythia_settings(point)
    assert process.lhe.final_state == [32]
