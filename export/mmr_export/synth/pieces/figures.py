"""Rhythmic figures of accompaniment and drums, bar by bar, on a grid of sixteenth notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .theory import Metre


@dataclass(frozen=True)
class Stroke:
    """One onset of an accompaniment: step in the bar, length in steps, which voices (None: all), accent 0..1."""

    step: float
    length: float
    voices: tuple[int, ...] | None = None
    accent: float = 0.8


Pattern = Callable[[Metre, np.random.Generator], list[Stroke]]


def _grid(metre: Metre, every: int, offset: int = 0, *, accents: float = 0.25) -> list[Stroke]:
    steps = range(offset, metre.bar, every)
    return [Stroke(s, every, None, 0.7 + accents * (s % metre.beat == 0) * (1 if s else 1.2)) for s in steps]


def _cycle(metre: Metre, every: int, order: tuple[int, ...], hold: float) -> list[Stroke]:
    steps = range(0, metre.bar, every)
    return [
        Stroke(s, every * hold, (order[k % len(order)],), 0.85 if s % metre.beat == 0 else 0.65)
        for k, s in enumerate(steps)
    ]


def _whole(metre: Metre, _: np.random.Generator) -> list[Stroke]:
    return [Stroke(0, metre.bar, (0,))]


def _block(metre: Metre, _: np.random.Generator) -> list[Stroke]:
    return [Stroke(0, metre.bar)]


def _quarters(metre: Metre, _: np.random.Generator) -> list[Stroke]:
    return _alternating(_grid(metre, metre.beat), (0, 1))


def _eighths(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    strokes = [Stroke(s.step, s.length, (0,), s.accent) for s in _grid(metre, 2)]
    if rng.random() < 0.4:
        last = strokes[-1]
        strokes[-1] = Stroke(last.step, last.length, (2,), last.accent)
    return strokes


def _eighths_off(metre: Metre, _: np.random.Generator) -> list[Stroke]:
    return _alternating(_grid(metre, 2), (0, 2))


def _sixteenths(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    strokes = _grid(metre, 1)
    return [Stroke(s.step, 1, (2,) if rng.random() < 0.1 else (0,), s.accent) for s in strokes if rng.random() < 0.9]


def _off_beats(metre: Metre, _: np.random.Generator) -> list[Stroke]:
    if metre.beat == 6:
        return [Stroke(s, 2, None, 0.7) for s in (2, 4, 8, 10)]
    return _grid(metre, 4, 2)


def _oom_pah(metre: Metre, _: np.random.Generator) -> list[Stroke]:
    if metre.beat == 6:
        return [Stroke(4, 2), Stroke(10, 2)]
    if metre.bar == 12:
        return [Stroke(4, 3, None, 0.7), Stroke(8, 3, None, 0.65)]
    return [Stroke(4, 3), Stroke(12, 3)] if metre.bar == 16 else _grid(metre, 4, 4)


def _root_fifth(metre: Metre, _: np.random.Generator) -> list[Stroke]:
    if metre.bar == 12 and metre.beat == 4:
        return [Stroke(0, 4, (0,))]
    return [Stroke(0, metre.bar / 2 - 1, (0,)), Stroke(metre.bar / 2, metre.bar / 2 - 1, (1,))]


def _strum(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    bars = {
        16: ((0, 4, 6, 10, 12, 14), (0, 4, 7, 10, 14), (0, 2, 4, 6, 8, 10, 12, 14)),
        12: ((0, 4, 6, 8, 10), (0, 6, 10)),
    }
    steps = bars[metre.bar][int(rng.integers(len(bars[metre.bar])))]
    ends = (*steps[1:], metre.bar)
    return [Stroke(s, e - s, None, 0.85 if s % metre.beat == 0 else 0.6) for s, e in zip(steps, ends, strict=True)]


def _syncopated(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    bars = {16: ((0, 6, 12), (0, 3, 6, 10, 12), (0, 6, 10), (2, 6, 10, 14)), 12: ((0, 6, 10), (0, 4, 10))}
    steps = bars[metre.bar][int(rng.integers(len(bars[metre.bar])))]
    ends = (*steps[1:], metre.bar)
    return [Stroke(s, min(e - s, 4), None, 0.8) for s, e in zip(steps, ends, strict=True)]


def _stabs(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    steps = [s for s in range(0, metre.bar, 2) if rng.random() < (0.7 if s == 0 else 0.22)]
    return [Stroke(s, 2, None, 1.0) for s in steps]


def _gallop(metre: Metre, _: np.random.Generator) -> list[Stroke]:
    return [
        Stroke(beat + s, length, (0,) if s else None, 0.9 if s == 0 else 0.65)
        for beat in range(0, metre.bar, 4)
        for s, length in ((0, 2), (2, 1), (3, 1))
    ]


def _chug(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    accents = {0, 6, 12} if rng.random() < 0.5 else {0, 4, 8, 12}
    return [Stroke(s, 2, None, 1.0 if s in accents else 0.7) for s in range(0, metre.bar, 2)]


def _chug_16(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    keep = rng.random(metre.bar) < 0.75
    return [Stroke(s, 1, None, 1.0 if s % 4 == 0 else 0.65) for s in range(metre.bar) if keep[s] or s % 4 == 0]


def _ostinato(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    orders = ((0, 0, 1, 0, 0, 2, 0, 1), (0, 1, 2, 1), (0, 0, 2, 0, 1, 0), (2, 1, 0, 1))
    every = 1 if rng.random() < 0.35 else 2
    return _cycle(metre, every, orders[int(rng.integers(len(orders)))], 1)


def _alternating(strokes: list[Stroke], voices: tuple[int, ...]) -> list[Stroke]:
    return [Stroke(s.step, s.length, (voices[k % len(voices)],), s.accent) for k, s in enumerate(strokes)]


def _arpeggio(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    orders = ((0, 1, 2, 3), (0, 1, 2, 3, 2, 1), (3, 2, 1, 0), (0, 2, 1, 3))
    return _cycle(metre, 2, orders[int(rng.integers(len(orders)))], 2)


def _arpeggio_16(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    orders = ((0, 1, 2, 3), (0, 1, 2, 1), (0, 2, 1, 3), (3, 2, 1, 0))
    return _cycle(metre, 1, orders[int(rng.integers(len(orders)))], 1)


def _broken(metre: Metre, rng: np.random.Generator) -> list[Stroke]:
    orders = ((0, 2, 1, 2), (0, 1, 2, 3), (0, 1, 2, 1), (0, 1, 2, 3, 2, 1))
    return _cycle(metre, 2, orders[int(rng.integers(len(orders)))], 3)


PATTERNS: dict[str, Pattern] = {
    "whole": _whole,
    "block": _block,
    "quarters": _quarters,
    "eighths": _eighths,
    "eighths off": _eighths_off,
    "sixteenths": _sixteenths,
    "off-beats": _off_beats,
    "oom-pah": _oom_pah,
    "root fifth": _root_fifth,
    "strum": _strum,
    "syncopated": _syncopated,
    "stabs": _stabs,
    "gallop": _gallop,
    "chug": _chug,
    "chug 16": _chug_16,
    "ostinato": _ostinato,
    "arpeggio": _arpeggio,
    "arpeggio 16": _arpeggio_16,
    "broken": _broken,
}

# Drum patterns: drum -> one bar. x a blow, o a soft one, ? now and then. A shorter bar takes as much as it holds.
GROOVES: dict[str, dict[str, str]] = {
    "none": {},
    "pop": {"kick": "x.....x.x.....?.", "snare": "....x.......x...", "hat": "x.o.x.o.x.o.x.o."},
    "pop busy": {
        "kick": "x..x..x.x..x..?.",
        "snare": "....x..?....x..?",
        "hat": "xoxoxoxoxoxoxoxo",
        "tambourine": "....x.......x...",
    },
    "claps": {"kick": "x.......x.......", "clap": "....x.......x...", "shaker": "o.x.o.x.o.x.o.x."},
    "shuffle": {"kick": "x.......x..?....", "rim": "....x.......x...", "shaker": "x.oox.oox.oox.oo"},
    "tambourine": {"tambourine": "x...o...x...o...", "kick": "x.......x......."},
    "triangle march": {"snare": "o..ox...o..ox.?.", "tambourine": "....x.......x..."},
    "waltz": {"kick": "x...........", "brush": "....x...x..."},
    "jig": {"low tom": "x.....x.....", "tambourine": "x.o.o.x.o.o."},
    "chip": {"chip kick": "x...x...x...x...", "chip snare": "....x.......x..?", "chip hat": "..x...x...x...x."},
    "chip fast": {"chip kick": "x.x...x.x.x...x.", "chip snare": "....x..?....x.?x", "chip hat": "xxxxxxxxxxxxxxxx"},
    "chip sparse": {"chip kick": "x.......x.......", "chip hat": "....x..?....x..."},
    "woodblock": {"woodblock": "x.....?.x...?...", "low woodblock": "....x......?x..."},
    "cartoon": {"woodblock": "x.x...?.x.x.?...", "snare": "....o.......o..?", "cowbell": "......?.......?."},
    "march": {"kick": "x.......x.......", "snare": "o..ox.oo..o.x.oo", "crash": "?..............."},
    "polka": {"kick": "x...x...x...x...", "snare": "..x...x...x...x.", "crash": "?..............."},
    "brushes": {"brush": "x...x.oox...x.oo", "kick": "x.......x......."},
    "rag": {"brush": "..x...x...x...x.", "woodblock": "x..x..x.x..x..?.", "kick": "x.......x......."},
    "heart": {"heart": "x..o............"},
    "ticks": {"tick": "x...o...x...o..."},
    "boom": {"boom": "?..............."},
    "four on floor": {
        "hard kick": "x...x...x...x...",
        "clap": "....x.......x...",
        "open hat": "..x...x...x...x.",
        "hat": "x.xxx.xxx.xxx.xx",
    },
    "four hard": {"hard kick": "x...x...x...x..x", "snare": "....x.......x.x.", "open hat": "..x...x...x...x."},
    "breakbeat": {
        "kick": "x.x.......x..?..",
        "snare": "....x..o.o..x..?",
        "hat": "x.x.x.x.x.x.x.x.",
        "ride": "x...x...x...x...",
    },
    "rock": {
        "kick": "x.....x.x.x.....",
        "snare": "....x.......x..?",
        "hat": "x.x.x.x.x.x.x.x.",
        "crash": "?...............",
    },
    "rock fast": {
        "kick": "x.x...x.x.x...x.",
        "snare": "....x.......x.??",
        "open hat": "x.x.x.x.x.x.x.x.",
        "crash": "?...............",
    },
    "punk": {
        "kick": "x...x...x...x...",
        "snare": "..x...x...x...x.",
        "open hat": "x.x.x.x.x.x.x.x.",
        "crash": "?...............",
    },
    "double kick": {
        "hard kick": "xxxxxxxxxxxxxxxx",
        "snare": "....x.......x..?",
        "ride": "x...x...x...x...",
        "crash": "?...............",
    },
    "blast": {"hard kick": "x.x.x.x.x.x.x.x.", "snare": ".x.x.x.x.x.x.x.x", "crash": "x.......?......."},
    "industrial": {
        "hard kick": "x..x..x.x..x..xx",
        "snare": "....x.......x...",
        "anvil": "x.....?...x.?...",
        "hat": "xxxxxxxxxxxxxxxx",
    },
    "epic": {
        "taiko": "x..x..x.x..x..xx",
        "low tom": "..x.....x.x.x.x.",
        "snare": "..oo..oo..oo..xx",
        "crash": "?...............",
    },
    "taiko": {"taiko": "x..o..x...x.x.oo", "boom": "?...............", "low tom": "......x.......xx"},
    "war": {
        "taiko": "x.x.x.xxx.x.x.xx",
        "timpani": "x.......x.....x.",
        "snare": "....x.......x.xx",
        "crash": "?...............",
    },
}
_STRENGTH = {"x": 1.0, "o": 0.45, "?": 0.8}


def groove(name: str, metre: Metre, rng: np.random.Generator) -> list[tuple[int, str, float]]:
    """One bar of a drum pattern: (step, drum, velocity) of every blow."""
    blows = []
    for drum, line in GROOVES[name].items():
        for step, mark in enumerate(line[: metre.bar]):
            if mark in "xo" or (mark == "?" and rng.random() < 0.4):
                blows.append((step, drum, _STRENGTH[mark] * float(rng.uniform(0.85, 1.0))))
    return blows


def fill(metre: Metre, rng: np.random.Generator) -> list[tuple[int, str, float]]:
    """The last beat of a phrase as a run down the toms."""
    drums = ("snare", "snare", "high tom", "low tom")
    start = metre.bar - metre.beat
    return [(start + step, drums[min(step, 3)], 0.6 + 0.1 * step) for step in range(metre.beat) if rng.random() < 0.85]
