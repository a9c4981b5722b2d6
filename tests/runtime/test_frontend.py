"""The audio front end: frames, kernels, the dB image in all forms, what fit chooses, and what is refused."""

from __future__ import annotations

import csv
import hashlib
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmr_export.frontend_fit import fbsp_kernel, fit, time_grid
from mmr_runtime.bundle import AudioSpec
from mmr_runtime.errors import AudioError, BundleError
from mmr_runtime.frontend import FrontEnd, frame_count, numpy_product, padding, to_mono
from mmr_runtime.sessions import Product

PART = Path(__file__).parent / "data" / "golden_part.npz"
INIT = (np.zeros(1025), np.ones(1025), np.arange(1025.0))
# Which frames of a clip the golden dB images hold, by their number.
EVERY = {392: 1, 49: 8, 13: 32, 22: 1, 6: 4}
UNIT = AudioSpec(amplitude="unit")


@pytest.fixture(scope="module")
def part() -> dict[str, NDArray[Any]]:
    with np.load(PART) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def banks(part: dict[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    """Front end arrays of the initial and of trained-like parameters."""
    window = part["window"]
    return {
        "init": fit(*INIT, window, form="dense"),
        "init fft": fit(*INIT, window, form="fft"),
        "init banded": fit(*INIT, window, max_error_db=1.25),
        "init mixed": fit(*INIT, window),
        "fill": fit(part["m"], part["fb"], part["fc"], window),
    }


@pytest.fixture(scope="module")
def dense(banks: dict[str, dict[str, NDArray[Any]]]) -> FrontEnd:
    return FrontEnd.from_arrays(banks["init"], AudioSpec())


@pytest.fixture(scope="module")
def fft(banks: dict[str, dict[str, NDArray[Any]]]) -> FrontEnd:
    return FrontEnd.from_arrays(banks["init fft"], AudioSpec())


@pytest.fixture(scope="module")
def mixed(banks: dict[str, dict[str, NDArray[Any]]]) -> FrontEnd:
    """Rows in bands, with the second transform, and dense rows."""
    return FrontEnd.from_arrays(banks["init mixed"], AudioSpec())


def music(samples: int, seed: int = 0) -> NDArray[np.float32]:
    t = np.arange(samples) / 44100
    tones = sum(np.sin(2 * np.pi * f * t) / 8 for f in (196.0, 523.3, 1318.5, 3951.1))
    return (tones + 1e-3 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def errors(got: NDArray[Any], want: NDArray[Any]) -> tuple[float, float, float, float]:
    """Error of amplitude by the frame's maximum; of dB within 60 and within 80 dB of it; 99 % quantile of dB."""
    got, want = (a.reshape(-1, a.shape[-1]).astype(np.float64) for a in (got, want))
    top = want.max(axis=0)
    db = np.abs(got - want)
    amplitude = np.abs(10 ** ((got - top) / 20) - 10 ** ((want - top) / 20)).max()
    return amplitude, db[want > top - 60].max(), db[want > top - 80].max(), float(np.quantile(db, 0.99))


# -- frames -----------------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 2_000_000))
def test_padding_fills_the_frames_and_no_more(samples: int) -> None:
    left, right = padding(samples)
    assert left + samples + right == (frame_count(samples) - 1) * 561 + 1654
    assert 0 <= right - left <= 1
    assert frame_count(samples) == 1 or left + right < 561


@pytest.mark.parametrize(
    ("samples", "frames", "pads"),
    [(1, 1, (826, 827)), (1654, 1, (0, 0)), (1655, 2, (280, 280)), (2214, 2, (0, 1)), (220_500, 392, (252, 253))],
)
def test_frames_and_padding_of_known_lengths(samples: int, frames: int, pads: tuple[int, int]) -> None:
    assert (frame_count(samples), padding(samples)) == (frames, pads)


def test_lengths_equal_the_golden_table(golden: Path) -> None:
    with (golden / "lengths.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) == 30
    for row in rows:
        samples = int(row["samples"])
        assert frame_count(samples) == int(row["frames"])
        assert padding(samples) == (int(row["pad_left"]), int(row["pad_right"]))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 1655))
def test_any_short_length_gives_an_image(fft: FrontEnd, samples: int) -> None:
    image = fft(music(samples)[None])
    assert image.shape == (1, 3, 341, frame_count(samples))
    assert image.dtype == np.float32
    assert np.isfinite(image).all()


@pytest.mark.parametrize("bank", ["init", "init banded", "init mixed"])
def test_a_sound_of_many_frames_equals_its_parts(banks: dict[str, dict[str, NDArray[Any]]], bank: str) -> None:
    # 700 frames are more than are computed at once; no padding, so that frames of parts fall on frames.
    front_end = FrontEnd.from_arrays(banks[bank], AudioSpec())
    sound = music(699 * 561 + 1654)[None]
    whole = front_end(sound)
    tail = front_end(sound[:, 600 * 561 :])
    assert whole.shape[-1] == 700
    amplitude, near, _, _ = errors(whole[..., 600:], tail)
    assert amplitude < 1e-6
    assert near < 0.005


# -- kernels ----------------------------------------------------------------------------------------------------------


def test_the_grid_holds_both_ends_and_no_zero() -> None:
    t = time_grid()
    assert t[0] == -t[-1] == -np.float32(np.pi)
    assert not (t == 0).any()


def test_initial_filters_have_norm_one() -> None:
    norms = np.linalg.norm(fbsp_kernel(*INIT).reshape(1025, -1), axis=1)
    assert np.abs(norms - 1).max() < 1e-6


def test_kernels_equal_the_original(part: dict[str, NDArray[Any]]) -> None:
    rows = part["rows"]
    kernel = fbsp_kernel(part["m"][rows], part["fb"][rows], part["fc"][rows])
    assert np.abs(kernel - part["kernel_fill_rows"]).max() <= 2e-8


def test_all_golden_kernels(golden: Path) -> None:
    stored = np.load(golden / "fbsp.npz")
    assert np.array_equal(time_grid(), stored["t"])
    for name, parameters in (("init", INIT), ("fill", (stored["m"], stored["fb"], stored["fc"]))):
        kernel = fbsp_kernel(*parameters)
        assert np.abs(kernel[stored["rows"]] - stored[f"kernel_{name}_rows"]).max() <= 2e-8
        norms = np.linalg.norm(kernel.reshape(1025, -1).astype(np.float64), axis=1)
        assert np.abs(norms - stored[f"{name}_norm_per_filter"]).max() < 1e-6


# -- the dB image -----------------------------------------------------------------------------------------------------


def reference_db(sound: NDArray[np.float32], parameters: Any, window: NDArray[np.float32]) -> NDArray[np.float64]:
    """The definition, in float64 and frame by frame, for an int16-scaled sound; float32 in the kernel's arguments."""
    t = time_grid().astype(np.float64)
    m, fb, fc = (np.asarray(p, np.float64)[:1023, None] for p in parameters)
    x = fb * t / (m + 1e-8)
    envelope = (np.sin(x) / x).astype(complex) ** m
    kernel = np.sqrt(fb / 2048) * envelope * np.exp(-1j * (fc.astype(np.float32) * time_grid()).astype(np.float64))
    scaled = (sound.astype(np.float64) * 32768 + 32768) * 2 / 65535 - 1
    left, right = padding(len(sound))
    line = np.pad(scaled, (left, right))
    frames = [line[i : i + 1654] * window for i in range(0, len(line) - 1653, 561)]
    power = np.abs(np.pad(frames, ((0, 0), (197, 197))) @ kernel.T) ** 2
    image: NDArray[np.float64] = 10 * np.log10(power)
    return image.T.reshape(3, 341, -1)


@pytest.mark.parametrize("bank", ["init", "init fft", "init banded", "init mixed", "fill"])
def test_the_image_is_what_the_definition_says(
    banks: dict[str, dict[str, NDArray[Any]]], part: dict[str, NDArray[Any]], bank: str
) -> None:
    parameters = (part["m"], part["fb"], part["fc"]) if bank == "fill" else INIT
    sound = music(5000)
    image = FrontEnd.from_arrays(banks[bank], AudioSpec())(sound[None])[0]
    amplitude, near, _, _ = errors(image, reference_db(sound, parameters, part["window"]))
    assert amplitude < 2e-5
    assert near < 0.1


def test_digital_silence_is_an_offset_and_true_zero_is_clamped(dense: FrontEnd) -> None:
    silence = dense(np.zeros((1, 1654), np.float32))
    assert -85 < silence.max() < -60  # the offset of half a step of 16 bits, at row 0
    assert silence[0, 0].argmax() == 0
    zero = dense(np.full((1, 1654), -0.5 / 32768, np.float32))  # what the scaling maps to 0
    assert np.array_equal(zero, np.full_like(zero, 10 * np.log10(np.float32(1e-18))))


def test_the_floor_is_applied_last(banks: dict[str, dict[str, NDArray[Any]]]) -> None:
    sound = music(5000)[None]
    floored = FrontEnd.from_arrays(banks["init"], AudioSpec(floor_db=-20.0))(sound)
    plain = FrontEnd.from_arrays(banks["init"], AudioSpec())(sound)
    assert plain.min() < -20
    assert np.array_equal(floored, np.maximum(plain, -20))


def test_the_amplitude_convention_is_a_level_of_90_db(banks: dict[str, dict[str, NDArray[Any]]]) -> None:
    sound = music(5000)[None]
    loud, soft = (FrontEnd.from_arrays(banks["init"], AudioSpec(amplitude=a))(sound) for a in ("int16", "unit"))
    assert loud.max() - soft[0, 0, 5:].max() == pytest.approx(90.3, abs=0.5)


@pytest.mark.parametrize("name", ["dense", "fft", "mixed"])
@settings(max_examples=8, deadline=None)
@given(samples=st.integers(1, 12_000), sounds=st.integers(2, 4), seed=st.integers(0, 99))
def test_a_sound_alone_and_in_a_batch_gives_the_same_bits(
    dense: FrontEnd, fft: FrontEnd, mixed: FrontEnd, name: str, samples: int, sounds: int, seed: int
) -> None:
    front_end = {"dense": dense, "fft": fft, "mixed": mixed}[name]
    batch = np.stack([music(samples, seed + i) for i in range(sounds)])
    together = front_end(batch)
    for sound, image in zip(batch, together, strict=True):
        assert np.array_equal(front_end(sound[None])[0], image)


def test_no_sound_gives_no_image(dense: FrontEnd) -> None:
    assert dense(np.empty((0, 5000), np.float32)).shape == (0, 3, 341, 7)


def test_int16_samples_are_taken_as_they_are(dense: FrontEnd) -> None:
    samples = (music(3000) * 32767).astype(np.int16)
    assert np.array_equal(dense(samples[None]), dense(samples[None] / np.float32(32768)))


def test_mono_is_the_mean_of_the_channels_in_unit_range() -> None:
    stereo = np.array([[-32768, 0], [16384, 16384]], np.int16)
    assert to_mono(stereo).tolist() == [-0.5, 0.5]
    assert to_mono(stereo[:, 0]).tolist() == [-1.0, 0.5]
    assert to_mono(np.array([[0.25, 0.75]])).dtype == np.float32


# -- what fit chooses -------------------------------------------------------------------------------------------------


def test_initial_parameters_as_fft_take_kilobytes(banks: dict[str, dict[str, NDArray[Any]]]) -> None:
    arrays = banks["init fft"]
    assert arrays["form"] == "fft"
    assert sum(a.nbytes for a in arrays.values()) < 30_000


def test_auto_takes_bands_wherever_they_are_exact_enough(banks: dict[str, dict[str, NDArray[Any]]]) -> None:
    lenient, strict = banks["init banded"], banks["init mixed"]
    assert lenient["form"] == "banded"
    assert not len(lenient["band_delay"])
    assert 0.1 < lenient["error_db"] < 1.0
    assert sum(a.nbytes for a in lenient.values()) < 1_000_000
    assert strict["form"] == "mixed"
    assert len(strict["band_delay"])  # one transform leaves the rounding of the grid, which is too much
    assert len(strict["band_rows"]) > 300
    assert 0 < strict["error_db"] <= 0.1


def test_the_second_transform_brings_what_the_grid_rounds(
    banks: dict[str, dict[str, NDArray[Any]]], dense: FrontEnd
) -> None:
    arrays = banks["init mixed"]
    without = {**arrays, "band_delay": arrays["band_delay"][:0]}
    sound = music(50_000)[None]
    want = dense(sound)[0]
    far = [errors(FrontEnd.from_arrays(a, AudioSpec())(sound)[0], want)[2] for a in (arrays, without)]
    assert far[0] <= 0.1
    assert far[1] > 1.2 * far[0]


def test_auto_stays_dense_when_envelopes_have_corners(banks: dict[str, dict[str, NDArray[Any]]]) -> None:
    # An order m that is no whole number turns the phase wherever the envelope crosses zero: no band is wide enough.
    assert banks["fill"]["form"] == "dense"
    assert banks["fill"]["dense"].shape == (2046, 1654)


def small_bank(seed: int) -> tuple[tuple[NDArray[Any], NDArray[Any], NDArray[Any]], NDArray[np.float32]]:
    """257 filters of 512 taps and their window; smooth envelopes, but for every tenth."""
    rng = np.random.default_rng(seed)
    m = rng.choice([0.0, 1.0, 2.0], 257)
    m[::10] = 0.25
    k = 2 * np.pi * np.arange(413) / 413
    window = 0.35875 - 0.48829 * np.cos(k) + 0.14128 * np.cos(2 * k) - 0.01168 * np.cos(3 * k)
    fc = np.arange(257) + 0.3 * rng.standard_normal(257)
    return (m, 1 + 0.05 * rng.standard_normal(257), fc), window.astype(np.float32)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_bands_hold_smooth_envelopes_up_to_the_ends_of_the_spectrum(seed: int) -> None:
    parameters, window = small_bank(seed)
    arrays = fit(*parameters, window, form="banded", max_error_db=0.5)
    assert sorted(np.concatenate((arrays["band_rows"], arrays["dense_rows"]))) == list(range(255))
    assert {*range(0, 255, 10)} <= {*arrays["dense_rows"]}
    assert len(arrays["band_rows"]) > 220
    assert {1, 2, 252, 253, 254} <= {*arrays["band_rows"]}
    spec = AudioSpec(hop=128)
    sound = music(8000, seed)[None]
    want = FrontEnd.from_arrays(fit(*parameters, window, form="dense"), spec)(sound)[0]
    amplitude, near, far, _ = errors(FrontEnd.from_arrays(arrays, spec)(sound)[0], want)
    assert amplitude < 1e-5
    assert near <= 0.05
    assert far <= 0.5


def test_rows_of_both_kinds_mix(part: dict[str, NDArray[Any]]) -> None:
    m, fb, fc = (p.copy() for p in INIT)
    m[400:700:2], fc[5], fb[20] = 0.3, 5.25, 0.5
    arrays = fit(m, fb, fc, part["window"], form="fft")
    assert arrays["form"] == "mixed"
    assert len(arrays["dense_rows"]) == 151
    sound = music(5000)[None]
    mixed = FrontEnd.from_arrays(arrays, AudioSpec())(sound)
    dense = FrontEnd.from_arrays(fit(m, fb, fc, part["window"], form="dense"), AudioSpec())(sound)
    amplitude, near, _, _ = errors(mixed[0], dense[0])
    assert amplitude < 2e-5
    assert near < 0.1
    rows = arrays["dense_rows"]
    heard = dense.reshape(1023, -1)[rows] > dense.max() - 80
    assert np.abs(mixed.reshape(1023, -1)[rows] - dense.reshape(1023, -1)[rows])[heard].max() < 0.05


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "samples",
    [
        np.empty((1, 0), np.float32),
        np.array([[0.0, np.nan]], np.float32),
        np.array([[0.0, np.inf]], np.float32),
        np.array([[0.0, -1e6]], np.float32),
        np.array([[1e300]]),
        np.zeros((1, 10), np.int32),
        np.zeros(10, np.float32),
    ],
    ids=["empty", "nan", "infinite", "huge", "beyond float32", "int32", "one axis"],
)
def test_what_is_no_sound_is_refused(dense: FrontEnd, samples: NDArray[Any]) -> None:
    with pytest.raises(AudioError):
        dense(samples)


@pytest.mark.parametrize("samples", [np.zeros((2, 2, 2)), np.zeros((5, 0)), np.zeros(5, np.int32)])
def test_what_cannot_be_made_mono_is_refused(samples: NDArray[Any]) -> None:
    with pytest.raises(AudioError):
        to_mono(samples)


def test_a_stored_front_end_is_the_same(banks: dict[str, dict[str, NDArray[Any]]], tmp_path: Path) -> None:
    sound = music(3000)[None]
    for name in ("init fft", "init mixed", "fill"):
        path = tmp_path / "frontend.npz"
        np.savez(path, **banks[name])  # type: ignore[arg-type]
        stored = FrontEnd.load(path, UNIT)
        assert np.array_equal(stored(sound), FrontEnd.from_arrays(banks[name], UNIT)(sound))
        assert stored.form == str(banks[name]["form"])


def test_a_damaged_front_end_is_refused(banks: dict[str, dict[str, NDArray[Any]]], tmp_path: Path) -> None:
    arrays = banks["init fft"]
    path = tmp_path / "frontend.npz"
    with pytest.raises(BundleError, match="cannot read"):
        FrontEnd.load(path, UNIT)
    np.save(tmp_path / "one.npy", np.ones(3))
    for content in (b"PK\x03\x04 no archive", b"", b"some text", (tmp_path / "one.npy").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(BundleError, match="cannot read"):
            FrontEnd.load(path, UNIT)
    with pytest.raises(BundleError, match="lacks window"):
        FrontEnd.from_arrays({k: v for k, v in arrays.items() if k != "window"}, UNIT)
    for wrong in (
        {"window": np.ones(5000, np.float32)},
        {"fft_rows": arrays["fft_rows"][::2]},
        {"fft_bins": arrays["fft_bins"] + 2},
        {"fft_bins": arrays["fft_bins"].astype(np.float32)},
        {"dense": np.ones((4, 9), np.float32)},
        {"n_fft": np.ones(2, np.int32)},
    ):
        with pytest.raises(BundleError, match="do not fit"):
            FrontEnd.from_arrays({**arrays, **wrong}, UNIT)


@pytest.mark.parametrize(
    "change",
    [
        lambda a: {"band_rows": a["band_rows"][1:]},
        lambda a: {"band_rows": a["band_rows"] + 1},
        lambda a: {"band_blocks": a["band_blocks"][1:]},
        lambda a: {"band_blocks": a["band_blocks"][:, :2]},
        lambda a: {"band_blocks": -a["band_blocks"]},
        lambda a: {"band_blocks": a["band_blocks"] + np.array([0, 1025, 0], np.int32)},
        lambda a: {"band_blocks": a["band_blocks"].ravel()},
        lambda a: {"band": a["band"][:-1]},
        lambda a: {"band": a["band"].astype(np.float64)},
        lambda a: {"band_delay": a["band_delay"][:7]},
    ],
)
def test_damaged_bands_are_refused(banks: dict[str, dict[str, NDArray[Any]]], change: Any) -> None:
    arrays = banks["init mixed"]
    with pytest.raises(BundleError, match="do not fit"):
        FrontEnd.from_arrays({**arrays, **change(arrays)}, UNIT)


# -- golden clips -----------------------------------------------------------------------------------------------------


def clip(golden: Path, number: int) -> NDArray[np.float32]:
    path = next((golden / "inputs").glob(f"clip{number}_*.wav"))
    with wave.open(str(path)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
    return to_mono(samples)


def test_mono_equals_the_golden_clips(golden: Path) -> None:
    want = np.load(golden / "audio.npz")["mono_sha256"]
    assert [hashlib.sha256(clip(golden, i).tobytes()).hexdigest() for i in range(6)] == want.tolist()


GOLDEN_IMAGES = [
    f"{bank}_clip{number}_{amplitude}"
    for bank, numbers in (("init", (0, 3)), ("fill", (0, 2, 3)))
    for number in numbers
    for amplitude in ("int16", "unit")
]


@pytest.mark.parametrize("product", [numpy_product, Product], ids=["NumPy", "onnxruntime"])
@pytest.mark.parametrize("name", GOLDEN_IMAGES)
def test_dense_meets_the_golden_bounds(
    golden: Path, banks: dict[str, dict[str, NDArray[Any]]], name: str, product: Any
) -> None:
    amplitude, near, far, quantile = golden_errors(golden, banks[name.split("_")[0]], name, product)
    assert amplitude <= 5e-6
    assert near <= 0.01
    assert far <= 0.1
    if "clip2" not in name:  # digital silence: nothing but rounding
        assert quantile <= 0.05


@pytest.mark.parametrize("bank", ["init fft", "init banded", "init mixed"])
@pytest.mark.parametrize("name", [n for n in GOLDEN_IMAGES if n.startswith("init")])
def test_transforms_stay_near_the_golden_images(
    golden: Path, banks: dict[str, dict[str, NDArray[Any]]], name: str, bank: str
) -> None:
    # Plain transforms are exact; the golden images hold the noise of the original's kernels, 1e-5 of the frame's
    # maximum. The mixed bank holds what of it makes a difference.
    amplitude, near, far, _ = golden_errors(golden, banks[bank], name)
    strict = bank == "init mixed"
    assert amplitude <= (5e-6 if strict else 2e-5)
    assert near <= (0.01 if strict else 0.1)
    assert far <= (0.1 if strict else 0.5)


def golden_errors(
    golden: Path, arrays: dict[str, NDArray[Any]], name: str, product: Any = numpy_product
) -> tuple[float, float, float, float]:
    stored = np.load(golden / "frontend.npz")
    spec = AudioSpec(amplitude=name.split("_")[2])  # type: ignore[arg-type]
    image = FrontEnd.from_arrays(arrays, spec, product)(clip(golden, int(name[9]))[None])[0]
    statistics = np.stack((image.mean(axis=(1, 2)), image.std(axis=(1, 2)), image.max(axis=(1, 2))), axis=1)
    assert np.abs(statistics - stored[f"{name}_db_stats_per_channel"][:, [0, 1, 3]]).max() < 0.1
    want = stored[f"{name}_db"]
    return errors(image[..., :: EVERY[want.shape[-1]]], want)


def test_scaling_and_windowed_frames_equal_the_golden_bits(
    golden: Path, banks: dict[str, dict[str, NDArray[Any]]], part: dict[str, NDArray[Any]]
) -> None:
    stored = np.load(golden / "frontend.npz")
    for amplitude in ("int16", "unit"):
        front_end = FrontEnd.from_arrays(banks["init fft"], AudioSpec(amplitude=amplitude))
        frames = front_end._frames(clip(golden, 0))
        scaled = np.concatenate((frames[0, padding(220_500)[0] :], frames[1, -561:], frames[2, -561:]))
        assert np.array_equal(scaled[:2000], stored[f"fill_clip0_{amplitude}_scaled_first_2000"])
    frames = FrontEnd.from_arrays(banks["init fft"], AudioSpec())._frames(clip(golden, 3)) * part["window"]
    assert np.array_equal(frames[0], stored["fill_clip3_int16_frame0_windowed"])
    assert np.array_equal(frames[-1], stored["fill_clip3_int16_frame_last_windowed"])
