"""What lies behind the figures of a panel: the mood's own ground, or the place where the story is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmr_export.synth.pages import effects
from mmr_export.synth.pages.cast import Look
from mmr_export.synth.pages.ink import BLACK, WHITE, Pen
from mmr_export.synth.pages.scenery import PLACES
from mmr_export.synth.pages.tone import Screen, clouds, hatch, shade, vertical, vignette


@dataclass(frozen=True)
class Stage:
    """One panel being drawn.

    Attributes:
        pen: in panel pixels, origin at the corner of the panel's bounding box.
        w, h: size of that box.
        rng: the panel's randomness.
        mood: its mood, "" for plain narration.
        energy: 0..3, how much moves.
        screen: the page's tone.
        cast: the characters; the first leads.
        genre, place, night: of the story.
    """

    pen: Pen
    w: float
    h: float
    rng: np.random.Generator
    mood: str
    energy: int
    screen: Screen
    cast: tuple[Look, ...]
    genre: str
    place: str
    night: bool

    @property
    def rect(self) -> list[tuple[float, float]]:
        """The box as a polygon."""
        return [(0, 0), (self.w, 0), (self.w, self.h), (0, self.h)]

    @property
    def middle(self) -> tuple[float, float]:
        """Where the eye should go."""
        return self.w * 0.5, self.h * 0.5


Ground = Callable[[Stage], None]


def scenery(s: Stage) -> None:
    """The place itself."""
    PLACES[s.place][1](s.pen, s.w, s.h, s.rng, s.screen, s.night or s.mood == "Scary")


def white(s: Stage) -> None:
    """Nothing: silence, or a plain talking head."""
    s.pen.fill(s.rect, WHITE)


def black(s: Stage) -> None:
    """Solid black."""
    s.pen.fill(s.rect, BLACK)


def flat(s: Stage) -> None:
    """An even light tone."""
    shade(s.pen, s.rect, float(s.rng.choice((0.12, 0.2, 0.3))), s.screen)


def _dots(s: Stage) -> None:
    """Coarse pop dots."""
    shade(s.pen, s.rect, float(s.rng.uniform(0.15, 0.3)), Screen(int(s.rng.choice((16, 20, 24)))))


def _sunny(s: Stage) -> None:
    effects.rays(s.pen, s.w, s.h, s.rng, s.screen, (s.w * s.rng.uniform(0.2, 0.8), s.h * s.rng.uniform(0.2, 0.8)))
    effects.sparkles(s.pen, s.w, s.h, s.rng, 6)


def _glitter(s: Stage) -> None:
    shade(s.pen, s.rect, vignette(0.0, 0.25), s.screen)
    effects.sparkles(s.pen, s.w, s.h, s.rng, 12)


def _singing(s: Stage) -> None:
    effects.notes(s.pen, s.w, s.h, s.rng, 7)
    effects.petals(s.pen, s.w, s.h, s.rng, 6)


def _bouquet(s: Stage) -> None:
    shade(s.pen, s.rect, clouds(s.rng, 0.0, 0.22), s.screen)
    effects.flowers(s.pen, s.w, s.h, s.rng, s.screen, 9)


def _bokeh(s: Stage) -> None:
    effects.bubbles(s.pen, s.w, s.h, s.rng, s.screen, 16)
    effects.sparkles(s.pen, s.w, s.h, s.rng, 5)


def _haze(s: Stage) -> None:
    shade(s.pen, s.rect, vertical(0.28, 0.0) if s.rng.random() < 0.5 else vertical(0.0, 0.25), s.screen)
    effects.petals(s.pen, s.w, s.h, s.rng, 9)


def _sinking(s: Stage) -> None:
    shade(s.pen, s.rect, vertical(0.75, 0.05, 0.8), s.screen)


def _rainy(s: Stage) -> None:
    if s.rng.random() < 0.5:
        scenery(s)
    shade(s.pen, s.rect, vertical(0.5, 0.2), s.screen)
    effects.rain(s.pen, s.w, s.h, s.rng, slant=-0.12, count=60)
    effects.rain(s.pen, s.w, s.h, s.rng, slant=-0.12, count=30, ink=WHITE)


def _autumn(s: Stage) -> None:
    shade(s.pen, s.rect, vertical(0.0, 0.2), s.screen)
    effects.petals(s.pen, s.w, s.h, s.rng, 7, ink=90)


def _grey(s: Stage) -> None:
    shade(s.pen, s.rect, vignette(0.25, 0.6), s.screen)


def _focus(s: Stage) -> None:
    white(s)
    effects.focus_lines(s.pen, s.w, s.h, s.rng, centre=s.middle, hollow=0.62, count=60 + 30 * s.energy)


def _focus_dark(s: Stage) -> None:
    black(s)
    effects.focus_lines(s.pen, s.w, s.h, s.rng, centre=s.middle, hollow=0.5, count=110, ink=WHITE)


def _rush(s: Stage) -> None:
    angle = float(s.rng.choice((0.0, 0.0, -0.4, 0.4, 1.57)) + s.rng.uniform(-0.12, 0.12))
    if s.rng.random() < 0.25:
        black(s)
        effects.speed_lines(s.pen, s.w, s.h, s.rng, angle=angle, count=90, ink=WHITE)
    else:
        effects.speed_lines(s.pen, s.w, s.h, s.rng, angle=angle, count=90)


def _blast(s: Stage) -> None:
    _focus(s)
    effects.burst(s.pen, s.w * s.rng.uniform(0.3, 0.7), s.h * s.rng.uniform(0.3, 0.7), min(s.w, s.h) * 0.36, s.rng)


def _flames(s: Stage) -> None:
    shade(s.pen, s.rect, 0.3, s.screen)
    effects.aura(s.pen, s.w, s.h, s.rng, s.middle)


def _hatched(s: Stage) -> None:
    white(s)
    angle = float(s.rng.uniform(0.5, 1.1))
    hatch(s.pen, s.rect, max(7.0, s.h * 0.025), angle, s.rng, weight=0.9)
    hatch(s.pen, s.rect, max(7.0, s.h * 0.03), angle + 0.9, s.rng, weight=0.9)
    shade(s.pen, s.rect, vignette(0.0, 0.6), s.screen)


def _murky(s: Stage) -> None:
    effects.murk(s.pen, s.w, s.h, s.rng, s.screen)


def _dripping(s: Stage) -> None:
    shade(s.pen, s.rect, vertical(0.7, 0.3), s.screen)
    effects.drips(s.pen, s.w, s.h, s.rng)


def _shock(s: Stage) -> None:
    effects.shock(s.pen, s.w, s.h, s.rng)


def _downcast(s: Stage) -> None:
    flat(s)
    effects.gloom(s.pen, s.w, s.h, s.rng, 30)


GROUNDS: dict[str, tuple[tuple[Ground, float], ...]] = {
    "Happy": ((_sunny, 3), (_glitter, 3), (_singing, 2), (white, 1), (scenery, 2)),
    "Funny": ((white, 3), (_dots, 2), (flat, 1.5), (_shock, 1.2), (_downcast, 1.2), (scenery, 1), (_focus, 0.7)),
    "Sad": ((_sinking, 2.5), (_rainy, 3), (white, 2), (_grey, 1.5), (_autumn, 1.2), (scenery, 0.7)),
    "Tender": ((_bouquet, 3), (_bokeh, 3), (_haze, 2.5), (white, 0.7), (scenery, 0.7)),
    "Exciting": ((_focus, 3), (_rush, 4), (_blast, 1.2), (_focus_dark, 1), (scenery, 0.6)),
    "Angry": ((_focus_dark, 2.5), (_flames, 2.5), (_hatched, 1.5), (_focus, 1.5), (black, 1)),
    "Scary": ((_murky, 3.5), (black, 2.5), (_dripping, 2), (_hatched, 0.8), (scenery, 1)),
    "": ((white, 4), (scenery, 3), (flat, 2)),
}


def lay_ground(s: Stage) -> None:
    """Choose and draw the panel's ground."""
    options = GROUNDS[s.mood]
    weights = np.array([weight for _, weight in options])
    options[int(s.rng.choice(len(options), p=weights / weights.sum()))][0](s)
