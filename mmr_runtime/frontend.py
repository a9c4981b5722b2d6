"""The audio front end in NumPy: sound becomes the dB image that the audio tower looks at (DESIGN section 7).

Framing, a Blackman-Harris window, a bank of complex filters (fbsp kernels), power, dB, three bands as channels. All of
it is float32 in the original's order of operations: a bin far below the maximum of its frame holds nothing but the
rounding of these operations, and AudioCLIP sees it.

A row of the filter bank has one of three forms; `mmr_export.frontend_fit` chooses by measured error, and stores what
this module runs:

- dense: the filters as one matrix; equal to the original in every bin, up to the order of a sum.
- fft: a filter with m = 0 and a whole fc is a bin of a DFT. The grid t runs over linspace(-1, 1, 2048) * pi with both
  ends, so the first and the last tap share a phase and the DFT has 2047 points.
- banded: a filter whose envelope is smooth is a sum of a few neighbouring bins of a DFT of the windowed frame. Blocks
  of rows share their bins, which makes one small matrix product of each.

The last two lack the original's noise: AudioCLIP's float32 arguments move the taps of a kernel by 1e-4 radians, some
1e-5 of the frame's maximum. Most of that is the rounding of the grid t, which all rows have in common: a tap that is
late by d turns row fc by fc * d. To first order a second transform, of the frame times d, holds it for all rows at once
(`band_delay`); what remains is the rounding of the product fc * t.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.bundle import AudioSpec
from mmr_runtime.errors import AudioError, BundleError
from mmr_runtime.limits import MAX_SAMPLE

Floats = NDArray[np.float32]
Product = Callable[[Floats], Callable[[Floats], Floats]]

WIN_LENGTH = 1654
HOP = 561
BANDS = 3
POWER_FLOOR = np.float32(1e-18)
"""What the original puts in the place of a power that is not positive; -180 dB."""

_INT16 = np.float32(32768.0)
# Bounds the temporary memory: 9 MB, with the second transform 17 MB. Each part costs dense a pass over its matrix.
_FRAMES_PER_PART = 512
_AGAIN = "copy or export the bundle again"
_ROW_ARRAYS = ("dense_rows", "fft_rows", "band_rows")
_INDEX_ARRAYS = (*_ROW_ARRAYS, "fft_bins", "band_blocks")
_ARRAYS = ("form", "error_db", "n_fft", "window", "dense", "fft_gain", "band", "band_delay")
_FLOAT_ARRAYS = ("window", "dense", "fft_gain", "band", "band_delay")


# -- frames -----------------------------------------------------------------------------------------------------------


def frame_count(samples: int, win_length: int = WIN_LENGTH, hop: int = HOP) -> int:
    """Frames of a sound of so many samples: one, and one more for each hop begun beyond the first window."""
    return 1 + max(0, -(-(samples - win_length) // hop))


def padding(samples: int, win_length: int = WIN_LENGTH, hop: int = HOP) -> tuple[int, int]:
    """Zeros put before and behind so many samples, so that they fill their frames: half each, the odd one behind."""
    missing = (frame_count(samples, win_length, hop) - 1) * hop + win_length - samples
    return missing // 2, missing - missing // 2


def to_mono(samples: NDArray[Any]) -> Floats:
    """Samples of any number of channels as one channel of unit range.

    Args:
        samples: int16 (t,) or (t, channels), divided by 32768; or float, unit range already.

    Returns:
        float32 (t,), the mean of the channels.

    Raises:
        AudioError: another dtype or shape.
    """
    if samples.ndim not in (1, 2) or 0 in samples.shape[1:]:
        raise AudioError(f"samples have the shape {samples.shape}", "give (samples,) or (samples, channels)")
    unit = _to_unit(samples)
    return unit if unit.ndim == 1 else unit.mean(axis=1, dtype=np.float32)


def _to_unit(samples: NDArray[Any]) -> Floats:
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / _INT16
    if not np.issubdtype(samples.dtype, np.floating):
        raise AudioError(f"samples are {samples.dtype}", "give int16, or float in [-1, 1]")
    # A float64 beyond float32 becomes inf, which the caller refuses with a better message than a warning.
    with np.errstate(over="ignore"):
        return samples.astype(np.float32, copy=False)


# -- the filter bank ---------------------------------------------------------------------------------------------------


def numpy_product(matrix: Floats) -> Callable[[Floats], Floats]:
    """A function that gives rows (n, k) times the matrix (k, columns): the reference."""
    return lambda rows: rows @ matrix


class _Dense:
    """Rows as one matrix, real parts beside imaginary parts."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], product: Product) -> None:
        self._rows = _run(arrays["dense_rows"])
        matrix: Floats = np.ascontiguousarray(arrays["dense"].T, np.float32)
        self._taps = len(matrix)
        self._product = product(matrix)

    def power(self, windowed: Floats, out: Floats) -> None:
        """Fill these rows of out (rows, frames) from windowed frames (frames, n_fft), zero behind the window."""
        _square(self._product(np.ascontiguousarray(windowed[:, : self._taps])).T, self._rows, out)


class _Fft:
    """Rows that are bins of a DFT."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._rows = _run(arrays["fft_rows"])
        self._bins = _run(arrays["fft_bins"])
        self._gain: Floats = np.asarray(arrays["fft_gain"], np.float32)[:, None]
        self._length = int(arrays["n_fft"]) - 1

    def power(self, windowed: Floats, out: Floats) -> None:
        """As of `_Dense`."""
        # Where the frame lies in the DFT only turns the phase, so the zeros may all stand behind it.
        parts = _rfft(windowed[:, : self._length]).view(np.float32)
        parts *= parts
        power = np.add(parts[:, 0::2], parts[:, 1::2])
        out[self._rows] = power[:, self._bins].T * self._gain


@dataclass(frozen=True)
class _Block:
    """Rows that are weighted sums of one run of bins: matrix (2 rows, 2 bins), re and im of a bin side by side."""

    rows: NDArray[np.intp] | slice
    columns: slice
    matrix: Floats


class _Banded:
    """Rows that are sums of a few bins each of one DFT of n_fft points."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._delay: Floats = np.asarray(arrays["band_delay"], np.float32)
        if len(self._delay):
            self._delay = np.pad(self._delay, (0, int(arrays["n_fft"]) - len(self._delay)))
        # Bin k lies at this centre frequency of the filters, which count cycles in n_fft - 1 samples.
        n_fft = int(arrays["n_fft"])
        centres = np.arange(n_fft // 2 + 1) * ((n_fft - 1) / n_fft)
        self._turn = (-1j * centres).astype(np.complex64)
        self._blocks: list[_Block] = []
        row = start = 0
        for rows, first, bins in arrays["band_blocks"].tolist():
            matrix = np.asarray(arrays["band"][start : start + 4 * rows * bins], np.float32).reshape(2 * rows, 2 * bins)
            columns = slice(2 * first, 2 * (first + bins))
            self._blocks.append(_Block(_run(arrays["band_rows"][row : row + rows]), columns, matrix))
            row, start = row + rows, start + matrix.size
        self._tallest = max(len(block.matrix) for block in self._blocks)

    def power(self, windowed: Floats, out: Floats) -> None:
        """As of `_Dense`."""
        spectrum = _rfft(windowed)
        if len(self._delay):
            late = _rfft(windowed * self._delay)
            late *= self._turn
            spectrum += late
        parts = spectrum.view(np.float32)
        # One scratch for all blocks, small enough to stay in the cache.
        scratch = np.empty((self._tallest, len(windowed)), np.float32)
        for block in self._blocks:
            product = np.matmul(block.matrix, parts[:, block.columns].T, out=scratch[: len(block.matrix)])
            _square(product, block.rows, out)


def _rfft(frames: Floats) -> NDArray[np.complex64]:
    """Transform of real frames (frames, t): complex64 (frames, t // 2 + 1)."""
    # Loaded with the first sound only. Twice as fast as NumPy's, which takes one frame at a time.
    from scipy.fft import rfft

    spectrum: NDArray[np.complex64] = rfft(frames, axis=-1)
    return spectrum


def _square(parts: Floats, rows: NDArray[np.intp] | slice, out: Floats) -> None:
    """Power of parts (2 r, frames), real rows over imaginary rows, which is overwritten, into r rows of out."""
    parts *= parts
    re, im = np.split(parts, 2)
    if isinstance(rows, slice):
        np.add(re, im, out=out[rows])
    else:
        out[rows] = np.add(re, im, out=re)


def _run(indices: NDArray[Any]) -> NDArray[np.intp] | slice:
    """Indices as a slice where they are a run: that reads and writes without a copy."""
    if len(indices) and np.array_equal(indices, np.arange(indices[0], indices[0] + len(indices))):
        return slice(int(indices[0]), int(indices[0]) + len(indices))
    return np.asarray(indices, np.intp)


# -- the front end ----------------------------------------------------------------------------------------------------


class FrontEnd:
    """The front end of one bundle; it keeps no state between calls, so many threads may share it."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], audio: AudioSpec, product: Product) -> None:
        self.audio = audio
        self.form = str(arrays["form"])
        self.error_db = float(arrays["error_db"])
        self._window: Floats = np.ascontiguousarray(arrays["window"], np.float32)
        self._n_fft = int(arrays["n_fft"])
        self._bank: list[_Dense | _Fft | _Banded] = []
        if len(arrays["dense_rows"]):
            self._bank.append(_Dense(arrays, product))
        if len(arrays["fft_rows"]):
            self._bank.append(_Fft(arrays))
        if len(arrays["band_rows"]):
            self._bank.append(_Banded(arrays))
        self._height = sum(len(arrays[name]) for name in _ROW_ARRAYS)

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[Any]], audio: AudioSpec, product: Product = numpy_product
    ) -> Self:
        """Build from what `mmr_export.frontend_fit.fit` made.

        Args:
            arrays: see there.
            audio: of the bundle.
            product: what multiplies the dense rows: given a matrix float32 (k, columns), a function of rows (n, k).

        Raises:
            BundleError: an array is missing, or they do not fit each other.
        """
        missing = {*_ARRAYS, *_INDEX_ARRAYS} - set(arrays)
        if missing:
            raise BundleError(f"the front end lacks {', '.join(sorted(missing))}", _AGAIN)
        if not _fit_each_other(arrays):
            raise BundleError("the arrays of the front end do not fit each other", _AGAIN)
        return cls(arrays, audio, product)

    @classmethod
    def load(cls, path: str | Path, audio: AudioSpec, product: Product = numpy_product) -> Self:
        """Read frontend.npz of a bundle; arguments as of `from_arrays`.

        Raises:
            BundleError: the file cannot be read or lacks an array.
        """
        try:
            # Opened here: NumPy leaves a file open that it cannot read.
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"cannot read the front end {path}: {error}", _AGAIN) from error
        return cls.from_arrays(arrays, audio, product)

    def __call__(self, samples: NDArray[Any]) -> Floats:
        """The dB images of sounds of one length.

        A sound gives the same image alone and in a batch, bit for bit.

        Args:
            samples: float (n, t) in [-1, 1], or int16 (n, t); mono, at the bundle's sample rate.

        Returns:
            float32 (n, 3, bins, frames) in dB; low frequencies at row 0 of channel 0.

        Raises:
            AudioError: there is no sample, or one is not a number or beyond all scale.
        """
        samples = np.asarray(samples)
        if samples.ndim != 2:
            raise AudioError(f"samples have the shape {samples.shape}", "give (sounds, samples)")
        if not samples.shape[1]:
            raise AudioError("the sound is empty", "give at least one sample")
        unit = _to_unit(samples)
        # A NaN fails the comparison, too.
        if unit.size and not max(unit.max(), -unit.min()) <= MAX_SAMPLE:
            raise AudioError("the sound holds values that are no samples (NaN, infinite or huge)", "decode it again")
        frames = frame_count(unit.shape[1], len(self._window), self.audio.hop)
        image = np.empty((len(unit), self._height, frames), np.float32)
        for sound, power in zip(unit, image, strict=True):
            self._power(self._frames(sound), power)
        self._to_db(image)
        return image.reshape(len(unit), BANDS, self._height // BANDS, frames)

    def _frames(self, sound: Floats) -> Floats:
        """All frames of a sound (t,) as a view (frames, win_length), scaled and padded as the original does."""
        win_length, hop = len(self._window), self.audio.hop
        left, right = padding(len(sound), win_length, hop)
        line = np.zeros(left + len(sound) + right, np.float32)
        scaled = line[left : left + len(sound)]
        np.multiply(sound, _INT16 if self.audio.amplitude == "int16" else np.float32(1), out=scaled)
        # One rounding per step, in this order. Digital silence becomes 1.5e-5; the padding is true zero.
        scaled += np.float32(32768)
        scaled *= np.float32(2)
        scaled /= np.float32(65535)
        scaled -= np.float32(1)
        return np.lib.stride_tricks.sliding_window_view(line, win_length)[::hop]

    def _power(self, frames: Floats, power: Floats) -> None:
        """Fill power (rows, frames) from the frames (frames, win_length)."""
        windowed = np.zeros((min(len(frames), _FRAMES_PER_PART), self._n_fft), np.float32)
        for start in range(0, len(frames), _FRAMES_PER_PART):
            part = slice(start, start + _FRAMES_PER_PART)
            # The original windows the frame, too; folding the window into the matrix would round otherwise.
            np.multiply(frames[part], self._window, out=windowed[: len(frames[part]), : len(self._window)])
            for rows in self._bank:
                rows.power(windowed[: len(frames[part])], power[:, part])

    def _to_db(self, image: Floats) -> None:
        """Turn power (n, rows, frames) into dB in place."""
        for power in image:
            power[~(power > 0)] = POWER_FLOOR  # NaN as well
            np.log10(power, out=power)
            power *= np.float32(10)
        if self.audio.floor_db is not None:
            np.maximum(image, np.float32(self.audio.floor_db), out=image)


def _fit_each_other(arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Whether arrays, of which none is missing, have the types, shapes and ranges that the front end relies on."""
    scalars = all(arrays[name].shape == () for name in ("form", "error_db", "n_fft"))
    whole = all(arrays[name].dtype.kind == "i" for name in (*_INDEX_ARRAYS, "n_fft"))
    flat = all(arrays[name].ndim == 1 for name in (*_ROW_ARRAYS, "fft_bins", "fft_gain", "window", "band"))
    floats = all(arrays[name].dtype == np.float32 for name in _FLOAT_ARRAYS)
    blocks = arrays["band_blocks"]
    if not (scalars and whole and flat and floats and blocks.ndim == 2 and blocks.shape[1] == 3):
        return False
    window, n_fft = len(arrays["window"]), int(arrays["n_fft"])
    rows = np.sort(np.concatenate([arrays[name] for name in _ROW_ARRAYS]))
    bins, (counts, first, widths) = arrays["fft_bins"], blocks.astype(np.int64).T
    return bool(
        0 < window < n_fft
        and arrays["dense"].shape == (2 * len(arrays["dense_rows"]), window)
        and len(arrays["fft_rows"]) == len(bins) == len(arrays["fft_gain"])
        and ((bins >= 0) & (bins < n_fft // 2)).all()
        and arrays["band_delay"].shape in {(0,), (window,)}
        and (counts > 0).all()
        and counts.sum() == len(arrays["band_rows"])
        and ((first >= 0) & (widths > 0) & (first + widths <= n_fft // 2 + 1)).all()
        and (4 * counts * widths).sum() == len(arrays["band"])
        and len(rows) % BANDS == 0
        and np.array_equal(rows, np.arange(len(rows)))
    )
