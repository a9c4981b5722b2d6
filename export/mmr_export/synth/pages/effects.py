"""Effect lines and emanata: what the air of a panel is filled with.

Focus lines and speed lines carry motion and shock (McCloud 1993, ch. 4); flowers, bubbles and sparkles the tender and
the radiant (McCloud's "invisible made visible", ch. 5); dark auras, drips and scratches dread; rain and falling
leaves sorrow. All functions draw in panel pixels on a pen whose origin is the panel's corner.
"""

from __future__ import annotations

import math

import numpy as np

from mmr_export.synth.pages.ink import BLACK, WHITE, Pen, arc, curve, ring, star
from mmr_export.synth.pages.tone import Screen, clouds, shade, vertical

Rng = np.random.Generator


def focus_lines(
    pen: Pen, w: float, h: float, rng: Rng, *, centre: tuple[float, float], hollow: float, count: int, ink: int = BLACK
) -> None:
    """Wedges that point at `centre` from the panel's rim; `hollow`: free radius, share of the half diagonal."""
    cx, cy = centre
    far = math.hypot(w, h)
    angles = np.sort(rng.uniform(0, 2 * math.pi, count))
    inner = far / 2 * hollow * rng.uniform(0.8, 1.5, count)
    half = rng.uniform(0.15, 1.0, count) ** 2 * 0.022 + 0.002
    for a, r, d in zip(angles.tolist(), inner.tolist(), half.tolist(), strict=True):
        tip = (cx + math.cos(a) * r * w / h if w < h else cx + math.cos(a) * r, cy + math.sin(a) * r)
        outer = [(cx + math.cos(a + s * d) * far, cy + math.sin(a + s * d) * far) for s in (-1, 1)]
        pen.fill([tip, *outer], ink)


def speed_lines(
    pen: Pen, w: float, h: float, rng: Rng, *, angle: float, count: int, ink: int = BLACK, clear: float = 0.0
) -> None:
    """Parallel strokes along `angle` (radians); `clear` keeps a middle band of that share free."""
    reach = math.hypot(w, h)
    c, s = math.cos(angle), math.sin(angle)
    for _ in range(count):
        across = rng.uniform(clear, 1) * reach / 2 * rng.choice((-1, 1))
        start = rng.uniform(-0.7, 0.2) * reach
        length = rng.uniform(0.25, 0.9) * reach
        x, y = w / 2 - s * across, h / 2 + c * across
        a, b = (x + c * start, y + s * start), (x + c * (start + length), y + s * (start + length))
        pen.stroke([a, b], weight=float(rng.uniform(0.5, 2.6)), ink=ink, ends=(0.8, 0))


def burst(pen: Pen, x: float, y: float, radius: float, rng: Rng) -> None:
    """A white impact flash with a black rim of spikes and flying splinters."""
    pen.fill(star(x, y, radius * 0.75, radius * 1.25, 22, rng, 0.3))
    pen.fill(star(x, y, radius * 0.55, radius, 18, rng, 0.25), WHITE)
    for a in rng.uniform(0, 2 * math.pi, 14):
        r = radius * rng.uniform(1.2, 1.9)
        splinter = star(x + math.cos(a) * r, y + math.sin(a) * r, radius * 0.03, radius * 0.09, 3, rng, 0.4)
        pen.fill(splinter)


def rain(pen: Pen, w: float, h: float, rng: Rng, *, slant: float, count: int, ink: int = BLACK) -> None:
    """Falling rain."""
    for x, y, length in zip(
        rng.uniform(-0.1, 1.1, count) * w,
        rng.uniform(-0.2, 1, count) * h,
        rng.uniform(0.08, 0.3, count) * h,
        strict=True,
    ):
        pen.stroke(
            [(x, y), (x + slant * length, y + length)], weight=float(rng.uniform(0.5, 1.1)), ink=ink, ends=(0, 0.6)
        )


def flower(pen: Pen, x: float, y: float, radius: float, rng: Rng, screen: Screen) -> None:
    """An open blossom with toned heart."""
    petals = int(rng.integers(5, 7))
    turn = rng.uniform(0, 2)
    for i in range(petals):
        a = turn + i * 2 * math.pi / petals
        p = pen.at(x, y, radius, angle=a)
        petal = curve(
            [(0, 0), (-0.42, -0.5), (-0.28, -0.98), (0, -0.86), (0.28, -0.98), (0.42, -0.5)], closed=True, steps=4
        )
        p.shape(petal, WHITE, weight=0.7)
        p.stroke([(0, -0.2), (0, -0.6)], weight=0.6)
    heart = ring(x, y, radius * 0.2, radius * 0.2, sides=10)
    pen.shape(heart, WHITE, weight=0.7)
    shade(pen, heart, 0.5, screen)


def flowers(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, count: int) -> None:
    """Blossoms gathered at the panel's rim, loose petals across it."""
    for _ in range(count):
        side = rng.integers(0, 3)
        x = w * (rng.uniform(0, 0.22) if side == 0 else rng.uniform(0.78, 1) if side == 1 else rng.uniform(0, 1))
        y = h * (rng.uniform(0, 1) if side < 2 else rng.choice((rng.uniform(0, 0.15), rng.uniform(0.85, 1))))
        flower(pen, x, y, min(w, h) * rng.uniform(0.07, 0.16), rng, screen)
    petals(pen, w, h, rng, count)


def petals(pen: Pen, w: float, h: float, rng: Rng, count: int, *, ink: int = WHITE) -> None:
    """Drifting petals or leaves."""
    size = min(w, h) * 0.03 + 4
    for _ in range(count):
        p = pen.at(rng.uniform(0, w), rng.uniform(0, h), size * rng.uniform(0.6, 1.3), angle=rng.uniform(0, 6.3))
        p.shape(curve([(-1, 0), (0, -0.45), (1, 0), (0, 0.4)], closed=True, steps=3), ink, weight=0.7, edge=BLACK)


def sparkles(pen: Pen, w: float, h: float, rng: Rng, count: int, *, ink: int = BLACK) -> None:
    """Four-pointed glints."""
    for _ in range(count):
        x, y, r = rng.uniform(0, w), rng.uniform(0, h), min(w, h) * rng.uniform(0.025, 0.08) + 3
        points = [
            (x + math.cos(t) * q, y + math.sin(t) * q)
            for i, t in enumerate(np.arange(8) * math.pi / 4)
            for q in [r if i % 2 == 0 else r * 0.16]
        ]
        pen.shape(points, WHITE if ink == BLACK else ink, weight=0.7, edge=BLACK)


def bubbles(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, count: int) -> None:
    """Soft discs of light on a pale tone."""
    rect = [(0, 0), (w, 0), (w, h), (0, h)]
    shade(pen, rect, clouds(rng, 0.05, 0.32), screen)
    for _ in range(count):
        r = min(w, h) * rng.uniform(0.03, 0.14)
        disc = ring(rng.uniform(0, w), rng.uniform(0, h), r, r)
        pen.fill(disc, WHITE)
        if rng.random() < 0.4:
            pen.path(np.concatenate([disc, disc[:1]]), weight=0.5)


def notes(pen: Pen, w: float, h: float, rng: Rng, count: int) -> None:
    """Music notes and little hearts."""
    for _ in range(count):
        p = pen.at(
            rng.uniform(0.05, 0.95) * w, rng.uniform(0.05, 0.6) * h, min(w, h) * 0.045 + 4, angle=rng.uniform(-0.3, 0.3)
        )
        if rng.random() < 0.6:
            p.fill(ring(0, 0.8, 0.5, 0.36, angle=-0.3))
            p.path([(0.42, 0.75), (0.42, -1.1), (1.1, -0.6)], weight=1.3)
        else:
            p.fill(
                curve(
                    [(0, -0.35), (0.55, -0.85), (1, -0.3), (0, 0.95), (-1, -0.3), (-0.55, -0.85)], closed=True, steps=4
                )
            )


def rays(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, centre: tuple[float, float]) -> None:
    """Broad bright rays around a centre, as of a rising sun."""
    far, count = math.hypot(w, h), 2 * int(rng.integers(9, 14))
    turn = rng.uniform(0, 1)
    for i in range(0, count, 2):
        a, b = (turn + i / count) * 2 * math.pi, (turn + (i + 1) / count) * 2 * math.pi
        wedge = [centre, *[(centre[0] + math.cos(t) * far, centre[1] + math.sin(t) * far) for t in (a, b)]]
        shade(pen, wedge, 0.22, screen)


def gloom(pen: Pen, w: float, h: float, rng: Rng, count: int) -> None:
    """Ruled lines that hang from the panel's top: spirits sink."""
    for x in np.sort(rng.uniform(0, w, count)):
        pen.stroke([(x, -2), (x, h * rng.uniform(0.2, 0.65))], weight=float(rng.uniform(0.6, 1.5)), ends=(1, 0))


def shock(pen: Pen, w: float, h: float, rng: Rng) -> None:
    """Black ground split by lightning: the comic thunderbolt of dismay."""
    pen.fill([(0, 0), (w, 0), (w, h), (0, h)])
    for _ in range(int(rng.integers(3, 5))):
        x = rng.uniform(0.1, 0.9) * w
        left, right = [], []
        for y in np.linspace(0, 1, 7):
            x += rng.uniform(-0.13, 0.13) * w
            wide = (1 - y) * w * 0.03 + 2
            left.append((x - wide, y * h))
            right.append((x + wide, y * h))
        pen.fill([*left, *reversed(right)], WHITE)


def drips(pen: Pen, w: float, h: float, rng: Rng, *, ink: int = BLACK) -> None:
    """Ink that runs down from the panel's top."""
    x = 0.0
    points: list[tuple[float, float]] = [(0, -2)]
    while x < w:
        wide = w * rng.uniform(0.02, 0.06)
        low = h * rng.uniform(0.05, 0.5) ** 1.4
        points += [
            (x, h * 0.03),
            (x + wide * 0.2, low),
            (x + wide * 0.5, low + wide * 0.5),
            (x + wide * 0.8, low),
            (x + wide, h * 0.03),
        ]
        x += wide * rng.uniform(1.2, 2.5)
    pen.fill(curve([*points, (w, -2)], steps=4), ink)


def aura(pen: Pen, w: float, h: float, rng: Rng, centre: tuple[float, float], *, ink: int = BLACK) -> None:
    """Flame-like tongues that rise around a figure."""
    for x in np.linspace(0, w, 13) + rng.uniform(-0.04, 0.04, 13) * w:
        top = abs(x - centre[0]) / w * h * 0.9 + rng.uniform(-0.05, 0.35) * h
        wide = w * rng.uniform(0.05, 0.1)
        tongue = [
            (x - wide, h * 1.05),
            (x - wide * 0.7, (top + h) / 2),
            (x + wide * 0.3, top),
            (x + wide * 0.5, (top + h) / 2),
            (x + wide, h * 1.05),
        ]
        pen.fill(curve(tongue, closed=True, steps=4), ink)


def murk(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, *, low: float = 0.55, high: float = 1.0) -> None:
    """Dark uneven ground with scratches."""
    rect = [(0, 0), (w, 0), (w, h), (0, h)]
    shade(pen, rect, clouds(rng, low, high), screen)
    for _ in range(int(rng.integers(14, 30))):
        x, y = rng.uniform(0, w), rng.uniform(0, h)
        a, length = rng.uniform(1.2, 1.9), rng.uniform(0.1, 0.4) * h
        pen.stroke(
            [(x, y), (x + math.cos(a) * length, y + math.sin(a) * length)],
            weight=float(rng.uniform(0.5, 1.5)),
            ink=int(rng.choice((BLACK, WHITE), p=(0.8, 0.2))),
        )


def eyes_in_dark(pen: Pen, w: float, h: float, rng: Rng, count: int) -> None:
    """Pairs of eyes that watch from the black."""
    for _ in range(count):
        p = pen.at(rng.uniform(0.12, 0.88) * w, rng.uniform(0.1, 0.9) * h, min(w, h) * rng.uniform(0.03, 0.09))
        for side in (-1, 1):
            q = p.at(side * 1.2, 0, 1, flip=side < 0)
            q.fill(curve([(-0.9, 0.35), (0, -0.5), (1, -0.45), (0.2, 0.5)], closed=True, steps=3), WHITE)
            q.dot(0.05, 0, 0.2)


def smoke(pen: Pen, x: float, y: float, radius: float, rng: Rng, screen: Screen) -> None:
    """A puff of dust."""
    for _ in range(6):
        a, r = rng.uniform(0, 2 * math.pi), radius * rng.uniform(0, 0.8)
        puff = arc(x + math.cos(a) * r, y + math.sin(a) * r * 0.5, radius * 0.5, radius * 0.42, 0, 360, steps=16)
        pen.shape(puff, WHITE, weight=0.8)
        shade(pen, puff, vertical(0.0, 0.4), screen)
