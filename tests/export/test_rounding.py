"""Rounding of weights: what a layer computes is what must not change."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from mmr_export.rounding import WEIGHT_LIMIT, Moments, Rounder, input_moments, nearest_plane


def convolution(weight: np.ndarray, size: int, groups: int = 1, **attributes: list[int]) -> onnx.ModelProto:
    node = helper.make_node("Conv", ["x", "w"], ["y"], group=groups, **attributes)
    shape = [1, weight.shape[1] * groups, size, size]
    graph = helper.make_graph(
        [node],
        "layer",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weight, "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def correlated(count: int, k: int) -> np.ndarray:
    """Inputs (count, k) that move together, as neighbouring pixels do."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 1, (count, 4)) @ rng.normal(0, 1, (4, k)) + 0.1 * rng.normal(0, 1, (count, k)) + 3


def test_no_integer_lets_two_products_leave_16_bits() -> None:
    assert 2 * 255 * WEIGHT_LIMIT <= 2**15 - 1
    weight = np.random.default_rng(0).normal(0, 1, (8, 20))
    integers, _ = Rounder()("y", weight, np.full(8, 0.01, np.float32))
    assert np.abs(integers).max() == WEIGHT_LIMIT


def test_without_moments_weights_go_to_the_nearest_integer() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (4, 3, 2, 2))
    integers, gained = Rounder()("y", weight, np.full(4, 0.1, np.float32))
    assert integers.dtype == np.int8
    assert integers.shape == weight.shape
    assert np.array_equal(integers, np.rint(weight / np.float64(np.float32(0.1))))
    assert not gained.any()


def test_independent_inputs_leave_nothing_to_pass_on() -> None:
    rows, steps = np.random.default_rng(0).normal(0, 1, (5, 30)), np.full((5, 1), 0.05)
    assert np.array_equal(nearest_plane(rows, steps, np.eye(30)), np.rint(rows / steps))


def test_correlated_inputs_make_the_outputs_better_than_the_nearest_integers_do() -> None:
    x = correlated(2000, 150)
    rows = np.random.default_rng(1).normal(0, 1, (16, 150))
    steps = np.abs(rows).max(axis=1, keepdims=True) / WEIGHT_LIMIT
    centred = x - x.mean(axis=0)
    errors = {}
    for name, integers in (
        ("nearest", np.rint(rows / steps)),
        ("plane", nearest_plane(rows, steps, np.cov(x, rowvar=False))),
    ):
        errors[name] = np.square((rows - integers * steps) @ centred.T).mean()
    assert errors["plane"] < errors["nearest"] / 5


def test_the_bias_takes_over_the_change_of_the_mean() -> None:
    x = correlated(500, 40)
    weight, scales = np.random.default_rng(1).normal(0, 1, (6, 40)), np.full(6, 0.05, np.float32)
    moments = Moments(x.mean(axis=0)[None], np.cov(x, rowvar=False)[None])
    integers, gained = Rounder({"y": moments})("y", weight, scales)
    change = x @ (integers * scales[:, None] - weight).T + gained
    assert np.abs(change.mean(axis=0)).max() < 1e-5


def test_a_layer_is_rounded_once_for_all_graphs_that_have_its_steps() -> None:
    weight, scales = np.random.default_rng(0).normal(0, 1, (4, 9)), np.full(4, 0.05, np.float32)
    rounder = Rounder({"y": Moments(np.zeros((1, 9)), np.eye(9)[None])})
    first = rounder("y", weight, scales)[0]
    assert rounder("y", weight, scales)[0] is first
    assert not np.array_equal(rounder("y", weight, 2 * scales)[0], first)


def test_moments_are_those_of_the_taps_that_a_padded_strided_convolution_meets() -> None:
    weight = np.random.default_rng(0).normal(0, 1, (5, 3, 3, 3)).astype(np.float32)
    graph = convolution(weight, 9, pads=[1, 1, 1, 1], strides=[2, 2])
    rows = [np.random.default_rng(i).normal(1, 1, (1, 3, 9, 9)).astype(np.float32) for i in range(3)]
    found = input_moments(graph, ["y"], rows)["y"]
    assert found.mean.shape == (1, 27)
    assert found.covariance.shape == (1, 27, 27)
    padded = [np.pad(x[0], ((0, 0), (1, 1), (1, 1))) for x in rows]
    taps = [p[:, i : i + 3, j : j + 3].ravel() for p in padded for i in range(0, 9, 2) for j in range(0, 9, 2)]
    assert np.allclose(found.mean[0], np.mean(taps, axis=0), atol=1e-5)
    assert np.allclose(found.covariance[0], np.cov(taps, rowvar=False, bias=True), atol=1e-4)


def test_a_small_variation_beside_a_large_mean_is_not_lost() -> None:
    graph = convolution(np.ones((2, 4, 1, 1), np.float32), 16)
    rng = np.random.default_rng(0)
    rows = [(1000 + 0.01 * rng.normal(0, 1, (1, 4, 16, 16))).astype(np.float32) for _ in range(4)]
    covariance = input_moments(graph, ["y"], rows)["y"].covariance[0]
    assert np.diagonal(covariance) == pytest.approx(np.full(4, 1e-4), rel=0.2)
    assert np.linalg.eigvalsh(covariance).min() > 0


def test_a_product_counts_its_mean_for_it_has_no_bias() -> None:
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    values = (onnx.TensorProto.FLOAT, ["n", 3]), (onnx.TensorProto.FLOAT, None)
    inputs, outputs = (helper.make_tensor_value_info(n, *v) for n, v in zip("xy", values, strict=True))
    weight = numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    graph = helper.make_model(
        helper.make_graph([node], "layer", [inputs], [outputs], [weight]),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=8,
    )
    rows = [np.random.default_rng(i).normal(5, 1, (40, 3)).astype(np.float32) for i in range(3)]
    found = input_moments(graph, ["y"], rows)["y"]
    assert not found.mean.any()
    x = np.concatenate(rows)
    assert np.allclose(found.covariance[0], x.T @ x / len(x), rtol=1e-4)


def test_every_group_of_a_convolution_has_moments_of_its_own() -> None:
    weight = np.ones((4, 2, 1, 1), np.float32)
    graph = convolution(weight, 4, groups=2)
    row = np.arange(4, dtype=np.float32)[None, :, None, None] * np.ones((1, 4, 4, 4), np.float32)
    assert input_moments(graph, ["y"], [row])["y"].mean.tolist() == [[0, 1], [2, 3]]


def test_a_layer_with_gaps_between_its_taps_is_left_to_the_nearest_integer() -> None:
    graph = convolution(np.ones((1, 1, 3, 3), np.float32), 9, dilations=[2, 2])
    assert input_moments(graph, ["y"], [np.zeros((1, 1, 9, 9), np.float32)]) == {}


@pytest.mark.parametrize("k", [1, 63, 64, 65])
def test_any_number_of_weights_is_rounded(k: int) -> None:
    rows = np.random.default_rng(0).normal(0, 1, (3, k))
    integers = nearest_plane(rows, np.full((3, 1), 0.1), np.eye(k))
    assert np.array_equal(integers, np.rint(rows / 0.1))
