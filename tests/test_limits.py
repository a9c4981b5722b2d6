"""benchmarks/limits.py: multiply-adds are counted right, and the shares of the time add up."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[1]
FLOAT = TensorProto.FLOAT
RATES = {"fp32": 1e9, "int8": 4e9}


@pytest.fixture(scope="module")
def limits() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))  # it imports host.py, which lies beside it
        spec = importlib.util.spec_from_file_location("limits", ROOT / "benchmarks" / "limits.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "limits", module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        yield module


def write(path: Path, nodes: list[onnx.NodeProto], shapes: dict[str, tuple[int, ...]]) -> Path:
    """A graph from `x` (batch, 4, 8, 8) to `y`, with random weights of these shapes."""
    rng = np.random.default_rng(0)
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in shapes.items()]
    x = helper.make_tensor_value_info("x", FLOAT, ("batch", 4, 8, 8))
    y = helper.make_tensor_value_info("y", FLOAT, None)
    graph = helper.make_graph(nodes, "g", [x], [y], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


ROW = np.zeros((1, 4, 8, 8), np.float32)
STRIDED = helper.make_node("Conv", ["x", "w"], ["c"], name="conv", strides=[2, 2], pads=[1, 1, 1, 1], group=2)
FLAT = helper.make_node("Flatten", ["c"], ["f"], name="flat")
LINEAR = helper.make_node("Gemm", ["f", "v"], ["y"], name="linear", transB=1)
SHAPES = {"w": (6, 2, 3, 3), "v": (10, 96)}
COUNT = (6 * 4 * 4) * (2 * 3 * 3) + 10 * 96
"""The convolution makes 6 maps of 4 x 4, the layer ten numbers."""


def test_multiply_adds_of_convolutions_and_layers_are_counted(limits: ModuleType, tmp_path: Path) -> None:
    path = write(tmp_path / "g.onnx", [STRIDED, FLAT, LINEAR], SHAPES)
    assert limits.graph_multiply_adds(path, ROW) == COUNT


def test_products_of_activations_count_as_well(limits: ModuleType, tmp_path: Path) -> None:
    node = helper.make_node("MatMul", ["x", "x"], ["y"])
    assert limits.graph_multiply_adds(write(tmp_path / "g.onnx", [node], {}), ROW) == 4 * 8 * 8 * 8


def test_a_profile_tells_every_node_and_its_shares_add_up(limits: ModuleType, tmp_path: Path) -> None:
    path = write(tmp_path / "g.onnx", [STRIDED, FLAT, LINEAR], SHAPES)
    found = limits.profile(path, ROW, RATES, COUNT, tmp_path)
    assert found["executed, million multiply-adds"] >= COUNT / 1e6  # a layout may pad channels
    assert sum(found["reasons, share of the time"].values()) == pytest.approx(1, abs=1e-3)
    assert {"Conv", "Gemm"} <= {row["operator"] for row in found["operators"]}
    assert [p.name for p in tmp_path.glob("profile*")] == []


def test_the_time_is_divided_by_reasons(limits: ModuleType) -> None:
    nodes = [
        limits.Executed("a", "QLinearConv", 50.0, 80_000),  # 20 microseconds at the limit
        limits.Executed("b", "MatMul", 20.0, 10_000),  # 10
        limits.Executed("c", "Softmax", 20.0, 0),
    ]
    found = limits.told(nodes, 100.0, RATES, useful=60_000)
    assert list(found["reasons, share of the time"].values()) == pytest.approx([0.2, 0.1, 0.4, 0.2, 0.1])
    assert [row["of the limit"] for row in found["slowest nodes"] if "of the limit" in row] == [0.4, 0.5]


def test_the_core_is_measured_where_there_is_a_compiler(limits: ModuleType, tmp_path: Path) -> None:
    for limit in limits.core_limits(tmp_path).values():
        assert limit.what
        assert limit.rate() > 1e8


def test_without_a_compiler_there_is_no_limit_of_the_core(
    limits: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits.shutil, "which", lambda _: None)
    assert limits.core_limits(tmp_path) == {}


def test_each_variant_is_held_against_the_limits_of_its_precision(limits: ModuleType) -> None:
    seconds = {"onnxruntime, int8": [1.0, 1.0]}
    rates = {"core, int8": [100.0, 200.0], "core, fp32": [10.0, 10.0]}
    found = limits.fractions(seconds, rates, 50)
    assert list(found) == ["onnxruntime, int8 / core, int8"]
    assert found["onnxruntime, int8 / core, int8"]["median"] == pytest.approx(0.375)
