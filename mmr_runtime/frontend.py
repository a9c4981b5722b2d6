"""The audio front end in NumPy: sound becomes the dB image that the audio tower looks at (DESIGN section 7).

Framing, a Blackman-Harris window, a bank of complex filters (fbsp kernels), power, dB, three bands as channels. All of
it is float32 in the original's order of operations: a bin far below the maximum of its frame holds nothing but the
rounding of these operations, and AudioCLIP sees it.

Two forms of the filter bank, chosen per row when a bundle is made (`fit`):

- dense: the kernels as one matrix; equal to the original in every bin, up to the order of a sum.
- fft: a row with m = 0 and a whole fc is a bin of a DFT. The grid t runs over linspace(-1, 1, 2048) * pi with both
  ends, so the first and the last tap share a phase and the DFT has 2047 points. Three times faster, and more exact than
  the original: AudioCLIP's float32 arguments move the taps of a kernel by 1e-4 radians, a noise of some 1e-5 of the
  frame's maximum that the fft form does not have. The two differ by up to 0.05 dB in bins within 60 dB of that maximum
  and by up to half a dB at 80 dB: nothing to a model whose dB image has a floor, too much for AudioCLIP's own weights.
"""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.bundle import AudioSpec
from mmr_runtime.errors import AudioError, BundleError
from mmr_runtime.limits import MAX_SAMPLE

Floats = NDArray[np.float32]
Form = Literal["auto", "dense", "fft"]

N_FFT = 2048
WIN_LENGTH = 1654
HOP = 561
BANDS = 3
POWER_FLOOR = np.float32(1e-18)
"""What the original puts in the place of a power that is not positive; -180 dB."""

_EPS = np.float32(1e-8)
_INT16 = np.float32(32768.0)
# An FFT of one frame costs about as much as this many rows of the matrix (measured, one thread); below it is no gain.
_FFT_PAYS_ROWS = 256
_FRAMES_PER_BLOCK = {"dense": 512, "fft": 64}  # bounds the temporary memory: 8 MB and 3 MB
_AGAIN = "copy or export the bundle again"
_INDEX_ARRAYS = ("dense_rows", "fft_rows", "fft_bins")
_FIT_RANGE_DB = 80.0


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


# -- kernels ----------------------------------------------------------------------------------------------------------


def time_grid(n_fft: int = N_FFT) -> Floats:
    """The grid t = pi * linspace(-1, 1, n_fft) + 1e-8, float32 (n_fft,), bit for bit as the original's.

    The original computes each point of the line with one fused multiply-add, from the nearer end; float64 holds that
    product and sum exactly, so one rounding to float32 gives the same on any machine.
    """
    step = float(np.float32(2.0) / np.float32(n_fft - 1))
    i = np.arange(n_fft)
    line = np.where(i < n_fft // 2, step * i - 1.0, 1.0 - step * (n_fft - 1 - i)).astype(np.float32)
    grid: Floats = np.float32(math.pi) * line + _EPS
    return grid


def fbsp_kernel(m: NDArray[Any], fb: NDArray[Any], fc: NDArray[Any], n_fft: int = N_FFT) -> Floats:
    """The filters sqrt(fb / n_fft) * sinc(fb t / (m + 1e-8))^m * exp(-i fc t) of ESResNe(X)t-fbsp.

    The arguments of the functions are rounded to float32 as the original rounds them; the functions are float64, so
    that the result is the same on any machine. Within 1.2e-8 of the original (peak 0.046).

    Args:
        m: order of each filter, (bins,); any real number.
        fb: bandwidth, (bins,), not negative.
        fc: centre frequency in cycles per frame, (bins,).
        n_fft: taps.

    Returns:
        float32 (bins, n_fft, 2): real and imaginary part.
    """
    m, fb, fc = (np.asarray(p, np.float32)[:, None] for p in (m, fb, fc))
    t = time_grid(n_fft)
    x = (fb * t / (m + _EPS)).astype(np.float64)
    sinc = np.divide(np.sin(x), x, out=np.ones_like(x), where=x != 0)
    # The principal complex power: where the envelope is negative its argument is pi, so an m that is no whole number
    # turns it. A negative m at an exact zero of the envelope is a pole, which the original has as well.
    with np.errstate(divide="ignore"):
        size = (sinc * sinc) ** (m.astype(np.float64) / 2)
    carrier = -(fc * t).astype(np.float64)
    angle = np.where(sinc < 0, math.pi * m, 0.0) + carrier
    size *= np.sqrt(fb.astype(np.float64) / n_fft)
    return np.stack((size * np.cos(angle), size * np.sin(angle)), axis=-1).astype(np.float32)


def fit(
    m: NDArray[Any],
    fb: NDArray[Any],
    fc: NDArray[Any],
    window: NDArray[Any],
    *,
    form: Form = "auto",
    max_error_db: float = 0.1,
) -> dict[str, NDArray[Any]]:
    """Choose the form of the filter bank and make the arrays of frontend.npz; done once, when a bundle is made.

    Args:
        m: order of each filter, (bins,) with bins = n_fft / 2 + 1.
        fb: bandwidth, (bins,).
        fc: centre frequency in cycles per frame, (bins,).
        window: (win_length,).
        form: `dense`; `fft`: wherever a row allows it; `auto`: so, if that is exact enough and pays.
        max_error_db: the largest `error_db` that `auto` accepts; by default AudioCLIP's golden vectors' bound.

    Returns:
        `window` float32 (win_length,); `n_fft`; `form`: "dense", "fft" or "mixed"; `fft_rows`, `fft_bins` int32 (r,):
        row of the image and bin of the DFT; `fft_gain` float32 (r,): factor of its power; `dense_rows` int32 (s,) and
        `dense` float32 (2 s, win_length), real rows then imaginary rows; `error_db`: largest difference to the dense
        form in measured sounds, in bins within 80 dB of the maximum of their frame.
    """
    m, fb, fc, window = (np.asarray(p, np.float32) for p in (m, fb, fc, window))
    n_fft = 2 * (len(m) - 1)
    rows = np.arange(len(m) // BANDS * BANDS, dtype=np.int32)
    dense = _arrays(m, fb, fc, window, rows, rows[:0])
    is_bin = (m == 0) & (fb >= 0) & (fc == np.rint(fc)) & (fc >= 0) & (fc <= n_fft // 2 - 1)
    fft_rows = rows[is_bin[: len(rows)]]
    if form == "dense" or not len(fft_rows) or (form == "auto" and len(fft_rows) < _FFT_PAYS_ROWS):
        return dense
    mixed = _arrays(m, fb, fc, window, np.setdiff1d(rows, fft_rows), fft_rows)
    error = _difference_db(mixed, dense)
    mixed["error_db"] = np.array(error, np.float32)
    return dense if form == "auto" and error > max_error_db else mixed


def _arrays(
    m: Floats, fb: Floats, fc: Floats, window: Floats, dense_rows: NDArray[np.int32], fft_rows: NDArray[np.int32]
) -> dict[str, NDArray[Any]]:
    n_fft = 2 * (len(m) - 1)
    start = (n_fft - len(window)) // 2
    # Only the taps under the window count: the frame is zero on both sides of it.
    taps = fbsp_kernel(m[dense_rows], fb[dense_rows], fc[dense_rows], n_fft)[:, start : start + len(window)]
    form = "dense" if not len(fft_rows) else "mixed" if len(dense_rows) else "fft"
    return {
        "form": np.array(form),
        "n_fft": np.array(n_fft, np.int32),
        "window": window,
        "dense_rows": dense_rows,
        "dense": np.concatenate((taps[..., 0], taps[..., 1])),
        "fft_rows": fft_rows,
        "fft_bins": fc[fft_rows].astype(np.int32),
        "fft_gain": fb[fft_rows] / np.float32(n_fft),
        "error_db": np.array(0, np.float32),
    }


def _difference_db(arrays: dict[str, NDArray[Any]], reference: dict[str, NDArray[Any]]) -> float:
    """Largest difference of two banks in bins within 80 dB of their frame's maximum.

    The sounds are chords over white noise of several levels: what differs is small beside a frame's maximum, and shows
    in the bins that the noise holds just within the range.
    """
    rate = 44100
    t = np.arange(rate) / rate
    chord = sum(np.sin(2 * math.pi * f * t) / 8 for f in (110.0, 277.2, 659.3, 1396.9, 2793.8, 5587.7))
    noise = np.random.default_rng(0).standard_normal((3, rate)) * np.array([[1e-2], [1e-3], [1e-4]])
    sounds = (chord + noise).astype(np.float32)
    spec = AudioSpec(window_samples=rate, frames=frame_count(rate, len(arrays["window"])))
    got, want = (FrontEnd.from_arrays(a, spec)(sounds) for a in (arrays, reference))
    heard = want > want.max(axis=(1, 2), keepdims=True) - _FIT_RANGE_DB
    return float(np.abs(got - want)[heard].max())


# -- the front end ----------------------------------------------------------------------------------------------------


class FrontEnd:
    """The front end of one bundle; it keeps no state between calls, so many threads may share it."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]], audio: AudioSpec) -> None:
        self.audio = audio
        self.form = str(arrays["form"])
        self.error_db = float(arrays["error_db"])
        self._window: Floats = np.ascontiguousarray(arrays["window"], np.float32)
        self._dense: Floats = np.ascontiguousarray(arrays["dense"], np.float32)
        self._dense_rows = _rows(arrays["dense_rows"])
        self._fft_rows = _rows(arrays["fft_rows"])
        self._fft_bins = _rows(arrays["fft_bins"])
        self._fft_gain: Floats = np.asarray(arrays["fft_gain"], np.float32)[:, None]
        self._dft_length = int(arrays["n_fft"]) - 1
        self._height = len(arrays["dense_rows"]) + len(arrays["fft_rows"])

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], audio: AudioSpec) -> Self:
        """Build from what `fit` made.

        Raises:
            BundleError: an array is missing, or they do not fit each other.
        """
        missing = {"form", "error_db", "n_fft", "window", "dense", *_INDEX_ARRAYS, "fft_gain"} - set(arrays)
        if missing:
            raise BundleError(f"the front end lacks {', '.join(sorted(missing))}", _AGAIN)
        dense, window = arrays["dense"], arrays["window"]
        rows = np.sort(np.concatenate((arrays["dense_rows"], arrays["fft_rows"])))
        fits = (
            window.ndim == 1
            and 0 < len(window) < int(arrays["n_fft"])
            and dense.shape == (2 * len(arrays["dense_rows"]), len(window))
            and len(arrays["fft_rows"]) == len(arrays["fft_bins"]) == len(arrays["fft_gain"])
            and len(rows) % BANDS == 0
            and np.array_equal(rows, np.arange(len(rows)))
        )
        if not fits:
            raise BundleError("the arrays of the front end do not fit each other", _AGAIN)
        return cls(arrays, audio)

    @classmethod
    def load(cls, path: str | Path, audio: AudioSpec) -> Self:
        """Read frontend.npz of a bundle.

        Raises:
            BundleError: the file cannot be read or lacks an array.
        """
        try:
            # Opened here: NumPy leaves a file open that it cannot read.
            with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise BundleError(f"cannot read the front end {path}: {error}", _AGAIN) from error
        return cls.from_arrays(arrays, audio)

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
        if self._height > len(self._fft_gain):
            for part in _blocks(len(frames), _FRAMES_PER_BLOCK["dense"]):
                # The original windows the frame, too; folding the window into the matrix would round otherwise.
                re, im = np.split(self._dense @ (frames[part] * self._window).T, 2)
                re *= re
                im *= im
                power[self._dense_rows, part] = np.add(re, im, out=re)
        if len(self._fft_gain):
            for part in _blocks(len(frames), _FRAMES_PER_BLOCK["fft"]):
                # Where the frame lies in the DFT only turns the phase, so the zeros may all stand behind it.
                # float64 is as fast here, and the rounding of a transform of prime factors 23 and 89 is not small.
                windowed = (frames[part] * self._window).astype(np.float64)
                bins = np.fft.rfft(windowed, self._dft_length)[:, self._fft_bins].T
                power[self._fft_rows, part] = (bins.real**2 + bins.imag**2) * self._fft_gain

    def _to_db(self, image: Floats) -> None:
        """Turn power (n, rows, frames) into dB in place."""
        for power in image:
            power[~(power > 0)] = POWER_FLOOR  # NaN as well
            np.log10(power, out=power)
            power *= np.float32(10)
        if self.audio.floor_db is not None:
            np.maximum(image, np.float32(self.audio.floor_db), out=image)


def _blocks(count: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _rows(indices: NDArray[Any]) -> NDArray[np.intp] | slice:
    """Indices as a slice where they are a run: that reads and writes without a copy."""
    if len(indices) and np.array_equal(indices, np.arange(indices[0], indices[0] + len(indices))):
        return slice(int(indices[0]), int(indices[0]) + len(indices))
    return np.asarray(indices, np.intp)
