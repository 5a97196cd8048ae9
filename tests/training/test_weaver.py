"""weaver's weights give weaver's logits.

`data/weaver_small.npz` was made with weaver-core 0.5.3: a small network with random weights, jets
and the logits it gives them in evaluation mode.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from provenance.errors import UserError
from training.checkpoint import convert, load_task
from training.models.particle_transformer import ParticleTransformer
from training.models.sizes import ParticleTransformerConfig
from training.models.weaver import convert_weaver

DATA = Path(__file__).with_name("data") / "weaver_small.npz"


@pytest.fixture
def stored() -> dict[str, torch.Tensor]:
    with np.load(DATA) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


@pytest.fixture
def state(stored) -> dict[str, torch.Tensor]:
    return {k.removeprefix("state/"): v for k, v in stored.items() if k.startswith("state/")}


@pytest.mark.parametrize("prefix", ["", "module."])
def test_logits_equal_those_of_weaver(stored, state, prefix):
    config = ParticleTransformerConfig(
        embedding=(24, 16), pair_embedding=(8,), heads=4, blocks=2, class_blocks=1, head=(12,)
    )
    network = ParticleTransformer(config, features=17, classes=6).eval()
    network.load_state_dict(convert_weaver({prefix + k: v for k, v in state.items()}))
    logits = network(stored["features"], stored["vectors"], stored["mask"])
    assert stored["logits"].std() > 0.1
    torch.testing.assert_close(logits, stored["logits"], rtol=0, atol=1e-4)


def test_old_names_of_the_projections(state):
    old = {
        k.replace("in_proj.weight", "in_proj_weight").replace("in_proj.bias", "in_proj_bias"): v
        for k, v in state.items()
    }
    assert old.keys() != state.keys()
    assert convert_weaver(old).keys() == convert_weaver(state).keys()


def test_full_size_weaver_network_through_a_checkpoint(tmp_path):
    weaver = pytest.importorskip("weaver.nn.model.ParticleTransformer", reason="weaver-core 0.5.3")
    from benchmarks.part import synthetic_batch

    torch.manual_seed(1)
    network = weaver.ParticleTransformer(
        input_dim=17, num_classes=188, pair_input_dim=4, fc_params=[(512, 0.1)], trim=False
    )
    batch = synthetic_batch(24, np.random.default_rng(1))
    inputs = {"v": batch["vectors"].mT, "mask": batch["mask"][:, None]}
    network(batch["features"].mT, **inputs)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    convert("sophon", tmp_path / "model.pt", tmp_path / "checkpoint.ckpt")
    task = load_task(tmp_path / "checkpoint.ckpt")
    with torch.inference_mode():
        expected = network.eval()(batch["features"].mT, **inputs)
        logits = task(batch)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-4)


def test_other_weights_are_refused(tmp_path, state):
    torch.save(state, tmp_path / "small.pt")
    with pytest.raises(UserError, match="not weaver's weights of a Sophon"):
        convert("sophon", tmp_path / "small.pt", tmp_path / "checkpoint.ckpt")
    with pytest.raises(UserError, match="no such file"):
        convert("sophon", tmp_path / "none.pt", tmp_path / "checkpoint.ckpt")
    assert not (tmp_path / "checkpoint.ckpt").exists()
