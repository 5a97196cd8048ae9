"""A trained network as an ONNX file that any ONNX Runtime can run."""

import json
import logging
import time
import warnings
from pathlib import Path

import onnx
import torch

from provenance.errors import UserError
from provenance.files import atomic_output
from provenance.ledger import write_ledger
from training.checkpoint import load_task


def export_onnx(checkpoint: Path, output: Path) -> None:
    """Write the network of a checkpoint as ONNX, as its task gives it (`Task.exported`).

    The file's metadata say what is needed to use it elsewhere.

    Raises
    ------
    UserError
        When the checkpoint cannot be used or exported, or the output is not named `.onnx`.
    """
    started = time.perf_counter()
    if output.suffix != ".onnx":
        raise UserError(f"{output}: name the file .onnx")
    exported = load_task(checkpoint).exported()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            exported.network,
            tuple(exported.inputs.values()),
            input_names=list(exported.inputs),
            output_names=list(exported.outputs),
            dynamic_shapes=exported.free,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    if program is None:
        raise AssertionError("torch.onnx.export with dynamo gives a program")
    model = program.model_proto
    metadata = {key: json.dumps(value) for key, value in exported.metadata.items()}
    onnx.helper.set_model_props(model, metadata)
    with atomic_output(output) as temporary:
        onnx.save(model, temporary)
    write_ledger(output, started, checkpoint=checkpoint.name)
