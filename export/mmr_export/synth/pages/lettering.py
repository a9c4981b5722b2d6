"""Balloons, their lettering, and drawn sounds.

Outlines speak: an even oval is speech, a spiked one a shout, a cloud a thought, a trembling one fear, a box the
narrator (Cohn 2013, ch. 2 and 8); size of letters is loudness (Eisner 1985). Lettering is invented: strokes that look
like kana and kanji set in columns, or nonsense capitals in rows as in translated editions. Sounds are katakana-like
bars, thick and slanted for force, round for play, trembling for menace.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mmr_export.synth.pages.ink import BLACK, WHITE, Array, Pen, curve, ring, star

Rng = np.random.Generator
_GLYPHS = 48

# Strokes in a unit square, after the shapes of katakana; each stroke is (x0, y0, x1, y1).
_KANA: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "do": ((0.35, 0, 0.35, 1), (0.38, 0.38, 0.78, 0.62), (0.62, 0.02, 0.72, 0.2), (0.82, -0.04, 0.94, 0.14)),
    "n": ((0.08, 0.15, 0.36, 0.32), (0.12, 0.95, 0.92, 0.2)),
    "go": (
        (0.05, 0.15, 0.75, 0.12),
        (0.75, 0.12, 0.75, 0.9),
        (0.02, 0.88, 0.8, 0.88),
        (0.82, -0.05, 0.9, 0.1),
        (0.94, -0.1, 1.04, 0.06),
    ),
    "ba": ((0.3, 0.2, 0.05, 0.95), (0.55, 0.2, 0.9, 0.95), (0.72, 0.0, 0.8, 0.15), (0.9, -0.06, 1.0, 0.1)),
    "ki": ((0.1, 0.3, 0.85, 0.18), (0.05, 0.62, 0.95, 0.48), (0.4, 0, 0.6, 1)),
    "za": ((0.0, 0.35, 0.95, 0.3), (0.25, 0.05, 0.25, 0.6), (0.68, 0.02, 0.4, 1.0), (0.85, -0.02, 0.92, 0.12)),
    "ga": ((0.05, 0.32, 0.8, 0.26), (0.8, 0.26, 0.7, 0.95), (0.42, 0, 0.1, 1), (0.86, -0.02, 0.96, 0.12)),
    "tsu": ((0.15, 0.45, 0.25, 0.62), (0.45, 0.4, 0.54, 0.58), (0.85, 0.42, 0.35, 0.98)),
    "wa": ((0.1, 0.1, 0.1, 0.45), (0.1, 0.1, 0.88, 0.1), (0.88, 0.1, 0.4, 1.0)),
    "ra": ((0.2, 0.05, 0.8, 0.05), (0.1, 0.36, 0.88, 0.36), (0.88, 0.36, 0.35, 1.0)),
    "shi": ((0.1, 0.12, 0.3, 0.26), (0.05, 0.42, 0.25, 0.55), (0.15, 0.98, 0.92, 0.3)),
    "bar": ((0.5, 0.02, 0.5, 1.0),),
    "pa": ((0.3, 0.2, 0.05, 0.95), (0.55, 0.2, 0.9, 0.95), (0.8, 0.0, 0.92, 0.0), (0.92, 0.0, 0.8, 0.1)),
    "ha": ((0.32, 0.15, 0.05, 0.95), (0.6, 0.15, 0.95, 0.95)),
    "za2": ((0.1, 0.2, 0.9, 0.2), (0.9, 0.2, 0.15, 0.95)),
}

SOUNDS: dict[str, tuple[tuple[str, ...], ...]] = {
    "Happy": (("wa", "wa"), ("pa", "tsu"), ("wa", "ki", "wa", "ki")),
    "Funny": (("ga", "n"), ("ha", "ha", "ha"), ("ba", "ki"), ("pa", "n"), ("do", "tsu")),
    "Sad": (("shi", "bar", "n"), ("za", "bar"), ("ha", "ra")),
    "Tender": (("ki", "ra"), ("ha", "ra")),
    "Exciting": (("do", "n"), ("ba", "n"), ("do", "do", "do"), ("ga", "ki", "n"), ("za", "tsu"), ("go", "tsu")),
    "Angry": (("do", "ga"), ("ba", "ki"), ("ga", "bar"), ("do", "n")),
    "Scary": (("go", "go", "go", "go"), ("za", "wa"), ("do", "ki"), ("ki", "bar"), ("za2", "za2")),
    "": (("tsu",), ("za",)),
}


@lru_cache(maxsize=1)
def _characters() -> tuple[Image.Image, ...]:
    """An invented script: masks of 64 x 64 pixels, simple ones (as kana) and dense ones (as kanji)."""
    rng = np.random.default_rng(20240)
    glyphs = []
    for i in range(_GLYPHS):
        image = Image.new("L", (64, 64))
        draw = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(2, 4) if i % 3 else rng.integers(5, 8))):
            kind = rng.integers(0, 4)
            x, y = rng.uniform(6, 40, 2)
            length = rng.uniform(20, 50)
            if kind == 0:
                draw.line((6, y + 8, 58, y + 4), fill=255, width=6)
            elif kind == 1:
                draw.line((x + 8, 4, x + 8, min(62, 4 + length * 1.2)), fill=255, width=6)
            elif kind == 2:
                draw.line((x + 14, y - 4, x - 8, min(62, y + length)), fill=255, width=6)
            else:
                draw.arc((x - 8, y - 4, min(62, x + length), min(62, y + length)), 180, 450, fill=255, width=6)
        glyphs.append(image)
    return tuple(glyphs)


@lru_cache(maxsize=64)
def _glyph(index: int, size: int, bold: bool) -> Image.Image:
    glyph = _characters()[index].resize((size, size), Image.Resampling.BILINEAR)
    return glyph.point(lambda v: min(255, int(v * 2.2))) if bold else glyph


@dataclass(frozen=True)
class Speech:
    """One balloon to letter.

    Attributes:
        kind: "oval", "shout", "cloud", "tremble", "box" or "bare" (no outline).
        columns, rows: of the text, in characters.
        size: of a character, in drawing pixels.
        dark: white letters on black.
        latin: rows of capitals.
    """

    kind: str
    columns: int
    rows: int
    size: int
    dark: bool = False
    latin: bool = False

    @property
    def extent(self) -> tuple[float, float]:
        """Half width and half height of the balloon, in drawing pixels."""
        pad = {"shout": 1.75, "cloud": 1.6, "box": 1.15, "bare": 1.05}.get(self.kind, 1.45)
        wide = self.columns * self.size * (1.2 if not self.latin else 1.0)
        tall = self.rows * self.size * (1.04 if not self.latin else 1.25)
        return (wide + self.size) / 2 * pad, (tall + self.size * 0.6) / 2 * pad


def balloon(pen: Pen, x: float, y: float, speech: Speech, rng: Rng, tail: tuple[float, float] | None) -> None:
    """Draw a balloon with its lettering, centred at (x, y); `tail` is the point that it points at."""
    rx, ry = speech.extent
    ground, ink = (BLACK, WHITE) if speech.dark else (WHITE, BLACK)
    outline = _outline(speech.kind, x, y, rx, ry, rng)
    if tail is not None and speech.kind in ("oval", "tremble"):
        _tail(pen, x, y, rx, ry, tail, ground)
    if outline is not None:
        pen.shape(outline, ground, weight=1.3 if speech.kind == "shout" else 0.9)
    if tail is not None and speech.kind in ("oval", "tremble"):
        _tail_inside(pen, x, y, rx, ry, tail, ground)
    if tail is not None and speech.kind == "cloud":
        for share, r in ((1.12, 0.16), (1.4, 0.1), (1.6, 0.06)):
            pen.shape(
                ring(
                    x + (tail[0] - x) * 0.35 * share,
                    y + math.copysign(ry * share, tail[1] - y),
                    rx * r,
                    rx * r * 0.8,
                    sides=12,
                ),
                ground,
                weight=0.8,
            )
    _letter(pen, x, y, speech, ink, rng)


def _outline(kind: str, x: float, y: float, rx: float, ry: float, rng: Rng) -> Array | None:
    if kind == "bare":
        return None
    if kind == "box":
        return np.array([(x - rx, y - ry), (x + rx, y - ry), (x + rx, y + ry), (x - rx, y + ry)])
    if kind == "shout":
        spikes = star(0, 0, 0.86, 1.2, int(rng.integers(11, 17)), rng, 0.1)
        return np.asarray(spikes * (rx, ry) + (x, y))
    if kind == "cloud":
        return _scalloped(x, y, rx, ry, int(rng.integers(9, 13)))
    base = ring(0, 0, 1, 1, sides=40)
    # Egg-shaped superellipse: hand-drawn ovals are squarer than ellipses.
    base = np.sign(base) * np.abs(base) ** 0.88
    if kind == "tremble":
        base *= (1 + 0.05 * np.where(np.arange(40) % 2 == 0, 1, -1) + rng.uniform(-0.03, 0.03, 40))[:, None]
        return curve(base * (rx, ry) + (x, y), closed=True, steps=3)
    return np.asarray(base * (rx, ry) + (x, y))


def _scalloped(x: float, y: float, rx: float, ry: float, lobes: int) -> Array:
    t = np.linspace(0, 2 * math.pi, lobes * 7, endpoint=False)
    r = 0.9 + 0.14 * np.abs(np.sin(t * lobes / 2))
    return np.stack([x + np.cos(t) * rx * r, y + np.sin(t) * ry * r], axis=1)


def _tail_points(x: float, y: float, rx: float, ry: float, tail: tuple[float, float]) -> tuple[Array, Array]:
    a = math.atan2((tail[1] - y) / ry, (tail[0] - x) / rx)
    base = [(x + math.cos(a + d) * rx * 0.9, y + math.sin(a + d) * ry * 0.9) for d in (-0.16, 0.16)]
    tip = (x + math.cos(a) * rx * 1.35, y + math.sin(a) * ry * 1.35)
    return np.array([base[0], tip, base[1]]), np.array(base)


def _tail(pen: Pen, x: float, y: float, rx: float, ry: float, tail: tuple[float, float], ground: int) -> None:
    pen.shape(_tail_points(x, y, rx, ry, tail)[0], ground, weight=0.9)


def _tail_inside(pen: Pen, x: float, y: float, rx: float, ry: float, tail: tuple[float, float], ground: int) -> None:
    """Open the balloon's rim where the tail leaves it."""
    points = _tail_points(x, y, rx, ry, tail)[0]
    centre = np.array([x, y])
    pen.fill(centre + (points - centre) * 0.93, ground)


def _letter(pen: Pen, x: float, y: float, speech: Speech, ink: int, rng: Rng) -> None:
    cx, cy = pen.pixels([(x, y)])[0]
    if speech.latin:
        font = _font(int(speech.size * 1.1))
        for row in range(speech.rows):
            width = speech.columns if 0 < row < speech.rows - 1 else max(2, round(speech.columns * 0.75))
            pen.draw.text(
                (cx, cy + (row - (speech.rows - 1) / 2) * speech.size * 1.25),
                _words(width, rng),
                fill=ink,
                font=font,
                anchor="mm",
            )
        return
    step_x, step_y = speech.size * 1.2, speech.size * 1.04
    for column in range(speech.columns):
        count = max(1, speech.rows - int(rng.integers(0, max(1, speech.rows // 2 + 1)))) if column else speech.rows
        for row in range(count):
            px = cx + ((speech.columns - 1) / 2 - column) * step_x - speech.size / 2
            py = cy + (row - speech.rows / 2) * step_y
            glyph = _glyph(int(rng.integers(0, _GLYPHS)), speech.size, speech.kind == "shout")
            pen.image.paste(ink, (int(px), int(py)), glyph)


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _words(count: int, rng: Rng) -> str:
    """Capitals that read like words at a glance and say nothing."""
    letters = rng.choice(list("EEEATTOOINSHRLDUWYMG"), count)
    gaps = rng.random(count) < 0.22
    return "".join(
        " " if gap and 0 < i < count - 1 else str(letter)
        for i, (letter, gap) in enumerate(zip(letters, gaps, strict=True))
    )


def sound(pen: Pen, x: float, y: float, size: float, mood: str, rng: Rng, *, dark: bool = False) -> None:
    """A drawn sound effect beginning at (x, y), characters `size` high, downwards or along a slant."""
    word = SOUNDS[mood][int(rng.integers(0, len(SOUNDS[mood])))]
    step = rng.uniform(0.0, 0.45) if rng.random() < 0.7 else 1.1
    slant = rng.uniform(-0.35, 0.35)
    ink, rim = (WHITE, BLACK) if rng.random() < 0.65 or dark else (BLACK, WHITE)
    for i, name in enumerate(word):
        grow = 1.0 + (0.12 * i if mood in ("Exciting", "Angry") else 0.0)
        p = pen.at(x + i * step * size, y + i * size * (1.12 if step < 1 else slant), size * grow, angle=slant)
        bars = [_bar(stroke, mood, rng) for stroke in _KANA[name]]
        for bar in bars:
            p.shape(bar, rim, weight=4.5, edge=rim)
        for bar in bars:
            p.fill(bar, ink)


def _bar(stroke: tuple[float, float, float, float], mood: str, rng: Rng) -> Array:
    """One stroke of a sound as a solid bar whose ends show its force."""
    x0, y0, x1, y1 = stroke
    length = math.hypot(x1 - x0, y1 - y0) + 1e-6
    nx, ny = -(y1 - y0) / length, (x1 - x0) / length
    thick, thin = {"Exciting": (0.13, 0.05), "Angry": (0.14, 0.05), "Scary": (0.08, 0.05), "Funny": (0.1, 0.1)}.get(
        mood, (0.05, 0.045)
    )
    j = rng.uniform(-0.03, 0.03, 4)
    if mood == "Scary":
        t = np.linspace(0, 1, 6)
        wobble = rng.uniform(-0.05, 0.05, 6)
        middle = np.stack([x0 + (x1 - x0) * t + nx * wobble, y0 + (y1 - y0) * t + ny * wobble], axis=1)
        side = np.array([nx, ny]) * rng.uniform(0.03, 0.1, 6)[:, None]
        return np.concatenate([middle + side, (middle - side)[::-1]])
    return np.array(
        [
            (x0 + nx * thick + j[0], y0 + ny * thick + j[1]),
            (x0 - nx * thick, y0 - ny * thick),
            (x1 - nx * thin + j[2], y1 - ny * thin + j[3]),
            (x1 + nx * thin, y1 + ny * thin),
        ]
    )
