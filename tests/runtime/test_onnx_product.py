"""The matrix product that onnxruntime takes over from NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmr_runtime.onnx_product import product_graph
from mmr_runtime.sessions import Product

onnx = pytest.importorskip("onnx")


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 40), k=st.integers(1, 300), columns=st.integers(1, 300), seed=st.integers(0, 9))
def test_it_is_numpys_product(rows: int, k: int, columns: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, matrix = rng.normal(0, 1, (rows, k)).astype(np.float32), rng.normal(0, 1, (k, columns)).astype(np.float32)
    assert np.allclose(Product(matrix)(x), x @ matrix, rtol=1e-4, atol=1e-4)


def test_the_graph_is_one_that_the_onnx_package_accepts(tmp_path: Path) -> None:
    matrix = np.arange(600, dtype=np.float32).reshape(3, 200)
    model = onnx.load_from_string(product_graph(matrix))
    onnx.checker.check_model(model, full_check=True)
    assert np.array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), matrix)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [0, 3]


def test_a_matrix_that_is_turned_is_laid_out_first() -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3).T
    assert Product(matrix)(np.eye(3, dtype=np.float32)).tolist() == matrix.tolist()
