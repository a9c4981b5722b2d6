"""Screentone: dots, lines and gradients that stand for grey in a medium of black and white.

A tone is a threshold lattice: a pixel is ink where the wanted density exceeds the lattice's value there. The same
rule gives flat tones and gradients; a period of 0 gives plain grey, as tones look in a scan too small to resolve
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

from mmr_export.synth.pages.ink import BLACK, Array, Pen, Points

Mask = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


@dataclass(frozen=True)
class Screen:
    """A ruling of tone: `period` in drawing pixels (0 = plain grey) and whether it is ruled in lines, not dots."""

    period: int
    lines: bool = False


@lru_cache(maxsize=32)
def _lattice(screen: Screen) -> Mask:
    """Threshold tile, uint8 (period, period), values spread evenly over 0..255."""
    n = screen.period
    y, x = np.mgrid[0:n, 0:n] * (2 * np.pi / n)
    # A 45 degree lattice of round dots; for lines, one sine across the diagonal.
    height = np.cos(x + y) if screen.lines else np.cos(x) + np.cos(y) + 0.02 * np.cos(x + y)
    order = np.argsort(np.argsort(-height, axis=None, kind="stable"), kind="stable")
    return (order.reshape(n, n) * 254 // (n * n - 1)).astype(np.uint8)


def ink_mask(density: Mask, screen: Screen, corner: tuple[int, int]) -> Mask:
    """Where ink goes (0 or 255) for a wanted density 0..255, the lattice anchored to the page at `corner` (x, y)."""
    if screen.period == 0:
        return density
    h, w = density.shape
    n = screen.period
    tile = np.roll(_lattice(screen), (-corner[1] % n, -corner[0] % n), axis=(0, 1))
    lattice = np.tile(tile, (h // n + 1, w // n + 1))[:h, :w]
    return np.where(density > lattice, np.uint8(255), np.uint8(0))


def shade(pen: Pen, points: Points, density: float | Array, screen: Screen, *, ink: int = BLACK) -> None:
    """Lay tone over a polygon.

    Args:
        pen: the pen whose units `points` are in.
        points: (n, 2) polygon.
        density: 0..1, one number or a small (rows, columns) field stretched over the polygon's bounding box.
        screen: the ruling.
        ink: grey of the dots: black, or white for tone scratched out of black.
    """
    corners = pen.pixels(points)
    size = pen.image.size
    x0, y0 = (max(0, int(v)) for v in corners.min(axis=0))
    x1, y1 = (min(s, int(v) + 2) for v, s in zip(corners.max(axis=0), size, strict=True))
    if x1 <= x0 or y1 <= y0:
        return
    outline = Image.new("L", (x1 - x0, y1 - y0))
    if isinstance(density, np.ndarray):
        ImageDraw.Draw(outline).polygon((corners - (x0, y0)).ravel().tolist(), fill=255)
        field = Image.fromarray((np.clip(density, 0, 1) * 255).astype(np.uint8))
        wanted = np.minimum(np.asarray(field.resize(outline.size, Image.Resampling.BILINEAR)), np.asarray(outline))
    else:
        level = int(min(max(density, 0), 1) * 255)
        ImageDraw.Draw(outline).polygon((corners - (x0, y0)).ravel().tolist(), fill=level)
        wanted = np.asarray(outline)
    pen.image.paste(ink, (x0, y0, x1, y1), Image.fromarray(ink_mask(wanted, screen, (x0, y0))))


def vertical(top: float, bottom: float, power: float = 1.0) -> Array:
    """Density field that runs from `top` to `bottom`."""
    t = np.linspace(0, 1, 24)[:, None] ** power
    return np.repeat(top + (bottom - top) * t, 2, axis=1)


def vignette(centre: float, edge: float, cx: float = 0.5, cy: float = 0.5) -> Array:
    """Density field that runs from the centre outwards."""
    y, x = np.mgrid[0:24, 0:24] / 23.0
    r = np.clip(np.hypot(x - cx, y - cy) / 0.62, 0, 1)
    return np.asarray(centre + (edge - centre) * r**1.3)


def clouds(rng: np.random.Generator, low: float, high: float, cells: int = 5) -> Array:
    """Density field of soft random patches: smoke, murk, dappled light."""
    coarse = Image.fromarray((rng.uniform(0, 1, (cells, cells)) * 255).astype(np.uint8))
    field = np.asarray(coarse.resize((32, 32), Image.Resampling.BICUBIC)) / 255.0
    return np.asarray(low + (high - low) * field)


def hatch(pen: Pen, points: Points, gap: float, angle: float, rng: np.random.Generator, *, weight: float = 0.5) -> None:
    """Hand-ruled hatching clipped to a convex polygon; `gap` in the pen's units, `angle` in radians."""
    p = np.asarray(points, dtype=np.float64)
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    depth, reach = p @ across, p @ along
    for level in np.arange(depth.min() + gap / 2, depth.max(), gap):
        a, b = np.arange(len(p)), np.roll(np.arange(len(p)), -1)
        crossing = np.flatnonzero((depth[a] - level) * (depth[b] - level) < 0)
        if len(crossing) < 2:
            continue
        share = (level - depth[crossing]) / (depth[b[crossing]] - depth[crossing])
        ends = np.sort(reach[crossing] + share * (reach[b[crossing]] - reach[crossing]))[[0, -1]]
        slack = (ends[1] - ends[0]) * rng.uniform(0, 0.12, 2)
        pen.stroke(
            [
                tuple(across * level + along * (ends[0] + slack[0])),
                tuple(across * level + along * (ends[1] - slack[1])),
            ],
            weight=weight,
        )
