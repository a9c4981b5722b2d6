"""Inputs of the towers, generated from seeds or read from a folder: for proofs, calibration and the quality gate.

Each use has its own range of seeds (or share of a folder), so that nothing is judged by what it was fitted on; files of
the gate are compared by content, so that a copy cannot slip in either.
"""

from __future__ import annotations

import hashlib
import itertools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmr_runtime.audio import fill_window, read_windows
from mmr_runtime.bundle import FRONT_END, AudioSpec, Bundle, ImageSpec, TextSpec, Tower
from mmr_runtime.frontend import FrontEnd
from mmr_runtime.image import load_image, preprocess
from mmr_runtime.moods import GENRE_PROMPTS, MOOD_PROMPTS
from mmr_runtime.text import Tokenizer

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
_SILENCE = 1e-4  # unit scale: the rustle of a recording between two pieces


@dataclass(frozen=True, eq=False)
class Sources:
    """What the inputs are made with.

    Attributes:
        image: how pages are prepared.
        audio: how sound is prepared.
        text: how long a text may be.
        front_end: of the audio tower, or None without one.
        tokenizer: of the text tower.
    """

    image: ImageSpec
    audio: AudioSpec
    text: TextSpec
    front_end: FrontEnd | None
    tokenizer: Tokenizer

    @classmethod
    def of(cls, bundle: Bundle) -> Self:
        """Of a bundle, as its manifest says.

        Raises:
            BundleError: the front end cannot be read.
        """
        manifest = bundle.manifest
        front_end = FrontEnd.load(bundle.path(FRONT_END), manifest.audio) if "audio" in manifest.graphs else None
        return cls(manifest.image, manifest.audio, manifest.text, front_end, Tokenizer.load(MERGES))

    def rows(self, tower: Tower, use: Use, count: int, folder: Path | None = None) -> Rows:
        """Inputs of a tower, each of batch 1.

        Args:
            tower: whose.
            use: what for; no two uses share an input.
            count: how many.
            folder: pages and songs in it come first; what is missing to `count` is generated.
        """
        if tower == "text":
            return [self.tokenizer.tokens([text], self.text.context) for text in _texts(use, count)]
        if tower == "image":
            pages = _files(folder, _PAGE_SUFFIXES, use, count)
            return [self._page(page) for page in (*pages, *_pages(use, count - len(pages)))]
        songs = _files(folder, _SONG_SUFFIXES, use, count)
        real = [self._front_end(self._song_window(song)) for song in songs]
        return real + [self._front_end(samples) for samples in self.sounds(use, count - len(real))]

    def gate_files(self, tower: Tower, folders: Sequence[Path], calibration: Path | None) -> tuple[list[str], Rows]:
        """Real inputs of a tower for the gate: pages, or one window of each song.

        Args:
            tower: whose; texts have no files.
            folders: looked through with what lies below; of more than `GATE_FILES` files in all, so many are taken,
                spread evenly over their sorted names.
            calibration: folder whose files were calibrated or selected on; those are left out, wherever they lie.

        Returns:
            names (folder and path below it), and rows of batch 1.
        """
        suffixes = {"image": _PAGE_SUFFIXES, "audio": _SONG_SUFFIXES}.get(tower)
        if suffixes is None:
            return [], []
        seen = {_content(path) for use in FITTED_USES for path in _files(calibration, suffixes, use, None)}
        files = [
            (f"{folder.name}/{p.relative_to(folder).as_posix()}", p)
            for folder in folders
            for p in _below(folder, suffixes)
        ]
        fresh = [(name, path) for name, path in files if not seen or _content(path) not in seen]
        if len(fresh) > GATE_FILES:
            fresh = [fresh[i] for i in np.linspace(0, len(fresh) - 1, GATE_FILES).round().astype(int)]
        make = self._page if tower == "image" else lambda path: self._front_end(self._song_window(path))
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


def _files(folder: Path | None, suffixes: tuple[str, ...], use: Use, count: int | None) -> list[Path]:
    """This use's share of the files below the folder: every fourth, for there are four uses."""
    if folder is None:
        return []
    return _below(folder, suffixes)[USES.index(use) :: len(USES)][:count]


def _below(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in suffixes)


def _content(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()
