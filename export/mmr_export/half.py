"""Float32 graphs become float16 graphs, for GPUs: half the memory, and the arithmetic that tensor cores are fast at.

Inputs and outputs keep their types, so that callers notice nothing. Where a half-precision number could overflow, a
node stays float32: what was measured on calibration inputs decides, and the weights.

onnxruntime brings a converter (`onnxruntime.transformers.float16`). It suits most graphs, but not the one thing that
float32 nodes are for: between two of them it still passes a tensor as float16, where it overflows. It also appends its
casts to the end of the graph, which the ONNX checker refuses, and cuts weights off at 65504 without a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mmr_runtime.errors import ExportError

from .calibrate import activation_peaks

MAX_MAGNITUDE = 65504 / 4
"""A tensor that came near it stays float32: a quarter of what half precision holds, for pages and songs to come.

Sums inside a node need no such room: convolutions, products, means, softmax and layer normalisation of half-precision
values accumulate in float32, in cuDNN, cuBLAS and onnxruntime's own kernels.
"""


@dataclass(frozen=True, eq=False)
class HalfGraph:
    """A float16 graph and what became of its numbers.

    Attributes:
        graph: float32 outside, float16 inside.
        float_nodes: nodes that stayed float32 for the size of their values, by output name, in the order of the graph.
        peak: largest magnitude that a float16 tensor of the graph took on the calibration inputs, weights included.
        lost_weights: how many weights that were not 0 are now: they were below 2^-25.
    """

    graph: ModelProto
    float_nodes: tuple[str, ...]
    peak: float
    lost_weights: int


def half_graph(graph: ModelProto, rows: Sequence[NDArray[Any]]) -> HalfGraph:
    """Convert the float32 graph of a tower to float16.

    Args:
        graph: as `graphs.tower_graph` makes it; not changed.
        rows: calibration inputs, each of batch 1.

    Raises:
        ExportError: the result is no valid graph.
    """
    weights = {tensor.name: tensor for tensor in graph.graph.initializer if tensor.data_type == TensorProto.FLOAT}
    peaks = activation_peaks(graph, rows) | {name: _peak(numpy_helper.to_array(t)) for name, t in weights.items()}
    too_large = {name for name, peak in peaks.items() if not peak <= MAX_MAGNITUDE}
    float_nodes = tuple(n.output[0] for n in graph.graph.node if too_large.intersection((*n.input, *n.output)))
    result = _Conversion(graph, set(peaks), set(float_nodes))
    try:
        onnx.checker.check_model(result.graph, full_check=True)
    except Exception as error:  # the checker's errors have no common root
        what = str(error).strip().partition("\n")[0][:200]
        raise ExportError(f"the float16 graph is not valid: {what}", "report it with the versions used") from error
    peak = max((peaks[name] for name in result.halved), default=0.0)
    return HalfGraph(result.graph, float_nodes, peak, result.lost_weights)


class _Conversion:
    """One pass over a graph: every node reads its inputs in its own precision, cast where they come in the other.

    Attributes:
        graph: the result.
        halved: float32 tensors of the original, weights included, that exist in float16 now.
        lost_weights: weights that became 0.
    """

    def __init__(self, graph: ModelProto, floats: set[str], float_nodes: set[str]) -> None:
        self._floats = floats
        self._weights = {t.name: t for t in graph.graph.initializer if t.name in floats}
        self._kept = {tensor.name: tensor for tensor in graph.graph.initializer}
        self._types = dict.fromkeys((*self._weights, *(i.name for i in graph.graph.input)), TensorProto.FLOAT)
        self._casts: dict[tuple[str, int], str] = {}
        self._nodes: list[NodeProto] = []
        self._opsets = {opset.domain: opset.version for opset in graph.opset_import}
        self.halved: set[str] = set()
        self.lost_weights = 0
        for node in graph.graph.node:
            self._add(node, keep=node.output[0] in float_nodes)
        self._restore_output(graph.graph.output[0].name)
        self.graph = ModelProto()
        self.graph.CopyFrom(graph)
        del self.graph.graph.node[:], self.graph.graph.initializer[:]
        self.graph.graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        self.graph.graph.initializer.extend(t for name, t in self._kept.items() if name in used)

    def _add(self, original: NodeProto, *, keep: bool) -> None:
        node = NodeProto()
        node.CopyFrom(original)
        kind = TensorProto.FLOAT if keep or not self._takes_half(node) else TensorProto.FLOAT16
        for i, name in enumerate(node.input):
            if name in self._floats:
                node.input[i] = self._as(name, kind)
        for name in node.output:
            if name in self._floats:
                self._set_type(name, kind)
        self._nodes.append(node)

    def _takes_half(self, node: NodeProto) -> bool:
        """Whether all its float inputs may be float16; without any, its attributes say what it puts out."""
        formal = onnx.defs.get_schema(node.op_type, self._opsets[node.domain], node.domain).inputs
        read = [formal[min(i, len(formal) - 1)] for i, name in enumerate(node.input) if name in self._floats]
        return bool(read) and node.op_type != "Cast" and all("tensor(float16)" in parameter.types for parameter in read)

    def _set_type(self, name: str, kind: int) -> None:
        self._types[name] = kind
        if kind == TensorProto.FLOAT16:
            self.halved.add(name)

    def _as(self, name: str, kind: int) -> str:
        """The name under which a tensor is there in this precision."""
        if self._types[name] == kind:
            return name
        if (name, kind) not in self._casts:
            copy = self._casts[name, kind] = f"{name}_{'half' if kind == TensorProto.FLOAT16 else 'float'}"
            if name in self._weights:
                self._kept[copy] = self._half_weight(name, copy)
            else:
                self._nodes.append(helper.make_node("Cast", [name], [copy], name=f"{copy}_cast", to=kind))
            if kind == TensorProto.FLOAT16:
                self.halved.add(name)
        return self._casts[name, kind]

    def _half_weight(self, name: str, copy: str) -> TensorProto:
        weight = numpy_helper.to_array(self._weights[name])
        half = weight.astype(np.float16)
        self.lost_weights += int(np.count_nonzero(weight) - np.count_nonzero(half))
        return numpy_helper.from_array(half, copy)

    def _restore_output(self, name: str) -> None:
        """Give the graph's output in float32 under its own name."""
        if self._types[name] == TensorProto.FLOAT:
            return
        half = f"{name}_half"
        for node in self._nodes:
            for names in (node.input, node.output):
                names[:] = [half if n == name else n for n in names]
        self._nodes.append(helper.make_node("Cast", [half], [name], name=f"{name}_cast", to=TensorProto.FLOAT))


def _peak(weight: NDArray[np.float32]) -> float:
    """Largest finite magnitude; half precision has infinities, too."""
    return float(np.abs(weight[np.isfinite(weight)]).max(initial=0.0))
