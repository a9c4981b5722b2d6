"""Items of data sets become arrays: sound, pictures, features. What cannot be read is an error with the item's name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmr_export.data.datasets import Item
from mmr_runtime.audio import probe, read_windows
from mmr_runtime.bundle import AudioSpec, ImageSpec
from mmr_runtime.decoders import DecodeFaultError, open_source
from mmr_runtime.errors import InputError, MissingFileError
from mmr_runtime.image import load_image, preprocess
from mmr_runtime.limits import MAX_SONG_SECONDS, MIN_IMAGE_SIDE, MIN_SONG_SECONDS

if TYPE_CHECKING:
    from PIL.Image import Image

Floats = NDArray[np.float32]
AUDIOCLIP = AudioSpec()
_FULL_SCALE = np.float32(32768)


def read_samples(item: Item, spec: AudioSpec = AUDIOCLIP) -> Floats:
    """The whole clip, read by the rules of `mmr_runtime.audio`.

    Args:
        item: of sound.
        spec: sample rate and amplitude convention; its window does not count.

    Returns:
        float32 (t,), mono at the spec's rate; full scale is 32768 with the amplitude `int16`, 1 with `unit`.

    Raises:
        InputError: the file is missing or damaged; names the item and the file.
    """
    with _named(item):
        if probe(item.path).seconds < MIN_SONG_SECONDS:
            samples = _read_short(item.path, spec.sample_rate)
        else:
            whole = replace(spec, window_samples=int(MAX_SONG_SECONDS * spec.sample_rate))
            samples = read_windows(item.path, windows=1, spec=whole).samples[0]
    return samples * _FULL_SCALE if spec.amplitude == "int16" else samples


def read_picture(item: Item) -> Image:
    """The picture, cut to the item's box; in a mode that `mmr_runtime.image.preprocess` takes.

    Raises:
        InputError: the file is missing or damaged, or the box lies outside; names the item and the file.
    """
    with _named(item):
        picture = load_image(item.path)
        if item.box is None:
            return picture
        # Annotations reach over the edge by a few pixels, which Pillow would fill with black.
        left, top, right, bottom = item.box
        box = max(left, 0), max(top, 0), min(right, picture.width), min(bottom, picture.height)
        if min(box[2] - box[0], box[3] - box[1]) < MIN_IMAGE_SIDE:
            raise InputError(
                f"{item.path} has {picture.width} x {picture.height} pixels, where the box {item.box} is no picture",
                "check that pictures and annotations are of one release",
            )
        return picture.crop(box)


def pixels(item: Item, spec: ImageSpec) -> Floats:
    """What the image tower takes of the picture, never cut into two pages: float32 (3, height, width).

    Raises:
        InputError: the picture cannot be used; names the item and the file.
    """
    picture = read_picture(item)
    with _named(item):
        whole: Floats = preprocess(picture, spec, "whole")[0]
    return whole


def read_features(path: Path) -> Floats:
    """A vector of features, float32 (f,): the file's own, or the mean over time of its frames (t, f).

    Raises:
        InputError: the file is missing or damaged, or holds anything else; names the file.
    """
    try:
        features = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise MissingFileError(f"{path} is missing", "get it again, or take it out of ids.csv") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is no NumPy array that can be read", "write it with numpy.save") from error
    hint = "write it again as float32 (features,) or (frames, features)"
    if not isinstance(features, np.ndarray) or features.dtype.kind not in "fiu":
        raise InputError(f"{path} does not hold an array of numbers", hint)
    if features.ndim not in (1, 2) or not features.size:
        raise InputError(f"{path} has the shape {features.shape}, neither features nor frames of features", hint)
    with np.errstate(over="ignore", invalid="ignore"):
        vector = features.mean(axis=0, dtype=np.float64) if features.ndim == 2 else features
        vector = np.asarray(vector, np.float32)
    if not np.isfinite(vector).all():
        raise InputError(f"{path} holds values that are not finite", hint)
    return vector


def _read_short(path: Path, rate: int) -> Floats:
    """A clip that is shorter than songs may be: UrbanSound8K holds some of 0.05 seconds."""
    from scipy.signal import resample_poly

    with open_source(path) as source:
        try:
            samples = source.read(0, source.frames)
        except DecodeFaultError as error:
            raise InputError(f"{path} cannot be decoded", "convert it again, for example to wav") from error
        if not len(samples):
            raise InputError(f"{path} holds no sound", "leave it out")
        if source.rate != rate:
            samples = np.asarray(resample_poly(samples, rate, source.rate), np.float32)
    return np.clip(samples, -1.0, 1.0)


@contextmanager
def _named(item: Item) -> Iterator[None]:
    """Errors say which item it was, beside the file that they name already."""
    try:
        yield
    except InputError as error:
        raise InputError(f"item {item.key}: {error.message}", error.hint) from error
