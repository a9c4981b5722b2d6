"""A song becomes a few windows of sound: mono, in [-1, 1], at the model's sample rate.

Only the windows are decoded, not the song: the file is opened, its ends are looked at, and each window is read at its
place with the few samples around it that the resampler needs.

Rules:
    - Mono is the mean of the channels, in float32. At the model's own rate the samples are those of the file, bit by
      bit (integer files divided by their full scale, as libsndfile does).
    - Samples beyond +-1 are clipped. A float file whose windows peak above `_INTEGER_PEAK` holds integers that somebody
      stored as floats: it is divided by the smallest full scale (16, 24 or 32 bit) that holds its peak.
    - NaN and infinity are refused.
    - Digital silence at both ends is left out, where the song is longer than one window.
    - A window that cannot be decoded is replaced by another place of the song (libsndfile 1.2.2 stops in the middle of
      many Opus files). Only if no place can be read, shorter windows are tried, and then the song is an error.
    - Equal files give equal windows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.bundle import AudioSpec
from mmr_runtime.decoders import DecodeFaultError, Floats, Source, open_source
from mmr_runtime.errors import AudioError, InputError, UsageError
from mmr_runtime.limits import MIN_SONG_SECONDS

_QUIET = 2.0**-11
"""Peak below which a second at an end of the song counts as silence (-66 dB of full scale)."""

_QUIET_SEARCH_SECONDS = 20
"""How far silence at either end is followed."""

_INTEGER_PEAK = 8.0
"""18 dB over full scale: more than any mix or decoder overshoots."""

_FULL_SCALES = (2.0**15, 2.0**23, 2.0**31)

_NEAR_SECONDS, _FRAME_SECONDS = 1.5, 0.05
"""How far a beginning may move to a quiet moment, and how long that is; a second of way counts as 1 dB."""

_LEAST_SHARE = 0.9
"""A file that holds less than this of the length it states was cut off."""

_OTHER_PLACES = 3
"""Places tried for every window asked for, beside its own."""

_SHORTER = (1, 2, 4, 8)
"""Windows are divided by these in turn until one can be read."""


@dataclass(frozen=True)
class AudioInfo:
    """What a sound file says of itself, without decoding: seconds (as claimed), Hz, channels."""

    seconds: float
    sample_rate: int
    channels: int


@dataclass(frozen=True, eq=False)
class Windows:
    """Stretches of one song.

    Attributes:
        samples: float32 (w, n), mono in [-1, 1] at the spec's sample rate; n is the spec's window, or the whole song
            where that is shorter (then w is 1).
        starts: float64 (w,), seconds, ascending.
        seconds: length of the song.
    """

    samples: Floats
    starts: NDArray[np.float64]
    seconds: float


@dataclass(frozen=True)
class _Ratio:
    """Resampling by up/down; `margin` source samples on each side of a stretch make it equal to the whole."""

    up: int
    down: int
    margin: int

    @classmethod
    def of(cls, source: int, target: int) -> _Ratio:
        common = math.gcd(source, target)
        up, down = target // common, source // common
        if up == down:
            return cls(1, 1, 0)
        # Half the taps of scipy.signal.resample_poly's default filter, in source samples, up to a whole period.
        half = 10 * max(1.0, down / up) + 1
        return cls(up, down, math.ceil(half / down) * down)

    def target_count(self, source: int) -> int:
        return -(-source * self.up // self.down)

    def source_count(self, target: int) -> int:
        return -(-target * self.down // self.up)


def probe(path: str | Path) -> AudioInfo:
    """Read the head of a sound file.

    Raises:
        AudioError: it is not a sound file that can be read.
    """
    with open_source(Path(path)) as source:
        return AudioInfo(source.frames / source.rate, source.rate, source.channels)


def read_windows(path: str | Path, *, windows: int = 8, spec: AudioSpec) -> Windows:
    """Read windows spread evenly over a song.

    Args:
        path: a sound file.
        windows: at most so many; a song has no more than fit beside each other.
        spec: sample rate and length of a window.

    Raises:
        AudioError: the file is no sound file, was cut off, is too short, or no place in it can be decoded.
        UsageError: windows is below 1.
    """
    if windows < 1:
        raise UsageError(f"windows must be at least 1, not {windows}")
    path = Path(path)
    with open_source(path) as source:
        end = _true_end(source)
        _check_length(path, source, end)
        ratio = _Ratio.of(source.rate, spec.sample_rate)
        length, found = _read_some(source, end, ratio, spec, windows)
        rate = source.rate
    if not found:
        raise AudioError(f"{path} cannot be decoded anywhere", "convert it again, for example to ogg or flac")
    starts = sorted(found)
    scale = _unit_scale(path, max(float(np.abs(found[s]).max(initial=0.0)) for s in starts))
    rows = [_resample(found[s] * scale if scale != 1 else found[s], s, ratio, length) for s in starts]
    samples = np.clip(np.stack(rows), -1.0, 1.0)
    return Windows(samples, np.array(starts, np.float64) / rate, end / rate)


def quiet_start(path: str | Path, start: float) -> float:
    """The quietest moment near a place in a song, in seconds: music that begins there does not begin with a cut.

    Args:
        path: a sound file.
        start: seconds; looked for `_NEAR_SECONDS` either way, and the nearer one is taken of two that are as quiet.

    Returns:
        `start` where the file cannot be read there.
    """
    try:
        with open_source(Path(path)) as source:
            first = max(0, round((start - _NEAR_SECONDS) * source.rate))
            frame = max(1, round(_FRAME_SECONDS * source.rate))
            sound = source.read(first, min(round(2 * _NEAR_SECONDS * source.rate), source.frames - first))
            rate = source.rate
    except (InputError, DecodeFaultError):
        return start
    frames = sound[: len(sound) // frame * frame].reshape(-1, frame)
    if not len(frames):
        return start
    level = 10 * np.log10(np.square(frames, dtype=np.float64).mean(axis=1) + 1e-9)
    times = (first + np.arange(len(frames)) * frame) / rate
    return float(times[int(np.argmin(level + np.abs(times - start)))])


def fill_window(samples: Floats, length: int) -> Floats:
    """Put short sounds (n, t) in the middle of windows (n, length), their first and last value repeated.

    So AudioCLIP's loaders pad in evaluation; t is at most `length`.
    """
    missing = length - samples.shape[1]
    left = round(missing / 2)
    return np.pad(samples, ((0, 0), (left, missing - left)), mode="edge")


def _true_end(source: Source) -> int:
    """Frames that the file really holds; headers of cut or badly written files claim more."""
    tail = min(source.rate, source.frames)
    got = _readable(source, source.frames - tail, tail)
    if got:
        return source.frames - tail + got
    low, high = 0, source.frames - tail
    while high - low > source.rate // 10:
        middle = (low + high) // 2
        if _is_alive(source, middle):
            low = middle
        else:
            high = middle
    return low + _readable(source, low, source.rate // 10)


def _is_alive(source: Source, at: int) -> bool:
    """Whether sound follows here; one bad page of an Opus file is not its end."""
    tenth = source.rate // 10
    return any(_readable(source, at + shift * source.rate, tenth) for shift in (0, 1, 3))


def _readable(source: Source, start: int, count: int) -> int:
    """Samples that can be read here, 0 for none."""
    if start >= source.frames:
        return 0
    try:
        return len(source.read(start, min(count, source.frames - start)))
    except DecodeFaultError:
        return 0


def _check_length(path: Path, source: Source, end: int) -> None:
    if source.claims and end < _LEAST_SHARE * source.frames:
        raise AudioError(
            f"{path} is cut off: it ends after {end / source.rate:.1f} of {source.frames / source.rate:.1f} seconds",
            "get the file again, or leave it out",
        )
    if end < MIN_SONG_SECONDS * source.rate:
        raise AudioError(
            f"{path} holds {end / source.rate:.2f} seconds of sound", f"a song has at least {MIN_SONG_SECONDS} seconds"
        )


def _read_some(source: Source, end: int, ratio: _Ratio, spec: AudioSpec, windows: int) -> tuple[int, dict[int, Floats]]:
    """Length of a window at the target rate, and the stretches; shorter windows where no whole one can be read."""
    whole = min(ratio.target_count(end), spec.window_samples)
    for divisor in _SHORTER:
        length = whole // divisor
        if length < MIN_SONG_SECONDS * spec.sample_rate:
            break
        found = _collect(source, end, ratio, length, windows if divisor == 1 else 1)
        if found:
            return length, found
    return 0, {}


def _collect(source: Source, end: int, ratio: _Ratio, length: int, wanted: int) -> dict[int, Floats]:
    """Stretches by their start frame; each holds `length` samples at the target rate and the margins around them."""
    span = ratio.source_count(length)
    first, last = _sounding(source, end, span)
    wanted = max(1, min(wanted, math.floor((last - first) / span + 0.5)))
    found: dict[int, Floats] = {}
    room = last - first - span
    centres = [(2 * i + 1) * (last - first) // (2 * wanted) for i in range(wanted)]
    own = [min(max(centre - span // 2, 0), room) for centre in centres]
    for start in _snapped(own, first, ratio):
        _try(source, end, ratio, span, start, found)
    for start in _snapped(_scattered(room, _OTHER_PLACES * wanted), first, ratio):
        if len(found) >= wanted:
            break
        if all(abs(start - other) >= span // 2 for other in found):
            _try(source, end, ratio, span, start, found)
    return found


def _sounding(source: Source, end: int, span: int) -> tuple[int, int]:
    """First and last frame between the silences at the ends, at least `span` frames apart."""
    first, last = 0, end
    if end <= span:
        return 0, max(end, span)
    for _ in range(_QUIET_SEARCH_SECONDS):
        if last - first - source.rate < span or not _is_quiet(source, first):
            break
        first += source.rate
    for _ in range(_QUIET_SEARCH_SECONDS):
        if last - first - source.rate < span or not _is_quiet(source, last - source.rate):
            break
        last -= source.rate
    return first, last


def _is_quiet(source: Source, start: int) -> bool:
    try:
        block = source.read(start, source.rate)
    except DecodeFaultError:
        return False
    return bool(np.abs(block).max(initial=0.0) < _QUIET)


def _snapped(starts: list[int], first: int, ratio: _Ratio) -> Iterator[int]:
    """Starts counted from `first`, moved to where a target sample falls on a source sample."""
    for start in starts:
        yield (first + start) // ratio.down * ratio.down


def _scattered(room: int, count: int) -> list[int]:
    """Places in [0, room] that fill it ever more evenly: the van der Corput sequence in base 2."""
    places = []
    for i in range(1, count + 1):
        bits = f"{i:b}"
        places.append(room * int(bits[::-1], 2) // 2 ** len(bits))
    return places


def _try(source: Source, end: int, ratio: _Ratio, span: int, start: int, found: dict[int, Floats]) -> None:
    low = max(0, start - ratio.margin)
    high = min(end, start + span + ratio.margin)
    try:
        block = source.read(low, high - low)
    except DecodeFaultError:
        return
    if len(block) == high - low:
        found[start] = block


def _resample(block: Floats, start: int, ratio: _Ratio, length: int) -> Floats:
    """The window's samples (length,) out of a stretch with its margins."""
    if ratio.up == ratio.down:
        return block[:length]
    from scipy.signal import resample_poly

    lead = start - max(0, start - ratio.margin)
    skip = lead * ratio.up // ratio.down
    resampled = resample_poly(block, ratio.up, ratio.down)
    return cast("Floats", resampled[skip : skip + length].astype(np.float32, copy=False))


def _unit_scale(path: Path, peak: float) -> np.float32:
    """What the samples are multiplied by to be of unit range (see the module's rules)."""
    if peak <= _INTEGER_PEAK:
        return np.float32(1)
    for full in _FULL_SCALES:
        if peak <= full:
            return np.float32(1 / full)
    raise AudioError(f"{path} holds samples of up to {peak:.3g}", "it was written wrongly; convert it again")
