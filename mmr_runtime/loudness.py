"""Integrated loudness (ITU-R BS.1770-4) of what was heard of a song, and the gain that levels it.

Only the windows that are embedded are measured, since nothing else of a song is decoded: an estimate of the whole,
whose error docs/benchmarks.md states. Mono counts as two equal channels, as players treat it.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

TARGET_LUFS = -18.0
"""What ReplayGain 2.0 levels to."""

GAIN_RANGE_DB = (-24.0, 12.0)
"""A gain beyond is a broken tag or a song of near silence."""

_BLOCK_SECONDS, _STEP_SECONDS = 0.4, 0.1
_ABSOLUTE_GATE, _RELATIVE_GATE = -70.0, -10.0
_OFFSET = -0.691 + 10 * math.log10(2)  # of the standard; two equal channels


def loudness(windows: Floats, rate: int) -> float | None:
    """Integrated loudness in LUFS; None where all is below the absolute gate or shorter than a block.

    Args:
        windows: float32 (w, n), mono in [-1, 1], n samples of one song each.
        rate: Hz.
    """
    block, step = round(_BLOCK_SECONDS * rate), round(_STEP_SECONDS * rate)
    if windows.shape[1] < block:
        return None
    # One window at a time: what is made of all together would be 50 MB.
    blocks = np.concatenate([_block_powers(window, rate, block, step) for window in windows])
    gate = 10 ** ((_ABSOLUTE_GATE - _OFFSET) / 10)
    blocks = blocks[blocks > gate]
    if not len(blocks):
        return None
    blocks = blocks[blocks > blocks.mean() * 10 ** (_RELATIVE_GATE / 10)]
    return float(_OFFSET + 10 * np.log10(blocks.mean()))


def _block_powers(window: Floats, rate: int, block: int, step: int) -> NDArray[np.float64]:
    """Mean square (b,) of every block of a window (n,) behind the filters.

    By FFT, since scipy.signal would cost 0.7 s and 70 MB; what rings on ends in the zeros behind, not in the beginning.
    """
    size = len(window) + rate // 4
    weighted = np.fft.irfft(np.fft.rfft(window, size) * _response(rate, size), size)[: len(window)]
    sums = np.concatenate([[0.0], np.cumsum(np.square(weighted, dtype=np.float64))])
    starts = np.arange(0, len(window) - block + 1, step)
    return np.asarray((sums[starts + block] - sums[starts]) / block)


def level(lufs: float | None, replay_gain: float | None) -> float | None:
    """Gain in dB that brings a song to `TARGET_LUFS`: the file's own ReplayGain where it has one; None if unknown."""
    gain = replay_gain if replay_gain is not None else None if lufs is None else TARGET_LUFS - lufs
    return None if gain is None else min(max(gain, GAIN_RANGE_DB[0]), GAIN_RANGE_DB[1])


@cache
def _response(rate: int, size: int) -> NDArray[np.complex64]:
    """Of both filters, at the frequencies of a real FFT of this size."""
    delay = np.exp(-2j * np.pi * np.arange(size // 2 + 1) / size)[:, None] ** np.arange(3)
    sections = k_weighting(rate)
    response = (delay @ sections[:, :3].T) / (delay @ sections[:, 3:].T)
    return np.asarray(response.prod(axis=1), np.complex64)


@cache
def k_weighting(rate: int) -> NDArray[np.float64]:
    """The standard's two filters, a shelf and a high-pass, as second-order sections (2, 6) for any sample rate.

    Its table is for 48 kHz; the analogue filters behind it (De Man, "Evaluation of implementations of the EBU R128
    loudness measurement", 2018) give the others.
    """
    shelf = math.tan(math.pi * 1681.974450955533 / rate)
    q, high = 0.7071752369554196, 10 ** (3.999843853973347 / 20)
    band = high**0.4996667741545416
    a0 = 1 + shelf / q + shelf**2
    first = [
        (high + band * shelf / q + shelf**2) / a0,
        2 * (shelf**2 - high) / a0,
        (high - band * shelf / q + shelf**2) / a0,
        1.0,
        2 * (shelf**2 - 1) / a0,
        (1 - shelf / q + shelf**2) / a0,
    ]
    pass_ = math.tan(math.pi * 38.13547087602444 / rate)
    q = 0.5003270373238773
    a0 = 1 + pass_ / q + pass_**2
    second = [1.0, -2.0, 1.0, 1.0, 2 * (pass_**2 - 1) / a0, (1 - pass_ / q + pass_**2) / a0]
    return np.array([first, second])
