"""What a panel shows: the framings of each mood, each drawn by one function that returns where heads are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from mmr_export.synth.pages import effects, props
from mmr_export.synth.pages.cast import EXPRESSIONS, Expression, Look
from mmr_export.synth.pages.figures import POSES, draw_bust, draw_clasped, draw_figure, draw_fist, draw_hand_reach
from mmr_export.synth.pages.grounds import Stage, black, lay_ground, scenery, white
from mmr_export.synth.pages.ink import BLACK, WHITE, Pen
from mmr_export.synth.pages.lettering import sound
from mmr_export.synth.pages.scenery import grass

Spot = tuple[float, float]
Shot = Callable[[Stage], Spot]

_POSES = {
    "Happy": ("cheer", "hop", "cheer", "walk", "point"),
    "Funny": ("tumble", "point", "akimbo", "run", "stagger", "hop", "cower", "fall"),
    "Sad": ("slump", "kneel", "hug_knees", "stand", "sit", "slump"),
    "Tender": ("offer", "stand", "sit", "walk"),
    "Exciting": ("run", "leap", "punch", "kick", "slash", "run", "leap"),
    "Angry": ("point", "clench", "akimbo", "punch"),
    "Scary": ("cower", "stagger", "loom", "kneel", "run"),
    "": ("stand", "walk", "akimbo", "sit", "point"),
}


def _express(s: Stage, mood: str | None = None) -> Expression:
    options = EXPRESSIONS[s.mood if mood is None else mood]
    return options[int(s.rng.integers(0, len(options)))]


def _is_cute(s: Stage) -> bool:
    return s.mood == "Funny" or (
        s.mood in ("Happy", "") and s.genre in ("four-frame cartoons", "humor") and bool(s.rng.random() < 0.7)
    )


def close(s: Stage) -> Spot:
    """A face that fills the panel."""
    lay_ground(s)
    x, y = s.w * s.rng.uniform(0.35, 0.65), s.h * s.rng.uniform(0.42, 0.55)
    size = min(s.h * s.rng.uniform(0.3, 0.42), s.w * 0.42)
    tilt = {"Exciting": 0.15, "Angry": 0.12, "Scary": 0.18, "Funny": 0.15}.get(s.mood, 0.05)
    pen = s.pen.at(x, y, size, angle=s.rng.uniform(-tilt, tilt))
    if s.genre == "animal" and s.rng.random() < 0.5:
        _animal(s, s.pen.at(x, y + size * 2.6, size * 3.4))
    else:
        draw_bust(pen.lined(1.1), _someone(s), _express(s), s.rng, s.screen, turn=s.rng.uniform(-0.36, 0.36))
    return x, y


def bust(s: Stage) -> Spot:
    """Head and shoulders before the ground."""
    lay_ground(s)
    x, y = s.w * s.rng.uniform(0.3, 0.7), s.h * s.rng.uniform(0.5, 0.6)
    size = min(s.h * 0.24, s.w * 0.24)
    back = s.mood == "Sad" and bool(s.rng.random() < 0.25)
    draw_bust(
        s.pen.at(x, y, size), _someone(s), _express(s), s.rng, s.screen, turn=s.rng.uniform(-0.36, 0.36), back=back
    )
    return x, y


def full(s: Stage) -> Spot:
    """A whole figure in the pose of the mood."""
    lay_ground(s)
    cute = _is_cute(s)
    lively = s.mood in ("Exciting", "Angry")
    tall = s.h * (s.rng.uniform(0.86, 1.02) if lively else s.rng.uniform(0.72, 0.92))
    tall = min(tall, s.w * 1.35)
    x, y = s.w * s.rng.uniform(0.38, 0.62), s.h * (0.98 if not lively else s.rng.uniform(0.98, 1.04))
    angle = s.rng.uniform(-0.25, 0.25) if lively else 0.0
    pen = s.pen.at(x, y, tall, angle=angle, flip=bool(s.rng.random() < 0.5))
    if s.genre == "animal" and s.rng.random() < 0.6:
        _animal(s, s.pen.at(x, y, tall * 0.85))
    elif s.genre == "science fiction" and s.rng.random() < 0.35:
        props.robot(pen, s.screen, s.rng, glare=lively)
    else:
        name = str(s.rng.choice(_POSES[s.mood]))
        draw_figure(pen, s.cast[0], POSES[name], _express(s), s.rng, s.screen, chibi=cute, item=_item(s, name))
    if s.mood == "Exciting" and s.genre == "sports":
        props.ball(
            s.pen.at(s.w * s.rng.uniform(0.1, 0.9), s.h * s.rng.uniform(0.15, 0.8), s.h * 0.09), s.screen, "foot"
        )
    if lively:
        effects.smoke(s.pen, x, s.h * 0.97, s.h * 0.1, s.rng, s.screen)
    return x, s.h - tall * 0.85


def alone(s: Stage) -> Spot:
    """A small figure in much empty space."""
    if s.rng.random() < 0.5:
        white(s)
        s.pen.path([(0, s.h * 0.86), (s.w, s.h * 0.86)], weight=0.7)
    else:
        lay_ground(s)
    tall = s.h * s.rng.uniform(0.28, 0.42)
    x = s.w * s.rng.choice((0.25, 0.5, 0.75))
    pen = s.pen.at(x, s.h * 0.9, tall, flip=bool(s.rng.random() < 0.5))
    name = str(s.rng.choice(_POSES[s.mood]))
    item = "umbrella" if s.mood == "Sad" and s.rng.random() < 0.3 else ""
    draw_figure(pen, s.cast[0], POSES[name], _express(s), s.rng, s.screen, back=bool(s.rng.random() < 0.5), item=item)
    return x, s.h * 0.7


def pair(s: Stage) -> Spot:
    """Two heads: leaning together, talking, or face to face in a clash."""
    lay_ground(s)
    size = min(s.h * 0.23, s.w * 0.17)
    near = {"Tender": 0.13, "Happy": 0.18, "Sad": 0.2}.get(s.mood, 0.24)
    y, lean = s.h * s.rng.uniform(0.48, 0.58), 0.22 if s.mood == "Tender" else 0.0
    other = s.cast[1 % len(s.cast)]
    for side, look in ((1, other), (-1, s.cast[0])):
        face = _express(s) if side < 0 or s.mood != "Angry" else _express(s, str(s.rng.choice(("Angry", "Sad", ""))))
        x = s.w * (0.5 + side * near)
        low = size * (0.35 if look is s.cast[0] else 0.0)
        draw_bust(
            s.pen.at(x, y + low, size, angle=-side * lean),
            look,
            face,
            s.rng,
            s.screen,
            turn=-side * s.rng.uniform(0.2, 0.38),
        )
    return s.w * 0.5, y


def duo(s: Stage) -> Spot:
    """Two whole figures together: fighting, holding each other, quarrelling."""
    lay_ground(s)
    cute = _is_cute(s)
    tall = min(s.h * 0.88, s.w * 0.95)
    gap = {"Tender": 0.085, "Exciting": 0.3, "Happy": 0.16}.get(s.mood, 0.2)
    for side in (1, -1):
        look = s.cast[0] if side < 0 else s.cast[1 % len(s.cast)]
        name = "offer" if s.mood == "Tender" else str(s.rng.choice(_POSES[s.mood]))
        pen = s.pen.at(s.w / 2 + side * gap * tall, s.h * 0.98, tall * (0.92 if side > 0 else 1.0), flip=side > 0)
        draw_figure(pen, look, POSES[name], _express(s), s.rng, s.screen, chibi=cute, item=_item(s, name))
    if s.mood == "Exciting":
        effects.burst(s.pen, s.w / 2, s.h * 0.42, tall * 0.13, s.rng)
    return s.w * 0.5, s.h * 0.3


def crowd(s: Stage) -> Spot:
    """Many heads."""
    lay_ground(s)
    size = s.h * 0.11
    for row in range(3):
        for x in range(5):
            look = replace(s.cast[(row + x) % len(s.cast)], hair=("short", "bob", "spiky", "curly")[(row * 2 + x) % 4])
            at = s.pen.at(s.w * (0.1 + 0.2 * x + 0.1 * (row % 2)), s.h * (0.42 + 0.24 * row), size)
            draw_bust(at, look, _express(s), s.rng, s.screen, turn=s.rng.uniform(-0.3, 0.3))
    return s.w * 0.5, s.h * 0.5


def view(s: Stage) -> Spot:
    """The place, empty or with birds, ships, weather."""
    scenery(s)
    if s.mood == "Sad":
        effects.rain(s.pen, s.w, s.h, s.rng, slant=-0.1, count=90, ink=WHITE if s.night else BLACK)
    elif s.mood == "Tender":
        effects.petals(s.pen, s.w, s.h, s.rng, 16)
    elif s.mood == "Scary":
        effects.eyes_in_dark(s.pen, s.w, s.h, s.rng, 3)
    elif s.mood == "Happy":
        effects.sparkles(s.pen, s.w, s.h, s.rng, 6)
    elif s.mood == "Exciting":
        effects.speed_lines(s.pen, s.w, s.h, s.rng, angle=-0.3, count=40)
    if s.genre == "science fiction" and s.rng.random() < 0.6:
        props.ship(s.pen.at(s.w * 0.5, s.h * 0.4, s.w * 0.2, angle=s.rng.uniform(-0.6, 0.1)), s.screen)
    elif not s.night and s.mood not in ("Scary", "Exciting"):
        for _ in range(3):
            props.bird(s.pen.at(s.w * s.rng.uniform(0.1, 0.9), s.h * s.rng.uniform(0.08, 0.35), s.w * 0.05), s.rng)
    return s.w * 0.5, s.h * 0.6


def eye(s: Stage) -> Spot:
    """One eye, or a strip with both."""
    lay_ground(s)
    face = _express(s)
    if s.w > s.h * 2:
        for side in (-1, 1):
            props.big_eye(
                s.pen.at(s.w * (0.5 + 0.26 * side), s.h * 0.55, min(s.w * 0.19, s.h * 0.5), flip=side < 0),
                face,
                s.screen,
                s.rng,
            )
    else:
        props.big_eye(
            s.pen.at(s.w * 0.5, s.h * 0.55, min(s.w * 0.42, s.h * 0.5), flip=bool(s.rng.random() < 0.5)),
            face,
            s.screen,
            s.rng,
        )
    return s.w * 0.5, s.h * 0.55


def fist(s: Stage) -> Spot:
    """A clenched or flying fist."""
    lay_ground(s)
    pen = s.pen.at(
        s.w * 0.55, s.h * 0.46, min(s.w, s.h) * 0.3, angle=s.rng.uniform(-0.5, 0.3), flip=bool(s.rng.random() < 0.5)
    )
    draw_fist(pen, s.screen)
    return s.w * 0.5, s.h * 0.5


def clasp(s: Stage) -> Spot:
    """One hand laid in another."""
    lay_ground(s)
    draw_clasped(s.pen.at(s.w * 0.5, s.h * 0.5, min(s.w * 0.22, s.h * 0.34), angle=s.rng.uniform(-0.3, 0.3)), s.screen)
    return s.w * 0.5, s.h * 0.5


def reach(s: Stage) -> Spot:
    """A hand that reaches out of the dark."""
    lay_ground(s)
    for i in range(int(s.rng.integers(1, 4))):
        x = s.w * s.rng.uniform(0.2, 0.8)
        draw_hand_reach(
            s.pen.at(x, s.h * s.rng.uniform(0.5, 0.7), min(s.w, s.h) * 0.17, angle=s.rng.uniform(-0.4, 0.4)),
            WHITE if i % 2 == 0 else BLACK,
            s.rng,
        )
    return s.w * 0.5, s.h * 0.5


def lurk(s: Stage) -> Spot:
    """Black, and something in it."""
    black(s)
    if s.rng.random() < 0.5:
        effects.eyes_in_dark(s.pen, s.w, s.h, s.rng, int(s.rng.integers(1, 7)))
    else:
        props.skull(s.pen.at(s.w * 0.5, s.h * 0.48, min(s.w, s.h) * 0.32))
        effects.drips(s.pen, s.w, s.h, s.rng)
    return s.w * 0.5, s.h * 0.5


def shape_in_light(s: Stage) -> Spot:
    """A black figure against a pale ground, its shadow before it."""
    white(s)
    effects.murk(s.pen, s.w, s.h, s.rng, s.screen, low=0.1, high=0.7)
    tall = s.h * s.rng.uniform(0.6, 1.1)
    draw_figure(
        s.pen.at(s.w * 0.5, s.h * 0.98, tall, flip=bool(s.rng.random() < 0.5)),
        s.cast[-1],
        POSES["loom"],
        _express(s),
        s.rng,
        s.screen,
        silhouette=True,
    )
    grass(s.pen, s.w, s.h, s.rng, False)
    return s.w * 0.5, s.h - tall * 0.8


def noise(s: Stage) -> Spot:
    """A sound alone."""
    lay_ground(s)
    sound(s.pen, s.w * 0.2, s.h * 0.15, min(s.w * 0.35, s.h * 0.35), s.mood, s.rng)
    return s.w * 0.5, s.h * 0.5


def _someone(s: Stage) -> Look:
    return s.cast[0] if s.rng.random() < 0.4 else s.cast[int(s.rng.integers(0, len(s.cast)))]


def _item(s: Stage, pose: str) -> str:
    if (
        pose in ("slash", "leap", "run")
        and s.genre in ("historical drama", "fantasy", "battle")
        and s.rng.random() < 0.7
    ):
        return "sword"
    if pose == "point" and s.mood in ("Angry", "Exciting") and s.genre in ("suspense", "battle"):
        return "gun"
    return "flower" if pose == "offer" and s.mood == "Tender" and s.rng.random() < 0.5 else ""


def _animal(s: Stage, pen: Pen) -> None:
    props.cat_or_dog(
        pen, str(s.rng.choice(("cat", "dog"))), _express(s), s.rng, s.screen, fur=float(s.rng.choice((0.0, 0.3, 1.0)))
    )


SHOTS: dict[str, tuple[tuple[Shot, float], ...]] = {
    "Happy": ((close, 3), (bust, 2.5), (full, 3), (pair, 2), (duo, 1), (view, 0.7), (crowd, 0.5)),
    "Funny": ((full, 4), (close, 2.5), (bust, 3), (duo, 2.5), (pair, 1.5)),
    "Sad": ((alone, 3.5), (close, 2.5), (bust, 2), (view, 1.5), (eye, 0.8), (full, 1)),
    "Tender": ((pair, 4), (close, 3), (clasp, 1.3), (bust, 2), (duo, 2), (view, 0.6)),
    "Exciting": ((full, 5), (duo, 2.5), (close, 2), (eye, 1), (fist, 1.3), (noise, 0.8), (view, 0.3)),
    "Angry": ((close, 4.5), (bust, 1.5), (eye, 1.3), (fist, 1.3), (full, 1.5), (pair, 1.3), (noise, 0.5)),
    "Scary": (
        (close, 2.5),
        (eye, 1.8),
        (lurk, 2),
        (reach, 1.2),
        (shape_in_light, 1.8),
        (view, 1.3),
        (bust, 1),
        (full, 0.8),
    ),
    "": ((bust, 4), (close, 2), (pair, 2), (full, 2), (view, 1.3), (crowd, 0.3)),
}


# Framings that hold too little to fill the largest panel of a page.
_SMALL_ONLY = (noise, fist, clasp, eye, crowd)


def choose_shot(mood: str, rng: np.random.Generator, *, largest: bool) -> Shot:
    """A framing that suits the mood; `largest` for the page's largest panel."""
    options = [(shot, weight) for shot, weight in SHOTS[mood] if not (largest and shot in _SMALL_ONLY)]
    weights = np.array([weight for _, weight in options])
    return options[int(rng.choice(len(options), p=weights / weights.sum()))][0]
