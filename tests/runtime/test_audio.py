"""A song becomes windows: every format, any rate, broken files named."""

from __future__ import annotations

import hashlib
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import resample_poly

from mmr_runtime import audio, decoders
from mmr_runtime.audio import probe, quiet_start, read_windows
from mmr_runtime.bundle import AudioSpec
from mmr_runtime.decoders import DecodeFaultError
from mmr_runtime.errors import AudioError, MissingFileError, MmrError, UsageError
from mmr_runtime.library.tags import read_tags

RATE = 22050
SPEC = AudioSpec(sample_rate=RATE, window_samples=RATE)  # windows of one second
FORMATS = {
    "wav": ({"subtype": "PCM_16"}, 1e-4),
    "flac": ({}, 1e-4),
    "ogg": ({"format": "OGG", "subtype": "VORBIS"}, 0.1),
    "mp3": ({"format": "MP3"}, 0.1),
    "aiff": ({}, 1e-4),
}


def chirp(seconds: float, rate: int = RATE) -> np.ndarray:
    """A tone that rises all the time, so that no two places of it are alike."""
    t = np.arange(round(seconds * rate)) / rate
    return (0.4 * np.sin(2 * np.pi * (200 * t + 20 * t**2))).astype(np.float32)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


# -- what comes out ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", FORMATS)
def test_each_format_gives_the_sound_at_the_place_that_it_names(tmp_path: Path, suffix: str) -> None:
    options, tolerance = FORMATS[suffix]
    sound = chirp(6.0)
    soundfile.write(tmp_path / f"a.{suffix}", sound, RATE, **options)
    heard = read_windows(tmp_path / f"a.{suffix}", windows=3, spec=SPEC)
    assert heard.samples.shape == (3, RATE)
    assert heard.samples.dtype == np.float32
    assert heard.seconds == pytest.approx(6.0, abs=0.1)
    for row, start in zip(heard.samples, heard.starts, strict=True):
        at = round(start * RATE)
        assert cosine(row, sound[at : at + RATE]) > 1 - tolerance


def test_opus_is_read_at_its_own_rate_of_48_khz(tmp_path: Path) -> None:
    sound = chirp(4.0, 48000)
    soundfile.write(tmp_path / "a.opus", sound, 48000, format="OGG", subtype="OPUS")
    heard = read_windows(tmp_path / "a.opus", windows=2, spec=AudioSpec(sample_rate=48000, window_samples=48000))
    assert probe(tmp_path / "a.opus").sample_rate == 48000
    at = round(heard.starts[1] * 48000)
    assert cosine(heard.samples[1], sound[at : at + 48000]) > 0.9


def test_samples_at_the_models_rate_are_the_files_own(tmp_path: Path) -> None:
    integers = np.random.default_rng(0).integers(-32768, 32768, (RATE * 5, 2), dtype=np.int16)
    soundfile.write(tmp_path / "a.wav", integers, RATE)
    heard = read_windows(tmp_path / "a.wav", windows=2, spec=SPEC)
    mono = (integers.astype(np.float32) / 32768).mean(axis=1)
    for row, start in zip(heard.samples, heard.starts, strict=True):
        at = round(start * RATE)
        assert np.array_equal(row, mono[at : at + RATE])


def test_golden_clips_are_bit_equal_to_the_originals_input(golden: Path) -> None:
    known = np.load(golden / "audio.npz")["mono_sha256"]
    spec = AudioSpec(sample_rate=44100, window_samples=220500)
    clips = sorted((golden / "inputs").glob("clip*.wav"))
    for number in (0, 1, 2, 3, 5):
        heard = read_windows(clips[number], spec=spec)
        assert hashlib.sha256(heard.samples.tobytes()).hexdigest() == known[number]
    assert len(clips) == 6


@given(
    rate=st.sampled_from([8000, 11025, 16000, 32000, 44100, 48000, 96000, 192000, 22049]), channels=st.integers(1, 6)
)
@settings(max_examples=15, deadline=None)
def test_a_window_equals_its_stretch_of_the_whole_song_resampled(
    tmp_path_factory: pytest.TempPathFactory, rate: int, channels: int
) -> None:
    path = tmp_path_factory.mktemp("rates") / "a.wav"
    noise = np.random.default_rng(rate + channels).normal(0, 0.1, (round(rate * 3.3), channels)).astype(np.float32)
    soundfile.write(path, noise, rate, subtype="FLOAT")
    heard = read_windows(path, windows=2, spec=SPEC)
    common = np.gcd(rate, RATE)
    whole = resample_poly(noise.mean(axis=1), RATE // common, rate // common)
    assert heard.samples.shape == (2, RATE)
    for row, start in zip(heard.samples, heard.starts, strict=True):
        at = round(start * RATE)
        np.testing.assert_allclose(row, whole[at : at + RATE], atol=1e-5)


def test_equal_files_give_equal_windows(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.ogg", chirp(9.0), RATE, format="OGG", subtype="VORBIS")
    (tmp_path / "b.ogg").write_bytes((tmp_path / "a.ogg").read_bytes())
    a, b = (read_windows(tmp_path / name, spec=SPEC) for name in ("a.ogg", "b.ogg"))
    assert np.array_equal(a.samples, b.samples)
    assert np.array_equal(a.starts, b.starts)


# -- where windows lie -------------------------------------------------------------------------------------------------


@given(seconds=st.floats(0.1, 20), windows=st.integers(1, 9))
@settings(max_examples=30, deadline=None)
def test_windows_are_spread_over_the_song_and_lie_within_it(
    tmp_path_factory: pytest.TempPathFactory, seconds: float, windows: int
) -> None:
    rate = 1000
    path = tmp_path_factory.mktemp("spread") / "a.wav"
    count = round(seconds * rate)
    soundfile.write(path, np.full(count, 0.5, np.float32), rate)
    heard = read_windows(path, windows=windows, spec=AudioSpec(sample_rate=rate, window_samples=rate))
    length = heard.samples.shape[1]
    assert length == min(count, rate)
    assert 1 <= len(heard.samples) <= windows
    assert len(heard.samples) == min(windows, max(1, int(count / rate + 0.5)))
    assert (heard.starts >= 0).all()
    assert (np.diff(heard.starts) >= length / rate / 2 - 0.002).all()
    assert (heard.starts * rate + length <= count + 0.5).all()
    # As much is left out before the first as after the last.
    assert abs(heard.starts[0] - (count - length) / rate + heard.starts[-1]) <= 0.002


def test_a_song_no_longer_than_a_window_is_taken_whole_and_not_padded(tmp_path: Path) -> None:
    sound = chirp(0.7)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    heard = read_windows(tmp_path / "a.wav", spec=SPEC)
    assert np.array_equal(heard.samples, sound[None])
    assert heard.starts.tolist() == [0.0]


def test_digital_silence_at_the_ends_is_left_out(tmp_path: Path) -> None:
    silence = np.zeros(5 * RATE, np.float32)
    soundfile.write(tmp_path / "a.wav", np.concatenate([silence, chirp(4.0), silence]), RATE)
    heard = read_windows(tmp_path / "a.wav", windows=4, spec=SPEC)
    assert heard.starts.min() >= 5.0
    assert heard.starts.max() <= 8.0
    assert heard.seconds == pytest.approx(14.0)


def test_a_silent_song_is_no_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8 * RATE), RATE)
    assert not read_windows(tmp_path / "a.wav", windows=2, spec=SPEC).samples.any()


def test_only_the_windows_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.flac", chirp(60.0), RATE)
    asked: list[int] = []
    original = decoders._SoundFileSource.read

    def counting(self: decoders._SoundFileSource, start: int, count: int) -> np.ndarray:
        asked.append(count)
        return original(self, start, count)

    monkeypatch.setattr(decoders._SoundFileSource, "read", counting)
    read_windows(tmp_path / "a.flac", windows=4, spec=SPEC)
    assert sum(asked) <= 8 * RATE


# -- strange samples ---------------------------------------------------------------------------------------------------


def test_samples_beyond_full_scale_are_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 4 * chirp(1.0), RATE, subtype="FLOAT")
    samples = read_windows(tmp_path / "a.wav", spec=SPEC).samples
    assert np.array_equal(samples[0], np.clip(4 * chirp(1.0), -1, 1))


@pytest.mark.parametrize("full", [2.0**15, 2.0**23, 2.0**31])
def test_integers_stored_as_floats_are_brought_to_unit_range(tmp_path: Path, full: float) -> None:
    soundfile.write(tmp_path / "a.wav", chirp(1.0) * full, RATE, subtype="FLOAT")
    np.testing.assert_allclose(read_windows(tmp_path / "a.wav", spec=SPEC).samples[0], chirp(1.0), atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    sound = chirp(3.0)
    sound[RATE] = value
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="not numbers"):
        read_windows(tmp_path / "a.wav", spec=SPEC)


def test_floats_beyond_any_integer_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", chirp(1.0) * 1e20, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="samples of up to"):
        read_windows(tmp_path / "a.wav", spec=SPEC)


# -- broken files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "a.ogg", "a.flac", "a.opus", "a.raw", "a"])
@pytest.mark.parametrize("content", [b"", b"hello world\n" * 9000, bytes(99000), b"\xff\xfb\x90\x44" * 3])
def test_a_file_without_sound_is_named_with_a_hint(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    for read in (probe, lambda path: read_windows(path, spec=SPEC)):
        with pytest.raises(AudioError) as caught:
            read(tmp_path / name)
        assert name in caught.value.message
        assert caught.value.hint


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"gone\.mp3"):
        probe(tmp_path / "gone.mp3")
    with pytest.raises(AudioError, match="is a folder"):
        probe(tmp_path)


def test_less_than_a_tenth_of_a_second_is_no_song(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", chirp(0.05), RATE)
    with pytest.raises(AudioError, match=r"holds 0\.05 seconds"):
        read_windows(tmp_path / "a.wav", spec=SPEC)


def test_no_windows_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        read_windows(tmp_path / "a.wav", windows=0, spec=SPEC)


def test_a_sample_rate_that_cannot_be_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.ones(50, np.float32), 10)
    with pytest.raises(AudioError, match="sample rate of 10 Hz"):
        read_windows(tmp_path / "a.wav", spec=SPEC)


@pytest.mark.parametrize("suffix", ["mp3", "flac"])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, suffix: str) -> None:
    soundfile.write(tmp_path / f"a.{suffix}", chirp(20.0), RATE)
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    for share in (0.7, 0.3, 0.05):
        (tmp_path / f"cut.{suffix}").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(AudioError, match="cut off"):
            read_windows(tmp_path / f"cut.{suffix}", spec=SPEC)


def test_a_flac_that_lacks_its_last_moment_is_read_up_to_there(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.flac", chirp(20.0), RATE)
    whole = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(whole[: int(0.95 * len(whole))])
    heard = read_windows(tmp_path / "a.flac", windows=8, spec=SPEC)
    assert heard.samples.shape == (8, RATE)
    assert 18 < heard.seconds < 20


@pytest.mark.parametrize("suffix", ["wav", "ogg"])
def test_formats_that_state_no_length_are_read_as_far_as_they_go(tmp_path: Path, suffix: str) -> None:
    options = FORMATS[suffix][0]
    soundfile.write(tmp_path / f"a.{suffix}", chirp(20.0), RATE, **options)
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(whole[: len(whole) // 2])
    heard = read_windows(tmp_path / f"a.{suffix}", spec=SPEC)
    assert 7 < heard.seconds < 13
    assert np.abs(heard.samples).max(axis=1).min() > 0.3


@pytest.mark.parametrize("suffix", FORMATS)
def test_whatever_was_damaged_the_answer_is_sound_or_an_audio_error(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, chirp(3.0), RATE, **FORMATS[suffix][0])
    whole, random, outcomes = path.read_bytes(), np.random.default_rng(7), []
    for damage in range(12):
        data = np.frombuffer(whole, np.uint8).copy()
        reach = 200 if damage % 2 else len(data)
        places = random.integers(0, min(reach, len(data)), damage**3)
        data[places] = random.integers(0, 256, len(places))
        path.write_bytes(data.tobytes())
        try:
            samples = read_windows(path, windows=2, spec=SPEC).samples
        except AudioError:
            outcomes.append("error")
        else:
            assert np.isfinite(samples).all()
            assert np.abs(samples).max() <= 1
            outcomes.append("sound")
    assert "sound" in outcomes


def test_two_hundred_damaged_songs_cost_little_and_raise_only_our_errors(tmp_path: Path) -> None:
    rng, started = np.random.default_rng(11), time.perf_counter()
    sounds = {}
    for suffix, (options, *_) in FORMATS.items():
        soundfile.write(tmp_path / f"a.{suffix}", chirp(2.0), RATE, **options)
        sounds[suffix] = (tmp_path / f"a.{suffix}").read_bytes()
    tracemalloc.start()
    for number in range(200):
        suffix = list(sounds)[number % len(sounds)]
        data = np.frombuffer(sounds[suffix], np.uint8).copy()
        places = rng.integers(0, len(data) if number % 3 else 120, 1 + number // 4)
        data[places] = rng.integers(0, 256, len(places))
        path = tmp_path / f"b.{suffix}"
        path.write_bytes(data[: rng.integers(1, len(data) + 1)].tobytes())
        with suppress(MmrError):
            read_windows(path, windows=2, spec=SPEC)
        with suppress(MmrError):
            probe(path)
        assert 0 <= quiet_start(path, 1.0) < 3
        read_tags(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20
    assert time.perf_counter() - started < 60


# -- places that cannot be decoded -------------------------------------------------------------------------------------


class Faulty:
    """A song of 20 s at the model's rate with stretches that fault."""

    rate, channels, frames, claims = RATE, 1, 20 * RATE, False

    def __init__(self, *bad: tuple[float, float]) -> None:
        self.bad = [(round(a * RATE), round(b * RATE)) for a, b in bad]

    def __enter__(self) -> Faulty:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def read(self, start: int, count: int) -> np.ndarray:
        if any(start < b and start + count > a for a, b in self.bad):
            raise DecodeFaultError("malformed")
        return np.full(min(count, self.frames - start), 0.5, np.float32)


def hear(monkeypatch: pytest.MonkeyPatch, source: Faulty, windows: int = 5) -> audio.Windows:
    monkeypatch.setattr(audio, "open_source", lambda _: source)
    return read_windows("a.opus", windows=windows, spec=SPEC)


def test_a_window_that_faults_is_replaced_by_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = hear(monkeypatch, Faulty())
    heard = hear(monkeypatch, Faulty((9.9, 10.1)))
    assert len(heard.samples) == len(whole.samples) == 5
    assert not np.array_equal(heard.starts, whole.starts)
    assert not ((heard.starts < 10.1) & (heard.starts + 1 > 9.9)).any()
    assert (np.diff(heard.starts) >= 0.5).all()
    assert np.array_equal(heard.starts, hear(monkeypatch, Faulty((9.9, 10.1))).starts)


def test_a_bad_end_does_not_cost_the_song(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = hear(monkeypatch, Faulty((19.6, 20.0)))
    assert len(heard.samples) == 5
    assert 18 < heard.seconds <= 19.6


def test_the_middle_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = hear(monkeypatch, Faulty((3.0, 17.0)))
    assert len(heard.samples) >= 2
    assert ((heard.starts <= 2.0) | (heard.starts >= 17.0)).all()


def test_shorter_windows_are_tried_before_a_song_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    heard = hear(monkeypatch, Faulty(*((second - 0.05, second + 0.05) for second in np.arange(0.5, 20, 0.7))))
    assert heard.samples.shape[1] == RATE // 2
    with pytest.raises(AudioError):
        hear(monkeypatch, Faulty((0, 20)))


def test_a_song_with_a_bad_opus_packet_is_read_around_it(tmp_path: Path) -> None:
    path = tmp_path / "a.opus"
    soundfile.write(path, chirp(30.0, 48000), 48000, format="OGG", subtype="OPUS")
    good = read_windows(path, windows=6, spec=SPEC)
    path.write_bytes(with_bad_packets(path.read_bytes()))
    with pytest.raises(RuntimeError), soundfile.SoundFile(path) as file:
        file.read()
    heard = read_windows(path, windows=6, spec=SPEC)
    assert len(heard.samples) == len(good.samples) == 6
    assert (np.abs(heard.samples).max(axis=1) > 0.2).all()


def with_bad_packets(data: bytes) -> bytes:
    """An Ogg stream whose middle page holds rubbish under a right checksum, as libsndfile 1.2.2 trips over."""
    pages = [i for i in range(len(data)) if data.startswith(b"OggS", i)]
    start, end = pages[len(pages) // 2], pages[len(pages) // 2 + 1]
    page = bytearray(data[start:end])
    body = 27 + page[26]
    page[body : body + 200] = b"\xff" * 200
    page[22:26] = bytes(4)
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    page[22:26] = crc.to_bytes(4, "little")
    return data[:start] + bytes(page) + data[end:]


# -- MP3 without a stated length ---------------------------------------------------------------------------------------


def vbr_without_xing(path: Path, rate: int = 44100) -> np.ndarray:
    """Quiet tones, then noise: far more bytes a second at the end than the first frame lets expect."""
    t = np.arange(rate * 20) / rate
    noise = np.random.default_rng(0).normal(0, 0.2, len(t))
    sound = np.where(t < 10, 0.3 * np.sin(2 * np.pi * 220 * t), noise).astype(np.float32)
    with soundfile.SoundFile(path, "w", rate, 1, format="MP3", compression_level=0.5, bitrate_mode="VARIABLE") as file:
        file.write(sound)
    data = path.read_bytes()
    tag = data.index(b"Xing")
    path.write_bytes(data[data.index(data[:2], tag) :])
    return sound


@pytest.mark.parametrize("rate", [44100, 22050, 16000])
def test_an_mp3_of_variable_rate_that_states_no_length_is_heard_to_its_end(tmp_path: Path, rate: int) -> None:
    sound = vbr_without_xing(tmp_path / "a.mp3", rate)
    guess = soundfile.info(tmp_path / "a.mp3").duration
    assert abs(guess - 20) > 1  # what libsndfile makes of it
    heard = read_windows(tmp_path / "a.mp3", windows=4, spec=AudioSpec(sample_rate=rate, window_samples=rate))
    assert heard.seconds == pytest.approx(20, abs=0.3)
    assert cosine(np.abs(np.fft.rfft(heard.samples[0])), np.abs(np.fft.rfft(sound[:rate]))) > 0.9
    assert heard.samples[-1].std() == pytest.approx(0.2, abs=0.05)


def test_bytes_in_front_of_the_first_frame_do_no_harm(tmp_path: Path) -> None:
    vbr_without_xing(tmp_path / "a.mp3")
    tag = b"ID3\x04\x00\x00\x00\x00\x02\x00" + bytes(256)
    (tmp_path / "a.mp3").write_bytes(tag + (tmp_path / "a.mp3").read_bytes())
    assert read_windows(tmp_path / "a.mp3", spec=SPEC).seconds == pytest.approx(20, abs=0.3)


# -- the m4a extra -----------------------------------------------------------------------------------------------------


def write_with_av(path: Path, codec: str, container: str, sound: np.ndarray, rate: int) -> None:
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = 96000
        resampler = av.AudioResampler(format=stream.codec_context.format.name, layout="mono", rate=rate)
        for at in range(0, len(sound), 1024):
            frame = av.AudioFrame.from_ndarray(sound[None, at : at + 1024].copy(), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = rate, at
            for part in resampler.resample(frame):
                out.mux(stream.encode(part))
        out.mux(stream.encode(None))


@pytest.mark.parametrize(
    ("name", "codec", "container"),
    [("a.m4a", "aac", "mp4"), ("a.aac", "aac", "adts"), ("a.wma", "wmav2", "asf"), ("a.weba", "libopus", "webm")],
)
def test_with_the_extra_other_containers_are_read_at_their_place(
    tmp_path: Path, name: str, codec: str, container: str
) -> None:
    rate = 48000
    sound = chirp(12.0, rate)
    write_with_av(tmp_path / name, codec, container, sound, rate)
    heard = read_windows(tmp_path / name, windows=4, spec=AudioSpec(sample_rate=rate, window_samples=rate))
    padded = np.pad(sound, 3000)
    assert heard.samples.shape == (4, rate)
    assert heard.seconds == pytest.approx(12, abs=0.2)
    for row, start in zip(heard.samples, heard.starts, strict=True):
        at = round(start * rate)
        # Encoders put their delay in front, and not all containers say how long it is.
        nearby = [padded[at + shift :][:rate] for shift in range(0, 6000, 8)]
        assert max(cosine(row, stretch) for stretch in nearby) > 0.95


@pytest.mark.parametrize(
    "head", [b"\0\0\0\x1cftypM4A ", b"\x30\x26\xb2\x75rest", b"\x1a\x45\xdf\xa3rest", b"\xff\xf1rest"]
)
def test_without_the_extra_the_reason_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    (tmp_path / "a.m4a").write_bytes(head + bytes(100))
    with pytest.raises(AudioError, match=r"mmr-runtime\[m4a\]"):
        read_windows(tmp_path / "a.m4a", spec=SPEC)


def test_with_the_extra_a_broken_container_is_an_audio_error(tmp_path: Path) -> None:
    pytest.importorskip("av")
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x1cftypM4A " + bytes(1000))
    with pytest.raises(AudioError):
        read_windows(tmp_path / "a.m4a", spec=SPEC)


# -- where a song begins ----------------------------------------------------------------------------------------------


def test_a_song_begins_at_the_nearest_quiet_moment(tmp_path: Path) -> None:
    rate = 8000
    sound = np.random.default_rng(0).normal(0, 0.1, 20 * rate).astype(np.float32)
    for second in (6.0, 9.2, 12.0):
        sound[round(second * rate) : round((second + 0.1) * rate)] = 0
    soundfile.write(tmp_path / "a.wav", sound, rate)
    assert quiet_start(tmp_path / "a.wav", 10.0) == pytest.approx(9.2, abs=0.06)
    assert quiet_start(tmp_path / "a.wav", 6.7) == pytest.approx(6.0, abs=0.06)
    assert quiet_start(tmp_path / "a.wav", 0.0) == pytest.approx(0.0, abs=0.5)


@pytest.mark.parametrize("start", [0.0, 25.0])
def test_where_nothing_can_be_read_the_beginning_stays(start: float, tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"no sound")
    soundfile.write(tmp_path / "short.wav", np.zeros(40, np.float32), 8000)
    for name in ("broken.wav", "gone.wav", "short.wav"):
        assert quiet_start(tmp_path / name, start) == start
