"""Pictures of single rows: what is drawn is what the row holds."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ntuplizer.cli import main
from ntuplizer.display import Marks
from ntuplizer.display.command import find_row, most_probable, predict
from ntuplizer.display.draw import STYLES, draw_view, legend_handles, style
from ntuplizer.display.energy import view_energy_jet
from ntuplizer.display.events import view_event
from ntuplizer.display.jets import particle_name, view_jet
from ntuplizer.products import get_product, product_names
from ntuplizer.shards import describe, write_tables
from provenance.errors import UserError
from provenance.files import sha256
from training.checkpoint import make_task, write_checkpoint
from training.config import load_config
from workflow.config_model import ROOT


@pytest.fixture(scope="module")
def jets(reference, tmp_path_factory):
    """Return a file of reference jets, in row groups of its own."""
    product = get_product("jets")
    options = product.read_options({})
    table = pq.read_table(reference("delphes/res34p_1.ntuple.parquet"))
    table = table.select(product.schema(options).names).cast(product.schema(options))
    path = tmp_path_factory.mktemp("rows") / "jets.parquet"
    write_tables(path, [table], table.schema, lambda: describe(product, options))
    return path


def marks_of(panel) -> dict[str, Marks]:
    return {marks.kind: marks for marks in panel.marks}


def test_constituents_truth_and_gen_jet_are_those_of_the_row(jets):
    found = find_row(jets, 12)
    row = pq.read_table(jets).slice(12, 1).to_pylist()[0]
    assert found.label == get_product("jets").label(None).names[row["jet_label"]]
    seen, generated = (marks_of(panel) for panel in found.view.panels)
    pt = np.hypot(row["part_px"], row["part_py"])
    photons = np.array(row["part_isPhoton"])
    np.testing.assert_allclose(seen["photon"].pt, pt[photons], rtol=1e-6)
    np.testing.assert_allclose(seen["photon"].x, np.array(row["part_deta"])[photons])
    total = sum(len(m.x) for kind, m in seen.items() if kind != "truth")
    assert total == row["jet_nparticles"]
    total = sum(len(m.x) for kind, m in generated.items() if kind != "truth")
    assert total == row["genjet_nparticles"]
    # The resonance flies where its decay products are: into the jet.
    x = seen["truth"].names.index("X")
    assert np.hypot(seen["truth"].x[x], seen["truth"].y[x]) < 0.8


def test_an_old_jet_without_gen_columns_is_drawn(jets):
    row = pq.read_table(jets).slice(3, 1).to_pylist()[0]
    kept = {name: row[name] for name in row if name.startswith(("part_", "jet_"))}
    lacking = {name: value for name, value in kept.items() if not name.startswith("part_is")}
    for content in (kept, lacking):
        view = view_jet(content, 0.8)
        assert len(view.panels) == 1
        assert sum(len(marks.x) for marks in view.panels[0].marks) == row["jet_nparticles"]


def test_the_gen_jet_of_an_energy_jet_lies_where_it_is():
    row = {f"charged_{name}": [1.0] for name in ("px", "py", "deta", "dphi")}
    row |= {f"neutral_{name}": [2.0] for name in ("px", "py", "deta", "dphi")}
    row |= {"charged_isChargedHadron": [True], "charged_isElectron": [False]}
    row |= {"neutral_isPhoton": [True], "neutral_isNeutralHadron": [False]}
    row |= {"sv_pt": [5.0], "sv_deta": [0.1], "sv_dphi": [-0.1]}
    row |= {"jet_pt": 50.0, "jet_eta": -1.0, "jet_phi": 3.1, "jet_mass": 6.0}
    row |= {"genjet_pt": 40.0, "genjet_eta": -1.1, "genjet_phi": -3.1}
    view = view_energy_jet(row, 0.4)
    marks = marks_of(view.panels[0])
    assert set(marks) == {"charged hadron", "photon", "secondary vertex", "GEN-jet"}
    # Outwards is positive, and φ goes on beyond π.
    assert marks["GEN-jet"].x[0] == pytest.approx(0.1)
    assert marks["GEN-jet"].y[0] == pytest.approx(2 * np.pi - 6.2)
    assert any("response 1.250" in fact for fact in view.facts)


def test_an_event_shows_every_filled_slot_and_balances():
    options = get_product("events").read_options({})
    row = {"process": "ttbar", "batch": 1, "event": 2}
    slots = (("lepton", 1), ("met", 4), ("bjet1", 2), ("bjet2", 0), ("jet1", 3), ("jet2", 3))
    for number, (slot, code) in enumerate(slots):
        values = {"pt": 10.0 * number, "eta": 0.3 * number, "phi": 5.0 - number, "mass": 1.0}
        row |= {f"{slot}_{name}": value for name, value in values.items()}
        row[f"{slot}_type"] = code
    plane, transverse = view_event(row, options).panels
    assert {kind: len(marks.x) for kind, marks in marks_of(plane).items()} == {
        "lepton": 1, "b-jet": 1, "light jet": 2,
    }  # fmt: skip
    assert plane.levels == (("missing momentum", 4.0 - 2 * np.pi),)
    assert len(plane.circles) == 3
    arrows = marks_of(transverse)
    assert arrows["missing momentum"].x[0] == pytest.approx(10 * np.cos(4))
    assert arrows["missing momentum"].y[0] == pytest.approx(10 * np.sin(4))


def test_every_kind_can_be_told_from_the_others_without_colours():
    handles = legend_handles(list(STYLES))
    # Kinds of jets and of events never meet in a picture.
    for kinds in (list(STYLES)[:5], list(STYLES)[5:9]):
        shapes = [h.get_marker() for h in handles if h.get_label() in kinds]
        assert len(set(shapes)) >= len(kinds) - 1


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (5, "$b$"),
        (-5, r"$\bar{b}$"),
        (15, r"$\tau^-$"),
        (-24, "$W^-$"),
        (21, "$g$"),
        (9900, "9900"),
    ],
)
def test_particles_have_their_names(code, name):
    assert particle_name(code) == name


def test_the_most_probable_labels_come_in_order():
    labels = [f"label{number}" for number in range(7)]
    predicted = {"probabilities": [0.1, 0.3, 0.05, 0.2, 0.15, 0.16, 0.04]}
    names = [name for name, _ in most_probable(predicted, labels)]
    assert names == ["label1", "label3", "label5", "label4", "label0"]
    assert most_probable({"factor": 1.0}, []) == []


@pytest.mark.parametrize("suffix", [".png", ".pdf", ".svg"])
def test_a_picture_is_written(jets, tmp_path, suffix, capsys):
    output = tmp_path / f"row{suffix}"
    main(["display", str(jets), "--row", "0", "--output", str(output)])
    assert output.stat().st_size > 10_000
    assert str(output) in capsys.readouterr().out


def test_two_pictures_are_equal(jets, tmp_path):
    for name in ("a.png", "b.png"):
        main(["display", str(jets), "--row", "1", "--output", str(tmp_path / name)])
    assert sha256(tmp_path / "a.png") == sha256(tmp_path / "b.png")


def test_a_row_that_is_not_there_is_named(jets, tmp_path):
    rows = pq.read_metadata(jets).num_rows
    for row in (-1, rows):
        with pytest.raises(UserError, match=f"has rows 0 to {rows - 1}, not {row}"):
            main(["display", str(jets), "--row", str(row), "--output", str(tmp_path / "x.png")])
    with pytest.raises(UserError, match=r"ends with one of \.png"):
        main(["display", str(jets), "--row", "0", "--output", str(tmp_path / "x.txt")])
    pq.write_table(pa.table({"x": [1]}), tmp_path / "other.parquet")
    with pytest.raises(UserError, match="carries no metadata of this project"):
        main(["display", str(tmp_path / "other.parquet"), "--row", "0"])
    assert not list(tmp_path.glob("x.*"))


def test_rows_without_a_label_have_no_name(jets, tmp_path):
    """Rows of collisions have the label -1, and not the last of all names."""
    table = pq.read_table(jets)
    column = table.schema.get_field_index("jet_label")
    none = pa.array(np.full(table.num_rows, -1), pa.int32())
    table = table.set_column(column, table.schema.field(column), none)
    path = tmp_path / "a$x_{$b.parquet"  # no formula
    metadata = {"jetclass": pq.read_metadata(jets).metadata[b"jetclass"]}
    pq.write_table(table.replace_schema_metadata(metadata), path, write_page_checksum=True)
    assert find_row(path, 0).label is None
    assert find_row(jets, 0).label is not None
    main(["display", str(path), "--row", "0", "--output", str(tmp_path / "jet.svg")])
    assert "a$x_{$b.parquet, row 0" in (tmp_path / "jet.svg").read_text()


def test_every_product_says_what_a_row_looks_like():
    assert all(get_product(name).view is not None for name in product_names())


def test_a_network_says_what_it_thinks(jets, tmp_path):
    torch.manual_seed(0)
    config = ROOT / "training" / "configs" / "sophon-small.yaml"
    task = make_task(load_config(str(config), ["model.blocks=1"]))
    checkpoint = tmp_path / "checkpoint.ckpt"
    write_checkpoint({"description": task.describe(), "state_dict": task.state_dict()}, checkpoint)
    predicted, labels = predict(find_row(jets, 4).table, checkpoint, jets)
    assert labels == list(get_product("jets").label(None).names)
    assert sum(predicted["probabilities"]) == pytest.approx(1, abs=1e-4)
    best = most_probable(predicted, labels)
    assert len(best) == 5
    assert best[0][1] == max(predicted["probabilities"])


def test_what_a_view_says_is_written_below(jets):
    with style():
        figure = draw_view(find_row(jets, 2).view, "a title", ["a fact"])
    (legend,) = figure.legends
    assert "a fact" in legend.get_title().get_text()
    assert json.dumps(figure.get_suptitle()) == '"a title"'
