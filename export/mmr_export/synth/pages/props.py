"""Animals and things that tell the genre.

Units: about 1 high, origin at the ground below (balls and ships: at their centre).
"""

from __future__ import annotations

import math

import numpy as np

from mmr_export.synth.pages.cast import Expression, Look
from mmr_export.synth.pages.faces import draw_marks, draw_shut_eye
from mmr_export.synth.pages.ink import BLACK, WHITE, Pen, arc, curve, limb, ring
from mmr_export.synth.pages.tone import Screen, shade

_PLAIN = Look("animal", "short", "black", 0.5, 0.2, 0.0, 0.0)


def cat_or_dog(pen: Pen, kind: str, mood: Expression, rng: np.random.Generator, screen: Screen, *, fur: float) -> None:
    """A sitting animal: `kind` "cat" or "dog", `fur` its density 0..1."""
    body = curve([(-0.2, 0), (-0.24, -0.3), (-0.1, -0.52), (0.12, -0.52), (0.26, -0.25), (0.24, 0)], closed=True)
    tail = curve([(0.2, -0.06), (0.42, -0.1), (0.46, -0.36), (0.38, -0.5)])
    pen.stroke(tail, weight=9 * pen.scale / 200 + 2, ends=(1, 0.6))
    _furry(pen, body, fur, screen)
    for x in (-0.11, 0.08):
        _furry(pen, limb((x, -0.28), (x, -0.03), 0.055, 0.06), fur, screen)
    head = pen.at(0.0, -0.68, 0.25)
    for side in (-1, 1):
        ear = (
            [(side * 0.35, -0.75), (side * 0.95, -1.45), (side * 0.95, -0.2)]
            if kind == "cat"
            else [(side * 0.6, -0.85), (side * 1.35, -0.7), (side * 1.3, 0.45), (side * 0.85, 0.2)]
        )
        if kind == "cat":
            _furry(head, np.array(ear), fur, screen)
    _furry(head, ring(0, 0, 1.1, 0.92), fur, screen)
    if kind == "dog":
        for side in (-1, 1):
            _furry(
                head,
                curve([(side * 0.6, -0.85), (side * 1.35, -0.7), (side * 1.35, 0.45), (side * 0.9, 0.2)], closed=True),
                max(fur, 0.5),
                screen,
            )
    _animal_face(head, kind, mood, rng)


def _furry(pen: Pen, points: np.ndarray[tuple[int, ...], np.dtype[np.float64]], fur: float, screen: Screen) -> None:
    pen.shape(points, 45 if fur >= 1 else WHITE)
    if 0 < fur < 1:
        shade(pen, points, fur, screen)
        pen.path(np.concatenate([points, points[:1]]))


def _animal_face(head: Pen, kind: str, mood: Expression, rng: np.random.Generator) -> None:
    head.shape(ring(0, 0.42, 0.5, 0.36), WHITE, weight=0.6)
    for side in (-1, 1):
        eye = head.at(side * 0.48, -0.08, 0.27, flip=side < 0)
        eye.fill(ring(0, 0, 1.15, 1.15), WHITE)
        if mood.eyes in ("arch", "shut", "squint", "spiral", "blank", "flat", "white"):
            draw_shut_eye(eye, mood.eyes, _PLAIN)
        elif mood.eyes in ("pin", "hollow", "wide"):
            eye.shape(ring(0, 0, 0.95, 0.95), WHITE)
            eye.fill(ring(0, 0, 0.14, 0.55 if kind == "cat" else 0.14))
        else:
            eye.fill(ring(0, 0, 0.72, 0.95))
            eye.dot(-0.2, -0.35, 0.28, ink=WHITE)
            eye.dot(0.25, 0.4, 0.15, ink=WHITE)
        if mood.brow:
            eye.stroke([(-0.9, -1.3 + 1.2 * mood.brow), (0.9, -1.3 - 0.8 * mood.brow)], weight=2, ends=(0.8, 0.3))
    head.fill(curve([(-0.14, 0.22), (0.14, 0.22), (0, 0.38)], closed=True, steps=3))
    if mood.mouth in ("laugh", "yell", "roar", "scream", "sob", "teeth", "slit"):
        head.shape(arc(0, 0.45, 0.26, 0.4, 0, 180), BLACK)
        for x in (-0.18, 0.12):
            head.fill([(x, 0.46), (x + 0.1, 0.46), (x + 0.05, 0.62)], WHITE)
    else:
        for side in (-1, 1):
            head.stroke(arc(side * 0.14, 0.42, 0.14, 0.14, 0, 180), weight=1.3, ends=(0.5, 0.5))
    if kind == "cat":
        for side in (-1, 1):
            for y in (0.3, 0.45):
                head.path([(side * 0.55, y), (side * 1.3, y - 0.1 + 0.3 * (y - 0.3))], weight=0.6)
    draw_marks(head, mood, rng, 0.0)


def bird(pen: Pen, rng: np.random.Generator) -> None:
    """A flying bird as two strokes."""
    lift = rng.uniform(0.15, 0.4)
    pen.stroke(curve([(-0.5, -lift), (-0.2, -0.5 * lift - 0.1), (0, 0)]), weight=2.2, ends=(0, 0.9))
    pen.stroke(curve([(0, 0), (0.2, -0.5 * lift - 0.1), (0.5, -lift)]), weight=2.2, ends=(0.9, 0))


def ball(pen: Pen, screen: Screen, kind: str) -> None:
    """A football ("foot") or baseball ("base"), one unit = its radius."""
    disc = ring(0, 0, 1, 1, sides=28)
    pen.shape(disc, WHITE, weight=1.3)
    shade(pen, arc(0, 0, 1, 1, 20, 160), 0.3, screen)
    if kind == "base":
        for side in (-1, 1):
            pen.path(
                arc(
                    side * 1.3,
                    0,
                    0.9,
                    0.9,
                    90 + side * 40 + (90 if side > 0 else -90) - 40,
                    90 + side * 40 + (90 if side > 0 else -90) + 40,
                ),
                weight=1.0,
            )
        return
    pen.fill(ring(0, 0, 0.36, 0.36, sides=5, angle=-math.pi / 2))
    for a in np.arange(5) * 2 * math.pi / 5 - math.pi / 2:
        pen.path([(math.cos(a) * 0.36, math.sin(a) * 0.36), (math.cos(a) * 0.72, math.sin(a) * 0.72)], weight=1.0)
        pen.fill(ring(math.cos(a) * 0.88, math.sin(a) * 0.88, 0.22, 0.12, angle=a + math.pi / 2, sides=8))


def robot(pen: Pen, screen: Screen, rng: np.random.Generator, *, glare: bool) -> None:
    """A standing giant robot, one unit high."""
    for side in (-1, 1):
        pen.shape([(side * 0.05, -0.42), (side * 0.17, -0.42), (side * 0.22, 0), (side * 0.05, 0)], WHITE, weight=1.2)
        pen.shape([(side * 0.03, -0.1), (side * 0.25, -0.1), (side * 0.28, 0), (side * 0.02, 0)], BLACK)
        pen.shape(limb((side * 0.27, -0.7), (side * 0.36, -0.38), 0.06, 0.075), WHITE, weight=1.2)
        pen.shape(
            [(side * 0.14, -0.84), (side * 0.4, -0.8), (side * 0.36, -0.64), (side * 0.16, -0.66)],
            BLACK if rng.random() < 0.5 else WHITE,
            weight=1.2,
        )
    chest = [(-0.2, -0.8), (0.2, -0.8), (0.14, -0.42), (-0.14, -0.42)]
    pen.shape(chest, WHITE, weight=1.3)
    shade(pen, chest, 0.4, screen)
    pen.shape(ring(0, -0.66, 0.06, 0.06), WHITE)
    pen.shape([(-0.09, -0.97), (0.09, -0.97), (0.11, -0.82), (-0.11, -0.82)], WHITE, weight=1.3)
    pen.fill([(-0.08, -0.92), (0.08, -0.92), (0.08, -0.87), (-0.08, -0.87)])
    for side in (-1, 1):
        pen.dot(side * 0.04, -0.895, 0.014, ink=WHITE)
        if glare:
            pen.stroke([(side * 0.03, -0.97), (side * 0.16, -1.1)], weight=2, ends=(1, 0))


def ship(pen: Pen, screen: Screen) -> None:
    """A spaceship flying to the right with its exhaust; one unit = half its length."""
    hull = curve([(1, 0), (0.3, -0.24), (-0.8, -0.22), (-0.8, 0.22), (0.3, 0.24)], closed=True)
    for side in (-1, 1):
        pen.shape([(-0.1, side * 0.2), (-0.9, side * 0.65), (-0.85, side * 0.2)], BLACK)
    pen.shape(hull, WHITE, weight=1.3)
    shade(pen, [(1, 0), (-0.8, 0), (-0.8, 0.22), (0.3, 0.24)], 0.45, screen)
    pen.shape(ring(0.35, -0.05, 0.16, 0.09), BLACK)
    for y in (-0.12, 0.0, 0.12):
        pen.stroke([(-0.85, y), (-2.2, y * 3)], weight=4, ink=WHITE, ends=(1, 0))


def skull(pen: Pen) -> None:
    """A bare skull, one unit = its half height."""
    pen.shape(
        curve(
            [
                (-0.75, -0.2),
                (-0.5, -0.85),
                (0, -1),
                (0.5, -0.85),
                (0.75, -0.2),
                (0.5, 0.35),
                (0.4, 0.85),
                (-0.4, 0.85),
                (-0.5, 0.35),
            ],
            closed=True,
        ),
        WHITE,
        weight=1.3,
    )
    for side in (-1, 1):
        pen.fill(ring(side * 0.34, -0.12, 0.24, 0.27))
    pen.fill([(0, 0.1), (0.12, 0.36), (-0.12, 0.36)])
    for x in np.linspace(-0.3, 0.3, 5):
        pen.path([(x, 0.52), (x, 0.84)], weight=0.9)


def big_eye(pen: Pen, mood: Expression, screen: Screen, rng: np.random.Generator) -> None:
    """One eye that fills a panel; one unit = half its width."""
    tight = mood.eyes in ("pin", "hollow", "white")
    fierce = mood.brow > 0.2
    inner, top = (0.25, -0.42) if fierce else (0.1, -0.62)
    upper = curve([(-1, inner), (-0.45, top * 0.8), (0.3, top), (1.05, -0.05 if fierce else 0.12)])
    lower = curve([(1.05, 0.1), (0.35, 0.5), (-0.5, 0.45), (-1, inner)])
    white = np.concatenate([upper, lower])
    pen.fill(white, WHITE)
    r = 0.17 if tight else 0.46
    pen.shape(ring(0.02, 0, r, r * 1.1, sides=30), WHITE if tight else 60, weight=1.4)
    if tight:
        for a in rng.uniform(0, 2 * math.pi, 16):
            pen.stroke(
                curve(
                    [
                        (math.cos(a) * 0.9, math.sin(a) * 0.42),
                        (math.cos(a + 0.15) * 0.6, math.sin(a + 0.15) * 0.3),
                        (math.cos(a) * 0.4, math.sin(a) * 0.2),
                    ],
                    steps=3,
                ),
                weight=0.9,
                ends=(0.9, 0),
            )
        pen.dot(0.02, 0, 0.07)
    else:
        pen.dot(0.02, 0.02, r * 0.5, r * 0.55)
        pen.dot(-0.14, -0.2, 0.12, 0.14, ink=WHITE)
        pen.dot(0.2, 0.22, 0.07, ink=WHITE)
    pen.stroke(upper, weight=9, ends=(0.3, 0.7))
    pen.stroke(lower, weight=2.5, ends=(0.6, 0.2))
    slope = mood.brow * 0.5
    pen.stroke([(-1.0, -0.75 + slope), (0, -0.95 + slope * 0.2), (1.15, -0.75 - slope)], weight=11, ends=(0.8, 0))
    if "tears" in mood.marks:
        pen.shape(curve([(0.2, 0.42), (0.42, 0.42), (0.5, 1.1), (0.32, 1.3), (0.16, 1.1)], closed=True), WHITE)
    if fierce:
        for y in (0.65, 0.78):
            pen.stroke([(-0.8, y), (0.1, y + 0.12)], weight=1.5, ends=(0.9, 0))
    shade(
        pen,
        curve(
            [(-1, inner), (-0.45, top * 0.8), (0.3, top), (1.05, 0), (0.3, top * 0.55), (-0.45, top * 0.4)], closed=True
        ),
        0.35,
        screen,
    )
