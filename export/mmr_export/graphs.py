"""A tower becomes an ONNX graph: evaluation mode, float32, one input, one output, one file.

The dynamo exporter is used: the older one is going away, and traces the shapes of the text tower into 500 nodes that
compute nothing else. Its output is then stripped of all that names the machine it was made on.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import onnx
import torch
from torch import Tensor, nn

from mmr_runtime.bundle import GraphFile, Tower
from mmr_runtime.errors import ExportError

from .model import AudioCLIP
from .model.projection import Projections

OPSET = 18
"""The exporter's native opset; every onnxruntime since 1.14 runs it."""

OUTPUT = "vector"
_BATCH = torch.export.Dim("batch", min=1)


@dataclass(frozen=True)
class _Form:
    """Input name of a tower's graph, the part of the model it runs, and the dimensions that stay open."""

    input: str
    encoder: str
    open: dict[int, str]


_FORMS: dict[Tower, _Form] = {
    "image": _Form("pixels", "encode_image", {0: "batch"}),
    "text": _Form("tokens", "encode_text", {0: "batch", 1: "length"}),
    "audio": _Form("db", "encode_db", {0: "batch"}),
    "audio_features": _Form("features", "audio_features", {0: "batch"}),
    "image_features": _Form("features", "image_features", {0: "batch"}),
}
Model = AudioCLIP | Projections


class _Encoder(nn.Module):
    """One encoder of the model as a module of its own, which is what the exporter takes."""

    def __init__(self, model: Model, method: str) -> None:
        super().__init__()
        self.model = model
        self.method = method

    def forward(self, x: Tensor) -> Tensor:
        """Embed x; shapes as the encoder has them."""
        return cast("Tensor", getattr(self.model, self.method)(x))


def graph_file(tower: Tower, precision: str) -> GraphFile:
    """File name, input and output of a tower's graph."""
    return GraphFile(f"{tower}.{precision}.onnx", _FORMS[tower].input, OUTPUT)


def encode(model: Model, tower: Tower, x: Tensor) -> Tensor:
    """What the tower's graph computes, by PyTorch: float32 (n, d), not normalised."""
    with torch.inference_mode():
        vectors: Tensor = _Encoder(model, _FORMS[tower].encoder)(x)
    return vectors


def tower_graph(model: Model, tower: Tower, *, frames: int, model_id: str) -> onnx.ModelProto:
    """The graph of one tower.

    `pixels` float32 (batch, 3, height, width), `tokens` int64 (batch, length), `db` float32 (batch, 3, rows, frames) or
    `features` float32 (batch, f) becomes `vector` float32 (batch, d), not normalised. The sound's gates hold for one
    number of frames.

    Args:
        model: in evaluation mode.
        tower: which one.
        frames: of the dB image; `audio` only.
        model_id: stored in the graph's properties.

    Raises:
        ExportError: the exporter fails, or makes a graph that the ONNX checker refuses.
    """
    form = _FORMS[tower]
    dims = {"batch": _BATCH}
    if isinstance(model, AudioCLIP):
        dims["length"] = torch.export.Dim("length", min=2, max=model.config.text.context)
    try:
        with _quiet_exporter(), torch.no_grad():
            program: Any = torch.onnx.export(
                _Encoder(model, form.encoder).eval(),
                (_example(model, tower, frames),),
                input_names=[form.input],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=True,
                dynamic_shapes=({axis: dims[name] for axis, name in form.open.items()},),
                verbose=False,
            )
        graph = _cleaned(program.model_proto, form)
        for key, value in (("mmr.model", model_id), ("mmr.tower", tower)):
            graph.metadata_props.add(key=key, value=value)
        onnx.checker.check_model(graph, full_check=True)
    except Exception as error:  # the exporter's and the checker's errors have no common root
        what = str(error).strip().partition("\n")[0][:200]
        raise ExportError(
            f"the {tower} tower cannot be exported: {what}", "report it with the versions used"
        ) from error
    return graph


def _example(model: Model, tower: Tower, frames: int) -> Tensor:
    """Values do not matter, shapes do; two of each open dimension, for the exporter takes 1 as a constant."""
    if isinstance(model, Projections):
        return torch.zeros(2, getattr(model.config, tower))
    config = model.config
    if tower == "image":
        return torch.zeros(2, 3, config.image.height, config.image.width)
    if tower == "audio":
        return torch.zeros(2, 3, config.audio.bands_height, frames)
    return torch.zeros(2, min(4, config.text.context), dtype=torch.int64)


def _cleaned(graph: onnx.ModelProto, form: _Form) -> onnx.ModelProto:
    """Without source lines, paths and inferred shapes; open dimensions by their names."""
    graph.ClearField("doc_string")
    graph.ClearField("metadata_props")
    graph.graph.ClearField("doc_string")
    graph.graph.ClearField("metadata_props")
    graph.graph.ClearField("value_info")
    graph.graph.name = "mmr"
    parts = (graph.graph.node, graph.graph.initializer, graph.graph.input, graph.graph.output)
    for part in (item for group in parts for item in group):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    for value, names in ((graph.graph.input[0], form.open), (graph.graph.output[0], {0: "batch"})):
        for axis, name in names.items():
            value.type.tensor_type.shape.dim[axis].dim_param = name
    return graph


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's own notes off the terminal; they concern its authors."""
    names = ("torch.onnx", "onnxscript", "onnx_ir")
    levels = {name: logging.getLogger(name).level for name in names}
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        # torch 2.13 calls a deprecated form of its own tree functions while it copies the model.
        warnings.filterwarnings("ignore", message=r".*LeafSpec.*deprecated", category=FutureWarning)
        for name in names:
            logging.getLogger(name).setLevel(logging.ERROR)
        try:
            yield
        finally:
            for name, level in levels.items():
                logging.getLogger(name).setLevel(level)
