"""Pages: what is opened and how, what is refused, and the three forms of resizing."""

from __future__ import annotations

import hashlib
import io
import subprocess
import sys
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, features

from mmr_runtime import image as module
from mmr_runtime.bundle import ImageSpec
from mmr_runtime.errors import ImageError, MissingFileError
from mmr_runtime.image import Source, load_image, preprocess

PIL_SPEC = ImageSpec()
TENSOR = ImageSpec(resize="tensor")
PAGE = ImageSpec(height=64, width=48, resize="page", grey=True, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
PAGE_RGB = ImageSpec(height=64, width=48, resize="page", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def drawing(width: int = 90, height: int = 120, mode: str = "RGB") -> Image.Image:
    """Smooth colours, different in every corner."""
    y, x = np.mgrid[0:height, 0:width]
    rgb = np.stack((255 * x // width, 255 * y // height, 128 + 100 * np.sin(x / 9.0) * np.cos(y / 7.0)), axis=-1)
    return Image.fromarray(rgb.astype(np.uint8)).convert(mode)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


# -- opening ----------------------------------------------------------------------------------------------------------


def test_every_kind_of_source_gives_the_same_page(tmp_path: Path) -> None:
    page = drawing()
    path = tmp_path / "page.png"
    page.save(path)
    for source in (path, str(path), path.read_bytes(), page, np.asarray(page)):
        assert np.array_equal(np.asarray(load_image(source)), np.asarray(page))


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_formats_that_are_read(form: str) -> None:
    if form == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    page = drawing()
    back = load_image(encoded(page, form)).convert("RGB")
    assert back.size == page.size
    assert np.abs(np.asarray(back).astype(int) - np.asarray(page)).mean() < 12


@pytest.mark.parametrize("form", ["PPM", "TGA", "ICO", "PCX"])
def test_other_formats_are_refused_by_name(form: str) -> None:
    with pytest.raises(ImageError, match="no image that mmr reads"):
        load_image(encoded(drawing(), form))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_a_page_is_turned_as_its_exif_says(form: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = np.asarray(load_image(encoded(drawing(), form, exif=exif)).convert("RGB")).astype(int)
    # x grows in red, y in green: what a viewer must see at the left top and the right bottom.
    upright = np.asarray(drawing()).astype(int)
    want = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright.transpose(1, 0, 2)[:, ::-1],
        7: upright.transpose(1, 0, 2)[::-1, ::-1],
        8: upright.transpose(1, 0, 2)[::-1],
    }[orientation]
    assert pixels.shape == want.shape
    assert np.abs(pixels - want).mean() < 6


def test_the_given_image_is_not_changed() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    given_image = Image.open(io.BytesIO(encoded(drawing(), exif=exif)))
    assert load_image(given_image).size == (120, 90)
    assert given_image.size == (90, 120)


def test_the_first_frame_of_an_animation_is_taken() -> None:
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue")]
    for form in ("GIF", "PNG", "WEBP"):
        content = encoded(frames[0], form, save_all=True, append_images=frames[1:], lossless=True)
        assert load_image(content).convert("RGB").getpixel((20, 20)) == (255, 0, 0)


def ramp(low: float, high: float, dtype: Any) -> NDArray[Any]:
    return np.linspace(low, high, 64 * 64).reshape(64, 64).astype(dtype)


@pytest.mark.parametrize(
    "pixels",
    [
        ramp(0, 65535, np.uint16),
        ramp(0, 65535, np.int32),
        ramp(0, 255, np.int32),
        ramp(0, 1, np.float32),
        ramp(0, 255, np.float32),
        ramp(-7, 9, np.float32),
        ramp(-1e9, 1e9, np.int32),
    ],
    ids=["16 bits", "16 in 32", "8 in 32", "unit float", "8-bit float", "any float", "32 bits"],
)
def test_deep_grey_is_scaled_to_eight_bits(pixels: NDArray[Any]) -> None:
    deep = Image.fromarray(pixels)
    assert deep.mode in ("I;16", "I", "F")
    shallow = np.asarray(load_image(encoded(deep, "TIFF"))).astype(int)
    assert np.abs(shallow - np.rint(ramp(0, 255, np.float64))).max() <= 1


def test_sixteen_bits_keep_their_full_range() -> None:
    dark = Image.fromarray(ramp(0, 255, np.uint16))  # almost black, and so it stays
    assert np.asarray(load_image(encoded(dark))).max() == 1
    assert np.asarray(load_image(ramp(0, 65535, np.uint16))).max() == 255


def test_a_flat_float_image_is_no_division_by_zero() -> None:
    assert np.asarray(load_image(Image.fromarray(np.full((9, 9), -3, np.float32)))).max() == 0
    for value in (np.nan, np.inf, -3e38):
        with pytest.raises(ImageError, match="no numbers"):
            load_image(Image.fromarray(np.full((9, 9), value, np.float32)))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "RGBX", "La", "RGBa"]
)
@pytest.mark.parametrize("spec", [PIL_SPEC, TENSOR, PAGE, PAGE_RGB], ids=["pil", "tensor", "page grey", "page"])
def test_every_mode_goes_through_every_form(mode: str, spec: ImageSpec) -> None:
    source = (
        drawing(mode="RGBA").convert(mode)
        if mode == "RGBa"
        else drawing(mode="LA" if mode == "La" else "RGB").convert(mode)
    )
    pixels = preprocess(load_image(source), spec)
    assert pixels.shape == (1, 3, spec.height, spec.width)
    assert pixels.dtype == np.float32
    # Whatever the mode, light stays light: compare with the plain picture.
    plain = preprocess(load_image(drawing()), spec)
    assert abs(pixels.mean() - plain.mean()) < 0.15


# -- what is refused --------------------------------------------------------------------------------------------------


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"nothing\.png does not exist"):
        load_image(tmp_path / "nothing.png")


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_refused(form: str, tmp_path: Path) -> None:
    content = encoded(drawing(300, 400), form)
    path = tmp_path / "cut.img"
    for part in (0.02, 0.5, 0.9):
        path.write_bytes(content[: int(len(content) * part)])
        with pytest.raises(ImageError, match=r"cut\.img"):
            load_image(path)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"]), st.data())
def test_a_damaged_file_is_read_or_refused_but_never_crashes(form: str, data: st.DataObject) -> None:
    content = bytearray(encoded(drawing(40, 50), form))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        page = load_image(bytes(content))
    except ImageError:
        return
    assert min(page.size) >= 8


@pytest.mark.parametrize(
    "source",
    [b"", b"no image", np.zeros((20, 20, 2), np.uint8), np.zeros((20, 20)), np.zeros(20, np.uint8), None, 3],
    ids=["empty", "text", "two channels", "float array", "one axis", "none", "number"],
)
def test_what_is_no_image_is_refused(source: Any) -> None:
    with pytest.raises(ImageError):
        load_image(source)


def test_a_folder_or_an_impossible_path_is_refused(tmp_path: Path) -> None:
    for source in (tmp_path, "a\0b.png"):
        with pytest.raises(ImageError, match="cannot read"):
            load_image(source)


def test_size_limits_hold_before_anything_is_decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="too small"):
        load_image(Image.new("L", (7, 100)))
    monkeypatch.setattr(module, "MAX_IMAGE_PIXELS", 10_000)
    large = encoded(drawing(200, 100))
    sources: list[Source] = [
        large,
        large[: len(large) // 2],
        Image.new("L", (101, 100)),
        np.zeros((101, 100), np.uint8),
    ]
    for source in sources:
        with pytest.raises(ImageError, match="more than 10000"):
            load_image(source)
    monkeypatch.setattr(module, "MAX_IMAGE_BYTES", 100)
    path = tmp_path / "large.png"
    path.write_bytes(large)
    for source in (path, large):
        with pytest.raises(ImageError, match=r"more than 100 \("):
            load_image(source)


@pytest.mark.parametrize("side", [9_600, 20_000, 60_000])
def test_a_bomb_is_refused_by_its_header(side: int) -> None:
    # A page of 9,600 x 9,600 is within the limit, beyond Pillow's own warning; cut off here, so that it is only broken.
    header = bytearray(encoded(Image.new("L", (16, 16))))
    header[16:24] = side.to_bytes(4, "big") * 2
    header[29:33] = zlib.crc32(bytes(header[12:29])).to_bytes(4, "big")
    with pytest.raises(ImageError, match="broken" if side < 10_000 else "pixels, more than"):
        load_image(bytes(header))


def test_a_strip_that_would_be_resized_beyond_the_limit_is_refused() -> None:
    strip = load_image(Image.new("L", (8, 400_000)))
    for spec in (PIL_SPEC, TENSOR):
        with pytest.raises(ImageError, match="too long for its width"):
            preprocess(strip, spec)
    assert preprocess(strip, PAGE).shape == (1, 3, 64, 48)


def test_many_threads_may_open_pages() -> None:
    content = encoded(drawing(), "JPEG")
    want = np.asarray(load_image(content))
    same: list[bool] = []

    def work() -> None:
        same.extend(np.array_equal(np.asarray(load_image(content)), want) for _ in range(10))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert same == [True] * 40


def test_the_module_loads_without_pillow() -> None:
    code = "import sys, mmr_runtime.image; print('PIL' in sys.modules)"
    root = Path(__file__).resolve().parents[2]
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


# -- spreads ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", [PIL_SPEC, TENSOR, PAGE], ids=["pil", "tensor", "page"])
def test_a_spread_is_its_right_half_then_its_left(spec: ImageSpec) -> None:
    right, left = drawing(90, 120), drawing(90, 120).transpose(Image.Transpose.ROTATE_180)
    spread = Image.new("RGB", (180, 120))
    spread.paste(left, (0, 0))
    spread.paste(right, (90, 0))
    halves = preprocess(spread, spec)
    assert np.array_equal(halves, np.concatenate((preprocess(right, spec), preprocess(left, spec))))
    assert preprocess(spread, spec, "whole").shape[0] == 1


@pytest.mark.parametrize(("size", "pages"), [((120, 120), 1), ((121, 120), 2), ((119, 120), 1), ((9, 8), 2)])
def test_only_what_is_wider_than_tall_is_a_spread(size: tuple[int, int], pages: int) -> None:
    assert preprocess(drawing(*size), PIL_SPEC).shape[0] == pages
    assert preprocess(drawing(*size), PIL_SPEC, "whole").shape[0] == 1


def test_halves_of_an_odd_width_hold_every_column() -> None:
    wide = drawing(181, 120)
    right, left = wide.crop((90, 0, 181, 120)), wide.crop((0, 0, 90, 120))
    want = np.concatenate([preprocess(half, PAGE) for half in (right, left)])
    assert np.array_equal(preprocess(wide, PAGE), want)


# -- forms of resizing ------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(8, 400), st.integers(8, 400), st.sampled_from(["pil", "tensor", "page"]), st.booleans())
def test_any_size_gives_the_input_of_the_tower(width: int, height: int, resize: Any, grey: bool) -> None:
    spec = ImageSpec(height=64, width=64, resize=resize, grey=grey)
    pixels = preprocess(drawing(width, height), spec)
    assert pixels.shape == (1 + (width > height), 3, 64, 64)
    assert pixels.flags.c_contiguous
    assert np.isfinite(pixels).all()


def test_pil_form_is_resize_crop_rgb_normalise_in_that_order() -> None:
    page = drawing(300, 517, "P")
    resized = page.resize((224, 386), Image.Resampling.BICUBIC).crop((0, 81, 224, 305)).convert("RGB")
    unit = np.asarray(resized).astype(np.float32) / np.float32(255)
    want = (unit - np.array(PIL_SPEC.mean, np.float32)) / np.array(PIL_SPEC.std, np.float32)
    assert np.array_equal(preprocess(page, PIL_SPEC)[0], want.transpose(2, 0, 1))


def test_tensor_form_interpolates_and_does_not_average() -> None:
    spec = ImageSpec(height=32, width=32, resize="tensor", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    # Shrinking 4 to 1: a target pixel lies between two source pixels, with weights -3/32, 19/32, 19/32, -3/32.
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128), dtype=np.uint8)
    weights = np.array([-3, 19, 19, -3]) / 32
    blocks = pixels.reshape(32, 4, 32, 4) / 255
    want = np.einsum("iajb,a,b->ij", blocks, weights, weights)
    got = preprocess(load_image(pixels), spec)[0, 0]
    assert np.abs(got - want).max() < 1e-5
    assert got.max() > 1  # not clamped


def test_page_form_keeps_the_whole_page_and_puts_alpha_on_white() -> None:
    page = Image.new("RGBA", (100, 200), (0, 0, 0, 0))
    page.paste((0, 0, 0, 255), (0, 150, 100, 200))
    for spec in (PAGE, PAGE_RGB):
        pixels = preprocess(page, spec)
        assert pixels[0, :, :44].min() > 0.95
        assert pixels[0, :, 52:].max() < 0.05
    palette = Image.new("P", (100, 200), 3)
    palette.info["transparency"] = 3
    assert preprocess(palette, PAGE).min() == 1


def test_grey_form_has_three_equal_channels() -> None:
    pixels = preprocess(drawing(), PAGE)
    assert np.array_equal(pixels[0, 0], pixels[0, 1])
    assert np.array_equal(pixels[0, 0], pixels[0, 2])
    colours = preprocess(drawing(), PAGE_RGB)
    assert np.abs(np.tensordot([0.299, 0.587, 0.114], colours[0], 1) - pixels[0, 0]).max() < 0.01


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize(("size", "scale"), [((800, 1000), 4), ((1000, 800), 4), ((400, 500), 2), ((90, 120), 1)])
def test_a_large_jpeg_is_decoded_at_a_smaller_scale_for_the_page_form(
    size: tuple[int, int], scale: int, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(drawing(*size), "JPEG", exif=exif, quality=95)
    whole, reduced = load_image(content), load_image(content, PAGE)
    assert reduced.size == (whole.width // scale, whole.height // scale)
    assert np.abs(preprocess(reduced, PAGE) - preprocess(whole, PAGE)).mean() < 0.02
    assert load_image(content, PIL_SPEC).size == whole.size  # this form is exact


def test_an_almost_square_jpeg_stays_what_it_is() -> None:
    content = encoded(drawing(1001, 1000), "JPEG")
    assert preprocess(load_image(content, PAGE), PAGE).shape[0] == 2


# -- golden images ----------------------------------------------------------------------------------------------------


def golden_images(golden: Path) -> list[Image.Image]:
    names = np.load(golden / "images.npz")["names"]
    return [load_image(golden / "inputs" / f"{name}.png") for name in names]


def test_pil_crops_equal_the_golden_bits(golden: Path) -> None:
    stored = np.load(golden / "images.npz")
    plain = ImageSpec(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    for i, page in enumerate(golden_images(golden)):
        crop = preprocess(page, PIL_SPEC, "whole")[0]
        assert hashlib.sha256(crop.tobytes()).hexdigest() == stored["crop_f32_sha256"][i]
        levels = np.rint(preprocess(page, plain, "whole")[0].transpose(1, 2, 0) * 255)
        assert np.array_equal(levels, stored["crops_u8"][i])


def test_tensor_crops_equal_the_golden_samples(golden: Path) -> None:
    stored = np.load(golden / "images.npz")
    crops = [preprocess(page, TENSOR, "whole")[0] for page in golden_images(golden)]
    assert np.abs(crops[0][:, ::2, ::2] - stored["crops_tensor_path_img0"]).max() < 2e-5
    statistics = [(c.mean(), c.std(), c.min(), c.max()) for c in crops]
    assert np.abs(np.array(statistics) - stored["crops_tensor_path_stats"]).max() < 2e-5
