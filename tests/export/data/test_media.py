"""Items become arrays, by the runtime's own rules; what is damaged is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from mmr_export.data.datasets import Item
from mmr_export.data.media import AUDIOCLIP, pixels, read_features, read_picture, read_samples
from mmr_runtime.audio import read_windows
from mmr_runtime.bundle import ImageSpec
from mmr_runtime.errors import InputError
from mmr_runtime.image import load_image, preprocess
from tests.export.miniatures import write_clip, write_picture

SMALL = ImageSpec(height=16, width=16)


def item(path: Path, **fields: object) -> Item:
    return replace(Item("the key", path, "", (), "group"), **fields)  # type: ignore[arg-type]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    write_clip(tmp_path / "clip.wav", 440, seconds=7.3)
    return tmp_path / "clip.wav"


def test_a_clip_is_read_whole_at_the_scale_of_16_bits(clip: Path) -> None:
    integers, _ = soundfile.read(clip, dtype="int16")
    samples = read_samples(item(clip))
    assert samples.dtype == np.float32
    np.testing.assert_array_equal(samples, integers)


def test_the_amplitude_convention_is_that_of_the_model(clip: Path) -> None:
    unit = read_samples(item(clip), replace(AUDIOCLIP, amplitude="unit"))
    np.testing.assert_array_equal(unit * 32768, read_samples(item(clip)))


def test_silence_at_the_ends_belongs_to_a_clip(tmp_path: Path) -> None:
    sound = np.zeros(44100 * 8, np.float32)
    sound[44100 * 4] = 0.5
    soundfile.write(tmp_path / "clip.wav", sound, 44100)
    assert len(read_samples(item(tmp_path / "clip.wav"))) == len(sound)


def test_channels_are_averaged_and_other_rates_resampled_as_in_the_runtime(tmp_path: Path) -> None:
    left = np.sin(np.arange(16000) / 9).astype(np.float32) * 0.4
    soundfile.write(tmp_path / "clip.flac", np.stack([left, 0 * left], axis=1), 16000)
    samples = read_samples(item(tmp_path / "clip.flac"))
    assert len(samples) == 44100
    window = read_windows(tmp_path / "clip.flac", windows=1, spec=AUDIOCLIP).samples[0]
    np.testing.assert_array_equal(samples, window * 32768)


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "flac"])
def test_compressed_clips_are_read(tmp_path: Path, suffix: str) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    soundfile.write(tmp_path / f"clip.{suffix}", tone, 44100)
    samples = read_samples(item(tmp_path / f"clip.{suffix}"))
    assert abs(len(samples) - 44100) < 3000
    assert np.abs(np.fft.rfft(samples[:44100])).argmax() * 44100 / min(len(samples), 44100) == pytest.approx(440, abs=2)


def test_a_clip_may_be_shorter_than_a_song(tmp_path: Path) -> None:
    write_clip(tmp_path / "short.wav", 440, seconds=0.05)
    write_clip(tmp_path / "slow.wav", 440, seconds=0.05, rate=22050)
    integers, _ = soundfile.read(tmp_path / "short.wav", dtype="int16")
    np.testing.assert_array_equal(read_samples(item(tmp_path / "short.wav")), integers)
    assert len(read_samples(item(tmp_path / "slow.wav"))) == 2 * 1102


@pytest.mark.parametrize("content", [b"", b"no sound at all", None])
def test_a_damaged_clip_is_named_with_its_key(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "clip.wav"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match="item the key") as caught:
        read_samples(item(path))
    assert str(path) in caught.value.message


def test_a_clip_without_samples_is_an_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "clip.wav", np.zeros(0), 44100)
    with pytest.raises(InputError, match=r"item the key: .*clip\.wav"):
        read_samples(item(tmp_path / "clip.wav"))


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    image = Image.new("L", (60, 40))
    image.paste(200, (30, 0, 60, 40))
    image.save(tmp_path / "page.png")
    return tmp_path / "page.png"


def test_a_picture_is_whole_or_cut_to_its_box(picture: Path) -> None:
    assert read_picture(item(picture)).size == (60, 40)
    right = read_picture(item(picture, box=(30, 0, 60, 40)))
    assert right.size == (30, 40)
    assert right.getextrema() == (200, 200)


def test_a_box_ends_at_the_edge_of_the_picture(picture: Path) -> None:
    assert read_picture(item(picture, box=(30, -3, 65, 44))).size == (30, 40)


def test_a_box_outside_is_an_error(picture: Path) -> None:
    with pytest.raises(InputError, match=r"item the key: .*60 x 40 pixels, where the box \(70, 0, 90, 40\)"):
        read_picture(item(picture, box=(70, 0, 90, 40)))


def test_pixels_are_those_of_the_runtime_for_a_page_that_is_not_cut_in_two(picture: Path) -> None:
    found = pixels(item(picture), SMALL)
    assert found.shape == (3, 16, 16)
    np.testing.assert_array_equal(found, preprocess(load_image(picture), SMALL, "whole")[0])
    half = pixels(item(picture, box=(30, 0, 60, 40)), SMALL)
    assert np.ptp(half[0]) < 1e-6


def test_a_damaged_picture_is_named_with_its_key(tmp_path: Path) -> None:
    path = tmp_path / "page.jpg"
    write_picture(path, 99, (200, 200))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    for read in (read_picture, lambda it: pixels(it, SMALL)):
        with pytest.raises(InputError, match="item the key") as caught:
            read(item(path))
        assert str(path) in caught.value.message


def test_features_are_vectors_or_the_mean_of_frames(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.float64))
    np.save(tmp_path / "b.npy", np.arange(6).reshape(2, 3))
    np.testing.assert_array_equal(read_features(tmp_path / "a.npy"), np.arange(6, dtype=np.float32))
    averaged = read_features(tmp_path / "b.npy")
    assert averaged.dtype == np.float32
    np.testing.assert_array_equal(averaged, [1.5, 2.5, 3.5])


def test_features_of_half_precision_are_averaged_without_overflow(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.full((4, 2), 60000, np.float16))
    np.testing.assert_array_equal(read_features(tmp_path / "a.npy"), np.full(2, np.float16(60000), np.float32))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array(["a"]), "does not hold an array of numbers"),
        (np.zeros((0, 3)), "shape"),
        (np.zeros((1, 2, 3)), "shape"),
        (np.array([np.inf]), "not finite"),
        (np.array([[np.inf], [-np.inf]]), "not finite"),
        (np.array([1e300]), "not finite"),
    ],
)
def test_what_is_no_features_is_named(tmp_path: Path, values: np.ndarray, message: str) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(InputError, match=message) as caught:
        read_features(tmp_path / "a.npy")
    assert str(tmp_path / "a.npy") in caught.value.message
    with pytest.raises(InputError, match="is missing"):
        read_features(tmp_path / "b.npy")
