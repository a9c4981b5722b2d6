"""The same encoders in PyTorch, eager and in float32, as AudioCLIP's own programs run them."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmr_runtime.bundle import ImageSpec, Manifest
from mmr_runtime.engine import Engine
from mmr_runtime.errors import DeviceError, UsageError
from mmr_runtime.image import load_image, preprocess
from mmr_runtime.text import Tokenizer

from .inputs import TEXT, Inputs, random_vectors
from .stages import Stages, first_window

if TYPE_CHECKING:
    from mmr_export.model import AudioCLIP

_WEIGHTS, _FACTS, _SONGS = "weights.pt", "pytorch.json", "songs.npy"


def prepare(checkpoint: Path, manifest: Manifest, inputs: Inputs) -> None:
    """Read and check the checkpoint once, and leave in the inputs' folder what the measured processes need.

    They load a plain state dict: neither the checks nor the hash of `mmr-export` count against PyTorch.

    Raises:
        DeviceError: PyTorch is not installed.
        CheckpointError: the checkpoint cannot be used.
        UsageError: the bundle was made of another one.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise DeviceError("--checkpoint needs PyTorch", "pip install 'mmr-runtime[export]'") from error
    from mmr_export.checkpoint import build, load_checkpoint

    loaded = load_checkpoint(checkpoint)
    if loaded.sha256 != manifest.source.get("sha256"):
        raise UsageError(
            f"the bundle {manifest.id} was not made of {checkpoint}", "give the checkpoint that it was exported from"
        )
    torch.save(build(loaded).state_dict(), inputs.folder / _WEIGHTS)
    np.save(inputs.folder / _SONGS, random_vectors(inputs.sizes.library_songs, manifest.embedding_size))
    facts = {"config": loaded.config.to_dict(), "towers": sorted(loaded.parts), "image": asdict(manifest.image)}
    (inputs.folder / _FACTS).write_text(json.dumps(facts), encoding="utf-8")


def torch_stages(engine: Engine, inputs: Inputs, threads: int) -> Stages:
    """The encoders' stages; the engine gives the form of the inputs, and runs nothing."""
    import torch
    from torch import from_numpy

    torch.set_num_threads(threads)
    model, towers, image = _model(inputs.folder)
    audio, text = engine.bundle.manifest.audio, engine.bundle.manifest.text
    model.audio.fbsp.train()  # the original makes its filters anew at every call

    stages: Stages = {}
    if "image" in towers:
        pixels = from_numpy(preprocess(load_image(inputs.page, image), image))
        stages["image encoder"] = lambda: model.encode_image(pixels)
    if "audio" in towers:
        scale = 32768 if audio.amplitude == "int16" else 1
        window = from_numpy(first_window(inputs, audio)[:, None] * np.float32(scale))
        with torch.inference_mode():
            decibels = model.audio.db_image(window[:, 0])
        stages["window"] = lambda: model.encode_audio(window)
        stages["front end"] = lambda: model.audio.db_image(window[:, 0])
        stages["audio encoder"] = lambda: model.encode_db(decibels)
    if "text" in towers:
        tokenizer = Tokenizer.load(engine.bundle.path("merges.txt.gz"))
        tokens = from_numpy(tokenizer.tokens([TEXT], text.context, pad_to=text.context))
        stages["text"] = lambda: model.encode_text(tokens)
    return {name: torch.inference_mode()(stage) for name, stage in stages.items()}


def rank_page(folder: str, threads: str) -> None:
    """A whole program: load PyTorch and the checkpoint, embed the page, rank the library's songs for it."""
    import torch

    torch.set_num_threads(int(threads))
    model, _, image = _model(Path(folder))
    pixels = preprocess(load_image(Path(folder) / "page.jpg", image), image)
    with torch.inference_mode():
        vector = model.encode_image(torch.from_numpy(pixels))[0].numpy()
    songs = np.load(Path(folder) / _SONGS)
    scores = songs @ (vector / np.linalg.norm(vector))
    best = np.argsort(-scores)[:10]
    sys.stdout.write(f"{best.tolist()} {scores[best].tolist()}\n")


def _model(folder: Path) -> tuple[AudioCLIP, list[str], ImageSpec]:
    """Build the model and load its weights, as AudioCLIP's demo does; its towers, and the form of a page."""
    import torch

    from mmr_export.model import AudioCLIP, ModelConfig

    facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
    model = AudioCLIP(ModelConfig.from_dict(facts["config"]))
    model.load_state_dict(torch.load(folder / _WEIGHTS, map_location="cpu", weights_only=True))
    return model.eval(), facts["towers"], ImageSpec(**facts["image"])
