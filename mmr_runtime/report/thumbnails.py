"""Small pictures of pages as data URIs."""

from __future__ import annotations

import base64
import io

from mmr_runtime.books import Book
from mmr_runtime.errors import InputError
from mmr_runtime.image import load_image

HEIGHT = 104
"""Pixels; a page is then about 73 wide."""

_WIDEST = 2 * HEIGHT
_QUALITY = 55


def thumbnail(book: Book, number: int) -> str | None:
    """A page, counted from 0, as the URI of a small JPEG; None where it cannot be read. A strip shows its beginning."""
    from PIL import Image

    try:
        image = load_image(book.image(number))
    except InputError:
        return None
    width, height = image.size
    image = image.crop((0, 0, width, min(height, 2 * width)))
    image = image.convert("RGBA") if image.has_transparency_data else image.convert("RGB")
    image.thumbnail((_WIDEST, HEIGHT), Image.Resampling.LANCZOS, reducing_gap=3.0)
    if image.mode == "RGBA":
        paper = Image.new("RGB", image.size, "white")
        paper.paste(image, mask=image.getchannel("A"))
        image = paper
    content = io.BytesIO()
    image.save(content, "JPEG", quality=_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"
