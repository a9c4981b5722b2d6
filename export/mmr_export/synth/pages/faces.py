"""Heads: outline, eyes, brows, mouth, hair, and the runes around them.

Units: half the head's height is 1, the centre of the face is at 0, 0.
"""

from __future__ import annotations

import numpy as np

from mmr_export.synth.pages.cast import Expression, Look
from mmr_export.synth.pages.ink import BLACK, WHITE, Array, Pen, arc, curve, ring
from mmr_export.synth.pages.tone import Screen, shade, vertical

_CLOSED = {"arch", "shut", "squint", "dots", "flat", "spiral", "blank", "white", "hidden"}


def draw_head(
    pen: Pen,
    look: Look,
    mood: Expression,
    rng: np.random.Generator,
    screen: Screen,
    *,
    turn: float = 0.0,
    chibi: bool = False,
    behind: bool = True,
) -> None:
    """A whole head.

    Args:
        pen: origin between the eyes and nose, one unit = half the head's height.
        look: the character.
        mood: the expression.
        rng: randomness of the strands.
        screen: tone of hair and shadows.
        turn: -0.4 (looks left) .. 0.4 (looks right).
        chibi: round comic head.
        behind: whether to draw the hair behind the head too (a bust has drawn it before the shoulders).
    """
    hair = _HairInk(pen, look.hair_ink, screen)
    if behind:
        draw_hair_behind(pen, look, screen)
    skin = _outline(look, turn, chibi)
    _ears(pen, look, skin, hair)
    pen.shape(skin)
    detailed = pen.scale > 9
    if detailed:
        _features(pen, look, mood, screen, turn, chibi)
        if mood.eyes == "hidden" or "shadow" in mood.marks:
            _brow_shadow(pen, rng, screen, deep=mood.eyes == "hidden")
    _front_hair(hair, look, rng, turn)
    if detailed:
        draw_marks(pen, mood, rng, turn)


def draw_back(pen: Pen, look: Look, screen: Screen) -> None:
    """A head seen from behind: hair only."""
    hair = _HairInk(pen, look.hair_ink, screen)
    draw_hair_behind(pen, look, screen)
    pen.shape(ring(0, 0.1, 0.85, 1.05))
    nape = [(1.06 * np.cos(t), 0.62 + 0.3 * (i % 2)) for i, t in enumerate(np.linspace(0.25, np.pi - 0.25, 13))]
    hair.mass(np.concatenate([arc(0, 0, 1.06, 1.25, 170, 370, steps=14), np.array(nape)]))
    for x in np.linspace(-0.85, 0.85, 13):
        hair.pen.stroke([(x * 0.3, -0.95), (x * 0.9, -0.3), (x, 0.55)], weight=0.8, ink=hair.strand)


class _HairInk:
    """Fills masses of hair one way: black, tone or light."""

    def __init__(self, pen: Pen, ink: str, screen: Screen) -> None:
        self.pen, self.ink, self.screen = pen, ink, screen

    @property
    def strand(self) -> int:
        return WHITE if self.ink == "black" else BLACK

    def mass(self, points: Array) -> None:
        if self.ink == "black":
            self.pen.shape(points, BLACK)
            return
        self.pen.shape(points, WHITE)
        if self.ink == "tone":
            shade(self.pen, points, 0.48, self.screen)
            self.pen.path(np.concatenate([points, points[:1]]))


def _outline(look: Look, turn: float, chibi: bool) -> Array:
    chin = (0.88 if chibi else 1.1 - 0.05 * look.lashes) + 0.08 * look.jaw
    wide = 1.04 if chibi else 0.83
    jaw = 0.62 if chibi else 0.42 + 0.18 * look.jaw
    dx = turn * 0.45
    right = [
        (wide, -0.1),
        (wide - 0.04 + dx * 0.1, 0.32),
        (jaw + dx * 0.5, chin - 0.34),
        (0.16 + 0.2 * look.jaw + dx, chin),
    ]
    left = [(-x + 2 * dx * s, y) for (x, y), s in zip(right, (0, 0.1, 0.5, 1), strict=True)]
    return curve([(0.6, -0.85), *right, *reversed(left), (-0.6, -0.85), (0, -1.05)], closed=True, steps=4)


def _ears(pen: Pen, look: Look, skin: Array, hair: _HairInk) -> None:
    wide = float(skin[:, 0].max())
    for side in (-1, 1):
        if look.ears == "cat":
            hair.mass(np.array([(side * 0.9, -0.55), (side * 0.95, -1.65), (side * 0.25, -1.05)]))
        elif look.ears == "elf":
            pen.shape([(side * (wide - 0.08), 0.0), (side * (wide + 0.75), -0.35), (side * (wide - 0.05), 0.4)])
        elif look.ears == "robot":
            pen.shape(ring(side * wide, 0.1, 0.2, 0.34))
            pen.stroke([(side * (wide + 0.1), -0.1), (side * (wide + 0.25), -1.1)], weight=1.6, ends=(1, 0.4))
        else:
            pen.shape(ring(side * (wide - 0.02), 0.18, 0.12, 0.24, sides=12))


# --- features ----------------------------------------------------------------------------------------


def _features(pen: Pen, look: Look, mood: Expression, screen: Screen, turn: float, chibi: bool) -> None:
    if "dark" in mood.marks:
        shade(pen, _outline(look, turn, chibi), vertical(0.95, 0.75), Screen(0))
    size = (0.33 if chibi else 0.24) + 0.1 * look.lashes
    for side in (-1, 1):
        x = side * (0.46 if chibi else 0.40) + turn * 0.55
        near = 1.0 - 0.5 * abs(turn) * (side * turn > 0)
        eye = pen.at(x, 0.2 if chibi else 0.14, size, flip=side < 0)
        _eye(eye.lined(1.1), mood.eyes, look, near, mood.brow)
        if mood.eyes != "hidden":
            _brow(pen.at(x, -0.3 if mood.eyes not in ("pin", "wide") else -0.42, 1.0, flip=side < 0), mood.brow, look)
        if look.glasses and mood.eyes not in ("pin", "hollow"):
            pen.path(np.concatenate([(g := ring(x, 0.16, 0.34, 0.28)), g[:1]]), weight=0.9)
    if mood.mouth not in ("slit", "cat"):
        nose = turn * 0.85
        pen.stroke([(nose + 0.05, 0.42), (nose + 0.05 + 0.1 * np.sign(turn + 1e-6), 0.52), (nose, 0.56)], weight=0.9)
    mouth = pen.at(turn * 0.7, 0.66 if chibi else 0.76)
    _mouth(mouth, mood.mouth, look)
    if look.beard:
        shade(pen, [(-0.5, 0.62), (0, 0.9), (0.5, 0.62), (0.42, 0.98), (0, 1.16), (-0.42, 0.98)], 0.4, screen)


def _brow(pen: Pen, slope: float, look: Look) -> None:
    # Units of the head; x grows outwards from the nose.
    heavy = 2.8 - 1.6 * look.lashes
    inner, outer = 0.14 * slope * 2.2, -0.14 * slope * 1.2
    pen.stroke([(-0.26, inner), (0.0, -0.05 + 0.2 * (inner + outer)), (0.3, outer)], weight=heavy, ends=(0.9, 0.1))


def _eye(pen: Pen, kind: str, look: Look, near: float, slope: float) -> None:
    """One eye; x grows outwards from the nose, one unit = half the eye's width."""
    if kind in _CLOSED:
        draw_shut_eye(pen, kind, look)
        return
    if kind in ("pin", "wide", "hollow"):
        _drawn_wide(pen, kind, near)
        return
    tall = 0.65 + 0.7 * look.lashes
    if kind in ("fierce", "glare"):
        tall *= 0.8
    elif kind in ("soft", "low"):
        tall *= 0.72
    elif kind in ("sparkle", "tear"):
        tall *= 1.15
    inner, outer = -tall * 0.5 + 0.55 * max(slope, 0), -tall * 0.5 - 0.3 * min(slope, 0)
    upper = curve(
        [(-1 * near, inner + 0.2), (-0.4 * near, -tall + 0.9 * max(slope, 0)), (0.45, -tall * 0.95), (1.05, outer)]
    )
    lower = curve([(0.85, tall * 0.55), (0.1, tall * 0.82), (-0.7 * near, tall * 0.55)])
    pen.fill(np.concatenate([upper, lower]), WHITE)
    _iris(pen, kind, tall, look)
    # The lid hides what of the iris rises above it.
    pen.fill(np.concatenate([upper, [(1.05, -tall * 1.6), (-1.0, -tall * 1.6)]]), WHITE)
    pen.stroke(upper, weight=2.0 + 2.2 * look.lashes, ends=(0.35, 0.8))
    if look.lashes > 0.5:
        pen.stroke([(0.95, outer), (1.4, outer - 0.25)], weight=1.6, ends=(0.9, 0))
        pen.stroke([(0.75, outer - 0.2), (1.15, outer - 0.5)], weight=1.2, ends=(0.9, 0))
    pen.stroke(lower, weight=0.9, ends=(0.6, 0))
    if kind == "glare":
        pen.stroke([(-0.9, tall * 0.9), (0.2, tall * 1.35)], weight=0.9)
    if kind in ("soft", "sparkle"):
        pen.stroke(arc(0.05, -tall * 1.05, 0.9, 0.35, 200, 340), weight=0.8)


def _iris(pen: Pen, kind: str, tall: float, look: Look) -> None:
    radius = 0.36 if kind == "glare" else 0.5 + 0.12 * look.lashes
    high = min(tall * 0.95, radius * 1.5)
    down = 0.12 * tall if kind == "low" else 0.0
    pen.fill(ring(0, down, radius, high))
    if look.lashes > 0.3 and kind != "glare":
        lower = arc(0, down, radius * 0.8, high * 0.85, 10, 170)
        pen.fill(lower, WHITE)
        shade(pen, lower, 0.35, Screen(0))
        pen.dot(0, down, radius * 0.42, high * 0.42)
    shine = radius * (0.42 if kind in ("sparkle", "tear", "soft") else 0.3)
    pen.dot(-radius * 0.4, down - high * 0.42, shine, shine * 1.1, ink=WHITE)
    if kind in ("sparkle", "tear"):
        pen.dot(radius * 0.35, down + high * 0.45, shine * 0.7, ink=WHITE)
    if kind == "tear":
        pen.dot(-radius * 0.3, down + high * 0.6, shine * 0.8, ink=WHITE)


def draw_shut_eye(pen: Pen, kind: str, look: Look) -> None:
    """An eye without a visible ball: closed, comic or blank; units as in `_eye`."""
    heavy = 2.2 + 1.4 * look.lashes
    if kind == "arch":
        pen.stroke(arc(0, 0.35, 1.0, 0.75, 190, 350), weight=heavy, ends=(0.4, 0.6))
    elif kind == "shut":
        pen.stroke(arc(0, -0.05, 1.0, 0.45, 10, 170), weight=heavy, ends=(0.7, 0.3))
        for x in (0.4, 0.8):
            pen.stroke([(x, 0.3), (x + 0.25, 0.6)], weight=1.3, ends=(0.9, 0))
    elif kind == "squint":
        pen.stroke([(1.0, -0.5), (-0.7, 0.0)], weight=heavy, ends=(0.6, 1))
        pen.stroke([(-0.7, 0.0), (1.0, 0.5)], weight=heavy, ends=(1, 0.6))
    elif kind == "dots":
        pen.dot(0, 0, 0.26, 0.36)
    elif kind == "flat":
        pen.stroke([(-0.9, -0.1), (0.9, -0.1)], weight=heavy, ends=(0.8, 0.8))
        pen.fill(arc(0, -0.1, 0.45, 0.5, 0, 180))
    elif kind == "spiral":
        t = np.linspace(0, 4.5 * np.pi, 30)
        pen.path(np.stack([np.cos(t) * t / 15, np.sin(t) * t / 15], axis=1), weight=1.2)
    elif kind == "blank":
        pen.shape(ring(0, 0, 0.95, 0.95), WHITE, weight=1.6)
    elif kind == "white":
        pen.fill(curve([(-1, 0.35), (0, -0.35), (1.05, -0.5), (0.6, 0.45), (-0.3, 0.55)], closed=True), WHITE)
        pen.stroke([(-1.1, 0.3), (0, -0.4), (1.1, -0.6)], weight=2.2, ends=(0.6, 0.4))


def _drawn_wide(pen: Pen, kind: str, near: float) -> None:
    if kind == "hollow":
        pen.fill(ring(0, 0, 1.05 * near, 1.15))
        pen.dot(0, 0.05, 0.16, ink=WHITE)
        for x in (-0.5, 0.0, 0.55):
            pen.stroke([(x, 1.0), (x * 1.2, 1.9)], weight=0.9, ends=(0.8, 0))
        return
    tall = 0.95 if kind == "pin" else 0.85
    pen.shape(ring(0, 0, 0.95 * near, tall), WHITE, weight=0.9)
    pen.stroke(arc(0, 0, 1.0 * near, tall, 195, 345), weight=3.0, ends=(0.4, 0.6))
    if kind == "pin":
        pen.path(np.concatenate([(iris := ring(0, 0, 0.34, 0.38, sides=14)), iris[:1]]), weight=0.8)
        pen.dot(0, 0, 0.13)
        pen.stroke(arc(0, 0.2, 1.0, 1.2, 30, 150), weight=0.7)
    else:
        pen.dot(0, 0, 0.38, 0.42)
        pen.dot(-0.12, -0.15, 0.13, ink=WHITE)


def _mouth(pen: Pen, kind: str, look: Look) -> None:
    width = 0.9 + 0.3 * look.jaw
    m = pen.at(0, 0, width)
    if kind == "smile":
        m.stroke(arc(0, -0.14, 0.3, 0.2, 20, 160), weight=1.5, ends=(0.3, 0.3))
    elif kind == "beam":
        m.shape(np.concatenate([arc(0, -0.12, 0.38, 0.3, 0, 180, steps=12)]), WHITE, weight=1.3)
    elif kind == "laugh":
        m.shape(arc(0, -0.2, 0.36, 0.5, 0, 180, steps=12), BLACK)
        m.fill(arc(0, 0.3, 0.2, 0.2, 190, 350), 150)
        m.fill([(-0.32, -0.19), (0.32, -0.19), (0.28, -0.1), (-0.28, -0.1)], WHITE)
    elif kind == "frown":
        m.stroke(arc(0, 0.16, 0.24, 0.18, 200, 340), weight=1.6, ends=(0.3, 0.3))
    elif kind == "small":
        m.stroke([(-0.12, 0), (0.12, 0.01)], weight=1.5, ends=(0.4, 0.4))
    elif kind == "flat":
        m.stroke([(-0.24, 0), (0.24, 0.0)], weight=1.5, ends=(0.6, 0.6))
    elif kind == "talk":
        m.shape(ring(0, 0.02, 0.15, 0.1, sides=12), 70, weight=0.8)
    elif kind == "drop":
        m.shape(ring(0, 0.06, 0.16, 0.26, sides=14), BLACK)
    elif kind == "set":
        m.stroke([(-0.26, 0.04), (0.05, -0.02), (0.26, 0.02)], weight=2.0, ends=(0.4, 0.6))
        m.stroke([(-0.08, 0.14), (0.08, 0.14)], weight=0.8)
    elif kind in ("wave", "tremble"):
        x = np.linspace(-0.3, 0.3, 13)
        m.path(np.stack([x, 0.06 * np.sin(np.arange(13) * np.pi / 2)], axis=1), weight=1.3)
    elif kind == "cat":
        m.stroke(arc(-0.14, -0.1, 0.14, 0.14, 0, 180), weight=1.5, ends=(0.5, 0.5))
        m.stroke(arc(0.14, -0.1, 0.14, 0.14, 0, 180), weight=1.5, ends=(0.5, 0.5))
    elif kind == "sob":
        m.shape(curve([(-0.2, -0.1), (0.2, -0.1), (0.34, 0.2), (0, 0.12), (-0.34, 0.2)], closed=True), BLACK)
    else:
        _mouth_open_wide(m, kind)


def _mouth_open_wide(m: Pen, kind: str) -> None:
    if kind in ("yell", "roar"):
        low = 0.38 if kind == "yell" else 0.44
        m.shape(
            curve(
                [(-0.34, -0.24), (0, -0.16), (0.34, -0.24), (0.4, low - 0.15), (0, low), (-0.4, low - 0.15)],
                closed=True,
                steps=4,
            )
        )
        m.fill([(-0.3, -0.16), (0, -0.1), (0.3, -0.16), (0.33, low - 0.2), (0, low - 0.08), (-0.33, low - 0.2)], BLACK)
        m.fill(arc(0, low - 0.06, 0.22, 0.2, 190, 350), 170)
        if kind == "roar":
            for side in (-1, 1):
                m.fill([(side * 0.3, -0.15), (side * 0.16, -0.12), (side * 0.22, 0.06)], WHITE)
    elif kind in ("teeth", "grin"):
        lift = -0.12 if kind == "grin" else 0.1
        upper = [(-0.42, lift), (0, -0.02), (0.42, lift)]
        mouth = curve([*upper, (0.34, lift + 0.2), (0, 0.2), (-0.34, lift + 0.2)], closed=True, steps=4)
        m.shape(mouth, WHITE, weight=1.5)
        m.path([(-0.36, lift + 0.1), (0, 0.09), (0.36, lift + 0.1)], weight=0.7)
        for x in np.linspace(-0.24, 0.24, 5):
            m.path([(x, 0.0), (x, 0.17)], weight=0.6)
    elif kind == "scream":
        m.shape(
            curve([(-0.24, -0.25), (0.24, -0.25), (0.32, 0.2), (0, 0.42), (-0.32, 0.2)], closed=True, steps=4), BLACK
        )
    else:  # slit: a grin too wide for the face
        m.fill(np.concatenate([arc(0, -0.5, 0.72, 0.62, 12, 168), arc(0, -0.5, 0.72, 0.45, 168, 12)]), BLACK)
        for x in np.linspace(-0.5, 0.5, 11):
            top = -0.5 + 0.5 * np.sqrt(max(0.0, 1 - (x / 0.72) ** 2))
            m.fill([(x - 0.04, top - 0.02), (x + 0.04, top - 0.02), (x, top + 0.11)], WHITE)


# --- hair --------------------------------------------------------------------------------------------


def draw_hair_behind(pen: Pen, look: Look, screen: Screen) -> None:
    """What of the hair hangs behind head and shoulders."""
    hair = _HairInk(pen, look.hair_ink, screen)
    low = {"bob": 0.95, "long": 2.1, "curly": 1.0, "twintails": 0.7, "ponytail": 0.6}.get(look.hair, 0.0)
    if look.hair == "ponytail":
        side = 1 if look.jaw * 100 % 2 < 1 else -1
        hair.mass(
            curve(
                [
                    (0, -1.2),
                    (side * 1.3, -1.3),
                    (side * 1.75, 0.2),
                    (side * 1.5, 1.7),
                    (side * 1.25, 0.2),
                    (side * 0.8, -0.7),
                ],
                closed=True,
            )
        )
    if look.hair == "twintails":
        for side in (-1, 1):
            hair.mass(
                curve(
                    [
                        (side * 0.9, -0.7),
                        (side * 1.55, -0.7),
                        (side * 1.95, 0.7),
                        (side * 1.6, 2.0),
                        (side * 1.35, 0.6),
                    ],
                    closed=True,
                )
            )
    if look.hair == "topknot":
        hair.mass(ring(0, -1.35, 0.2, 0.32))
    if look.hair == "curly":
        for t in np.linspace(150, 390, 11):
            hair.mass(ring(1.0 * np.cos(np.radians(t)), 0.95 * np.sin(np.radians(t)), 0.38, 0.38, sides=12))
    elif low:
        hem = [(x, low + 0.3 * (i % 2)) for i, x in enumerate(np.linspace(1.14, -1.14, 13))]
        hair.mass(np.concatenate([arc(0, -0.1, 1.14, 1.15, 180, 360), np.array(hem)]))


def _front_hair(hair: _HairInk, look: Look, rng: np.random.Generator, turn: float) -> None:
    pen = hair.pen
    if look.hair == "topknot":
        hairline = curve([(0.86, -0.3), (0.5, -0.72), (0, -0.8), (-0.5, -0.72), (-0.86, -0.3)])
        hair.mass(np.concatenate([arc(0, 0, 0.98, 1.15, 185, 355, steps=12), hairline]))
        return
    if look.hair == "spiky":
        for degrees in rng.permutation(np.linspace(185, 355, 11)):
            a = np.radians(degrees + rng.uniform(-6, 6))
            hair.mass(
                _lock(
                    (0.7 * np.cos(a), 0.8 * np.sin(a)),
                    (1.5 * np.cos(a + 0.12), 1.62 * np.sin(a + 0.12) - 0.05),
                    0.3,
                    0.1,
                )
            )
    crown = arc(0, 0, 1.06, 1.28, 178, 362, steps=16) * (1 + 0.02 * np.sin(np.arange(16) * 2.4))[:, None]
    hair.mass(
        np.concatenate(
            [crown, curve([(0.9, -0.15), (0.55, -0.55), (0, -0.62), (-0.55, -0.55), (-0.9, -0.15)], steps=3)]
        )
    )
    parting = float(rng.uniform(-0.45, 0.45) + turn * 0.5)
    side = {"bob": 0.95, "long": 1.25, "twintails": 0.9, "curly": 0.5}.get(look.hair, 0.42)
    tips = np.linspace(-0.98, 0.98, int(rng.integers(7, 10)))
    # From the temples inwards, so that the fringe overlaps the side locks.
    for x in sorted(tips.tolist(), key=lambda v: -abs(v)):
        edge = abs(x) ** 3
        low = side * edge + (1 - edge) * rng.uniform(-0.22, 0.1) - 0.25 * max(0.0, 0.3 - abs(x - parting))
        root = (parting + (x - parting) * 0.45, -1.02 + 0.12 * abs(x))
        hair.mass(_lock(root, (float(x) + rng.uniform(-0.05, 0.05), float(low)), 0.22, 0.1 * np.sign(x - parting)))
    if pen.scale > 14:
        _shine(hair, rng)


def _lock(root: tuple[float, float], tip: tuple[float, float], half: float, bow: float) -> Array:
    """A pointed lock of hair from root to tip, `half` wide at its base, bowed sideways."""
    dx, dy = tip[0] - root[0], tip[1] - root[1]
    n = float(np.hypot(dx, dy)) + 1e-9
    sx, sy = -dy / n * half, dx / n * half
    mx, my = root[0] + dx * 0.55 + bow, root[1] + dy * 0.55
    left = curve([(root[0] + sx, root[1] + sy), (mx + sx * 0.8, my + sy * 0.8), tip], steps=4)
    right = curve([tip, (mx - sx * 0.6, my - sy * 0.6), (root[0] - sx, root[1] - sy)], steps=4)
    return np.concatenate([left, right])


def _shine(hair: _HairInk, rng: np.random.Generator) -> None:
    """The ring of light on the crown (white on black), or strands on light hair."""
    count = 16
    for x in np.linspace(-0.85, 0.85, count) + rng.uniform(-0.03, 0.03, count):
        y = -1.02 * np.sqrt(1 - (x * 0.9) ** 2) + 0.12
        length = rng.uniform(0.1, 0.34)
        black = hair.ink == "black"
        hair.pen.stroke(
            [(x, y), (x * 1.1, y + length)], weight=rng.uniform(0.8, 2.2) if black else 0.7, ink=hair.strand
        )
    for side in (-1, 1):
        hair.pen.stroke([(side * 0.94, -0.3), (side * 0.99, 0.25)], weight=0.8, ink=hair.strand)


# --- runes -------------------------------------------------------------------------------------------


def _brow_shadow(pen: Pen, rng: np.random.Generator, screen: Screen, *, deep: bool) -> None:
    top = [(-0.84, -0.6), (0.84, -0.6), (0.85, 0.2), (0, 0.42 if deep else 0.1), (-0.85, 0.2)]
    shade(pen, top, vertical(0.95, 0.55 if deep else 0.1), screen)
    if not deep:
        for x in rng.uniform(-0.75, 0.75, 12):
            pen.stroke([(x, -0.35), (x, rng.uniform(0.0, 0.6))], weight=0.8, ends=(1, 0))


def draw_marks(pen: Pen, mood: Expression, rng: np.random.Generator, turn: float) -> None:
    """Runes around a head: blush, gloom, tears, creases, sweat drops, veins."""
    marks = mood.marks
    if "blush" in marks:
        for side in (-1, 1):
            for i in range(4):
                x = side * 0.5 + turn * 0.5 + (i - 1.5) * 0.09
                pen.stroke([(x + 0.04, 0.42), (x - 0.04, 0.56)], weight=0.9)
    if "gloom" in marks:
        for x in np.linspace(-0.75, 0.75, 11):
            pen.stroke([(x, -0.75), (x, rng.uniform(-0.3, 0.05))], weight=1.0, ends=(1, 0.2))
    if "tears" in marks:
        for side in (-1, 1):
            x = side * 0.42 + turn * 0.5
            stream = [
                (x - 0.09, 0.28),
                (x + 0.09, 0.28),
                (x + 0.13 * side + 0.08, 0.85),
                (x + 0.13 * side, 0.95),
                (x + 0.13 * side - 0.08, 0.85),
            ]
            pen.shape(curve(stream, closed=True, steps=3), WHITE, weight=0.9)
    if "crease" in marks:
        for side in (-1, 1):
            pen.stroke([(side * 0.08, -0.2), (side * 0.14, -0.02)], weight=1.2)
            pen.stroke([(side * 0.2 + turn, 0.5), (side * 0.42 + turn * 0.8, 0.78)], weight=1.0)
    if "sweat" in marks:
        _sweat(pen, 0.82, -0.25)
        _sweat(pen, -0.9, 0.15)
    if "vein" in marks:
        _vein(pen.at(0.72, -0.72, 0.3))


def _sweat(pen: Pen, x: float, y: float) -> None:
    drop = [(x, y - 0.26), (x + 0.1, y), (x, y + 0.12), (x - 0.1, y)]
    pen.shape(curve(drop, closed=True, steps=3), WHITE, weight=0.9)


def _vein(pen: Pen) -> None:
    """The crossed-vein mark of fury: four bent strokes around a cross of white."""
    pen.fill(ring(0, 0, 1.05, 1.05), WHITE)
    for quarter in range(4):
        q = pen.at(0, 0, 1, angle=quarter * np.pi / 2)
        q.stroke(curve([(0.25, -0.95), (0.32, -0.32), (0.95, -0.25)]), weight=2.2, ends=(0.5, 0.5))
