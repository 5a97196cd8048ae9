"""The ROOT macro: the jets and the scores of `python -m training predict`, or one sentence."""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
import torch
import uproot

from generation.simulate import simulate
from ntuplizer import clustering, counts, particles, quality
from ntuplizer.labels import LABELS
from ntuplizer.products import get_product
from ntuplizer.rows import jets
from training.checkpoint import make_task, write_checkpoint
from training.config import load_config
from training.export import export_onnx
from training.jets.features import TRANSFORMS, VECTOR_NAMES
from training.predict import predict

PROJECT = Path(__file__).parents[2]
MACRO = PROJECT / "analyzers" / "sophon.C"
SMALL = PROJECT / "training" / "configs" / "sophon-small.yaml"
HEADER = "onnxruntime_cxx_api.h"


@pytest.fixture(scope="module")
def environment() -> dict[str, str]:
    """What the macro needs to run, found as docs/analyzers.md says; skips without."""
    if not shutil.which("root"):
        pytest.skip("ROOT is not here: put `root` on the PATH")
    folders = [*os.environ.get("ROOT_INCLUDE_PATH", "").split(":"), "/usr/include/onnxruntime"]
    headers = [folder for folder in folders if folder and (Path(folder) / HEADER).is_file()]
    if not headers:
        pytest.skip(f"{HEADER} is not here: set ROOT_INCLUDE_PATH to its folder")
    folder = Path(find_spec("onnxruntime").origin).parent / "capi"
    libraries = [os.environ.get("ONNXRUNTIME_LIBRARY"), *folder.glob("libonnxruntime.so.*")]
    library = next(filter(None, libraries), None)
    if not library:
        pytest.skip("ONNX Runtime's library is not here: set ONNXRUNTIME_LIBRARY to it")
    return os.environ | {"ROOT_INCLUDE_PATH": headers[0], "ONNXRUNTIME_LIBRARY": str(library)}


@pytest.fixture(scope="module")
def network(tmp_path_factory) -> tuple[Path, Path]:
    """A checkpoint, and the same network exported; it cuts jets off after 40 constituents."""
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    task = make_task(load_config(SMALL, ["model.blocks=1", "data.max_constituents=40"]))
    # As initialised, the head would give all jets nearly the same probabilities.
    for parameter in task.network.head.parameters():
        parameter.data *= 5
    content = {"description": task.describe(), "state_dict": task.state_dict()}
    write_checkpoint(content, folder / "network.ckpt")
    export_onnx(folder / "network.ckpt", folder / "network.onnx")
    return folder / "network.ckpt", folder / "network.onnx"


def run(environment, events: Path, model: Path, output: Path) -> subprocess.CompletedProcess:
    call = f'{MACRO}("{events}", "{model}", "{output}")'
    return subprocess.run(
        ["root", "-l", "-b", "-q", call],
        env=environment, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture
def event_file(request, reference, tmp_path):
    """The event file that a test names: of the reference data, or `embedded`."""
    if request.param != "embedded":
        return reference(request.param)
    library = request.getfixturevalue("pileup_library")
    simulate("res34p", 20, 3, tmp_path / "embedded.root", pileup=library)
    return tmp_path / "embedded.root"


# Real files hold candidates at rest, which join jets near y = φ = 0; res34p_4 has such a jet.
@pytest.mark.parametrize(
    "event_file",
    [
        "delphes/res34p_4.root",
        "published/events_delphes_higgs2p_example.root",
        "embedded",
    ],
    indirect=True,
)
def test_macro_equals_predict(environment, network, event_file, tmp_path):
    checkpoint, model = network
    output = tmp_path / "scores.root"
    result = run(environment, event_file, model, output)
    assert result.returncode == 0, result.stderr
    predict(checkpoint, event_file, tmp_path / "scores.parquet")
    table = pq.read_table(tmp_path / "scores.parquet")
    expected = {
        name: np.stack(table[name].to_numpy(zero_copy_only=False)) for name in table.column_names
    }
    with uproot.open(output) as file:
        found = file["Scores"].arrays(library="np")
        aliases = {alias.member("fName") for alias in file["Scores"].member("fAliases")}
    assert aliases == set(LABELS)

    assert len(found["jet"]) == len(expected["jet_pt"]) > 5
    np.testing.assert_allclose(found["jet_pt"], expected["jet_pt"], rtol=1e-6)
    np.testing.assert_allclose(found["jet_sdmass"], expected["jet_sdmass"], rtol=1e-5, atol=1e-4)
    for name in ("probabilities", "embedding"):
        assert found[name].shape == expected[name].shape
        assert expected[name].std(axis=0).max() > 0.01, "jets too alike for a test"
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4, rtol=0)
    mass, pt = expected["jet_sdmass"], expected["jet_pt"]
    np.testing.assert_array_equal(
        found["selected"], (pt > 200) & (pt < 2500) & (mass > 20) & (mass < 500)
    )

    # Rows are known by the event, in which Delphes has found the same jet.
    with uproot.open(event_file) as file:
        numbers = file["Delphes"]["Event.Number"].array()[:, 0].to_numpy()
        own = file["Delphes"]["JetPUPPIAK8.PT"].array()
    np.testing.assert_array_equal(found["event_number"], numbers[found["entry"]])
    for pt, entry, jet in zip(found["jet_pt"], found["entry"], found["jet"], strict=True):
        assert np.isclose(own[entry].to_numpy(), pt, rtol=1e-4).any()
        assert jet < len(own[entry])


def without_inputs(model: Path, folder: Path) -> Path:
    """The network with another name for its first input."""
    content = onnx.load(model)
    content.graph.input[0].name = "points"
    for node in content.graph.node:
        node.input[:] = ["points" if name == "pf_features" else name for name in node.input]
    onnx.save(content, folder / "other.onnx")
    return folder / "other.onnx"


def test_macro_refuses(environment, network, reference, tmp_path):
    events, model = reference("published/events_delphes_higgs2p_example.root"), network[1]
    with uproot.recreate(tmp_path / "other.root") as file:
        file.mktree("Delphes", {"ParticleFlowCandidate.PT": "var * float32"})
    with uproot.recreate(tmp_path / "empty.root") as file:
        file.mktree("Events", {"x": "float32"})
    (tmp_path / "cut.root").write_bytes(events.read_bytes()[:-100_000])
    for source, used, reason in (
        (tmp_path / "none.root", model, "none.root: no such event file"),
        (tmp_path / "empty.root", model, "empty.root: holds no TTree named Delphes"),
        (tmp_path / "other.root", model, "other.root: the tree Delphes has no branch"),
        (tmp_path / "cut.root", model, "cut.root: .*truncated"),
        (events, without_inputs(model, tmp_path), "other.onnx: its inputs are points, pf_vectors"),
    ):
        result = run(environment, source, used, tmp_path / "scores.root")
        assert result.returncode == 1
        assert re.search(f"^error: .*{reason}", result.stderr, re.MULTILINE), result.stderr
        assert not list(tmp_path.glob("scores.root*"))


def test_macro_knows_what_the_project_knows():
    """What the macro cannot read from the network is what the ntuplizer has; needs no ROOT."""
    text = MACRO.read_text(encoding="utf-8")
    names = re.search(r"kVariables = \{(.*?)\}", text, re.DOTALL).group(1)
    assert re.findall(r'"(\w+)"', names) == [t.name for t in TRANSFORMS] + list(VECTOR_NAMES)
    options = get_product("jets").Options()
    for name, value in {
        "kRadius": options.jet_radius,
        "kPtMin": options.clustered_pt_min,
        "kEtaMax": jets.ETA_MAX,
        "kSoftDropZCut": clustering.SOFT_DROP_Z_CUT,
        "kConstituentEtaMax": particles.CONSTITUENT_ETA_MAX,
        "kConstituentPzMax": particles.CONSTITUENT_PZ_MAX,
        "kEnergyLimit": quality.ENERGY_LIMIT,
        "kMaxSkippedFraction": counts.MAX_SKIPPED_FRACTION,
    }.items():
        assert float(re.search(rf"{name} = ([\d.e]+);", text).group(1)) == value
