"""Backgrounds by place and hour, drawn in panel pixels on a pen whose origin is the panel's corner."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from mmr_export.synth.pages.ink import BLACK, WHITE, Pen, curve, ring
from mmr_export.synth.pages.tone import Screen, hatch, shade, vertical

Rng = np.random.Generator
Place = Callable[[Pen, float, float, Rng, Screen, bool], None]


def sky(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Clouded day or starry night."""
    rect = [(0, 0), (w, 0), (w, h), (0, h)]
    if night:
        pen.fill(rect)
        shade(pen, rect, vertical(0.0, 0.35, 2.0), screen, ink=WHITE)
        for x, y in rng.uniform(0, 1, (40, 2)):
            r = rng.choice((1.0, 1.5, 2.5))
            pen.dot(x * w, y * h * 0.8, float(r), ink=WHITE)
        if rng.random() < 0.6:
            pen.dot(
                w * rng.uniform(0.15, 0.85), h * rng.uniform(0.12, 0.35), min(w, h) * rng.uniform(0.06, 0.16), ink=WHITE
            )
        return
    shade(pen, rect, vertical(rng.uniform(0.1, 0.4), 0.0), screen)
    for _ in range(int(rng.integers(1, 4))):
        cloud(pen, rng.uniform(0, w), rng.uniform(0.05, 0.5) * h, min(w, h) * rng.uniform(0.1, 0.25), rng)


def cloud(pen: Pen, x: float, y: float, size: float, rng: Rng) -> None:
    """A heaped white cloud."""
    lobes = [
        (x + dx * size, y - dy * size, size * r)
        for dx, dy, r in ((-0.9, 0, 0.45), (-0.3, 0.3, 0.6), (0.4, 0.2, 0.55), (1.0, 0, 0.4))
    ]
    for cx, cy, r in lobes:
        pen.shape(ring(cx, cy, r * rng.uniform(0.9, 1.2), r), WHITE, weight=0.6)
    for cx, cy, r in lobes:
        pen.dot(cx, cy + 2, r * 0.92, ink=WHITE)
    pen.fill(
        [
            (x - size * 1.5, y + size * 0.1),
            (x + size * 1.5, y + size * 0.1),
            (x + size, y + size * 0.6),
            (x - size, y + size * 0.6),
        ],
        WHITE,
    )


def city(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Skyline with windows."""
    sky(pen, w, h, rng, screen, night)
    x = -w * 0.05
    while x < w:
        wide, top = w * rng.uniform(0.08, 0.2), h * rng.uniform(0.25, 0.7)
        block = [(x, top), (x + wide, top), (x + wide, h), (x, h)]
        pen.shape(block, BLACK if night else WHITE, weight=0.8)
        if not night:
            shade(pen, block, float(rng.choice((0.0, 0.12, 0.3))), screen)
        for wx in np.arange(x + wide * 0.15, x + wide * 0.85, max(9.0, wide * 0.22)):
            for wy in np.arange(top + h * 0.04, h, max(14.0, h * 0.08)):
                if rng.random() < (0.35 if night else 0.8):
                    pane = [(wx, wy), (wx + wide * 0.1, wy), (wx + wide * 0.1, wy + h * 0.03), (wx, wy + h * 0.03)]
                    pen.fill(pane, WHITE if night else 90)
        x += wide


def street(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """A lane in one-point perspective between houses."""
    sky(pen, w, h, rng, screen, night)
    vx, vy = w * rng.uniform(0.35, 0.65), h * rng.uniform(0.45, 0.6)
    for side in (-1, 1):
        edge = 0.0 if side < 0 else w
        for near, far in ((1.0, 0.55), (0.55, 0.3), (0.3, 0.15)):
            top = rng.uniform(0.7, 1.3) * vy
            xs = [vx + (edge - vx) * s for s in (near, far)]
            wall = [
                (xs[0], vy - top * near),
                (xs[1], vy - top * far),
                (xs[1], vy + (h - vy) * far),
                (xs[0], vy + (h - vy) * near),
            ]
            pen.shape(wall, BLACK if night and side < 0 else WHITE, weight=0.8)
            shade(pen, wall, float(rng.choice((0.1, 0.3, 0.5))) + 0.3 * night, screen)
            for t in (0.35, 0.65):
                x = xs[0] + (xs[1] - xs[0]) * t
                s = near + (far - near) * t
                size = abs(edge - vx) * 0.06 * s + 3
                pane = [
                    (x - size, vy - top * s * 0.5),
                    (x + size, vy - top * s * 0.5),
                    (x + size, vy - top * s * 0.25),
                    (x - size, vy - top * s * 0.25),
                ]
                pen.shape(pane, 40 if not night else 230, weight=0.6)
    shade(pen, [(0, h), (vx, vy), (w, h)], vertical(0.05 + 0.5 * night, 0.25 + 0.5 * night), screen)


def room(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """A room with a window, curtain, shelf."""
    rect = [(0, 0), (w, 0), (w, h), (0, h)]
    pen.fill(rect, WHITE)
    shade(pen, rect, vertical(0.75, 0.5) if night else vertical(0.14, 0.02), screen)
    pen.path([(0, h * 0.74), (w, h * 0.74)], weight=0.8)
    x, y, ww, hh = w * rng.uniform(0.08, 0.5), h * 0.1, w * 0.36, h * 0.42
    frame = [(x, y), (x + ww, y), (x + ww, y + hh), (x, y + hh)]
    pen.shape(frame, BLACK if night else WHITE, weight=1.2)
    pen.path([(x + ww / 2, y), (x + ww / 2, y + hh)], ink=WHITE if night else BLACK)
    pen.path([(x, y + hh / 2), (x + ww, y + hh / 2)], ink=WHITE if night else BLACK)
    for side in (0, 1):
        cx = x + side * ww
        curtain = curve(
            [
                (cx - ww * 0.15, y - 6),
                (cx + ww * 0.15, y - 6),
                (cx + ww * 0.1, y + hh * 1.25),
                (cx - ww * 0.12, y + hh * 1.2),
            ],
            closed=True,
        )
        pen.shape(curtain, WHITE, weight=0.8)
        shade(pen, curtain, 0.2, screen)
    sx = w * 0.72 if x < w * 0.3 else w * 0.04
    for i in range(3):
        y0 = h * (0.25 + 0.14 * i)
        pen.path([(sx, y0 + h * 0.11), (sx + w * 0.24, y0 + h * 0.11)], weight=1.2)
        for bx in np.arange(sx, sx + w * 0.22, max(7.0, w * 0.028)):
            top = y0 + h * rng.uniform(0.0, 0.04)
            pen.shape(
                [(bx, top), (bx + w * 0.022, top), (bx + w * 0.022, y0 + h * 0.11), (bx, y0 + h * 0.11)],
                int(rng.choice((0, 120, 255))),
                weight=0.5,
            )


def classroom(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Blackboard, windows and rows of desks."""
    rect = [(0, 0), (w, 0), (w, h), (0, h)]
    pen.fill(rect, WHITE)
    if night:
        shade(pen, rect, 0.55, screen)
    board = [(w * 0.1, h * 0.12), (w * 0.68, h * 0.12), (w * 0.68, h * 0.48), (w * 0.1, h * 0.48)]
    pen.shape(board, WHITE, weight=1.4)
    shade(pen, board, 0.7, screen)
    for y in np.linspace(0.2, 0.4, 4):
        pen.path([(w * 0.16, h * y), (w * rng.uniform(0.3, 0.6), h * y)], ink=WHITE, weight=1.2)
    for i in range(2):
        x = w * (0.76 + 0.13 * i)
        pen.shape([(x, h * 0.08), (x + w * 0.11, h * 0.08), (x + w * 0.11, h * 0.5), (x, h * 0.5)], WHITE, weight=0.9)
    for row, y in enumerate((0.66, 0.8, 0.97)):
        size = w * (0.07 + 0.025 * row)
        for x in np.linspace(0.1, 0.9, 4):
            top = [
                (x * w - size, y * h),
                (x * w + size, y * h),
                (x * w + size * 1.1, y * h + size * 0.3),
                (x * w - size * 1.1, y * h + size * 0.3),
            ]
            pen.shape(top, WHITE, weight=0.8)
            for side in (-0.9, 0.9):
                pen.path(
                    [(x * w + side * size, y * h + size * 0.3), (x * w + side * size, y * h + size * 1.2)], weight=0.9
                )


def forest(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Trunks before a toned thicket."""
    rect = [(0, 0), (w, 0), (w, h), (0, h)]
    pen.fill(rect, WHITE)
    shade(pen, rect, vertical(0.95, 0.7) if night else vertical(0.4, 0.08), screen)
    for x in np.sort(rng.uniform(-0.05, 1.05, int(rng.integers(5, 10)))):
        wide = w * rng.uniform(0.015, 0.05)
        trunk = curve(
            [
                (x * w - wide, -5),
                (x * w - wide * 0.8, h * 0.5),
                (x * w - wide * 1.6, h),
                (x * w + wide * 1.6, h),
                (x * w + wide * 0.8, h * 0.5),
                (x * w + wide, -5),
            ],
            steps=3,
        )
        pen.shape(trunk, BLACK if night or rng.random() < 0.3 else WHITE, weight=0.9)
        for _ in range(3):
            y = rng.uniform(0.0, 0.5) * h
            reach = w * rng.uniform(-0.14, 0.14)
            pen.stroke(
                [(x * w, y), (x * w + reach * 0.6, y - abs(reach) * 0.4), (x * w + reach, y - abs(reach))],
                weight=wide / 4,
                ends=(1, 0),
            )
    grass(pen, w, h, rng, night)


def grass(pen: Pen, w: float, h: float, rng: Rng, night: bool) -> None:
    """Tufts along the ground."""
    for x in rng.uniform(0, w, 30):
        size = h * rng.uniform(0.02, 0.07)
        pen.stroke(
            [(x, h), (x + size * rng.uniform(-0.6, 0.6), h - size * 1.6)],
            weight=1.2,
            ink=WHITE if night else BLACK,
            ends=(1, 0),
        )


def park(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Lawn, round trees, a bench or a fence."""
    sky(pen, w, h, rng, screen, night)
    ground = [(0, h * 0.68), (w, h * 0.64), (w, h), (0, h)]
    pen.shape(ground, 60 if night else WHITE, weight=0.8)
    for x in rng.uniform(0, 1, 3):
        size = min(w, h) * rng.uniform(0.12, 0.22)
        base = h * 0.68
        pen.shape(
            [
                (x * w - size * 0.12, base - size),
                (x * w + size * 0.12, base - size),
                (x * w + size * 0.16, base),
                (x * w - size * 0.16, base),
            ],
            WHITE,
        )
        t = np.linspace(0, 2 * math.pi, 40, endpoint=False)
        r = size * (0.85 + 0.12 * np.abs(np.sin(5 * t)))
        crown = np.stack([x * w + np.cos(t) * r, base - size * 1.5 + np.sin(t) * r], axis=1)
        pen.shape(crown, WHITE, weight=0.9)
        shade(pen, crown, vertical(0.1, 0.5) if not night else vertical(0.7, 0.95), screen)
    grass(pen, w, h, rng, night)


def mountains(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Ridges one behind the other."""
    sky(pen, w, h, rng, screen, night)
    for depth in range(3):
        base = h * (0.45 + 0.17 * depth)
        xs = np.linspace(-0.05, 1.05, 9) * w
        ys = base - rng.uniform(0, 0.28 - 0.07 * depth, 9) * h * np.where(np.arange(9) % 2 == 0, 0.3, 1)
        ridge = np.concatenate([np.stack([xs, ys], axis=1), [(w * 1.05, h), (-w * 0.05, h)]])
        pen.shape(ridge, WHITE, weight=0.9)
        shade(pen, ridge, vertical(0.15 + 0.25 * depth, 0.05) if not night else 0.6 + 0.18 * depth, screen)


def sea(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Horizon and waves."""
    sky(pen, w, h, rng, screen, night)
    line = h * 0.6
    water = [(0, line), (w, line), (w, h), (0, h)]
    pen.shape(water, WHITE, weight=0.7)
    shade(pen, water, vertical(0.85, 0.5) if night else vertical(0.35, 0.05), screen)
    for y in np.linspace(line + 6, h, 9):
        x = rng.uniform(0, w)
        reach = w * 0.16 * (y - line) / (h - line) + 8
        pen.stroke([(x - reach, y), (x, y - 3), (x + reach, y)], weight=1.1, ink=WHITE if night else BLACK)


def castle(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Towers with battlements on a hill."""
    mountains(pen, w, h, rng, screen, night)
    for x, wide, top in ((0.5, 0.24, 0.38), (0.36, 0.1, 0.24), (0.64, 0.1, 0.2), (0.5, 0.09, 0.1)):
        left, right = (x - wide / 2) * w, (x + wide / 2) * w
        teeth = [(left + (right - left) * i / 6, h * top - (h * 0.025 if (i // 1) % 2 == 0 else 0)) for i in range(7)]
        wall = [(left, h * 0.85), *teeth, (right, h * 0.85)]
        pen.shape(wall, BLACK if night else WHITE, weight=1.0)
        if not night:
            shade(pen, [(x * w, h * top), (right, h * top), (right, h * 0.85), (x * w, h * 0.85)], 0.35, screen)
        if wide < 0.12:
            pen.shape([(left - 4, h * top), (x * w, h * (top - 0.14)), (right + 4, h * top)], BLACK)
        pen.fill(ring(x * w, h * (top + 0.1), w * 0.012, h * 0.025), WHITE if night else BLACK)


def pagoda(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Tiled roofs with swept eaves."""
    mountains(pen, w, h, rng, screen, night)
    x = w * rng.uniform(0.35, 0.65)
    for tier in range(3):
        y, half = h * (0.28 + 0.2 * tier), w * (0.15 + 0.07 * tier)
        pen.shape(
            [(x - half * 0.7, y), (x + half * 0.7, y), (x + half * 0.7, y + h * 0.2), (x - half * 0.7, y + h * 0.2)],
            WHITE,
            weight=0.9,
        )
        for share in np.linspace(-0.5, 0.5, 5):
            pen.path([(x + share * half, y), (x + share * half, y + h * 0.2)], weight=0.7)
        roof = curve(
            [
                (x - half * 1.25, y + h * 0.02),
                (x - half * 0.7, y - h * 0.02),
                (x - half * 0.3, y - h * 0.1),
                (x + half * 0.3, y - h * 0.1),
                (x + half * 0.7, y - h * 0.02),
                (x + half * 1.25, y + h * 0.02),
            ],
            steps=4,
        )
        pen.shape(np.concatenate([roof, [(x + half * 0.9, y + h * 0.05), (x - half * 0.9, y + h * 0.05)]]), BLACK)


def space(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Stars and a planet; always dark."""
    del night
    pen.fill([(0, 0), (w, 0), (w, h), (0, h)])
    for x, y in rng.uniform(0, 1, (70, 2)):
        pen.dot(x * w, y * h, float(rng.choice((1.0, 1.5, 3.0), p=(0.6, 0.3, 0.1))), ink=WHITE)
    r = min(w, h) * rng.uniform(0.25, 0.6)
    x, y = w * rng.uniform(0.1, 0.9), h * rng.uniform(0.5, 1.0)
    disc = ring(x, y, r, r, sides=40)
    pen.fill(disc, WHITE)
    shade(pen, disc, vertical(0.1, 0.9), screen)
    if rng.random() < 0.5:
        pen.path(ring(x, y, r * 1.7, r * 0.35, angle=-0.3, sides=40), ink=WHITE, weight=2)


def stadium(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """A pitch with stands full of spectators and floodlights."""
    sky(pen, w, h, rng, screen, night)
    stand = [(0, h * 0.22), (w, h * 0.16), (w, h * 0.55), (0, h * 0.55)]
    pen.shape(stand, WHITE)
    shade(pen, stand, 0.25, screen)
    for y in np.linspace(0.26, 0.5, 4):
        for x in np.arange(0, w, max(10.0, w * 0.045)):
            pen.dot(x + rng.uniform(-2, 2), y * h, max(2.5, w * 0.011), ink=int(rng.choice((0, 255, 90))))
    pen.shape([(0, h * 0.55), (w, h * 0.55), (w, h), (0, h)], WHITE)
    shade(pen, [(0, h * 0.55), (w, h * 0.55), (w, h), (0, h)], vertical(0.25, 0.0), screen)
    pen.path([(0, h * 0.9), (w * 0.45, h * 0.62), (w, h * 0.6)], weight=2)
    pen.path(ring(w * 0.65, h * 0.8, w * 0.2, h * 0.07), weight=1.4)


def house(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """A lone old house among bare trees."""
    sky(pen, w, h, rng, screen, night)
    ink, line = (BLACK, WHITE) if night else (WHITE, BLACK)
    x, size = w * rng.uniform(0.35, 0.65), min(w, h) * 0.28
    body = [
        (x - size, h * 0.9),
        (x - size * 0.95, h * 0.9 - size * 1.2),
        (x + size * 0.9, h * 0.9 - size * 1.25),
        (x + size, h * 0.9),
    ]
    pen.shape(body, ink)
    if not night:
        hatch(pen, body, size * 0.09, 0.2, rng)
    pen.shape(
        [
            (x - size * 1.15, h * 0.9 - size * 1.15),
            (x - size * 0.1, h * 0.9 - size * 2.1),
            (x + size * 1.1, h * 0.9 - size * 1.2),
        ],
        BLACK,
    )
    for dx in (-0.5, 0.35):
        pane = [
            (x + dx * size, h * 0.9 - size * 0.9),
            (x + (dx + 0.25) * size, h * 0.9 - size * 0.92),
            (x + (dx + 0.25) * size, h * 0.9 - size * 0.5),
            (x + dx * size, h * 0.9 - size * 0.5),
        ]
        pen.shape(pane, WHITE if night else BLACK, edge=line)
    for tx in (0.08, 0.92):
        bare_tree(pen, tx * w, h, h * rng.uniform(0.5, 0.75), rng)


def bare_tree(
    pen: Pen, x: float, base: float, tall: float, rng: Rng, angle: float = -math.pi / 2, depth: int = 4
) -> None:
    """A leafless branching tree."""
    length = tall * 0.36
    tip = (x + math.cos(angle) * length, base + math.sin(angle) * length)
    bend = ((x + tip[0]) / 2 + rng.uniform(-0.1, 0.1) * length, (base + tip[1]) / 2)
    pen.stroke([(x, base), bend, tip], weight=max(0.8, tall / 22), ends=(1, 0.6))
    if depth:
        for side in (-1, 1):
            bare_tree(
                pen,
                tip[0],
                tip[1],
                tall * rng.uniform(0.55, 0.8),
                rng,
                angle + side * rng.uniform(0.25, 0.7),
                depth - 1,
            )


def graves(pen: Pen, w: float, h: float, rng: Rng, screen: Screen, night: bool) -> None:
    """Gravestones on a slope."""
    sky(pen, w, h, rng, screen, night)
    pen.shape([(0, h * 0.6), (w * 0.5, h * 0.55), (w, h * 0.63), (w, h), (0, h)], 30 if night else WHITE)
    for x in np.linspace(0.1, 0.9, 5) + rng.uniform(-0.05, 0.05, 5):
        size = min(w, h) * rng.uniform(0.06, 0.11)
        base = h * rng.uniform(0.68, 0.9)
        stone = [
            (x * w - size, base),
            (x * w - size, base - size * 1.8),
            (x * w, base - size * 2.3),
            (x * w + size, base - size * 1.8),
            (x * w + size, base),
        ]
        pen.shape(stone, WHITE, weight=0.9)
        shade(pen, stone, vertical(0.2, 0.6) if not night else vertical(0.5, 0.9), screen)
    bare_tree(pen, w * rng.choice((0.06, 0.94)), h * 0.8, h * 0.7, rng)


PLACES: dict[str, tuple[str, Place]] = {
    "sky": ("under an open sky", sky),
    "city": ("above the roofs of a city", city),
    "street": ("in a narrow street", street),
    "room": ("in a quiet room", room),
    "classroom": ("in a classroom", classroom),
    "forest": ("deep in a forest", forest),
    "park": ("in a park", park),
    "mountains": ("before a mountain range", mountains),
    "sea": ("by the sea", sea),
    "castle": ("below a castle", castle),
    "pagoda": ("near a tiled pagoda", pagoda),
    "space": ("among the stars", space),
    "stadium": ("in a crowded stadium", stadium),
    "house": ("outside an old house", house),
    "graves": ("among gravestones", graves),
}

GENRE_PLACES: dict[str, tuple[str, ...]] = {
    "animal": ("park", "room", "forest", "street", "sky"),
    "battle": ("mountains", "city", "street", "forest", "castle"),
    "fantasy": ("castle", "forest", "mountains", "sky", "sea"),
    "four-frame cartoons": ("classroom", "room", "park", "street"),
    "historical drama": ("pagoda", "mountains", "forest", "sea"),
    "horror": ("house", "forest", "graves", "room", "street"),
    "humor": ("room", "street", "classroom", "park"),
    "love romance": ("park", "sky", "sea", "room", "classroom"),
    "romantic comedy": ("classroom", "park", "street", "room", "sky"),
    "science fiction": ("space", "city", "sky", "space"),
    "sports": ("stadium", "park", "classroom", "stadium"),
    "suspense": ("street", "city", "room", "house"),
}
