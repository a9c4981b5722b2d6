"""Ink on paper: a pen with a coordinate system, brush strokes that swell and taper, and closed shapes.

All shapes are given in the pen's own units; a child pen (`Pen.at`) moves, turns, scales and mirrors them, so that a
face is written once and drawn anywhere. Pixels are those of the oversized drawing surface; antialiasing comes from
shrinking it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw

Array = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Points = Array | Sequence[tuple[float, float]]

BLACK, WHITE = 0, 255


@lru_cache(maxsize=16)
def _catmull_rom(steps: int) -> Array:
    t = np.arange(steps, dtype=np.float64)[:, None] / steps
    powers = np.concatenate([np.ones_like(t), t, t**2, t**3], axis=1)
    basis = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], dtype=np.float64) / 2
    return np.asarray(powers @ basis)


def curve(points: Points, *, closed: bool = False, steps: int = 6) -> Array:
    """Smooth curve through all points (Catmull-Rom), shape (m, 2)."""
    p = np.asarray(points, dtype=np.float64)
    p = np.concatenate([p[-1:], p, p[:2]]) if closed else np.concatenate([p[:1], p, p[-1:]])
    spans = np.stack([p[:-3], p[1:-2], p[2:-1], p[3:]], axis=1)
    path = (_catmull_rom(steps) @ spans).reshape(-1, 2)
    return path if closed else np.concatenate([path, p[-1:]])


def ring(cx: float, cy: float, rx: float, ry: float, *, sides: int = 22, angle: float = 0.0) -> Array:
    """Ellipse as a polygon, shape (sides, 2); `angle` in radians."""
    t = np.linspace(0, 2 * math.pi, sides, endpoint=False)
    x, y = np.cos(t) * rx, np.sin(t) * ry
    c, s = math.cos(angle), math.sin(angle)
    return np.stack([cx + c * x - s * y, cy + s * x + c * y], axis=1)


def arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float, *, steps: int = 10) -> Array:
    """Open elliptic arc from `start` to `stop` degrees (0 = right, 90 = down), shape (steps, 2)."""
    t = np.radians(np.linspace(start, stop, steps))
    return np.stack([cx + np.cos(t) * rx, cy + np.sin(t) * ry], axis=1)


@dataclass(frozen=True)
class Pen:
    """Draws on one grey image in its own units.

    Attributes:
        image: mode "L" surface.
        draw: Pillow's drawing handle of that surface.
        basis: (2, 2) matrix from units to pixels.
        origin: (2,) pixel of the unit origin.
        line: width in pixels of a line of weight 1.
    """

    image: Image.Image
    draw: ImageDraw.ImageDraw
    basis: Array
    origin: Array
    line: float

    @classmethod
    def on(cls, image: Image.Image, line: float) -> Pen:
        """Pen whose units are the image's pixels."""
        return cls(image, ImageDraw.Draw(image), np.eye(2), np.zeros(2), line)

    @property
    def scale(self) -> float:
        """Pixels per unit."""
        return math.sqrt(abs(float(self.basis[0, 0] * self.basis[1, 1] - self.basis[0, 1] * self.basis[1, 0])))

    def at(self, x: float, y: float, scale: float = 1.0, *, angle: float = 0.0, flip: bool = False) -> Pen:
        """Child pen with its origin at (x, y), turned by `angle` radians, mirrored left to right if `flip`."""
        c, s = math.cos(angle) * scale, math.sin(angle) * scale
        turn = np.array([[-c if flip else c, -s], [-s if flip else s, c]])
        return replace(self, basis=self.basis @ turn, origin=self.pixels([(x, y)])[0])

    def lined(self, factor: float) -> Pen:
        """The same pen with lines `factor` times as heavy."""
        return replace(self, line=self.line * factor)

    def pixels(self, points: Points) -> Array:
        """Pixel coordinates of points, shape (n, 2)."""
        return np.asarray(np.asarray(points, dtype=np.float64) @ self.basis.T + self.origin)

    def _flat(self, points: Points) -> list[float]:
        flat: list[float] = self.pixels(points).ravel().tolist()
        return flat

    def fill(self, points: Points, ink: int = BLACK) -> None:
        """Filled polygon without a line around it."""
        self.draw.polygon(self._flat(points), fill=ink)

    def shape(self, points: Points, ink: int = WHITE, *, weight: float = 1.0, edge: int = BLACK) -> None:
        """Filled polygon with a line around it."""
        flat = self._flat(points)
        self.draw.polygon(flat, fill=ink)
        self.draw.line([*flat, *flat[:4]], fill=edge, width=max(1, round(self.line * weight)), joint="curve")

    def path(self, points: Points, *, weight: float = 1.0, ink: int = BLACK) -> None:
        """Open line of even width."""
        self.draw.line(self._flat(points), fill=ink, width=max(1, round(self.line * weight)), joint="curve")

    def stroke(
        self, points: Points, *, weight: float = 1.0, ink: int = BLACK, ends: tuple[float, float] = (0, 0)
    ) -> None:
        """Brush stroke: widest in the middle; `ends` are the shares of that width at its two ends."""
        p = self.pixels(points)
        if len(p) == 2:
            p = np.stack([p[0], (p[0] + p[1]) / 2, p[1]])
        n = len(p)
        along = np.gradient(p, axis=0)
        length = np.hypot(along[:, 0], along[:, 1]) + 1e-9
        t = np.linspace(0, 1, n)
        swell = np.sin(math.pi * t) ** 0.6
        width = np.maximum(swell, np.where(t < 0.5, ends[0], ends[1])) * self.line * weight / 2
        # Thinner than a drawing pixel, a polygon breaks up into dots.
        width = np.maximum(width, 0.5)
        side = np.stack([-along[:, 1], along[:, 0]], axis=1) * (width / length)[:, None]
        self.draw.polygon(np.concatenate([p + side, (p - side)[::-1]]).ravel().tolist(), fill=ink)

    def dot(self, x: float, y: float, rx: float, ry: float | None = None, *, ink: int = BLACK) -> None:
        """Filled ellipse."""
        self.fill(ring(x, y, rx, rx if ry is None else ry, sides=16), ink)


def limb(start: tuple[float, float], stop: tuple[float, float], r0: float, r1: float) -> Array:
    """Outline of a rounded bar between two points with radii r0 and r1, shape (n, 2)."""
    angle = math.atan2(stop[1] - start[1], stop[0] - start[0])
    t0 = np.linspace(angle + math.pi / 2, angle + 3 * math.pi / 2, 6)
    t1 = np.linspace(angle - math.pi / 2, angle + math.pi / 2, 6)
    a = np.stack([start[0] + np.cos(t0) * r0, start[1] + np.sin(t0) * r0], axis=1)
    b = np.stack([stop[0] + np.cos(t1) * r1, stop[1] + np.sin(t1) * r1], axis=1)
    return np.concatenate([a, b])


def star(
    cx: float, cy: float, inner: float, outer: float, spikes: int, rng: np.random.Generator, jitter: float = 0.25
) -> Array:
    """Spiky star as of a shout balloon or a burst, shape (2 * spikes, 2); `outer` and `inner` are radii."""
    t = np.arange(2 * spikes) * math.pi / spikes + rng.uniform(-0.3, 0.3, 2 * spikes) * math.pi / spikes
    r = np.where(np.arange(2 * spikes) % 2 == 0, outer, inner) * rng.uniform(1 - jitter, 1 + jitter, 2 * spikes)
    return np.stack([cx + np.cos(t) * r, cy + np.sin(t) * r], axis=1)
