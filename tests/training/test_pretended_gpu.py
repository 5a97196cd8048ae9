"""What every task does on a GPU, short of its kernels: what it does on a CPU, and nothing waits."""

import copy
import inspect
import sys

import pyarrow.parquet as pq
import pytest
import torch
from conftest import CONFIGS
from pretended_gpu import GPU, PretendedGpu, mixed_precision, to_gpu
from test_event_tasks import make_objects, write_events
from test_jet_energy import made_up_jets

from training.checkpoint import make_task
from training.config import load_config
from training.data.reader import to_device
from training.data.shards import list_row_groups
from training.models import particle_transformer
from training.models.graphs import beside_other_threads

pytestmark = pytest.mark.skipif(
    torch.backends.cuda.is_built() or sys.platform != "linux",
    reason="pretends a GPU to a PyTorch for Linux that knows none",
)
ROWS = 12
JETS = ["data.max_constituents=20"]
SOPHON = [*JETS, "model.embedding=[16,16]", "model.pair_embedding=[8]", "model.blocks=1",
          "model.head=[16]", "model.dropout=0"]  # fmt: skip
PATCHES = [*JETS, "model.encoder.patches=6", "model.encoder.width=16", "model.encoder.blocks=2"]
CONSTITUENTS = [*JETS, "model.encoder={tokens: constituents, width: 16, heads: 2, blocks: 2, "
                "embedding: [16], pair_bias: [8], registers: 1}"]  # fmt: skip
HIDDEN = "masks={kind: random, targets: 1, target_ratio: [0.3, 0.4], context_ratio: [1.0, 1.0]}"
TERMS = ["jet_shape=1.0", "group_dropout.identity=0.5"]
TOKENS = "regulariser={kind: vicreg, of: tokens, projector: [16]}"
HEADS = "heads={quantiles: true, neutrinos: true, mass: true}"
GRAPH = "{neighbours: 4, channels: [[8, 8], [16]], points: 12}"
GRAPHS = [HEADS, *(f"model.{name}={GRAPH}" for name in ("charged", "neutral", "vertices"))]
POOLED = ["model.dynamic=false", "model.pooling=max", "model.readout=momentum"]
EVENTS = ["model.width=16", "model.blocks=1", "model.feedforward=32", "model.dropout=0",
          "augmentation={rotate: true, reflect: true, smear: true}"]  # fmt: skip
# Configuration and changes.
CASES = {
    "sophon": ("sophon-small", SOPHON),
    "patches": ("joint-embedding-small", [*PATCHES, *TERMS, "model.target_layers=2"]),
    "patches of all": ("joint-embedding-small", [*PATCHES, *TERMS, "jet_shape_from=all", TOKENS]),
    "constituents": ("joint-embedding-small", [*CONSTITUENTS, HIDDEN, *TERMS]),
    "attentive probe": ("probe-small", PATCHES),
    "linear probe": ("probe-small", [*CONSTITUENTS, "model.classifier={standardise: true}"]),
    "deep sets": ("jet-energy-pfn-lite", [HEADS, "model.pooling=momentum"]),
    "graphs": ("jet-energy-particle-net-lite", GRAPHS),
    "static graphs": ("jet-energy-particle-net-lite", [*GRAPHS, *POOLED]),
    "one graph": ("jet-energy-particle-net-together", [HEADS]),
    "jet transformer": ("jet-energy-particle-transformer-lite", [HEADS]),
    "classification": ("event-classification-small", EVENTS),
    "published": ("event-classification-small", [*EVENTS, "model.masked=false"]),
    "contrast": ("event-contrast-small", EVENTS),
    "masses": ("event-masses-small", [*EVENTS, "neutrino=true"]),
    "types": ("event-pretraining-small", [*EVENTS, "shuffled_types=true"]),
    "kinematics": ("event-pretraining-small", [*EVENTS, "hidden=kinematics", "counted=all"]),
}
# What else trains without waiting.
WAITLESS = {"deep sets"}


@pytest.fixture(autouse=True)
def one_thread():
    """Thousands of small operations: threads would wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Return a file of each product that is made up."""
    folder = tmp_path_factory.mktemp("rows")
    write_events(folder / "events.parquet", make_objects(ROWS, 1), "ttbar")
    pq.write_table(made_up_jets(ROWS // 2), folder / "energy.parquet")
    return {name: folder / f"{name}.parquet" for name in ("events", "energy")}


@pytest.mark.parametrize("name", CASES)
def test_a_task_on_a_gpu_is_that_on_a_cpu(name, files, reference, refuse_to_wait, monkeypatch):
    monkeypatch.setattr(particle_transformer, "kernels", None)
    source, changes = CASES[name]
    torch.manual_seed(1)
    task = make_task(load_config(CONFIGS / f"{source}.yaml", changes))
    path = files.get(task.config.products[0]) or reference("delphes/res34p_1.ntuple.parquet")
    rows = task.reader.read(list_row_groups([(path, "")], task.reader))
    chosen = task.reader.chosen(rows.scalars, len(rows))[:ROWS]
    batch = task.reader.draw(rows, chosen, 0)
    if task.fixed_shapes:
        batch = task.with_fixed_shapes(batch)
        loss = copy.deepcopy(task).train().step(batch)["loss"]
        with refuse_to_wait:
            loss.backward()
    works = {"step": batch, "predict": task.reader.collate(rows, chosen)}

    def results(own, work, batch):
        torch.manual_seed(2)
        with torch.no_grad():
            return getattr(copy.copy(own).train(work == "step"), work)(batch)

    wanted = {work: results(copy.deepcopy(task), work, batch) for work, batch in works.items()}
    for work, batch in works.items():
        with PretendedGpu() as gpu:
            moved = to_device(batch, GPU)
            own = [to_gpu(copy.deepcopy(task)) for _ in range(2)]
            gpu.noted.clear()
            found = results(own[0], work, moved)
            if work == "step" and (task.fixed_shapes or name in WAITLESS):
                assert gpu.noted == []
            with mixed_precision():
                rounded = results(own[1], work, moved)
            found, rounded = ({n: x.cpu() for n, x in out.items()} for out in (found, rounded))
        torch.testing.assert_close(found, wanted[work], rtol=1e-4, atol=1e-4)
        assert all(x.isfinite().all() for x in rounded.values())


def test_what_a_gpu_refuses_is_refused():
    with PretendedGpu() as gpu:
        x = torch.zeros(3, device=GPU)
        assert x.is_cuda
        with pytest.raises(RuntimeError, match="two devices"):
            x + torch.zeros(3)
        with pytest.raises(RuntimeError, match="generator"):
            torch.rand(3, device=GPU, generator=torch.Generator())
        assert gpu.noted == []
        for work in (
            lambda: float(x.sum()),
            lambda: x[x > 0],
            lambda: x[torch.tensor([0])],
            lambda: x.new_tensor([1.0]),
            x.tolist,
        ):
            gpu.noted.clear()
            work()
            assert gpu.noted


def test_other_threads_may_use_the_gpu_during_a_capture():
    plain = torch.cuda.graph
    mode = inspect.signature(plain).parameters["capture_error_mode"]
    assert mode.default == "global"
    with beside_other_threads():
        assert torch.cuda.graph.keywords == {"capture_error_mode": "thread_local"}
    assert torch.cuda.graph is plain
