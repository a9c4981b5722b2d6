"""Float32 graphs become int8 graphs.

- Convolutions, static: activations uint8 with one scale and zero point each, weights int8 per output channel (within
  seven bits: see `rounding`), as QuantizeLinear / DequantizeLinear pairs that onnxruntime fuses into integer kernels.
  Unsigned activations, for signed ones cost twice the time on processors with VNNI.
- Products of activations with weights, dynamic: each measures the range of its input when it runs. So does all of the
  text tower, whose token table is stored as int8 rows with a scale each.

Everything that is not one of these, or a step between two quantized convolutions, stays float32.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, cast

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from .calibrate import Range
from .rounding import Rounder

Ranges = Mapping[str, Range]

GROUPS_MERGED = 4
"""Groups of a grouped convolution that become one; four was the fastest on a VNNI core, by a third."""

_STEPS = ("Add", "Mul", "MaxPool", "AveragePool", "Sigmoid", "Relu", "Clip", "GlobalAveragePool")
_SHARES_SCALE = ("MaxPool",)
"""Steps that only choose among their inputs: in and out on one scale, the integers pass unchanged."""
_CLAMPS = ("Relu", "Clip")
_BIAS_LIMIT = 2**30
_TABLE_LIMIT = 127
"""Rows of a table are looked up, not multiplied: nothing can saturate."""
_SIGMOID_FLAT = 8.0
"""Beyond it a sigmoid is within a tenth of a step of 0 or 1: the steps are better spent on what lies between."""


def weighted_nodes(graph: ModelProto) -> list[str]:
    """Output names of the nodes that can be quantized, in the order of the graph; they name a node in `float_nodes`."""
    weights = {tensor.name for tensor in graph.graph.initializer}
    return [n.output[0] for n in graph.graph.node if n.op_type in ("Conv", "MatMul") and n.input[1] in weights]


def prepared(graph: ModelProto) -> ModelProto:
    """A copy that computes the same and suits int8 better.

    Groups are merged, means over maps become pools, linear layers a product and a sum.
    """
    graph = _copy(graph)
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    nodes: list[NodeProto] = []
    for node in graph.graph.node:
        if node.op_type == "Conv":
            _merge_groups(node, graph, weights)
        elif node.op_type == "ReduceMean" and _is_map_mean(node, weights):
            node.CopyFrom(helper.make_node("GlobalAveragePool", node.input[:1], node.output))
        elif node.op_type == "Gemm" and node.input[1] in weights:
            nodes.append(_product_of_linear(node, graph, weights))
        nodes.append(node)
    return _rebuilt(graph, nodes)


def static_int8(
    graph: ModelProto, ranges: Ranges, float_nodes: Collection[str] = (), rounder: Rounder | None = None
) -> ModelProto:
    """Quantize a convolutional tower.

    Args:
        graph: from `prepared`.
        ranges: lowest and highest value of each activation in `static_activations(graph)`.
        float_nodes: weighted nodes that stay float32, by output name.
        rounder: of the weights; by default to the nearest integer.
    """
    return _Static(graph, float_nodes).quantized(ranges, rounder or Rounder())


def static_activations(graph: ModelProto) -> list[str]:
    """Activations whose ranges `static_int8` needs, whatever stays float32."""
    return sorted(_Static(graph, ()).wanted)


def dynamic_int8(graph: ModelProto, float_nodes: Collection[str] = (), rounder: Rounder | None = None) -> ModelProto:
    """Quantize the text tower: its products with weights and its token table.

    Args:
        graph: float32.
        float_nodes: weighted nodes that stay float32, by output name.
        rounder: of the weights; by default to the nearest integer.
    """
    graph, rounder = _copy(graph), rounder or Rounder()
    weights = {tensor.name: tensor for tensor in graph.graph.initializer}
    tokens = graph.graph.input[0].name
    nodes: list[NodeProto] = []
    measured: set[str] = set()
    for node in graph.graph.node:
        if node.op_type == "Gather" and node.input[0] in weights and node.input[1] == tokens:
            nodes += _int8_table(node, graph, weights)
        elif node.op_type == "MatMul" and node.input[1] in weights and node.output[0] not in float_nodes:
            nodes += _int8_product(node, graph, weights, measured, rounder)
        else:
            nodes.append(node)
    return _rebuilt(graph, nodes)


# -- rewriting --------------------------------------------------------------------------------------------------------


def _merge_groups(node: NodeProto, graph: ModelProto, weights: dict[str, onnx.TensorProto]) -> None:
    """Make every four groups one, with zeros where they were apart; the result is the same.

    onnxruntime runs an int8 convolution group by group, and a group of four channels leaves its kernels mostly idle.
    """
    groups = next((a for a in node.attribute if a.name == "group"), None)
    if groups is None or groups.i % GROUPS_MERGED:
        return
    tensor = weights[node.input[1]]
    outputs, inputs, *kernel = tensor.dims
    if inputs == 1:  # depthwise: has kernels of its own
        return
    old = numpy_helper.to_array(tensor).reshape(groups.i, outputs // groups.i, inputs, *kernel)
    new = np.zeros((groups.i, outputs // groups.i, inputs * GROUPS_MERGED, *kernel), np.float32)
    for group in range(groups.i):
        start = group % GROUPS_MERGED * inputs
        new[group, :, start : start + inputs] = old[group]
    groups.i //= GROUPS_MERGED
    node.input[1] = f"{node.output[0]}_merged"  # the old weights may be another node's, too
    graph.graph.initializer.append(numpy_helper.from_array(new.reshape(outputs, -1, *kernel), node.input[1]))


def _product_of_linear(node: NodeProto, graph: ModelProto, weights: dict[str, onnx.TensorProto]) -> NodeProto:
    """Turn a Gemm with bias into an Add, and give the MatMul that belongs before it."""
    weight, product = numpy_helper.to_array(weights[node.input[1]]), f"{node.output[0]}_product"
    if _attribute(node, "transB"):
        weight = weight.T
    graph.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(weight), f"{product}_matrix"))
    matmul = helper.make_node("MatMul", [node.input[0], f"{product}_matrix"], [product])
    node.CopyFrom(helper.make_node("Add", [product, node.input[2]], node.output))
    return matmul


def _is_map_mean(node: NodeProto, weights: dict[str, onnx.TensorProto]) -> bool:
    keeps = next((a.i for a in node.attribute if a.name == "keepdims"), 1)
    axes = weights.get(node.input[1]) if len(node.input) > 1 else None
    return bool(keeps) and axes is not None and sorted(numpy_helper.to_array(axes).tolist()) in ([2, 3], [-2, -1])


# -- static -----------------------------------------------------------------------------------------------------------


class _Static:
    """Which nodes of a graph run on integers, and the graph that results.

    Attributes:
        wanted: activations that are quantized.
    """

    def __init__(self, graph: ModelProto, float_nodes: Collection[str]) -> None:
        self._graph = _copy(graph)
        self._weights = {tensor.name: tensor for tensor in self._graph.graph.initializer}
        self._float_nodes = set(float_nodes)
        self._outputs = {value.name for value in self._graph.graph.output}
        self._consumers: dict[str, list[NodeProto]] = {}
        for node in self._graph.graph.node:
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self._integer: set[str] = set()
        """Activations that an integer kernel makes: nobody ever sees them in float."""
        self.wanted: set[str] = set()
        for node in self._graph.graph.node:
            self._plan(node)

    def _plan(self, node: NodeProto) -> None:
        output = node.output[0]
        if self._is_convolution(node):
            self.wanted.add(node.input[0])
        if self._is_convolution(node) or self._is_step(node):
            self._integer.add(output)
            if self._clamped_output(node) is None:
                self.wanted.add(output)

    def _is_convolution(self, node: NodeProto) -> bool:
        output = node.output[0]
        return (
            node.op_type == "Conv"
            and node.input[1] in self._weights
            and output not in self._float_nodes
            and output not in self._outputs
        )

    def _is_step(self, node: NodeProto) -> bool:
        data = node.input[:1] if node.op_type == "Clip" else node.input
        return (
            node.op_type in _STEPS
            and node.output[0] not in self._outputs
            and all(name in self._integer for name in data)
        )

    def _clamped_output(self, node: NodeProto) -> str | None:
        """Output of the ReLU that alone reads this node: its clamp is the lower end of the scale, and it falls away."""
        readers = self._consumers.get(node.output[0], [])
        if node.op_type in ("Conv", "Add") and len(readers) == 1 and readers[0].op_type in _CLAMPS:
            return str(readers[0].output[0])
        return None

    def quantized(self, ranges: Ranges, rounder: Rounder) -> ModelProto:
        """The graph with pairs around what is quantized."""
        self._rounder = rounder
        self._added: list[onnx.TensorProto] = []
        self._nodes: list[NodeProto] = []
        self._scales: dict[str, tuple[np.float32, np.uint8]] = {}
        self._paired: set[str] = set()
        self._made_by_integers: set[str] = set()
        renamed: dict[str, str] = {}
        measured: set[str] = set()
        for value in self._graph.graph.input:
            if value.name in self.wanted:
                self._pair(value.name, ranges[value.name])
        for node in self._graph.graph.node:
            output, clamped = node.output[0], self._clamped_output(node)
            if output in renamed.values():
                continue  # a ReLU that its producer has taken over
            on_integers = output in self._integer
            self._read_pairs(node, on_integers)
            if self._is_convolution(node):
                self._quantize_weights(node)
            if on_integers and clamped is not None:
                renamed[output] = node.output[0] = clamped
            if on_integers:
                self._made_by_integers.add(node.output[0])
            if node.op_type == "MatMul" and node.input[1] in self._weights and output not in self._float_nodes:
                self._nodes += _int8_product(node, self._graph, self._weights, measured, rounder)
            else:
                self._nodes.append(node)
            made = node.output[0]
            if made in self.wanted:
                shares = on_integers and node.op_type in _SHARES_SCALE
                self._pair(made, ranges[made], self._scales[node.input[0].removesuffix(_DQ)] if shares else None)
        self._graph.graph.initializer.extend(self._added)
        return _rebuilt(self._graph, self._nodes)

    def _read_pairs(self, node: NodeProto, on_integers: bool) -> None:
        """Let a node read the quantized form of its inputs; a float node only where there is no other form."""
        for i, name in enumerate(node.input):
            if name in self._paired and (on_integers or name in self._made_by_integers):
                node.input[i] = name + _DQ

    def _pair(self, name: str, bounds: Range, scale: tuple[np.float32, np.uint8] | None = None) -> None:
        """Quantize an activation and bring it back, on a scale of its own or a given one."""
        if all(reader.op_type == "Sigmoid" for reader in self._consumers.get(name, ())):
            bounds = max(bounds[0], -_SIGMOID_FLAT), min(bounds[1], _SIGMOID_FLAT)
        self._scales[name] = scale or _activation_scale(*bounds)
        self._paired.add(name)
        parameters = [
            self._add(f"{name}_scale", self._scales[name][0]),
            self._add(f"{name}_zero", self._scales[name][1]),
        ]
        self._nodes += [
            helper.make_node("QuantizeLinear", [name, *parameters], [f"{name}_q"], name=f"{name}_q"),
            helper.make_node("DequantizeLinear", [f"{name}_q", *parameters], [name + _DQ], name=name + _DQ),
        ]

    def _quantize_weights(self, node: NodeProto) -> None:
        name = node.output[0]
        weight = numpy_helper.to_array(self._weights[node.input[1]])
        bias = np.zeros(len(weight))
        if len(node.input) > 2 and node.input[2]:
            bias = numpy_helper.to_array(self._weights[node.input[2]]).astype(np.float64)
        input_scale = self._scales[node.input[0].removesuffix(_DQ)][0]
        # A channel of hardly any weight and a real bias: its bias must still fit 32 bits.
        least = np.abs(bias) / (float(input_scale) * _BIAS_LIMIT)
        scales = np.maximum(_channel_scales(weight, 0, self._rounder.limit), least).astype(np.float32)
        integers, gained = self._rounder(name, weight, scales)
        bias_scales = (input_scale * scales).astype(np.float32)
        rounded = np.rint((bias + gained) / bias_scales).astype(np.int32)
        node.input[1] = self._dequantized(f"{name}_weight", integers, scales)
        del node.input[2:]
        node.input.append(self._dequantized(f"{name}_bias", rounded, bias_scales))

    def _dequantized(self, name: str, integers: NDArray[Any], scales: NDArray[np.float32]) -> str:
        inputs = [
            self._add(name, integers),
            self._add(f"{name}_scale", scales),
            self._add(f"{name}_zero", np.zeros(len(scales), integers.dtype)),
        ]
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [name + _DQ], name=name + _DQ, axis=0))
        return name + _DQ

    def _add(self, name: str, value: Any) -> str:
        self._added.append(numpy_helper.from_array(np.asarray(value), name))
        return name


_DQ = "_dq"


def _activation_scale(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point of uint8 for values in low..high; zero itself is exact, for padding is made of it."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255 or 1.0)
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


def _channel_scales(weight: NDArray[Any], axis: int, limit: int) -> NDArray[np.float32]:
    """Steps that bring the largest value of each channel to this integer."""
    peaks = np.abs(weight).max(axis=tuple(i for i in range(weight.ndim) if i != axis))
    return np.where(peaks > 0, peaks / limit, 1).astype(np.float32)


# -- dynamic ----------------------------------------------------------------------------------------------------------


def _int8_table(node: NodeProto, graph: ModelProto, weights: dict[str, onnx.TensorProto]) -> list[NodeProto]:
    """A look-up in rows of int8, each brought back by its own scale."""
    table, tokens, output = numpy_helper.to_array(weights[node.input[0]]), node.input[1], node.output[0]
    scales = _channel_scales(table, 0, _TABLE_LIMIT)
    integers = np.rint(table / scales[:, None]).astype(np.int8)
    graph.graph.initializer.append(numpy_helper.from_array(integers, f"{output}_table"))
    graph.graph.initializer.append(numpy_helper.from_array(scales[:, None], f"{output}_scale"))
    return [
        helper.make_node("Gather", [f"{output}_table", tokens], [f"{output}_row"], axis=0),
        helper.make_node("Gather", [f"{output}_scale", tokens], [f"{output}_row_scale"], axis=0),
        helper.make_node("Cast", [f"{output}_row"], [f"{output}_float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [f"{output}_float", f"{output}_row_scale"], [output]),
    ]


def _int8_product(
    node: NodeProto,
    graph: ModelProto,
    weights: dict[str, onnx.TensorProto],
    measured: set[str],
    rounder: Rounder,
) -> list[NodeProto]:
    """MatMulInteger between a measured input and int8 weights; onnxruntime fuses these nodes into one."""
    data, output = node.input[0], node.output[0]
    integers, scale, zero = f"{data}_dynamic", f"{data}_dynamic_scale", f"{data}_dynamic_zero"
    nodes: list[NodeProto] = []
    if data not in measured:
        measured.add(data)
        nodes.append(helper.make_node("DynamicQuantizeLinear", [data], [integers, scale, zero]))
    weight = numpy_helper.to_array(weights[node.input[1]])
    scales = _channel_scales(weight, 1, rounder.limit)
    rounded = np.ascontiguousarray(rounder(output, weight.T, scales)[0].T)
    graph.graph.initializer.append(numpy_helper.from_array(rounded, f"{output}_weight"))
    graph.graph.initializer.append(numpy_helper.from_array(scales, f"{output}_weight_scale"))
    graph.graph.initializer.append(numpy_helper.from_array(np.zeros(len(scales), np.int8), f"{output}_weight_zero"))
    product = [integers, f"{output}_weight", zero, f"{output}_weight_zero"]
    return [
        *nodes,
        helper.make_node("MatMulInteger", product, [f"{output}_int"]),
        helper.make_node("Cast", [f"{output}_int"], [f"{output}_sum"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", [scale, f"{output}_weight_scale"], [f"{output}_scale"]),
        helper.make_node("Mul", [f"{output}_sum", f"{output}_scale"], [output]),
    ]


# -- protobuf ---------------------------------------------------------------------------------------------------------


def _attribute(node: NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), None)


def _copy(graph: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(graph)
    return cast("ModelProto", copy)


def _rebuilt(graph: ModelProto, nodes: list[NodeProto]) -> ModelProto:
    """The graph with these nodes and only the weights that they read."""
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.graph.initializer if tensor.name in used]
    nodes = [_with_name(node) for node in nodes]
    del graph.graph.node[:], graph.graph.initializer[:]
    graph.graph.node.extend(nodes)
    graph.graph.initializer.extend(kept)
    onnx.checker.check_model(graph)
    return graph


def _with_name(node: NodeProto) -> NodeProto:
    node.name = node.name or node.output[0]
    return node
