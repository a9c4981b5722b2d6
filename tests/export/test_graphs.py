"""Each tower as an ONNX graph: its interface, its values, and what it must not hold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mmr_export import graphs
from mmr_export.bundle import one_minus_cosine
from mmr_export.checkpoint import Checkpoint
from mmr_export.graphs import encode, graph_file, tower_graph
from mmr_export.model import AudioCLIP
from mmr_runtime.bundle import ENCODERS, Tower
from mmr_runtime.errors import ExportError
from mmr_runtime.onnx_scan import has_external_data
from mmr_runtime.sessions import load_onnxruntime

Graphs = dict[Tower, onnx.ModelProto]
FRAMES = 100


def run(graph: onnx.ModelProto, x: torch.Tensor) -> np.ndarray:
    session = load_onnxruntime().InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    vectors: np.ndarray = session.run(["vector"], {graph.graph.input[0].name: x.numpy()})[0]
    return vectors


def shape(value: onnx.ValueInfoProto) -> list[str | int]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize(
    ("tower", "name", "dims", "kind"),
    [
        ("image", "pixels", ["batch", 3, 32, 32], onnx.TensorProto.FLOAT),
        ("text", "tokens", ["batch", "length"], onnx.TensorProto.INT64),
        ("audio", "db", ["batch", 3, 11, FRAMES], onnx.TensorProto.FLOAT),
    ],
)
def test_the_interface_is_the_documented_one(
    tiny_graphs: Graphs, tower: Tower, name: str, dims: list[str | int], kind: int
) -> None:
    graph = tiny_graphs[tower].graph
    (taken,), (given,) = graph.input, graph.output
    assert (taken.name, shape(taken), taken.type.tensor_type.elem_type) == (name, dims, kind)
    assert (given.name, shape(given)) == ("vector", ["batch", 12])
    assert graph_file(tower, "int8").file == f"{tower}.int8.onnx"
    assert graph_file(tower, "int8").input == name


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("tower", ["image", "audio"])
def test_pictures_give_the_vectors_of_pytorch(
    tiny_graphs: Graphs, tiny_model: AudioCLIP, tower: Tower, batch: int
) -> None:
    torch.manual_seed(batch)
    size = {"image": (32, 32), "audio": (11, FRAMES)}[tower]
    x = torch.randn(batch, 3, *size) * 3
    got, wanted = run(tiny_graphs[tower], x), encode(tiny_model, tower, x).numpy()
    assert got.shape == (batch, 12)
    assert max(map(one_minus_cosine, got, wanted)) < 1e-6
    assert np.allclose(got, wanted, rtol=1e-4, atol=1e-4 * np.abs(wanted).max())


@pytest.mark.parametrize("length", [2, 5, 77])
def test_texts_of_any_length_give_the_vectors_of_pytorch(
    tiny_graphs: Graphs, tiny_model: AudioCLIP, length: int
) -> None:
    tokens = torch.randint(1, 49406, (2, length))
    tokens[:, 0], tokens[0, -1], tokens[1, length // 2] = 49406, 49407, 49407
    got, wanted = run(tiny_graphs["text"], tokens), encode(tiny_model, "text", tokens).numpy()
    assert max(map(one_minus_cosine, got, wanted)) < 1e-6


def test_a_text_is_read_at_its_first_end(tiny_graphs: Graphs) -> None:
    text = torch.tensor([[49406, 320, 49407]])
    longer = torch.tensor([[49406, 320, 49407, 0, 49407, 7]])
    assert np.allclose(run(tiny_graphs["text"], text), run(tiny_graphs["text"], longer), atol=1e-5)


@pytest.mark.parametrize("tower", ENCODERS)
def test_a_graph_names_its_model_and_nothing_of_the_machine(tiny_graphs: Graphs, tower: Tower) -> None:
    graph = tiny_graphs[tower]
    assert {p.key: p.value for p in graph.metadata_props} == {"mmr.model": "tiny", "mmr.tower": tower}
    content = graph.SerializeToString()
    assert str(Path(graphs.__file__).parent).encode() not in content
    assert b".py" not in content


@pytest.mark.parametrize("tower", ENCODERS)
def test_a_graph_is_one_file_with_its_batch_norms_folded(tiny_graphs: Graphs, tower: Tower, tmp_path: Path) -> None:
    onnx.save(tiny_graphs[tower], tmp_path / "whole.onnx")
    assert has_external_data(tmp_path / "whole.onnx") is False
    assert "BatchNormalization" not in {node.op_type for node in tiny_graphs[tower].graph.node}
    split = onnx.ModelProto()
    split.CopyFrom(tiny_graphs[tower])
    onnx.save(split, tmp_path / "split.onnx", save_as_external_data=True, location="weights", size_threshold=0)
    assert has_external_data(tmp_path / "split.onnx") is True


def test_exporting_again_gives_the_same_bytes(tiny_graphs: Graphs, tiny_model: AudioCLIP) -> None:
    again = tower_graph(tiny_model, "audio", frames=FRAMES, model_id="tiny")
    assert again.SerializeToString(deterministic=True) == tiny_graphs["audio"].SerializeToString(deterministic=True)


def test_the_versions_are_those_that_old_runtimes_read(tiny_graphs: Graphs) -> None:
    for graph in tiny_graphs.values():
        assert [(o.domain, o.version) for o in graph.opset_import] == [("", graphs.OPSET)]
        assert graph.ir_version <= 10  # onnxruntime 1.22 reads up to 10


def test_the_model_is_left_as_it_was(tiny: Checkpoint, tiny_graphs: Graphs, tiny_model: AudioCLIP) -> None:
    assert not tiny_model.training
    state = tiny_model.state_dict()
    assert all(torch.equal(state[name], value) for name, value in tiny.state.items())


def test_a_failure_of_the_exporter_is_an_error_of_ours(tiny_model: AudioCLIP, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no such operator\nand a hundred lines more")

    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises(ExportError, match="the image tower cannot be exported: no such operator") as caught:
        tower_graph(tiny_model, "image", frames=FRAMES, model_id="x")
    assert "\n" not in caught.value.message
