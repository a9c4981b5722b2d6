"""Float16 graphs: the same directions, half the bytes, and float32 wherever a number could overflow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mmr_export.half import MAX_MAGNITUDE, HalfGraph, half_graph
from mmr_export.quality import agreement, vectors_of
from mmr_runtime.bundle import ENCODERS, Tower
from mmr_runtime.errors import ExportError
from mmr_runtime.sessions import load_onnxruntime

Weights = dict[str, NDArray[Any]]


def inputs(tower: Tower, count: int = 6) -> list[NDArray[Any]]:
    """Rows of batch 1: pixels, texts of several lengths, and dB images from digital silence to full scale."""
    rng = np.random.default_rng(0)
    if tower == "image":
        return [rng.standard_normal((1, 3, 32, 32)).astype(np.float32) for _ in range(count)]
    if tower == "text":
        return [rng.integers(1, 49408, (1, 3 + i)) for i in range(count)]
    return [rng.uniform(-200, 50, (1, 3, 11, 100)).astype(np.float32) for _ in range(count)]


@pytest.fixture(scope="module")
def halves(tiny_graphs: dict[Tower, ModelProto]) -> dict[Tower, HalfGraph]:
    return {tower: half_graph(tiny_graphs[tower], inputs(tower)) for tower in ENCODERS}


@pytest.fixture
def graph_of() -> Callable[..., ModelProto]:
    def make(nodes: list[NodeProto], weights: Weights, kind: int = TensorProto.FLOAT) -> ModelProto:
        content = helper.make_graph(
            nodes,
            "tower",
            [helper.make_tensor_value_info("x", kind, ["batch", 4])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 4])],
            [numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        model = helper.make_model(content, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.checker.check_model(model, full_check=True)
        return model

    return make


def operators(half: HalfGraph) -> list[str]:
    return [node.op_type for node in half.graph.graph.node]


# -- towers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tower", ENCODERS)
def test_directions_stay(tower: Tower, halves: dict[Tower, HalfGraph], tiny_graphs: dict[Tower, ModelProto]) -> None:
    rows = inputs(tower)
    vectors = vectors_of(halves[tower].graph, rows)
    assert vectors.dtype == np.float32
    assert agreement(vectors, vectors_of(tiny_graphs[tower], rows)).min_cosine > 1 - 1e-5


@pytest.mark.parametrize("tower", ENCODERS)
def test_callers_notice_nothing(
    tower: Tower, halves: dict[Tower, HalfGraph], tiny_graphs: dict[Tower, ModelProto]
) -> None:
    half, full = halves[tower].graph, tiny_graphs[tower]
    assert list(half.graph.input) == list(full.graph.input)
    assert list(half.graph.output) == list(full.graph.output)
    assert list(half.metadata_props) == list(full.metadata_props)


@pytest.mark.parametrize("tower", ENCODERS)
def test_nothing_inside_is_float32(tower: Tower, halves: dict[Tower, HalfGraph]) -> None:
    half = halves[tower]
    assert half.float_nodes == ()
    assert not [t.name for t in half.graph.graph.initializer if t.data_type == TensorProto.FLOAT]
    assert operators(half).count("Cast") == (1 if tower == "text" else 2)


@pytest.mark.parametrize("tower", ENCODERS)
def test_it_takes_half_the_bytes(
    tower: Tower, halves: dict[Tower, HalfGraph], tiny_graphs: dict[Tower, ModelProto]
) -> None:
    def weights(graph: ModelProto) -> int:
        tensors = [numpy_helper.to_array(tensor) for tensor in graph.graph.initializer]
        return sum(tensor.nbytes for tensor in tensors if tensor.dtype.kind == "f")

    assert weights(halves[tower].graph) * 2 == weights(tiny_graphs[tower])


def test_a_batch_is_its_rows(halves: dict[Tower, HalfGraph]) -> None:
    rows = inputs("image")
    graph = halves["image"].graph
    session = load_onnxruntime().InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    together = session.run(None, {"pixels": np.concatenate(rows)})[0]
    assert agreement(together, vectors_of(graph, rows)).min_cosine > 1 - 1e-6


def test_the_given_graph_is_not_changed_and_equal_graphs_give_equal_bytes(tiny_graphs: dict[Tower, ModelProto]) -> None:
    before = tiny_graphs["text"].SerializeToString(deterministic=True)
    first, second = (half_graph(tiny_graphs["text"], inputs("text")).graph for _ in range(2))
    assert tiny_graphs["text"].SerializeToString(deterministic=True) == before
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


# -- what cannot be float16 -------------------------------------------------------------------------------------------


def large_between(factor: float) -> tuple[list[NodeProto], Weights]:
    """x * factor, negated, and back: the tensors between are large."""
    nodes = [
        helper.make_node("Mul", ["x", "factor"], ["large"]),
        helper.make_node("Neg", ["large"], ["still_large"]),
        helper.make_node("Div", ["still_large", "factor"], ["small"]),
        helper.make_node("Relu", ["small"], ["y"]),
    ]
    return nodes, {"factor": np.array([factor], np.float32)}


def test_what_would_overflow_stays_float32_from_end_to_end(graph_of: Callable[..., ModelProto]) -> None:
    nodes, weights = large_between(200.0)
    rows = [np.full((1, 4), -1000.0, np.float32)]
    half = half_graph(graph_of(nodes, weights), rows)
    assert half.float_nodes == ("large", "still_large", "small")
    assert operators(half) == ["Mul", "Neg", "Div", "Cast", "Relu", "Cast"]
    np.testing.assert_array_equal(vectors_of(half.graph, rows), 1000)
    assert half.peak == 1000


@pytest.mark.parametrize(("size", "stays"), [(0.9 * MAX_MAGNITUDE, False), (1.1 * MAX_MAGNITUDE, True)])
def test_a_quarter_of_the_range_is_kept_free(graph_of: Callable[..., ModelProto], size: float, stays: bool) -> None:
    nodes, weights = large_between(2.0)
    rows = [np.zeros((1, 4), np.float32), np.full((1, 4), -size / 2, np.float32)]
    assert bool(half_graph(graph_of(nodes, weights), rows).float_nodes) == stays


def test_a_weight_that_is_too_large_keeps_its_nodes_in_float32(graph_of: Callable[..., ModelProto]) -> None:
    nodes, weights = large_between(1e6)
    half = half_graph(graph_of(nodes, weights), [np.zeros((1, 4), np.float32)])
    assert half.float_nodes == ("large", "small")
    assert {t.data_type for t in half.graph.graph.initializer} == {TensorProto.FLOAT}
    rows = [np.full((1, 4), -1e-3, np.float32)]
    np.testing.assert_allclose(vectors_of(half.graph, rows), 1e-3, rtol=1e-3)


def test_a_weight_that_both_kinds_of_nodes_read_is_there_twice(graph_of: Callable[..., ModelProto]) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "two"], ["a"]),
        helper.make_node("Mul", ["a", "large"], ["b"]),
        helper.make_node("Mul", ["b", "two"], ["c"]),
        helper.make_node("Div", ["c", "large"], ["y"]),
    ]
    weights = {"two": np.array([2], np.float32), "large": np.array([1e5], np.float32)}
    rows = [np.full((1, 4), 3.0, np.float32)]
    half = half_graph(graph_of(nodes, weights), rows)
    assert half.float_nodes == ("b", "c", "y")
    assert sorted(t.data_type for t in half.graph.graph.initializer if t.name.startswith("two")) == [1, 10]
    np.testing.assert_allclose(vectors_of(half.graph, rows), 12.0)


def test_the_infinities_of_a_mask_are_no_overflow(graph_of: Callable[..., ModelProto]) -> None:
    nodes = [helper.make_node("Add", ["x", "mask"], ["a"]), helper.make_node("Softmax", ["a"], ["y"])]
    mask = np.array([0, 0, -np.inf, -np.inf], np.float32)
    rows = [np.ones((1, 4), np.float32)]
    half = half_graph(graph_of(nodes, {"mask": mask}), rows)
    assert half.float_nodes == ()
    np.testing.assert_array_equal(vectors_of(half.graph, rows), [[0.5, 0.5, 0, 0]])


def test_weights_that_become_zero_are_counted(graph_of: Callable[..., ModelProto]) -> None:
    weight = np.array([0, 1e-8, 1e-7, 1], np.float32)
    half = half_graph(graph_of([helper.make_node("Mul", ["x", "w"], ["y"])], {"w": weight}), [np.ones((1, 4), "f")])
    assert half.lost_weights == 1


def test_casts_and_ranges_stay_as_they_are(graph_of: Callable[..., ModelProto]) -> None:
    """A cast says itself what it makes, and ranges of float16 do not exist."""
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.FLOAT),
        helper.make_node("Range", ["zero", "four", "one"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    weights = {name: np.array(value, np.float32) for name, value in (("zero", 0), ("one", 1), ("four", 4))}
    rows = [np.array([[5, 6, 7, 8]])]
    half = half_graph(graph_of(nodes, weights, TensorProto.INT64), rows)
    assert half.float_nodes == ()
    assert operators(half) == ["Cast", "Range", "Cast", "Cast", "Add", "Cast"]
    np.testing.assert_array_equal(vectors_of(half.graph, rows), [[5, 7, 9, 11]])


def test_a_graph_that_would_not_be_valid_is_an_error(
    graph_of: Callable[..., ModelProto], monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes, weights = large_between(2.0)
    graph = graph_of(nodes, weights)

    def refuse(*_: object, **__: object) -> None:
        raise onnx.checker.ValidationError("no such thing\nat all")

    monkeypatch.setattr("onnx.checker.check_model", refuse)
    with pytest.raises(ExportError, match=r"not valid: no such thing \("):
        half_graph(graph, [np.zeros((1, 4), np.float32)])
