"""Variation of training items: AudioCLIP's audio set made correct, SpecAugment's masks, mild changes of pictures.

AudioCLIP's code means five steps: time inversion, a change of speed, padding, cropping, noise. Its inversion flips the
channel axis and does nothing to a mono clip, its padding and cropping never draw the last place, and its noise range is
one decibel too wide; here they do what the paper says (Guzhov et al. 2021, section 4). Every item has a generator of
its own, so that neither workers nor an interruption change what is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmr_export.train.recipe import PictureVariation, SoundVariation

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]
QUIET = 0.5
"""A cut with less than this share of the whole clip's deviation is one of its pauses."""
MASK_SHARE = 0.1
"""Longest stretch of time or frequency that one mask covers."""


def item_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The generator of one item in one epoch."""
    return np.random.default_rng((seed, epoch, index))


def vary_sound(samples: Floats, length: int, options: SoundVariation, rng: np.random.Generator) -> Floats:
    """A training view of a clip.

    Args:
        samples: (t,), t at least 1.
        length: of the view.
        options: how much is varied.
        rng: draws.

    Returns:
        float32 (length,).
    """
    if rng.random() < options.inversion:
        samples = samples[::-1]
    if options.scale > 1:
        samples = scaled(samples, options.scale ** rng.uniform(-1, 1))
    samples = padded(samples, length, int(rng.integers(0, max(length - len(samples), 0) + 1)))
    samples = cropped(samples, length, int(rng.integers(0, len(samples) - length + 1)))
    if rng.random() < options.noise:
        samples = noisy(samples, rng.uniform(*options.noise_db), rng)
    return np.ascontiguousarray(samples, np.float32)


def middle(samples: Floats, length: int) -> Floats:
    """The view of a clip (t,) in evaluation: its middle, or the whole with its edge values repeated on both sides."""
    samples = padded(samples, length, max(length - len(samples), 0) // 2)
    return np.ascontiguousarray(samples[(len(samples) - length) // 2 :][:length], np.float32)


def scaled(samples: Floats, factor: float) -> Floats:
    """A clip (t,) stretched to t * factor samples: speed and pitch change together; linear interpolation, as AudioCLIP.

    Positions are float64: in float32 they lose their fraction late in a clip.
    """
    positions = np.arange(max(int(len(samples) * factor), 1)) / factor
    return np.interp(positions, np.arange(len(samples)), samples).astype(np.float32)


def padded(samples: Floats, length: int, left: int) -> Floats:
    """At least `length` samples: the first one is repeated `left` times before a shorter clip, the last one behind."""
    missing = length - len(samples)
    return np.pad(samples, (left, missing - left), mode="edge") if missing > 0 else samples


def cropped(samples: Floats, length: int, start: int) -> Floats:
    """The samples from `start`, unless that is a pause: then the start or the end of the clip, if one is louder."""
    cut = samples[start : start + length]
    if cut.std() >= QUIET * samples.std():
        return cut
    return max((cut, samples[:length], samples[-length:]), key=lambda part: float(part.std()))


def noisy(samples: Floats, snr_db: float, rng: np.random.Generator) -> Floats:
    """With white Gaussian noise whose power lies `snr_db` below that of the samples."""
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    return samples + rng.normal(0, np.sqrt(power / 10 ** (snr_db / 10)), len(samples)).astype(np.float32)


def masks(rows: int, frames: int, count: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """What `count` stretches of time and as many of frequency leave of a spectrogram (SpecAugment, Park et al. 2019).

    Returns:
        bool (rows, frames), True where the spectrogram stays.
    """
    kept = np.ones((rows, frames), np.bool_)
    for _ in range(count):
        for axis, size in enumerate(kept.shape):
            width = int(rng.integers(0, int(size * MASK_SHARE) + 1))
            start = int(rng.integers(0, size - width + 1))
            kept[(slice(start, start + width), slice(None))[:: -1 if axis else 1]] = False
    return kept


def vary_picture(image: Image, options: PictureVariation, rng: np.random.Generator) -> Image:
    """A training view of a picture: a random cut that keeps its proportions, now and then mirrored."""
    from PIL import ImageOps

    if options.crop < 1:
        share = rng.uniform(options.crop, 1)
        width, height = max(round(image.width * share), 1), max(round(image.height * share), 1)
        left, top = (int(rng.integers(0, n + 1)) for n in (image.width - width, image.height - height))
        image = image.crop((left, top, left + width, top + height))
    return ImageOps.mirror(image) if rng.random() < options.flip else image
