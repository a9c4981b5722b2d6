"""What print, scanner and file do to a drawing: tilt, paper tone, contrast, grain, compression."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image, ImageOps

Rng = np.random.Generator


def age(image: Image.Image, rng: Rng) -> Image.Image:
    """Wear a page as a scan would; many pages stay as clean as a digital edition."""
    if rng.random() < 0.4:
        return image
    if rng.random() < 0.5:
        image = _tilt(image, math.radians(rng.uniform(-1.2, 1.2)), rng.uniform(0.985, 1.02))
    pixels = np.asarray(image, dtype=np.float32)
    paper, ink = rng.uniform(225, 255), rng.uniform(0, 35)
    pixels = ink + pixels * np.float32((paper - ink) / 255)
    if rng.random() < 0.4:
        tile = rng.standard_normal((128, 128), dtype=np.float32) * np.float32(rng.uniform(1, 5))
        h, w = pixels.shape
        pixels = pixels + np.tile(tile, (h // 128 + 1, w // 128 + 1))[:h, :w]
    worn = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    return _recompress(worn, int(rng.integers(35, 85))) if rng.random() < 0.5 else worn


def mirror(image: Image.Image, rng: Rng) -> Image.Image:
    """Now and then flip the page, as editions that read from left to right do."""
    return ImageOps.mirror(image) if rng.random() < 0.15 else image


def _tilt(image: Image.Image, angle: float, zoom: float) -> Image.Image:
    w, h = image.size
    c, s = math.cos(angle) / zoom, math.sin(angle) / zoom
    matrix = (c, -s, w / 2 * (1 - c) + h / 2 * s, s, c, h / 2 * (1 - c) - w / 2 * s)
    return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=255)


def _recompress(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    with Image.open(buffer) as again:
        return again.convert("L")
