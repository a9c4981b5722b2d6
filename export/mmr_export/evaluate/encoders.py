"""Items become vectors, by a bundle as it ships or by a checkpoint in PyTorch; both read items alike.

A clip is heard by all whole windows that it holds, side by side around its middle; a clip that is shorter than one is
filled up as in training. Its vector is the direction of their mean, as the runtime's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mmr_export.data.datasets import Item
from mmr_export.data.media import pixels, read_features, read_picture, read_samples
from mmr_export.train.augment import middle
from mmr_runtime.bundle import AudioSpec, ImageSpec
from mmr_runtime.engine import Engine, unit_rows
from mmr_runtime.errors import UsageError

Floats = NDArray[np.float32]
AT_ONCE = 16
"""Pictures that a checkpoint takes as one batch, and items between two words of progress."""


class Encoder(Protocol):
    """What an evaluation needs of a model.

    Attributes:
        name: of the model.
        scales: of the logits: `image_text`, `audio_image`, `audio_text`.
        options: how the reader of the data set that it was trained on was called, by the name of that data set; empty
            where that is not known.
    """

    name: str
    scales: dict[str, float]
    options: Mapping[str, Mapping[str, Any]]

    def images(self, items: Sequence[Item]) -> Floats:
        """Unit rows (n, d) of pictures."""

    def clips(self, items: Sequence[Item]) -> Floats:
        """Unit rows (n, d) of clips."""

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit rows (n, d)."""

    def pairs(self, items: Sequence[Item]) -> tuple[Floats, Floats]:
        """Unit rows (n, d) of both sides of pairs of features."""


def windows(samples: Floats, length: int) -> Floats:
    """The whole windows (w, length) of a clip (t,), around its middle; at least one."""
    count = len(samples) // length
    if count < 2:
        return middle(samples, length)[None]
    start = (len(samples) - count * length) // 2
    return samples[start : start + count * length].reshape(count, length)


def open_encoder(model: str | Path) -> Encoder:
    """The encoder of a bundle's folder, `default`, or a checkpoint (.pt, .safetensors).

    Raises:
        BundleError: there is no such bundle.
        CheckpointError: the file is no checkpoint.
    """
    if Path(model).is_file():
        return CheckpointEncoder(Path(model))
    return BundleEncoder(Engine.open(model))


class BundleEncoder:
    """A bundle, by the runtime's own engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.name = engine.model_id
        self.scales = engine.bundle.manifest.logit_scales
        self.options: Mapping[str, Mapping[str, Any]] = {}

    def images(self, items: Sequence[Item]) -> Floats:
        """Unit rows (n, d) of pictures."""
        rows = [self._engine.embed_images([read_picture(item)], spread="whole") for item in items]
        return np.concatenate(rows)

    def clips(self, items: Sequence[Item]) -> Floats:
        """Unit rows (n, d) of clips."""
        spec = replace(self._engine.bundle.manifest.audio, amplitude="unit")  # the engine scales by itself
        heard = (windows(read_samples(item, spec), spec.window_samples) for item in items)
        return _directions(self._engine.embed_samples(w) for w in heard)

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit rows (n, d)."""
        return self._engine.embed_texts(texts)

    def pairs(self, items: Sequence[Item]) -> tuple[Floats, Floats]:
        """Unit rows (n, d) of both sides of pairs of features."""
        heard, seen = _features(items)
        return self._engine.project(heard, "audio_features"), self._engine.project(seen, "image_features")


class CheckpointEncoder:
    """A checkpoint, by PyTorch on the CPU."""

    def __init__(self, path: Path) -> None:
        from mmr_export.checkpoint import build, load_checkpoint

        checkpoint = load_checkpoint(path)
        self._model = build(checkpoint)
        self._image: ImageSpec = checkpoint.image_spec()
        self._audio: AudioSpec = checkpoint.audio_spec()
        self.name = path.name
        self.scales = {pair: float(scale.detach()) for pair, scale in self._model.scales().items()}
        self.options = _trained_with(checkpoint.metadata)

    def images(self, items: Sequence[Item]) -> Floats:
        """Unit rows (n, d) of pictures."""
        batches = (items[i : i + AT_ONCE] for i in range(0, len(items), AT_ONCE))
        rows = [self._run(self._model.encode_image, np.stack([pixels(i, self._image) for i in b])) for b in batches]
        return np.concatenate(rows)

    def clips(self, items: Sequence[Item]) -> Floats:
        """Unit rows (n, d) of clips."""
        heard = (windows(read_samples(item, self._audio), self._audio.window_samples) for item in items)
        return _directions(self._run(self._model.encode_audio, w[:, None]) for w in heard)

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit rows (n, d)."""
        from mmr_export.train.inputs import tokens

        ids = tokens(texts, self._model.config.text.context).numpy()
        return np.concatenate([self._run(self._model.encode_text, ids[i : i + 64]) for i in range(0, len(ids), 64)])

    def pairs(self, items: Sequence[Item]) -> tuple[Floats, Floats]:
        """Not of these checkpoints: they hold towers for pictures, sound and text."""
        raise UsageError(
            f"{self.name} takes no features, and there are {len(items)} pairs of them",
            "give the bundle that mmr-export makes of a features checkpoint",
        )

    def _run(self, encode: Any, values: NDArray[Any]) -> Floats:
        import torch

        with torch.inference_mode():
            return unit_rows(encode(torch.from_numpy(np.ascontiguousarray(values))).numpy())


def _trained_with(metadata: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    match metadata:
        case {"training": {"recipe": {"data": str(name), "options": dict(options)}}}:
            return {name: options}
    return {}


def _features(items: Sequence[Item]) -> tuple[Floats, Floats]:
    partners = [item.partner for item in items if item.partner is not None]
    return np.stack([read_features(i.path) for i in items]), np.stack([read_features(path) for path in partners])


def _directions(clips: Iterable[Floats]) -> Floats:
    """Unit rows (n, d) along the means of the windows' rows of every clip."""
    return unit_rows(np.stack([rows.mean(axis=0) for rows in clips]))
