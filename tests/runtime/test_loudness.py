"""Loudness by the standard, and the gain that follows; tags that state one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmr_runtime.library.tags import read_tags
from mmr_runtime.loudness import GAIN_RANGE_DB, k_weighting, level, loudness


def sine(amplitude: float, seconds: float = 5.0, hertz: float = 997.0, rate: int = 48000) -> np.ndarray:
    t = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * hertz * t)).astype(np.float32)[None]


def test_the_filters_are_the_standards_at_48_khz() -> None:
    """ITU-R BS.1770-4, tables 1 and 2."""
    shelf = [1.53512485958697, -2.69169618940638, 1.19839281085285, 1, -1.69065929318241, 0.73248077421585]
    high_pass = [1, -2, 1, 1, -1.99004745483398, 0.99007225036621]
    np.testing.assert_allclose(k_weighting(48000), [shelf, high_pass], atol=2e-8)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_a_full_sine_on_two_channels_is_zero_lufs(rate: int) -> None:
    """The standard's calibration: 997 Hz at 0 dBFS in one channel is -3.01 LUFS; two channels have twice the power."""
    assert loudness(sine(1.0, rate=rate), rate) == pytest.approx(0, abs=0.15)
    assert loudness(sine(0.1, rate=rate), rate) == pytest.approx(-20, abs=0.15)


def test_silence_between_does_not_count() -> None:
    played = sine(0.1)
    halves = np.concatenate([played, np.zeros_like(played)])
    assert loudness(halves, 48000) == pytest.approx(loudness(played, 48000), abs=0.01)
    quiet = np.concatenate([played, played * 0.05])  # 26 dB below: under the relative gate
    assert loudness(quiet, 48000) == pytest.approx(loudness(played, 48000), abs=0.1)


def test_silence_and_a_moment_have_no_loudness() -> None:
    assert loudness(np.zeros((2, 48000), np.float32), 48000) is None
    assert loudness(sine(1.0, 0.3), 48000) is None


def test_a_stated_gain_comes_before_the_measured_one() -> None:
    assert level(-8.0, None) == -10
    assert level(-8.0, -6.5) == -6.5
    assert level(None, None) is None
    assert (level(-60.0, None), level(None, -70.0)) == (GAIN_RANGE_DB[1], GAIN_RANGE_DB[0])


def id3(*texts: tuple[str, str]) -> bytes:
    """An ID3v2.3 tag of user texts (TXXX)."""
    frames = b""
    for key, value in texts:
        body = b"\0" + key.encode() + b"\0" + value.encode()
        frames += b"TXXX" + len(body).to_bytes(4, "big") + b"\0\0" + body
    size = len(frames)
    return b"ID3\3\0\0" + bytes([size >> 21 & 127, size >> 14 & 127, size >> 7 & 127, size & 127]) + frames


@pytest.mark.parametrize(
    ("stated", "gain"), [("-6.20 dB", -6.2), ("+3 db", 3), ("1.5", 1.5), ("loud", None), ("nan dB", None)]
)
def test_replay_gain_is_read(tmp_path: Path, stated: str, gain: float | None) -> None:
    path = tmp_path / "a.mp3"
    path.write_bytes(id3(("REPLAYGAIN_TRACK_GAIN", stated), ("mood", "Gloomy")) + b"\0" * 400)
    tags = read_tags(path)
    assert tags.gain == gain
    assert tags.genre == "Gloomy"
