"""`Engine.project`: features that another program computed, in a bundle whose graphs are one product each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mmr_runtime import Engine
from mmr_runtime.bundle import (
    MANIFEST,
    PROJECTIONS,
    SCALES,
    AudioSpec,
    FileFacts,
    GraphFile,
    ImageSpec,
    Manifest,
    TextSpec,
    manifest_to_json,
)
from mmr_runtime.engine import unit_rows
from mmr_runtime.errors import BundleError, InputError, UsageError

WIDTH = {"audio_features": 10, "image_features": 7}
SIZE = 4
Arrays = dict[str, NDArray[np.float32]]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def matrices() -> Arrays:
    rng = np.random.default_rng(0)
    return {tower: rng.standard_normal((width, SIZE)).astype(np.float32) for tower, width in WIDTH.items()}


@pytest.fixture(scope="module")
def folder(matrices: Arrays, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("projections")
    graphs = {tower: {"fp32": GraphFile(f"{tower}.fp32.onnx", "features", "vector")} for tower in PROJECTIONS}
    for tower, matrix in matrices.items():
        graph = helper.make_graph(
            [helper.make_node("MatMul", ["features", "matrix"], ["vector"])],
            tower,
            [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", WIDTH[tower]])],
            [helper.make_tensor_value_info("vector", TensorProto.FLOAT, ["batch", SIZE])],
            [numpy_helper.from_array(matrix, "matrix")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        onnx.save(model, folder / f"{tower}.fp32.onnx")
    manifest = Manifest(
        "projections-1",
        SIZE,
        "none",
        ImageSpec(),
        TextSpec(),
        AudioSpec(),
        dict.fromkeys(SCALES, 1.0),
        graphs={**graphs},
        labels={},
        files={path.name: FileFacts.of(path) for path in sorted(folder.iterdir())},
    )
    (folder / MANIFEST).write_text(manifest_to_json(manifest), encoding="utf-8")
    return folder


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    with Engine.open(folder, device="cpu", threads=1) as opened:
        yield opened


def features(tower: str, rows: int = 5) -> NDArray[np.float32]:
    return np.random.default_rng(1).standard_normal((rows, WIDTH[tower])).astype(np.float32)


@pytest.mark.parametrize("tower", PROJECTIONS)
def test_features_become_unit_rows(engine: Engine, matrices: Arrays, tower: str) -> None:
    rows = engine.project(features(tower), tower)  # type: ignore[arg-type]
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, unit_rows(features(tower) @ matrices[tower]), atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_rows_do_not_depend_on_their_neighbours(engine: Engine) -> None:
    rows = features("audio_features")
    together = engine.project(rows, "audio_features")
    np.testing.assert_array_equal(together[2:3], engine.project(rows[2:3], "audio_features"))


def test_no_features_give_no_rows(engine: Engine) -> None:
    rows = engine.project(features("audio_features", 0), "audio_features")
    assert rows.shape == (0, SIZE)
    assert rows.dtype == np.float32


@pytest.mark.parametrize("shape", [(4, 9), (4, 11), (10,), (4, 0), (0, 9), (2, 2, 10)])
def test_features_of_another_shape_are_refused_with_both_widths(engine: Engine, shape: tuple[int, ...]) -> None:
    expected = rf"the shape {re.escape(str(shape))} were given, where projections-1 takes \(n, 10\)"
    with pytest.raises(InputError, match=expected):
        engine.project(np.zeros(shape, np.float32), "audio_features")


def test_rows_that_are_not_finite_are_counted(engine: Engine) -> None:
    rows = features("image_features")
    rows[1, 2], rows[3, 0] = np.nan, np.inf
    with pytest.raises(InputError, match="2 of 5 rows of image_features"):
        engine.project(rows, "image_features")


def test_modalities_of_encoders_are_refused(engine: Engine) -> None:
    with pytest.raises(UsageError, match="take audio_features or image_features"):
        engine.project(features("audio_features"), "audio")  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="no text tower"):
        engine.embed_texts(["Sad music"])


def test_a_bundle_of_encoders_has_no_projection() -> None:
    with Engine.open(device="cpu") as engine, pytest.raises(BundleError, match="no audio_features tower"):
        engine.project(features("audio_features"), "audio_features")
