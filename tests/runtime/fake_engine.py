"""A model that needs no bundle: sixteen numbers that tell sounds, images and texts apart, always the same."""

# ruff: noqa: ARG002 (it answers like the real one, whatever it is asked)

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import soundfile
from PIL import Image, UnidentifiedImageError

from mmr_runtime.audio import read_windows
from mmr_runtime.bundle import AudioSpec, LabelSet, RankSpec
from mmr_runtime.errors import ImageError
from mmr_runtime.loudness import loudness
from mmr_runtime.moods import MOOD_PROMPTS, MOODS

SIZE = 16
SPEC = AudioSpec(sample_rate=8000, window_samples=8000)


@dataclass
class FakeEngine:
    """Counts what it embeds in `embedded`."""

    model_id: str = "fake"
    has_moods: bool = True
    embedded: list[str] = field(default_factory=list)
    embedding_size: int = SIZE
    precision: str = "auto"

    def __post_init__(self) -> None:
        labels = {"mood": LabelSet(MOODS, MOOD_PROMPTS)} if self.has_moods else {}
        scales = {"image_text": 10.0, "audio_image": 10.0, "audio_text": 10.0}
        manifest = SimpleNamespace(rank=RankSpec(), logit_scales=scales, labels=labels, image=None)
        self.bundle = SimpleNamespace(manifest=manifest)

    def embed_audio(self, song: str | Path, *, windows: int = 8, measure: bool = False) -> SimpleNamespace:
        self.embedded.append(Path(song).name)
        heard = read_windows(song, windows=windows, spec=SPEC)
        spectrum = np.abs(np.fft.rfft(heard.samples, 2 * SIZE * 20, axis=1))[:, : SIZE * 20]
        rows = unit(spectrum.reshape(len(spectrum), SIZE, 20).sum(axis=2))
        return SimpleNamespace(
            vector=unit(rows.mean(axis=0, keepdims=True))[0],
            windows=rows,
            starts=heard.starts,
            seconds=heard.seconds,
            loudness=loudness(heard.samples, SPEC.sample_rate) if measure else None,
        )

    def embed_images(self, images: Sequence[Any], *, spread: str = "auto") -> np.ndarray:
        rows = []
        for source in images:
            self.embedded.append(Path(source).name if isinstance(source, str | Path) else "image")
            try:
                opened = io.BytesIO(source) if isinstance(source, bytes) else source
                image = source if isinstance(source, Image.Image) else Image.open(opened)
                pixels = np.asarray(image.convert("L").resize((4, 4)), np.float32)
            except (OSError, UnidentifiedImageError) as error:
                raise ImageError(f"{source} is not an image", "leave it out") from error
            rows.append(pixels.ravel() + 1)
        return unit(np.stack(rows))

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        return unit(np.stack([seeded(text) for text in texts]))

    def reference(self, modality: str) -> None:
        return None

    def mood_scores(self, vectors: np.ndarray, modality: str) -> np.ndarray:
        return 10 * np.atleast_2d(vectors) @ self.embed_texts(MOOD_PROMPTS).T

    def mood_shares(self, scores: np.ndarray) -> np.ndarray:
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    def moods(self, vectors: np.ndarray, modality: str) -> np.ndarray:
        return self.mood_shares(self.mood_scores(vectors, modality))


def unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)).astype(np.float32)


def seeded(text: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")
    return np.random.default_rng(seed).normal(size=SIZE).astype(np.float32)


def tone(hertz: float, seconds: float = 2.0, rate: int = 8000) -> np.ndarray:
    """A sine of half scale, float32 (n,)."""
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_song(path: Path, hertz: float, seconds: float = 2.0) -> Path:
    """A short WAV whose pitch tells it apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(hertz, seconds), 8000)
    return path
