"""Inputs of the towers, generated from seeds or read from a folder: for proofs, calibration and the quality gate.

A folder holds pages and songs anywhere below; for projections, features in VM-NET's layout: `audio/*.npy`,
`video/*.npy`.

Each use has its own range of seeds (or share of a folder), so that nothing is judged by what it was fitted on; files of
the gate are compared by content, so that a copy cannot slip in either.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmr_runtime.audio import fill_window, read_windows
from mmr_runtime.bundle import FRONT_END, PROJECTIONS, AudioSpec, Bundle, ImageSpec, TextSpec, Tower
from mmr_runtime.errors import BundleError, InputError
from mmr_runtime.frontend import FrontEnd
from mmr_runtime.image import load_image, preprocess
from mmr_runtime.moods import GENRE_PROMPTS, MOOD_PROMPTS
from mmr_runtime.text import Tokenizer

from .data.features import MODALITIES
from .data.media import read_features
from .merges import MERGES
from .synth.pages import generate_page
from .synth.pages.story import make_story
from .synth.pieces import compose

Rows = list[NDArray[Any]]
Use = Literal["proof", "calibration", "selection", "gate"]
USES: tuple[Use, ...] = ("proof", "calibration", "selection", "gate")
GATE_FILES = 128
"""Real inputs of each tower that the gate takes at most."""
_SEEDS_OF_A_USE = 100_000
FITTED_USES: tuple[Use, ...] = ("calibration", "selection")
_PAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_SONG_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3")
_FEATURE_FOLDERS: dict[Tower, str] = dict(zip(PROJECTIONS, MODALITIES, strict=True))
_FEATURE_FACTORS, _FEATURE_NOISE = 16, 0.1
"""Generated features vary in few directions, as real ones do, and a little in all others."""
_MAX_WIDTH = 1 << 20
_SILENCE = 1e-4  # unit scale: the rustle of a recording between two pieces


@dataclass(frozen=True, eq=False)
class Spread:
    """Where the features of a modality lie: mean and standard deviation, float32 (f,)."""

    mean: NDArray[np.float32]
    std: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sources:
    """What the inputs are made with.

    Attributes:
        image: how pages are prepared.
        audio: how sound is prepared.
        text: how long a text may be.
        front_end: of the audio tower, or None without one.
        tokenizer: of the text tower.
        features: of every projection.
    """

    image: ImageSpec
    audio: AudioSpec
    text: TextSpec
    front_end: FrontEnd | None
    tokenizer: Tokenizer
    features: Mapping[Tower, Spread] = field(default_factory=dict)

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Of a bundle, as its manifest says.

        It does not say where features lie, only how wide they are: they are taken as standardised.

        Raises:
            BundleError: the front end cannot be read, or the width of a projection is not told.
        """
        manifest = bundle.manifest
        front_end = FrontEnd.load(bundle.path(FRONT_END), manifest.audio) if "audio" in manifest.graphs else None
        features: dict[Tower, Spread] = {}
        for tower in (tower for tower in PROJECTIONS if tower in manifest.graphs):
            width = manifest.model.get(tower)
            if not isinstance(width, int) or not 0 < width <= _MAX_WIDTH:
                raise BundleError(f"the manifest does not tell the width of {tower}", "export the bundle again")
            features[tower] = Spread(np.zeros(width, np.float32), np.ones(width, np.float32))
        return cls(manifest.image, manifest.audio, manifest.text, front_end, Tokenizer.load(MERGES), features)

    def rows(self, tower: Tower, use: Use, count: int, folder: Path | None = None) -> Rows:
        """Inputs of a tower, each of batch 1.

        Args:
            tower: whose.
            use: what for; no two uses share an input.
            count: how many.
            folder: what lies in it comes first; what is missing to `count` is generated.

        Raises:
            InputError: a file cannot be used.
        """
        if tower == "text":
            return [self.tokenizer.tokens([text], self.text.context) for text in _texts(use, count)]
        files, make = _files(tower, folder, use, count), self._reader(tower)
        real, missing = [make(path) for path in files], count - len(files)
        if tower == "image":
            return real + [self._page(page) for page in _pages(use, missing)]
        if tower == "audio":
            return real + [self._front_end(samples) for samples in self.sounds(use, missing)]
        return real + self._features(self.features[tower], use, missing)

    def gate_files(self, tower: Tower, folders: Sequence[Path], calibration: Path | None) -> tuple[list[str], Rows]:
        """Real inputs of a tower for the gate: pages, one window of each song, or features.

        Args:
            tower: whose; texts have no files.
            folders: looked through with what lies below; of more than `GATE_FILES` files in all, so many are taken,
                spread evenly over their sorted names.
            calibration: folder whose files were calibrated or selected on; those are left out, wherever they lie.

        Returns:
            names (folder and path below it), and rows of batch 1.
        """
        if tower == "text":
            return [], []
        seen = {_content(path) for use in FITTED_USES for path in _files(tower, calibration, use, None)}
        files = [
            (f"{folder.name}/{p.relative_to(folder).as_posix()}", p)
            for folder in folders
            for p in _below(tower, folder)
        ]
        fresh = [(name, path) for name, path in files if not seen or _content(path) not in seen]
        if len(fresh) > GATE_FILES:
            fresh = [fresh[i] for i in np.linspace(0, len(fresh) - 1, GATE_FILES).round().astype(int)]
        make = self._reader(tower)
        return [name for name, _ in fresh], [make(path) for _, path in fresh]

    def sounds(self, use: Use, count: int) -> Iterator[NDArray[np.float32]]:
        """Windows of generated pieces, float32 (1, window_samples), unit range; the first is next to silent."""
        rate, length = self.audio.sample_rate, self.audio.window_samples
        for i in range(count):
            seed = _seed(use, i)
            if i == 0:
                yield np.random.default_rng(seed).normal(0, _SILENCE, (1, length)).astype(np.float32)
            else:
                yield compose(seed, seconds=length / rate + 0.1, sample_rate=rate).samples[None, :length]

    def _reader(self, tower: Tower) -> Callable[[Path], NDArray[Any]]:
        """How a file becomes an input of a tower."""
        if tower == "image":
            return self._page
        if tower == "audio":
            return lambda path: self._front_end(self._song_window(path))
        width = len(self.features[tower].mean)

        def read(path: Path) -> NDArray[np.float32]:
            features = read_features(path)
            if len(features) != width:
                raise InputError(
                    f"{path} holds {len(features)} features, not {width}", "give what the training was given"
                )
            return features[None]

        return read

    def _features(self, spread: Spread, use: Use, count: int) -> Rows:
        width = len(spread.mean)
        directions = np.random.default_rng(0).normal(size=(_FEATURE_FACTORS, width)) / np.sqrt(_FEATURE_FACTORS)
        rows: Rows = []
        for i in range(count):
            rng = np.random.default_rng(_seed(use, i))
            values = rng.normal(size=_FEATURE_FACTORS) @ directions + _FEATURE_NOISE * rng.normal(size=width)
            rows.append((spread.mean + spread.std * values).astype(np.float32)[None])
        return rows

    def _page(self, page: Any) -> NDArray[np.float32]:
        return preprocess(load_image(page, self.image), self.image, "whole")

    def _front_end(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        assert self.front_end is not None, "an audio tower has a front end"
        return self.front_end(samples)

    def _song_window(self, song: Path) -> NDArray[np.float32]:
        samples = read_windows(song, windows=1, spec=self.audio).samples[:1]
        return fill_window(samples, self.audio.window_samples)


def _seed(use: Use, i: int) -> int:
    return USES.index(use) * _SEEDS_OF_A_USE + i


def _pages(use: Use, count: int) -> Iterator[Image.Image]:
    """Generated pages; the first two of a proof and of a calibration are blank, white and black."""
    for i in range(count):
        blank = i < 2 and use in ("proof", "calibration")
        yield Image.new("L", (480, 688), 255 - 255 * i) if blank else generate_page(_seed(use, i)).image


def _texts(use: Use, count: int) -> Sequence[str]:
    """Captions of pages that are not drawn, each once; a proof also has the default prompts.

    Two seeds may tell the same in the same words: a caption belongs to one use, by its checksum.
    """
    prompts = (*MOOD_PROMPTS, *GENRE_PROMPTS)[: count // 2] if use == "proof" else ()
    captions = dict.fromkeys(prompts)
    for seed in itertools.count(_seed(use, 0)):
        if len(captions) >= count:
            break
        caption = make_story(np.random.default_rng(seed), None, None).caption
        if zlib.crc32(caption.encode()) % len(USES) == USES.index(use):
            captions[caption] = None
    return list(captions)


def _files(tower: Tower, folder: Path | None, use: Use, count: int | None) -> list[Path]:
    """This use's share of a tower's files below the folder: every fourth, for there are four uses."""
    if folder is None:
        return []
    return _below(tower, folder)[USES.index(use) :: len(USES)][:count]


def _below(tower: Tower, folder: Path) -> list[Path]:
    """A tower's files below the folder, sorted."""
    suffixes = {"image": _PAGE_SUFFIXES, "audio": _SONG_SUFFIXES}.get(tower, (".npy",))
    start = folder / _FEATURE_FOLDERS.get(tower, "")
    return sorted(path for path in start.rglob("*") if path.suffix.lower() in suffixes)


def _content(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
