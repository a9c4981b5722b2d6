"""Pages become the image tower's input: opened safely, brought to one of three forms of resizing, normalised.

Nothing of a file is decoded before its format and size are known to be within the limits. Pillow is imported on first
use.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.bundle import ImageSpec
from mmr_runtime.errors import ImageError, MissingFileError
from mmr_runtime.limits import MAX_IMAGE_BYTES, MAX_IMAGE_PIXELS, MIN_IMAGE_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

Floats = NDArray[np.float32]
Source: TypeAlias = Union[str, os.PathLike[str], bytes, "Image", NDArray[np.uint8], NDArray[np.uint16]]
Spread = Literal["auto", "whole"]

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
SUFFIXES = frozenset((".avif", ".bmp", ".gif", ".jfif", ".jpe", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"))
"""Endings, in lower case, that files of these formats have."""
_PLUGINS = ("Jpeg", "Png", "WebP", "Gif", "Bmp", "Tiff", "Avif")
_KEPT_MODES = frozenset(("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"))
_CONVERTED = {"La": "LA", "RGBa": "RGBA", "PA": "RGBA"}  # anything else becomes RGB
_DEEP_MODES = frozenset(("I", "F", "I;16", "I;16L", "I;16B", "I;16N"))
_ORIENTATION = 0x0112
_BROKEN_HINT = "open and save it with another program"
_filters_lock = threading.Lock()


# -- opening ----------------------------------------------------------------------------------------------------------


def load_image(source: Source, spec: ImageSpec | None = None) -> Image:
    """Open and decode a page.

    Takes the first frame of an animation, turns the page as its EXIF says, and brings grey of 16 bits or more to 8.
    Palettes, alpha and print colours are kept: what becomes of them depends on the form of resizing.

    Args:
        source: a path, the bytes of a file, a PIL image, or an array (h, w), (h, w, 1), (h, w, 3) or (h, w, 4) of uint8
            or uint16.
        spec: what the page is for. With the `page` form a large JPEG is then decoded at a half, a quarter or an eighth,
            still at least twice the size that the form needs, and in grey if that is all it needs.

    Returns:
        An image of mode 1, L, LA, P, RGB, RGBA, CMYK or YCbCr.

    Raises:
        MissingFileError: the path does not exist.
        ImageError: the source is no image, broken, of another format than `FORMATS`, or beyond the limits.
    """
    from PIL import Image

    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return _decode(source, "the image", None)
    if isinstance(source, bytes):
        return _decode(_identify(source, "the image"), "the image", spec)
    if not isinstance(source, str | os.PathLike):
        raise ImageError(f"{type(source).__name__} is no image", "give a path, bytes, a PIL image or an array")
    name = f"the image {os.fspath(source)}"
    return _decode(_identify(_read(Path(source), name), name), name, spec)


def _read(path: Path, name: str) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_IMAGE_BYTES:
            raise ImageError(f"{name} has {size} bytes, more than {MAX_IMAGE_BYTES}", "save it smaller")
        return path.read_bytes()
    except FileNotFoundError:
        raise MissingFileError(f"{name} does not exist", "check the path") from None
    except ImageError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a path that cannot be
        raise ImageError(f"cannot read {name}: {error}", "check that it is a readable file") from error


def _identify(content: bytes, name: str) -> ImageFile:
    """Read the header: format, mode, size."""
    from PIL import Image, UnidentifiedImageError

    if len(content) > MAX_IMAGE_BYTES:
        raise ImageError(f"{name} has {len(content)} bytes, more than {MAX_IMAGE_BYTES}", "save it smaller")
    for plugin in _PLUGINS:  # only those, not the forty others that Pillow would try
        try:
            import_module(f"PIL.{plugin}ImagePlugin")
        except ImportError:
            continue  # an older Pillow without AVIF
    formats = [f for f in FORMATS if f in Image.OPEN]
    try:
        # Pillow warns of sizes that our own limit allows, and raises beyond.
        with _filters_lock, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return Image.open(io.BytesIO(content), formats=formats)
    except Image.DecompressionBombError:
        raise _too_large(name, "far too many") from None
    except UnidentifiedImageError:
        raise ImageError(f"{name} is no image that mmr reads", f"it reads {', '.join(formats)}") from None
    except Exception as error:  # broken files raise whatever their decoder stumbles over
        raise ImageError(f"{name} is broken: {_first_line(error)}", _BROKEN_HINT) from error


def _decode(image: Image, name: str, spec: ImageSpec | None) -> Image:
    """Check the size, decode, turn, bring to eight bits."""
    from PIL import ImageOps

    _check_size(image.size, name)
    try:
        if spec is not None and spec.resize == "page" and image.format in ("JPEG", "MPO"):
            _reduce(image, spec)
        image.load()
        if _orientation(image) != 1:
            image = ImageOps.exif_transpose(image)
        _check_size(image.size, name)
        if image.mode in _DEEP_MODES:
            image = _to_eight_bits(np.asarray(image), image.mode.startswith("I;16"))
        elif image.mode not in _KEPT_MODES:
            image = image.convert(_CONVERTED.get(image.mode, "RGB"))
    except ImageError as error:
        raise ImageError(f"{name}: {error.message}", error.hint) from None
    except Exception as error:  # broken files raise whatever their decoder stumbles over
        raise ImageError(f"{name} is broken: {_first_line(error)}", _BROKEN_HINT) from error
    return image


def _check_size(size: tuple[int, int], name: str) -> None:
    width, height = size
    if width * height > MAX_IMAGE_PIXELS:
        raise _too_large(name, f"{width} x {height}")
    if min(size) < MIN_IMAGE_SIDE:
        raise ImageError(
            f"{name} has {width} x {height} pixels, too small for a page", f"a side is at least {MIN_IMAGE_SIDE}"
        )


def _too_large(name: str, pixels: str) -> ImageError:
    return ImageError(f"{name} has {pixels} pixels, more than {MAX_IMAGE_PIXELS}", "save it smaller")


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _orientation(image: Image) -> int:
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken note about the image is no broken image
        return 1
    return value if value in range(1, 9) else 1


def _reduce(image: Image, spec: ImageSpec) -> None:
    """Let the JPEG decoder leave out detail that resizing would average away anyway."""
    width, height = 2 * spec.width, 2 * spec.height
    turned = _orientation(image) >= 5
    across, down = image.size[::-1] if turned else image.size
    if abs(across - down) < 8:
        return  # rounding the size must not change which side is the longer one
    if across > down:
        width *= 2  # perhaps a spread: two pages side by side
    image.draft("L" if spec.grey else None, (height, width) if turned else (width, height))


def _to_eight_bits(pixels: NDArray[np.generic], sixteen: bool) -> Image:
    """Grey or colour of more than 8 bits: 16-bit by its full range, others by the range they seem to have."""
    from PIL import Image

    values = pixels.astype(np.float32)
    low, high = float(values.min()), float(values.max())
    if not -1e30 < low <= high < 1e30:  # a NaN fails, too
        raise ImageError("holds values that are no numbers", _BROKEN_HINT)
    if sixteen or (low >= 0 and 255 < high <= 65535):
        values /= 257
    elif low >= 0 and high <= 1 and not np.issubdtype(pixels.dtype, np.integer):
        values *= 255
    elif low < 0 or high > 65535:
        values = (values - low) * (255 / max(high - low, 1e-6))
    return Image.fromarray(np.rint(values).astype(np.uint8))


def _from_array(pixels: NDArray[np.generic]) -> Image:
    from PIL import Image

    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)):
        raise ImageError(f"an array of shape {pixels.shape} is no image", "give (h, w), (h, w, 3) or (h, w, 4)")
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"an array of {pixels.dtype} is no image", "give uint8 or uint16")
    _check_size((pixels.shape[1], pixels.shape[0]), "the array")
    if pixels.dtype == np.uint16:
        return _to_eight_bits(pixels, sixteen=True)
    return Image.fromarray(np.ascontiguousarray(pixels))


# -- the tower's input ------------------------------------------------------------------------------------------------


def preprocess(image: Image, spec: ImageSpec, spread: Spread = "auto") -> Floats:
    """Bring a page into the form of the image tower.

    Args:
        image: from `load_image`.
        spec: size, form of resizing, mean and std.
        spread: `auto`: an image that is wider than tall is two pages side by side, cut in the middle, the right one
            first as manga is read (a single landscape drawing is cut as well); `whole`: never cut.

    Returns:
        float32 (k, 3, height, width) with k = 2 for a spread that was cut, else 1.

    Raises:
        ImageError: the image is so long and narrow that resizing it would need more pixels than the limit.
    """
    width, height = image.size
    pages = [image]
    if spread == "auto" and width > height:
        middle = width // 2
        pages = [image.crop((middle, 0, width, height)), image.crop((0, 0, middle, height))]
    if spec.grey:
        pages = [_on_white(page).convert("L") for page in pages]
    form = {"pil": _resize_pil, "tensor": _resize_tensor, "page": _resize_page}[spec.resize]
    pixels = np.stack([form(page, spec) for page in pages])
    pixels -= np.asarray(spec.mean, np.float32)
    pixels /= np.asarray(spec.std, np.float32)
    return np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))


def _unit(image: Image) -> Floats:
    """RGB in [0, 1], float32 (h, w, 3)."""
    return np.asarray(image.convert("RGB")).astype(np.float32) / np.float32(255)


def _on_white(image: Image) -> Image:
    from PIL import Image

    if not image.has_transparency_data:
        return image
    colours = image.convert("RGBA")
    white = Image.new("RGBA", colours.size, "white")
    return Image.alpha_composite(white, colours).convert("RGB")


def _covering_size(image: Image, spec: ImageSpec) -> tuple[int, int]:
    """CLIP's size before the crop: the shorter side as the input, the longer one in proportion, rounded down."""
    side = max(spec.height, spec.width)
    width, height = image.size
    size = (side, int(side * height / width)) if width <= height else (int(side * width / height), side)
    if size[0] * size[1] > MAX_IMAGE_PIXELS:
        raise ImageError(f"an image of {width} x {height} pixels is too long for its width", "cut it into pages")
    return size


def _crop_offset(size: tuple[int, int], spec: ImageSpec) -> tuple[int, int]:
    """Left and top of the centre crop; a half is rounded to the even number, as the original does."""
    return round((size[0] - spec.width) / 2), round((size[1] - spec.height) / 2)


def _resize_pil(image: Image, spec: ImageSpec) -> Floats:
    """CLIP's own path, bit for bit. RGB comes last: palettes take the nearest neighbour, alpha is premultiplied."""
    from PIL import Image

    size = _covering_size(image, spec)
    left, top = _crop_offset(size, spec)
    resized = image.resize(size, Image.Resampling.BICUBIC)
    return _unit(resized.crop((left, top, left + spec.width, top + spec.height)))


def _resize_tensor(image: Image, spec: ImageSpec) -> Floats:
    """AudioCLIP's path on float values: bicubic of four points wherever it shrinks to, so that fine tone aliases."""
    size = _covering_size(image, spec)
    left, top = _crop_offset(size, spec)
    columns, across = _cubic(image.width, size[0], left, spec.width)
    rows, down = _cubic(image.height, size[1], top, spec.height)
    pixels = _unit(image)
    narrow = sum(pixels[:, columns[i]] * across[i][:, None] for i in range(4))
    resized: Floats = sum(narrow[rows[i]] * down[i][:, None, None] for i in range(4))
    return resized


def _cubic(source: int, target: int, first: int, count: int) -> tuple[NDArray[np.intp], Floats]:
    """Cubic convolution (a = -0.75, edges repeated) of one axis.

    Args:
        source: length of the axis.
        target: length it is resized to.
        first: first wanted point of the target.
        count: wanted points.

    Returns:
        Source indices (4, count) and their weights, float32 (4, count).
    """
    scale = np.float32(source) / np.float32(target)
    place = scale * (np.arange(first, first + count, dtype=np.float32) + np.float32(0.5)) - np.float32(0.5)
    whole = np.floor(place)
    t = place - whole
    a = np.float32(-0.75)

    def near(x: Floats) -> Floats:  # for a distance up to 1
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Floats) -> Floats:  # for a distance from 1 to 2
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    weights = np.stack((far(t + 1), near(t), near(1 - t), far(2 - t)))
    indices = whole.astype(np.intp) + np.arange(-1, 3)[:, None]
    return np.clip(indices, 0, source - 1), weights


def _resize_page(image: Image, spec: ImageSpec) -> Floats:
    """The entire page, stretched, averaged over the pixels that fall together; alpha on white, as paper is."""
    from PIL import Image

    flat = _on_white(image)
    if flat.mode not in ("L", "RGB"):
        flat = flat.convert("RGB")
    # The gap: whole-number averaging first, while the image is more than three times too large; four times faster.
    return _unit(flat.resize((spec.width, spec.height), Image.Resampling.BICUBIC, reducing_gap=3.0))
