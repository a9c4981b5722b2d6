"""Gives the channels of a network's activations like ranges, without changing what it computes.

One int8 scale serves all channels of an activation, so a channel that stays small has few of its 255 steps. A channel
can be scaled where it is made and scaled back where it is read, as long as all between commutes with a positive factor:
ReLU, pooling, sums of channels with one factor, gating (cross-layer equalization: Nagel et al. 2019, "Data-free
quantization through weight equalization and bias correction"; here by measured ranges, and through residual sums).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]

_STRENGTH = 0.7
"""Power of the relative range that is divided out; 1 would move the whole unevenness into the weights."""
_LEAST = 1e-3
_CARRIERS = ("Relu", "MaxPool", "AveragePool", "GlobalAveragePool")


def equalized(graph: ModelProto, peaks: Mapping[str, Floats]) -> ModelProto:
    """A copy of the graph whose channels have more even ranges; its output is the same.

    Args:
        graph: float32, convolutions with constant weights.
        peaks: activation -> (channels,), largest magnitude of each channel.
    """
    copy = ModelProto()
    copy.CopyFrom(graph)
    factors = _factors(copy, peaks)
    weights = {tensor.name: tensor for tensor in copy.graph.initializer}
    made: list[TensorProto] = []
    for node in copy.graph.node:
        if _is_convolution(node, weights):
            made += _scale(node, weights, factors.get(node.input[0]), factors.get(node.output[0]))
    used = {name for node in copy.graph.node for name in node.input}
    kept = [tensor for tensor in (*copy.graph.initializer, *made) if tensor.name in used]
    del copy.graph.initializer[:]
    copy.graph.initializer.extend(kept)
    return copy


def _factors(graph: ModelProto, peaks: Mapping[str, Floats]) -> dict[str, Floats]:
    """For each activation that may be scaled, what its channels are divided by."""
    groups = _Groups(graph)
    relative = {name: peak / peak.max() for name, peak in peaks.items() if groups.is_free(name) and peak.max() > 0}
    together: dict[str, list[Floats]] = {}
    for name, peak in relative.items():
        together.setdefault(groups.root(name), []).append(peak)
    by_group = {
        root: (np.maximum(np.max(members, axis=0), _LEAST) ** _STRENGTH).astype(np.float32)
        for root, members in together.items()
    }
    return {name: by_group[groups.root(name)] for name in relative}


def _is_convolution(node: NodeProto, weights: Mapping[str, object]) -> bool:
    return bool(node.op_type == "Conv" and node.input[1] in weights)


class _Groups:
    """Activations whose channels must have the same factors, and those that must have none (union-find)."""

    def __init__(self, graph: ModelProto) -> None:
        self._parents: dict[str, str] = {}
        bound = {value.name for value in (*graph.graph.input, *graph.graph.output)}
        weights = {tensor.name for tensor in graph.graph.initializer}
        makers = {name: node.op_type for node in graph.graph.node for name in node.output}
        for node in graph.graph.node:
            if _is_convolution(node, dict.fromkeys(weights)):
                continue  # here factors change
            data = [name for name in node.input if name not in weights]
            gates = [name for name in data if makers.get(name) == "Sigmoid"]
            if node.op_type in _CARRIERS or (node.op_type == "Add" and len(data) == 2):
                carried = data
            elif node.op_type == "Mul" and len(data) == 2 and len(gates) == 1:
                carried = [name for name in data if name not in gates]
                bound.update(gates)
            else:
                carried = []
                bound.update((*data, *node.output))
            for name in carried:
                self._parents[self.root(name)] = self.root(node.output[0])
        self._bound = {self.root(name) for name in bound}

    def root(self, name: str) -> str:
        while self._parents.get(name, name) != name:
            name = self._parents[name]
        return name

    def is_free(self, name: str) -> bool:
        return self.root(name) not in self._bound


def _scale(
    node: NodeProto, weights: Mapping[str, TensorProto], inputs: Floats | None, outputs: Floats | None
) -> list[TensorProto]:
    """Let a convolution read channels divided by `inputs` and make channels divided by `outputs`.

    Returns:
        its new weights; the old ones may be another node's, too.
    """
    kernel = numpy_helper.to_array(weights[node.input[1]])
    groups = next((helper.get_attribute_value(a) for a in node.attribute if a.name == "group"), 1)
    if inputs is not None:
        split = kernel.reshape(groups, kernel.shape[0] // groups, kernel.shape[1], -1)
        kernel = (split * inputs.reshape(groups, 1, -1, 1)).reshape(kernel.shape)
    made = {1: kernel}
    if outputs is not None:
        made[1] = kernel / outputs[:, None, None, None]
        if len(node.input) > 2:
            made[2] = numpy_helper.to_array(weights[node.input[2]]) / outputs
    tensors = []
    for place, values in made.items():
        node.input[place] = f"{node.output[0]}_equalized_{place}"
        tensors.append(numpy_helper.from_array(values.astype(np.float32), node.input[place]))
    return tensors
