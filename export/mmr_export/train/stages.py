"""Towers that were trained once are not trained again for the same inputs: the long stages survive an interruption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from mmr_export.data.teachers import cache_path
from mmr_export.model import AudioCLIP


def once(
    model: AudioCLIP, owns: Callable[[str], bool], cache: Path, name: str, key: str, train: Callable[[], None]
) -> None:
    """Train a part of `model`, or load what was trained from the same key.

    Args:
        model: its parameters and buffers whose names `owns` accepts are the part.
        owns: tells the part by name.
        cache: where trained parts are kept.
        name: of the stage.
        key: all that the outcome depends on.
        train: trains the part in place.
    """
    path = cache_path(cache, name, key, ".pt")
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True), strict=False)
        model.eval()
        return
    train()
    cache.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    torch.save({name: value for name, value in model.state_dict().items() if owns(name)}, part)
    part.replace(path)


def is_audio(name: str) -> bool:
    """Whether a parameter belongs to the audio tower."""
    return name.startswith("audio.")


def is_text(name: str) -> bool:
    """Whether a parameter belongs to the text tower."""
    return not name.startswith(("audio.", "visual.", "logit_scale"))
