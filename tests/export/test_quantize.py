"""int8 graphs: what is quantized, and that it agrees."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from mmr_export import quantize
from mmr_export.calibrate import activation_ranges, channel_peaks
from mmr_export.equalize import equalized
from mmr_export.quality import agreement
from mmr_export.quantize import dynamic_int8, prepared, static_activations, static_int8, weighted_nodes
from mmr_runtime.bundle import Tower
from mmr_runtime.sessions import load_onnxruntime

Graphs = dict[Tower, onnx.ModelProto]


def run(graph: onnx.ModelProto, rows: list[np.ndarray]) -> np.ndarray:
    options = load_onnxruntime().SessionOptions()
    options.log_severity_level = 3
    session = load_onnxruntime().InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return np.concatenate([session.run(None, {graph.graph.input[0].name: x})[0] for x in rows])


def kinds(graph: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.graph.node)


def pictures(tower: Tower, count: int, seed: int = 0) -> list[np.ndarray]:
    """Smooth random maps of the tower's input size."""
    size = {"image": (32, 32), "audio": (11, 100)}[tower]
    rng = np.random.default_rng(seed)
    base = rng.normal(0, 1, (count, 1, 3, *size)).cumsum(axis=-1)
    return list(
        (base / base.std(axis=(2, 3, 4), keepdims=True) * rng.uniform(0.5, 2, (count, 1, 1, 1, 1))).astype(np.float32)
    )


def texts(count: int, seed: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.array([[49406, *rng.integers(1, 49000, 2 + i % 7), 49407]]) for i in range(count)]


def static(graph: onnx.ModelProto, rows: list[np.ndarray], floats: tuple[str, ...] = ()) -> onnx.ModelProto:
    ranges = activation_ranges(graph, static_activations(graph), rows)["minmax"]
    return static_int8(graph, ranges, floats)


# -- rewriting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tower", ["image", "audio"])
def test_preparation_changes_no_value(tiny_graphs: Graphs, tower: Tower) -> None:
    graph, rows = tiny_graphs[tower], pictures(tower, 3)
    assert np.allclose(run(prepared(graph), rows), run(graph, rows), rtol=1e-5, atol=1e-5)


def test_groups_are_merged_by_four(tiny_graphs: Graphs) -> None:
    def groups(graph: onnx.ModelProto) -> Counter[int]:
        return Counter(a.i for node in graph.graph.node for a in node.attribute if a.name == "group")

    before, after = groups(tiny_graphs["audio"]), groups(prepared(tiny_graphs["audio"]))
    assert before[4] == 4  # one grouped convolution in each stage
    assert after[4] == 0
    assert after[1] == before[1] + 4
    assert after[8] == before[8] > 0  # depthwise ones stay


def test_means_over_maps_become_pools_and_linear_layers_products(tiny_graphs: Graphs) -> None:
    after = kinds(prepared(tiny_graphs["audio"]))
    assert after["GlobalAveragePool"] == 1
    assert after["ReduceMean"] == after["Gemm"] == 0
    assert after["MatMul"] == 1


@pytest.mark.parametrize("tower", ["image", "audio"])
def test_equalizing_changes_no_value_but_evens_the_channels(tiny_graphs: Graphs, tower: Tower) -> None:
    graph, rows = prepared(tiny_graphs[tower]), pictures(tower, 4)
    before = channel_peaks(graph, rows)
    even = equalized(graph, before)
    assert np.allclose(run(even, rows), run(graph, rows), rtol=1e-3, atol=1e-4)
    after = channel_peaks(even, rows)
    unevenness = [
        [np.median(p.max() / np.maximum(p, p.max() / 100)) for p in peaks.values()] for peaks in (before, after)
    ]
    assert np.mean(unevenness[1]) < 0.8 * np.mean(unevenness[0])


def test_equalizing_copies_weights_that_two_nodes_share() -> None:
    kernel = np.diag([1.0, 0.01]).astype(np.float32).reshape(2, 2, 1, 1)
    graph = chain([("Conv", ["x", "k"], "a"), ("Relu", ["a"], "b"), ("Conv", ["b", "k"], "y")], {"k": kernel})
    x = [np.random.default_rng(0).random((1, 2, 3, 3)).astype(np.float32)]
    assert np.allclose(run(equalized(graph, channel_peaks(graph, x)), x), run(graph, x), rtol=1e-5)


def chain(nodes: list[tuple[str, list[str], str]], weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    """A graph from `x` (1, 2, height, width) to `y`."""
    made = [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        made,
        "chain",
        [value("x", onnx.TensorProto.FLOAT, [1, 2, None, None])],
        [value("y", onnx.TensorProto.FLOAT, [1, 2, None, None])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


# -- static -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tower", ["image", "audio"])
def test_a_static_graph_agrees_with_its_float_form(tiny_graphs: Graphs, tower: Tower) -> None:
    graph, unseen = prepared(tiny_graphs[tower]), pictures(tower, 16, seed=1)
    found = agreement(run(static(graph, pictures(tower, 16)), unseen), run(graph, unseen))
    assert found.mean_cosine > 0.99


@pytest.mark.parametrize("tower", ["image", "audio"])
def test_weights_are_int8_and_activations_uint8(tiny_graphs: Graphs, tower: Tower) -> None:
    graph = prepared(tiny_graphs[tower])
    int8 = static(graph, pictures(tower, 2))
    kind_of = {tensor.name: tensor.data_type for tensor in int8.graph.initializer}
    for node in int8.graph.node:
        if node.op_type == "QuantizeLinear":
            assert kind_of[node.input[2]] == onnx.TensorProto.UINT8
        if node.op_type == "Conv":
            assert node.input[1].endswith("_weight_dq")
    large = [t for t in int8.graph.initializer if np.prod(t.dims) > 300 and t.data_type == onnx.TensorProto.FLOAT]
    assert [t.name for t in large if "positional" not in t.name] == []
    assert kinds(int8)["Relu"] == 0  # the lower end of the scale clamps as well
    assert len(int8.SerializeToString()) < 0.7 * len(graph.SerializeToString())


def test_a_float_node_keeps_its_weights(tiny_graphs: Graphs) -> None:
    graph, rows = prepared(tiny_graphs["audio"]), pictures("audio", 4)
    first = weighted_nodes(graph)[0]
    mixed = static(graph, rows, (first,))
    conv = next(node for node in mixed.graph.node if node.output[0] == first)
    assert not conv.input[0].endswith("_dq")
    assert not conv.input[1].endswith("_dq")
    assert kinds(mixed)["Relu"] == 1  # its own
    everything = static(graph, rows, tuple(weighted_nodes(graph)))
    assert np.allclose(run(everything, rows), run(graph, rows), rtol=1e-5, atol=1e-6)
    assert kinds(everything)["QuantizeLinear"] == 0


def test_pools_pass_their_integers_on(tiny_graphs: Graphs) -> None:
    int8 = static(prepared(tiny_graphs["audio"]), pictures("audio", 2))
    scale = {t.name: numpy_helper.to_array(t) for t in int8.graph.initializer if t.name.endswith("_scale")}
    pools = [node for node in int8.graph.node if node.op_type == "MaxPool"]
    assert pools
    for pool in pools:
        assert scale[f"{pool.output[0]}_scale"] == scale[pool.input[0].removesuffix("_dq") + "_scale"]


def test_a_sigmoid_reads_only_what_lies_before_its_flat_ends() -> None:
    kernel = np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1) * 100
    graph = chain([("Conv", ["x", "k"], "a"), ("Sigmoid", ["a"], "y0"), ("Mul", ["y0", "y0"], "y")], {"k": kernel})
    x = [np.linspace(-1, 1, 18, dtype=np.float32).reshape(1, 2, 3, 3)]
    int8 = static(graph, x)
    scale = next(numpy_helper.to_array(t) for t in int8.graph.initializer if t.name == "a_scale")
    assert scale == pytest.approx(16 / 255)
    assert np.abs(run(int8, x) - run(graph, x)).max() < 0.02


def test_a_bias_beside_hardly_any_weight_survives() -> None:
    kernel = np.full((2, 2, 1, 1), 1e-12, np.float32)
    kernel[1] = 1
    weights = {"k": kernel, "b": np.array([3.0, -1.0], np.float32)}
    graph = chain(
        [("Conv", ["x", "k", "b"], "a"), ("Conv", ["a", "e"], "y")],
        {**weights, "e": np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)},
    )
    x = [np.random.default_rng(0).random((1, 2, 3, 3)).astype(np.float32)]
    assert np.abs(run(static(graph, x), x) - run(graph, x)).max() < 0.05


@given(
    low=st.floats(-1e3, 1e3, width=32),
    high=st.floats(-1e3, 1e3, width=32),
    share=st.floats(0, 1),
)
def test_a_value_in_its_range_is_kept_to_half_a_step_and_zero_exactly(low: float, high: float, share: float) -> None:
    low, high = sorted((low, high))
    scale, zero = quantize._activation_scale(low, high)
    value = low + share * (high - low)
    stored = np.clip(np.rint(value / scale) + zero, 0, 255)
    assert abs((stored - zero) * float(scale) - value) <= 1.001 * float(scale)
    assert 0 <= zero <= 255


# -- dynamic ----------------------------------------------------------------------------------------------------------


def test_a_dynamic_graph_agrees_with_its_float_form(tiny_graphs: Graphs) -> None:
    graph, rows = prepared(tiny_graphs["text"]), texts(24)
    int8 = dynamic_int8(graph)
    assert agreement(run(int8, rows), run(graph, rows)).mean_cosine > 0.999
    assert kinds(int8)["MatMulInteger"] == len(weighted_nodes(graph)) == 9
    assert len(int8.SerializeToString()) < 0.4 * len(graph.SerializeToString())


def test_the_token_table_is_int8_rows_with_a_scale_each(tiny_graphs: Graphs) -> None:
    int8 = dynamic_int8(tiny_graphs["text"])
    (table,) = [t for t in int8.graph.initializer if t.data_type == onnx.TensorProto.INT8 and t.dims[0] == 49408]
    values = numpy_helper.to_array(table)
    assert values.shape == (49408, 16)
    assert (np.abs(values.astype(int)).max(axis=1) == 127).all()


def test_a_float_product_stays(tiny_graphs: Graphs) -> None:
    graph = tiny_graphs["text"]
    kept = weighted_nodes(graph)[:2]
    assert kinds(dynamic_int8(graph, kept))["MatMulInteger"] == len(weighted_nodes(graph)) - 2


# -- ranges -----------------------------------------------------------------------------------------------------------


def test_ranges_come_from_all_inputs(tiny_graphs: Graphs) -> None:
    graph, rows = prepared(tiny_graphs["audio"]), pictures("audio", 4)
    ranges = activation_ranges(graph, static_activations(graph), rows)
    assert set(ranges) == {"minmax", "percentile", "error"}
    assert ranges["minmax"]["db"] == (min(x.min() for x in rows), max(x.max() for x in rows))
    for name, (low, high) in ranges["minmax"].items():
        for method in ("percentile", "error"):
            assert min(low, 0) - 1e-6 <= ranges[method][name][0] <= ranges[method][name][1] <= max(high, 0) + 1e-6


def test_the_error_range_clips_a_lone_outlier() -> None:
    graph = chain(
        [("Conv", ["x", "k"], "a"), ("Conv", ["a", "k"], "y")], {"k": np.eye(2, dtype=np.float32).reshape(2, 2, 1, 1)}
    )
    rows = [np.random.default_rng(i).normal(0, 1, (1, 2, 64, 64)).astype(np.float32) for i in range(40)]
    rows[0][0, 0, 0, 0] = 12.0
    ranges = activation_ranges(graph, ["a"], rows)
    assert ranges["minmax"]["a"][1] == 12
    assert 3 < ranges["error"]["a"][1] < 11
