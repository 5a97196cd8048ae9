"""Weights of weaver's Particle Transformer, such as the released Sophon, renamed."""

import re

from torch import Tensor

# weaver's name → the project's; the layers of the two embeddings keep their numbers.
_RENAMED = {
    "pre_attn_norm": "attention_norm",
    "attn.in_proj": "in_projection",
    "attn.out_proj": "out_projection",
    "post_attn_norm": "attended_norm",
    "pre_fc_norm": "feedforward_norm",
    "fc1": "expand",
    "post_fc_norm": "expanded_norm",
    "fc2": "contract",
    "c_attn": "head_scale",
    "w_resid": "residual_scale",
}


def convert_weaver(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename a `state_dict` of weaver-core's `ParticleTransformer` for `ParticleTransformer` here.

    Parameters
    ----------
    state
        As saved by weaver, old (`in_proj_weight`) or new (`in_proj.weight`), with or without the
        prefixes `module.` and `mod.`.

    Returns
    -------
    dict
        The same tensors; convolutions of width one become the matrices they are.

    Raises
    ------
    KeyError
        When a name is not one of weaver's.
    """
    return {_rename(name): _matrix(name, tensor) for name, tensor in state.items()}


def _rename(name: str) -> str:
    name = re.sub(r"^(module\.|mod\.)+", "", name)
    name = re.sub(r"in_proj_(weight|bias)$", r"in_proj.\1", name)
    if match := re.fullmatch(r"embed\.input_bn\.(\w+)", name):
        return f"embedding.0.{match[1]}"
    if match := re.fullmatch(r"embed\.embed\.(\d+)\.(\w+)", name):
        return f"embedding.{int(match[1]) + 1}.{match[2]}"
    if match := re.fullmatch(r"pair_embed\.embed\.(\d+)\.(\w+)", name):
        return f"pair_embedding.layers.{match[1]}.{match[2]}"
    if match := re.fullmatch(r"(cls_)?blocks\.(\d+)\.([a-z0-9_.]+?)((?:\.weight|\.bias)?)", name):
        kind = "class_blocks" if match[1] else "blocks"
        return f"{kind}.{match[2]}.{_RENAMED[match[3]]}{match[4]}"
    # A hidden layer of the classifier is a sequence of its own: linear, activation, dropout.
    if match := re.fullmatch(r"fc\.(\d+)\.0\.(\w+)", name):
        return f"head.{3 * int(match[1])}.{match[2]}"
    if match := re.fullmatch(r"fc\.(\d+)\.(\w+)", name):
        return f"head.{3 * int(match[1])}.{match[2]}"
    return {"cls_token": "class_token", "norm.weight": "norm.weight", "norm.bias": "norm.bias"}[
        name
    ]


def _matrix(name: str, tensor: Tensor) -> Tensor:
    is_convolution = "pair_embed" in name and tensor.ndim == 3
    return tensor.squeeze(2) if is_convolution else tensor
