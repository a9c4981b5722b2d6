"""Fits the runtime's front end to a model's filters: which form each row takes, and the arrays of frontend.npz.

The forms are told in `mmr_runtime.frontend`. What decides is measured: each row is run in a cheap form and as the
original computes it (dense), on sounds that hold something at every level down to 80 dB under a frame's maximum. A row
that differs by more than is allowed stays dense.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.bundle import AudioSpec
from mmr_runtime.frontend import BANDS, FrontEnd, frame_count

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int32]
Complex = NDArray[np.complex128]
Form = Literal["auto", "dense", "fft", "banded"]

N_FFT = 2048
_EPS = np.float32(1e-8)
_RANGE_DB, _NEAR_DB = 80.0, 60.0
_CAUTION = 0.6
"""Part of the allowed error that a row may have on the sounds of the fit: other sounds find larger ones."""
_TRANSFORM_PAYS_ROWS = 160
"""Dense rows that cost as much as a transform with all that follows it (measured, one thread)."""
_SPAN = 12
"""Bins that the centres of one block's rows cover: wider wastes products, narrower makes them small."""
_MARGINS = (8, 12, 20, 48, 96)
"""Bins that a block may take on either side of its rows' centres; the smallest that serves is chosen row by row."""
_RIDGE = 1e-13
"""Keeps the weights of neighbouring bins from growing against each other beyond what float32 holds."""


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
    filters = _filters(m, fb, fb * t / (m + _EPS), fc * t)
    return np.stack((filters.real, filters.imag), axis=-1).astype(np.float32)


def _filters(m: Floats, fb: Floats, x: NDArray[Any], turn: NDArray[Any]) -> Complex:
    """sqrt(fb / n) * sinc(x)^m * exp(-i turn), complex128 (bins, n), of m and fb (bins, 1), x and turn (bins, n)."""
    x = x.astype(np.float64)
    sinc = np.divide(np.sin(x), x, out=np.ones_like(x), where=x != 0)
    # The principal complex power: where the envelope is negative its argument is pi, so an m that is no whole number
    # turns it. A negative m at an exact zero of the envelope is a pole, which the original has as well.
    with np.errstate(divide="ignore"):
        size = (sinc * sinc) ** (m.astype(np.float64) / 2)
    size *= np.sqrt(fb.astype(np.float64) / x.shape[1])
    filters: Complex = size * np.exp(1j * (np.where(sinc < 0, math.pi * m, 0.0) - turn.astype(np.float64)))
    return filters


@dataclass(frozen=True)
class _Filters:
    """A model's filter bank: m, fb, fc float32 (bins,), the window float32 (win_length,) and the rows that count."""

    m: Floats
    fb: Floats
    fc: Floats
    window: Floats

    @property
    def n_fft(self) -> int:
        return 2 * (len(self.m) - 1)

    @property
    def rows(self) -> Rows:
        return np.arange(len(self.m) // BANDS * BANDS, dtype=np.int32)

    @property
    def live(self) -> slice:
        """The taps under the window: the frame is zero on both sides of it."""
        start = (self.n_fft - len(self.window)) // 2
        return slice(start, start + len(self.window))

    def taps(self, rows: Rows) -> Floats:
        """Kernels of these rows where the window is, float32 (rows, win_length, 2)."""
        return fbsp_kernel(self.m[rows], self.fb[rows], self.fc[rows], self.n_fft)[:, self.live]

    def smooth_taps(self, rows: Rows, delay: Floats) -> Complex:
        """`taps` without the rounding of their arguments, but for that of the grid if `delay` holds it."""
        m, fb, fc = (p[rows].astype(np.float64)[:, None] for p in (self.m, self.fb, self.fc))
        t = np.linspace(-math.pi, math.pi, self.n_fft)
        if len(delay):
            t[self.live] += delay
        return _filters(self.m[rows][:, None], self.fb[rows][:, None], fb * t / (m + _EPS), fc * t)[:, self.live]

    def delay(self) -> Floats:
        """By how much float32 put each tap of the grid too late, in radians, float32 (win_length,)."""
        exact = np.linspace(-math.pi, math.pi, self.n_fft)
        return (time_grid(self.n_fft) - exact)[self.live].astype(np.float32)


# -- bands ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Band:
    """A transform, and rows as weighted sums of its bins: what the runtime's banded form holds."""

    rows: Rows
    blocks: Rows
    weights: Floats
    delay: Floats


class _BandFitter:
    """Finds the weights of bins whose sum is a windowed kernel, by least squares under the window."""

    def __init__(self, filters: _Filters, delay: Floats) -> None:
        self._filters = filters
        self._delay = delay
        # More points than the window has: close bins make the sums short.
        self._length = filters.n_fft
        self._centres = filters.fc.astype(np.float64) * (self._length / (filters.n_fft - 1))

    def widths(self, rows: Rows, limit: float) -> NDArray[np.intp]:
        """For each row the number of the smallest margin that serves, or -1.

        A margin serves if a tone anywhere, as large as the frame's maximum, leaves at most `limit` of itself in what
        the weights miss of the kernel. What float32 did to the kernel's arguments is not in it: no width reaches that.
        """
        chosen = np.full(len(rows), -1)
        open_ = np.flatnonzero(self._residuals(rows, _MARGINS[-1]) <= limit)
        for number, margin in enumerate(_MARGINS):
            served = self._residuals(rows[open_], margin) <= limit
            chosen[open_[served]] = number
            open_ = open_[~served]
        return chosen

    def band(self, rows: Rows, widths: NDArray[np.intp]) -> _Band:
        """The weights of rows whose margins are known."""
        order: list[Rows] = []
        blocks: list[tuple[int, int, int]] = []
        weights: list[Floats] = []
        for number, margin in enumerate(_MARGINS):
            for block in self._blocks(rows[widths == number]):
                first, matrix, _ = self._solve(block, margin)
                order.append(block)
                blocks.append((len(block), first, matrix.shape[1] // 2))
                weights.append(matrix.ravel())
        return _Band(
            np.concatenate([rows[:0], *order]),
            np.array(blocks, np.int32).reshape(-1, 3),
            np.concatenate([np.empty(0, np.float32), *weights]),
            self._delay,
        )

    def _blocks(self, rows: Rows) -> Iterator[Rows]:
        """Rows in blocks whose centres lie close together."""
        rows = rows[np.argsort(self._centres[rows], kind="stable")]
        while len(rows):
            count = int(np.searchsorted(self._centres[rows], self._centres[rows[0]] + _SPAN))
            yield np.sort(rows[:count])
            rows = rows[count:]

    def _residuals(self, rows: Rows, margin: int) -> Doubles:
        """What the best weights leave of the largest tone, by row, as part of a frame's maximum."""
        found = np.zeros(len(self._centres))
        for block in self._blocks(rows):
            found[block] = self._solve(block, margin)[2]
        return found[rows]

    def _solve(self, rows: Rows, margin: int) -> tuple[int, Floats, Doubles]:
        """First bin, weights float32 (2 rows, 2 bins) and residuals (rows,) of one block."""
        centres, top, window = self._centres[rows], self._length // 2, self._filters.window.astype(np.float64)
        low, high = math.floor(centres.min()) - margin, math.ceil(centres.max()) + margin
        first, last = max(0, low), min(top, high)
        # Bins beyond an end of the spectrum are conjugates of those before it.
        mirrored = np.array([*range(1, 1 - low), *range(2 * top - high, top)], np.int64)
        bins = np.arange(first, last + 1)
        basis = np.concatenate((self._basis(bins), self._basis(mirrored).conj())) * window
        kernel = self._filters.smooth_taps(rows, self._delay) * window
        gram = basis.conj() @ basis.T
        gram[np.diag_indices_from(gram)] += _RIDGE * gram[0, 0].real * len(gram)
        weights = np.linalg.solve(gram, basis.conj() @ kernel.T).T
        residual = np.abs(np.fft.fft(kernel - weights @ basis, 2 * self._length)).max(axis=1)
        whole = np.sqrt(np.median(self._filters.fb) / self._filters.n_fft) * window.sum()
        direct, conjugate = weights[:, : len(bins)], np.zeros((len(rows), len(bins)), complex)
        inside = (mirrored >= first) & (mirrored <= last)
        conjugate[:, mirrored[inside] - first] = weights[:, len(bins) :][:, inside]
        return first, _as_real(direct, conjugate), residual / whole

    def _basis(self, bins: NDArray[np.int64]) -> Complex:
        """What the runtime multiplies a windowed frame with to get these bins, complex128 (bins, win_length)."""
        taps = np.arange(len(self._filters.window))
        wave: Complex = np.exp(-2j * math.pi / self._length * np.outer(bins, taps))
        if len(self._delay):
            centres = bins * ((self._filters.n_fft - 1) / self._length)
            wave *= 1 - 1j * np.outer(centres, self._delay.astype(np.float64))
        return wave


def _as_real(direct: NDArray[Any], conjugate: NDArray[Any]) -> Floats:
    """sum(direct * bin + conjugate * bin.conj()) as a matrix (2 rows, 2 bins) for bins with re and im side by side."""
    rows, bins = direct.shape
    matrix = np.empty((2, rows, bins, 2), np.float32)
    matrix[0, ..., 0], matrix[0, ..., 1] = direct.real + conjugate.real, conjugate.imag - direct.imag
    matrix[1, ..., 0], matrix[1, ..., 1] = direct.imag + conjugate.imag, direct.real - conjugate.real
    return matrix.reshape(2 * rows, 2 * bins)


# -- the choice -------------------------------------------------------------------------------------------------------


def fit(
    m: NDArray[Any],
    fb: NDArray[Any],
    fc: NDArray[Any],
    window: NDArray[Any],
    *,
    form: Form = "auto",
    max_error_db: float = 0.1,
) -> dict[str, NDArray[Any]]:
    """Choose the form of each row of the filter bank and make the arrays of frontend.npz.

    Args:
        m: order of each filter, (bins,) with bins = n_fft / 2 + 1.
        fb: bandwidth, (bins,).
        fc: centre frequency in cycles per frame, (bins,).
        window: (win_length,).
        form: `dense`; `fft`: every row that is a bin of the DFT, however exact: kilobytes instead of megabytes;
            `banded`: every row that is exact enough so; `auto`: banded if so many are that it pays. It is faster than
            fft (2047 is 23 * 89, of which a transform takes three times as long as one of 2048) and no less exact.
        max_error_db: the largest difference to dense that a row may have in `auto` and `banded`, in bins within 80 dB
            of the maximum of their frame; a tenth of it within 60 dB. By default the bounds of AudioCLIP's golden
            vectors.

    Returns:
        `form`: "dense", "fft", "banded" or "mixed"; `n_fft`; `window` float32 (win_length,);
        `error_db`: the largest difference that is left, measured so;
        `dense_rows` int32 (s,) and `dense` float32 (2 s, win_length), real rows then imaginary rows;
        `fft_rows`, `fft_bins` int32 (r,): row of the image and bin of the DFT of n_fft - 1 points; `fft_gain` float32
        (r,): factor of its power;
        `band_rows` int32 (q,) by block; `band_blocks` int32 (blocks, 3): rows, first bin and number of bins;
        `band` float32 flat: a matrix (2 rows, 2 bins) per block; `band_delay` float32 (win_length,), or (0,) if one
        transform will do.
    """
    filters = _Filters(*(np.asarray(p, np.float32) for p in (m, fb, fc, window)))
    reference = _arrays(filters)
    if form == "dense":
        return reference
    if form == "fft":
        chosen = _arrays(filters, fft=_dft_rows(filters))
    else:
        chosen = _arrays(filters, band=_fit_band(filters, reference, max_error_db))
        if form == "auto" and len(chosen["band_rows"]) < _TRANSFORM_PAYS_ROWS:
            return reference
    chosen["error_db"] = np.array(_row_errors(chosen, reference).max(), np.float32)
    return chosen


def _dft_rows(filters: _Filters) -> Rows:
    m, fb, fc = filters.m, filters.fb, filters.fc
    is_bin = (m == 0) & (fb >= 0) & (fc == np.rint(fc)) & (fc >= 0) & (fc <= filters.n_fft // 2 - 1)
    rows: Rows = filters.rows[is_bin[: len(filters.rows)]]
    return rows


def _fit_band(filters: _Filters, reference: dict[str, NDArray[Any]], bound: float) -> _Band:
    """The rows that are exact enough as bands; with the second transform if it brings enough of them."""
    plain = _exact_band(filters, filters.window[:0], reference, bound)
    if len(filters.rows) - len(plain.rows) <= _TRANSFORM_PAYS_ROWS:
        return plain
    delayed = _exact_band(filters, filters.delay(), reference, bound)
    return delayed if len(delayed.rows) - len(plain.rows) > _TRANSFORM_PAYS_ROWS else plain


def _exact_band(filters: _Filters, delay: Floats, reference: dict[str, NDArray[Any]], bound: float) -> _Band:
    fitter = _BandFitter(filters, delay)
    # The change of the quietest bin that counts, as part of the frame's maximum; half of it is the width's share.
    limit = 10 ** (-_RANGE_DB / 20) * (1 - 10 ** (-bound / 20)) / 2
    widths = fitter.widths(filters.rows, limit)
    exact = widths >= 0
    # Without the rows that fail the blocks are others, and so is the rounding of those on the edge.
    while True:
        band = fitter.band(filters.rows[exact], widths[exact])
        failed = _row_errors(_arrays(filters, band=band), reference) > _CAUTION * bound
        if not failed[exact].any():
            return band
        exact &= ~failed


def _arrays(filters: _Filters, *, fft: Rows | None = None, band: _Band | None = None) -> dict[str, NDArray[Any]]:
    """The arrays of frontend.npz: these rows in these forms, all others dense."""
    none = filters.rows[:0]
    fft = none if fft is None else fft
    if band is None:
        band = _Band(none, np.empty((0, 3), np.int32), filters.window[:0], filters.window[:0])
    dense = np.setdiff1d(filters.rows, np.concatenate((fft, band.rows)))
    taps = filters.taps(dense)
    kinds = [name for name, rows in (("dense", dense), ("fft", fft), ("banded", band.rows)) if len(rows)]
    return {
        "form": np.array(kinds[0] if len(kinds) == 1 else "mixed"),
        "n_fft": np.array(filters.n_fft, np.int32),
        "window": filters.window,
        "error_db": np.array(0, np.float32),
        "dense_rows": dense,
        "dense": np.concatenate((taps[..., 0], taps[..., 1])),
        "fft_rows": fft,
        "fft_bins": filters.fc[fft].astype(np.int32),
        "fft_gain": filters.fb[fft] / np.float32(filters.n_fft),
        "band_rows": band.rows,
        "band_blocks": band.blocks,
        "band": band.weights,
        "band_delay": band.delay,
    }


def _row_errors(arrays: dict[str, NDArray[Any]], reference: dict[str, NDArray[Any]]) -> Doubles:
    """Largest difference in dB of each row of two banks, in bins within 80 dB of their frame's maximum.

    Bins within 60 dB count tenfold: there, too, it is the same part of the frame's maximum that differs. What
    differs is small beside a frame's maximum, and shows in the bins that the noise of the sounds holds just within
    the range.
    """
    sounds = _sounds()
    frames = frame_count(sounds.shape[1], len(arrays["window"]))
    spec = AudioSpec(window_samples=sounds.shape[1], frames=frames)
    got, want = (FrontEnd.from_arrays(a, spec)(sounds) for a in (arrays, reference))
    below = want.max(axis=(1, 2), keepdims=True) - want
    wrong = np.abs(got - want) * np.select([below < _NEAR_DB, below < _RANGE_DB], [10, 1])
    worst: Doubles = wrong.reshape(len(sounds), -1, frames).max(axis=(0, 2)).astype(np.float64)
    return worst


def _sounds() -> Floats:
    """Half a second each of three chords, with noise at five levels, float32 (15, t)."""
    t = np.arange(22050) / 44100
    chords = (
        [(f, 1.0) for f in (110.0, 277.2, 659.3, 1396.9, 2793.8, 5587.7)],
        [(f, 1.0) for f in (87.3, 523.3, 3136.0, 9956.1, 15804.3)],
        [(f * h, 1 / h) for f in (130.8, 164.8, 196.0, 246.9) for h in range(1, 11)],
    )
    tones = [sum(a * np.sin(2 * math.pi * f * t) for f, a in chord) / 8 for chord in chords]
    noise = np.random.default_rng(0).standard_normal(len(t))
    levels = (1e-2, 2e-3, 1e-3, 3e-4, 1e-4)
    return np.array([tone + level * noise for tone in tones for level in levels], np.float32)
