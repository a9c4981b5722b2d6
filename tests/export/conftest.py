"""A tiny model with all three towers, and its graphs made once for all tests: the exporter takes seconds for each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
import torch

from mmr_export import bundle as export_bundle
from mmr_export.checkpoint import Checkpoint, build, load_checkpoint
from mmr_export.graphs import tower_graph
from mmr_export.model import AudioCLIP, AudioConfig, ImageConfig, ModelConfig, TextConfig
from mmr_runtime.bundle import ENCODERS, Tower

TINY = ModelConfig(
    embedding_size=12,
    image=ImageConfig(height=32, width=32, channels=8, layers=(1, 1, 1, 1)),
    text=TextConfig(width=16, heads=2, layers=2),
    audio=AudioConfig(
        n_fft=64, win_length=50, hop=40, stem=8, planes=(8, 8, 16, 16), layers=(1, 1, 1, 1), groups=4, base_width=16
    ),
)
Graphs = dict[Tower, onnx.ModelProto]
METADATA = {"config": TINY.to_dict(), "audio": {"sample_rate": 8000, "window_samples": 4000}}


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of untrained weights, with batch statistics as a trained one has them."""
    folder = tmp_path_factory.mktemp("tiny")
    torch.manual_seed(0)
    model = AudioCLIP(TINY)
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(0, 0.1)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    for name, parameter in model.named_parameters():
        if ".bn3." in name or name.endswith("attn.in_proj_bias"):
            torch.nn.init.uniform_(parameter, 0.1, 1)  # the residual branches start at zero
    torch.save(model.state_dict(), folder / "best.pt")
    (folder / "best.json").write_text(json.dumps(METADATA))
    return folder / "best.pt"


@pytest.fixture(scope="session")
def tiny(tiny_checkpoint: Path) -> Checkpoint:
    return load_checkpoint(tiny_checkpoint)


@pytest.fixture(scope="session")
def tiny_model(tiny: Checkpoint) -> AudioCLIP:
    return build(tiny)


@pytest.fixture(scope="session")
def tiny_graphs(tiny: Checkpoint, tiny_model: AudioCLIP) -> Graphs:
    frames = tiny.audio_spec().frames
    return {tower: tower_graph(tiny_model, tower, frames=frames, model_id="tiny") for tower in ENCODERS}  # type: ignore[misc]


@pytest.fixture
def made_graphs(tiny_graphs: Graphs, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """`write_bundle` takes the graphs that are there already; for checkpoints with the tiny weights only."""
    return use_graphs(monkeypatch, tiny_graphs)


def use_graphs(monkeypatch: pytest.MonkeyPatch, graphs: Graphs) -> Callable[..., None]:
    """Give these graphs to `write_bundle` instead of making them."""

    def ready(model: AudioCLIP, tower: Tower, *, frames: int, model_id: str) -> onnx.ModelProto:
        graph = onnx.ModelProto()
        graph.CopyFrom(graphs[tower])
        next(p for p in graph.metadata_props if p.key == "mmr.model").value = model_id
        return graph

    monkeypatch.setattr(export_bundle, "tower_graph", ready)
    return ready
