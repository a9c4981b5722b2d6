"""Long training survives an interruption: a finished stage is kept, and an unfinished one goes on at its last epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mmr_export.data.teachers import cache_path
from mmr_export.model import AudioCLIP


def once(
    model: AudioCLIP, owns: Callable[[str], bool], cache: Path, name: str, key: str, train: Callable[[Path], None]
) -> None:
    """Train a part of `model`, or load what was trained from the same key.

    Args:
        model: its parameters and buffers whose names `owns` accepts are the part.
        owns: tells the part by name.
        cache: where trained parts are kept.
        name: of the stage.
        key: all that the outcome depends on.
        train: trains the part in place; is given the place of a `Course`.
    """
    path = cache_path(cache, name, key, ".pt")
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True), strict=False)
        model.eval()
        return
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".course")
    train(unfinished)
    save({name: value for name, value in model.state_dict().items() if owns(name)}, path)
    unfinished.unlink(missing_ok=True)


class Stateful(Protocol):
    """What a course keeps: modules, optimisers, schedules."""

    def state_dict(self) -> dict[str, Any]:
        """All that it is."""

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Become that again."""


class Course:
    """A run of training that can be taken up after any epoch, bit for bit on the CPU.

    Args:
        path: where it is kept; None: nowhere.
        rng: draws the batches, where one generator does; PyTorch's own is kept beside it.
        parts: all else that changes from step to step, by name.
    """

    def __init__(self, path: Path | None, rng: np.random.Generator | None, **parts: Stateful) -> None:
        self._path = path
        self._rng = rng
        self._parts = parts

    def resume(self) -> int:
        """Take up what was kept; how many epochs are done."""
        if self._path is None or not self._path.exists():
            return 0
        kept = torch.load(self._path, weights_only=True, map_location="cpu")
        for name, part in self._parts.items():
            part.load_state_dict(kept["parts"][name])
        if self._rng is not None:
            self._rng.bit_generator.state = kept["rng"]
        torch.set_rng_state(kept["torch"])
        return int(kept["epochs"])

    def keep(self, epochs: int) -> None:
        """Keep the state after this many epochs."""
        if self._path is not None:
            parts = {name: part.state_dict() for name, part in self._parts.items()}
            drawn = self._rng.bit_generator.state if self._rng is not None else None
            save({"epochs": epochs, "parts": parts, "rng": drawn, "torch": torch.get_rng_state()}, self._path)


def save(values: dict[str, Any], path: Path) -> None:
    """Write what `torch.load(weights_only=True)` reads, whole or not at all."""
    part = path.with_suffix(f"{path.suffix}.part")
    torch.save(values, part)
    part.replace(path)


def is_audio(name: str) -> bool:
    """Whether a parameter belongs to the audio tower."""
    return name.startswith("audio.")


def is_text(name: str) -> bool:
    """Whether a parameter belongs to the text tower."""
    return not name.startswith(("audio.", "visual.", "logit_scale"))
