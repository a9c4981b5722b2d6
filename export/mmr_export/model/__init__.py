"""AudioCLIP in PyTorch; `state_dict()` has exactly the names, shapes, dtypes and order of the published weights."""

from __future__ import annotations

from .audio import AudioTower
from .audioclip import AudioCLIP, Output
from .config import PRESETS, AudioConfig, ImageConfig, ModelConfig, TextConfig

__all__ = [
    "PRESETS",
    "AudioCLIP",
    "AudioConfig",
    "AudioTower",
    "ImageConfig",
    "ModelConfig",
    "Output",
    "TextConfig",
]
