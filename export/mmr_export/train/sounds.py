"""What the audio student hears: recorded clips, generated pieces, and variants of both, each with the tagger's word.

A few hundred excerpts do not train a network, but the tagger hears for free: clips are played slower and faster, and
two sounds are mixed, and the tagger says what that has become.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmr_export.data.collection import Clip
from mmr_export.data.teachers import AUDIOSET, Tagger, cache_path, cached
from mmr_export.model import AudioCLIP
from mmr_export.model.config import ModelConfig
from mmr_export.synth.pieces import Piece, compose
from mmr_runtime.audio import read_windows
from mmr_runtime.bundle import AudioSpec
from mmr_runtime.frontend import FrontEnd
from mmr_runtime.moods import MOODS

Floats = NDArray[np.float64]
RATE = 44100
LEVEL = 0.1
"""Root mean square to which every sound is brought before it is varied."""
DECIBEL_STEP = 0.5
"""Decibels a step of a stored image above the floor: a byte holds 127 dB, and 0.25 dB is far below the variation."""


@dataclass(frozen=True)
class SoundOptions:
    """What the student hears.

    Attributes:
        seconds: length of every sound.
        pieces: how many generated pieces.
        speeds: how much faster every training clip is played again, tempo and pitch together.
        mixes: how many mixtures of two training clips or pieces.
        seed: of the mixtures.
    """

    seconds: float = 10.0
    pieces: int = 700
    speeds: tuple[float, ...] = (0.89, 0.94, 1.06, 1.12)
    mixes: int = 2000
    seed: int = 0


@dataclass(frozen=True)
class Voice:
    """One sound's origin: a file played at some speed, or the generated piece of a seed."""

    path: Path | None
    seed: int = 0
    speed: float = 1.0

    def play(self, rate: int, seconds: float) -> NDArray[np.float32]:
        """Mono samples (rate * seconds,) at the common level; what is shorter is repeated."""
        length = round(rate * seconds)
        if self.path is None:
            return levelled(np.resize(_piece(self.seed, rate, seconds).samples, length))
        # Read at another rate than it is played at, a recording gets another speed.
        spec = AudioSpec(sample_rate=round(rate / self.speed), window_samples=length)
        return levelled(np.resize(read_windows(self.path, windows=1, spec=spec).samples[0], length))


@dataclass(frozen=True)
class Sound:
    """A voice, or two of them mixed.

    Attributes:
        first: the louder voice.
        second: mixed in where there is one.
        share: of the power that is the second's, at most 0.5.
        clip: index of the clip whose label holds, or -1.
    """

    first: Voice
    second: Voice | None = None
    share: float = 0.0
    clip: int = -1

    def play(self, rate: int, seconds: float) -> NDArray[np.float32]:
        """Mono samples (rate * seconds,) at the common level."""
        samples = self.first.play(rate, seconds)
        if self.second is None:
            return samples
        other = self.second.play(rate, seconds)
        return levelled(np.sqrt(np.float32(1 - self.share)) * samples + np.sqrt(np.float32(self.share)) * other)


@dataclass(frozen=True, eq=False)
class Heard:
    """All sounds: clips first, in their order, then pieces, then variants.

    Attributes:
        images: uint8 (n, 3, rows, frames), `DECIBEL_STEP` above the floor; memory-mapped.
        features: (n, f), the tagger's embedding and logits, standardised over the clips.
        logits: (n, 527).
        clip: (n,) index of the clip whose label holds, or -1.
        piece_moods: (pieces, 7) grades of the generated pieces.
        key: what all this was made from.
    """

    images: NDArray[np.uint8]
    features: Floats
    logits: Floats
    clip: NDArray[np.int64]
    piece_moods: Floats
    key: str


def hear(data: Path, clips: Sequence[Clip], options: SoundOptions, config: ModelConfig, cache: Path) -> Heard:
    """Play every sound to the tagger and to the front end; the results are kept in `cache`."""
    sounds = make_sounds(clips, options)
    names = "\n".join(f"{c.path.name} {c.validation}" for c in clips)
    key = f"{names}\n{options} {config.audio}"
    images, tags = cache_path(cache, "sounds", key), cache_path(cache, "tags", key)
    if not (images.exists() and tags.exists()):
        _render(data, sounds, options, config, images, tags)

    def grades() -> NDArray[np.int64]:
        return np.array([_piece(seed, 8000, options.seconds).moods for seed in range(options.pieces)])

    both = np.load(tags).astype(np.float64)
    logits = both[:, :AUDIOSET]
    features = np.concatenate([both[:, AUDIOSET:], logits / 3], axis=1)
    recorded = features[: len(clips)]
    return Heard(
        images=np.load(images, mmap_mode="r"),
        features=(features - recorded.mean(axis=0)) / (recorded.std(axis=0) + 1e-3),
        logits=logits,
        clip=np.array([s.clip for s in sounds]),
        piece_moods=np.asarray(cached(cache, "piece-moods", key, grades), np.float64),
        key=key,
    )


def make_sounds(clips: Sequence[Clip], options: SoundOptions) -> list[Sound]:
    """The list of sounds; held-out clips are heard as they are and go into no variant."""
    own = [Voice(c.path) for c in clips]
    pieces = [Voice(None, seed) for seed in range(options.pieces)]
    training = [i for i, c in enumerate(clips) if not c.validation]
    sounds = [*(Sound(v, clip=i) for i, v in enumerate(own)), *map(Sound, pieces)]
    sounds += [Sound(Voice(own[i].path, speed=s), clip=i) for s in options.speeds for i in training]
    rng, voices = np.random.default_rng(options.seed), [*(own[i] for i in training), *pieces]
    for _ in range(options.mixes):
        a, b = rng.choice(len(voices), 2, replace=False)
        sounds.append(Sound(voices[a], voices[b], share=float(rng.uniform(0.1, 0.5))))
    return sounds


def levelled(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """The samples at the root mean square of all sounds, cut off at full scale."""
    rms = max(float(np.sqrt(np.mean(samples**2))), 1e-5)
    return np.asarray(np.clip(samples * np.float32(LEVEL / rms), -1, 1), np.float32)


def _piece(seed: int, rate: int, seconds: float) -> Piece:
    return compose(seed, mood=MOODS[seed % len(MOODS)], seconds=seconds, sample_rate=rate)


# -- in processes, one a core -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Ears:
    tagger: Tagger
    front_end: FrontEnd
    floor: float
    seconds: float


_ears: list[_Ears] = []


def _open_ears(data: Path, arrays: dict[str, NDArray[np.generic]], floor: float, seconds: float) -> None:
    torch.set_num_threads(1)
    _ears.append(
        _Ears(Tagger(data, threads=1), FrontEnd.from_arrays(arrays, AudioSpec(floor_db=floor)), floor, seconds)
    )


def _hear_one(sound: Sound) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    ears = _ears[0]
    image = ears.front_end(sound.play(RATE, ears.seconds)[None])[0]
    tags = ears.tagger.tag([sound.play(Tagger.rate, ears.seconds)])
    steps = np.rint((image - np.float32(ears.floor)) / np.float32(DECIBEL_STEP))
    return np.clip(steps, 0, 255).astype(np.uint8), np.concatenate([tags.logits, tags.features], axis=1)[0]


def _render(
    data: Path, sounds: Sequence[Sound], options: SoundOptions, config: ModelConfig, images: Path, tags: Path
) -> None:
    images.parent.mkdir(parents=True, exist_ok=True)
    arrays = AudioCLIP(config).audio.front_end_arrays()
    part, both = images.with_suffix(".part"), []
    assert config.audio.floor_db is not None
    start = (data, arrays, config.audio.floor_db, options.seconds)
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), _open_ears, start) as pool:
        out = None
        for i, (image, row) in enumerate(pool.map(_hear_one, sounds, chunksize=8)):
            if out is None:
                out = np.lib.format.open_memmap(part, "w+", np.uint8, (len(sounds), *image.shape))
            out[i] = image
            both.append(row)
    assert out is not None
    out.flush()
    np.save(tags, np.stack(both))
    part.replace(images)
