"""Melodies: a motif that returns, moves in steps more than in leaps, and rests on chord tones.

Small intervals, inertia and the return of a motif are what listeners expect of a tune (Narmour 1990; Huron 2006, Sweet
Anticipation); each kind of line bends these habits: sighs fall, fanfares leap, wails glide, sneaks slip between notes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .theory import Chord, Key, Metre


@dataclass(frozen=True)
class Line:
    """A kind of melody.

    Attributes:
        density: factor on the mood's notes per beat.
        leap: chance of moving by more than a step.
        drift: mean scale steps per note; below 0 the line falls.
        rest: chance that a bar is silent.
        strict: chance that a note on a beat is drawn to the chord.
        chromatic: added chance of a slip out of the scale or a grace note.
        sequence: scale steps by which every other bar's motif is lifted.
        even: all notes of one length (runs).
        legato: factor on the mood's articulation.
        glide: semitones from which long notes are slid into.
    """

    density: float = 1.0
    leap: float = 0.25
    drift: float = 0.0
    rest: float = 0.04
    strict: float = 0.75
    chromatic: float = 0.0
    sequence: int = 0
    even: bool = False
    legato: float = 1.0
    glide: float = 0.0


LINES: dict[str, Line] = {
    "song": Line(),
    "hook": Line(density=1.15, leap=0.35, rest=0.0, strict=0.6),
    "dance": Line(density=1.4, leap=0.3, even=True, rest=0.02, strict=0.9),
    "rag": Line(density=1.6, leap=0.5, strict=0.8, chromatic=0.1),
    "sneak": Line(density=0.9, leap=0.3, rest=0.12, strict=0.5, chromatic=0.25, legato=0.7),
    "chromatic run": Line(density=1.7, leap=0.1, drift=-0.4, rest=0.08, strict=0.4, chromatic=0.45, even=True),
    "sigh": Line(density=0.9, leap=0.15, drift=-0.45, rest=0.05, strict=0.8),
    "long": Line(density=0.6, leap=0.2, rest=0.0, strict=0.9, legato=1.05),
    "sparse": Line(density=0.55, leap=0.5, rest=0.3, strict=0.5),
    "fanfare": Line(density=0.9, leap=0.65, rest=0.05, strict=1.0, drift=0.25, sequence=1),
    "rising": Line(density=1.0, leap=0.25, drift=0.3, rest=0.0, sequence=1),
    "run": Line(density=1.6, leap=0.15, drift=0.2, rest=0.0, strict=0.7, even=True, sequence=1),
    "riff": Line(density=1.1, leap=0.35, drift=-0.2, rest=0.1, strict=0.5, chromatic=0.15),
    "shred": Line(density=1.7, leap=0.2, rest=0.1, strict=0.5, chromatic=0.15, even=True),
    "wail": Line(density=0.5, leap=0.3, rest=0.15, strict=0.2, chromatic=0.3, glide=1.5, legato=1.2),
}


@dataclass(frozen=True)
class Pitched:
    """A melody note: step in the piece, length in steps, MIDI pitch, accent 0..1, slide, whether a grace note leads."""

    step: float
    length: float
    pitch: float
    accent: float
    bend: float = 0.0
    grace: bool = False


@dataclass(frozen=True)
class Motif:
    """A bar's rhythm (onsets and a last end, in steps) and contour (scale steps from note to note)."""

    onsets: tuple[int, ...]
    moves: tuple[int, ...]


def motif(line: Line, metre: Metre, density: float, rng: np.random.Generator) -> Motif:
    """Draws a motif of about `density` notes a beat."""
    beats = metre.bar / metre.beat
    wanted = max(1, round(density * line.density * beats * rng.uniform(0.8, 1.2)))
    if line.even:
        every = next((e for e in (1, 2, 4) if metre.bar / e <= wanted * 1.4), 4)
        onsets = list(range(0, metre.bar, every))
    else:
        grid = np.arange(metre.bar)
        weight = np.where(grid % metre.beat == 0, 6.0, np.where(grid % 2 == 0, 2.2, 0.25))
        weight[0] = 9.0
        chosen = rng.choice(metre.bar, size=min(wanted, metre.bar // 2), replace=False, p=weight / weight.sum())
        onsets = sorted(int(step) for step in chosen)
    moves = []
    last = 0
    for _ in onsets:
        size = int(rng.integers(2, 5)) if rng.random() < line.leap else 1
        # a leap is answered by turning back (Narmour's gap fill)
        up = rng.random() < 0.5 + 0.3 * line.drift + (0.0 if abs(last) < 2 else -0.35 * np.sign(last))
        last = size if up else -size
        moves.append(0 if rng.random() < 0.12 else last)
    return Motif(tuple(onsets), tuple(moves))


def melody(
    line: Line,
    key: Key,
    chords: list[Chord],
    metre: Metre,
    centre: float,
    density: float,
    chromatic: float,
    rng: np.random.Generator,
) -> list[Pitched]:
    """A melody over one chord a bar: phrases of four bars, motifs in the order A A' B A."""
    ladder = key.pitches(centre - 11, centre + 12)
    motifs = [motif(line, metre, density, rng) for _ in range(2)]
    notes: list[Pitched] = []
    position = len(ladder) // 2
    for bar, chord in enumerate(chords):
        place = bar % 4
        if rng.random() < line.rest:
            continue
        chosen = motifs[1 if place == 2 else 0]
        lift = line.sequence * (bar % 4)
        position += round((len(ladder) // 2 + lift - position) * 0.5)  # each bar begins near the middle again
        onsets = chosen.onsets
        if place == 3 and not line.even:
            onsets = onsets[: max(1, (len(onsets) + 1) // 2)]  # the phrase ends on a longer note
        for number, onset in enumerate(onsets):
            position = int(np.clip(position + chosen.moves[number], 0, len(ladder) - 1))
            if onset % metre.beat == 0 and rng.random() < line.strict:
                position = _nearest_in_chord(ladder, position, chord)
            end = onsets[number + 1] if number + 1 < len(onsets) else metre.bar
            pitch = float(ladder[position])
            odd = rng.random() < chromatic + line.chromatic
            slip = odd and onset % metre.beat != 0 and rng.random() < 0.6
            length = end - onset
            notes.append(
                Pitched(
                    bar * metre.bar + onset,
                    length,
                    pitch + (1 if slip else 0),
                    0.95 if onset % metre.beat == 0 else 0.8,
                    line.glide * float(rng.choice((-1, 1))) if length > 3 else 0.0,
                    odd and not slip,
                )
            )
    return notes


def _nearest_in_chord(ladder: list[int], position: int, chord: Chord) -> int:
    inside = [k for k, pitch in enumerate(ladder) if pitch % 12 in chord.classes]
    return min(inside, key=lambda k: abs(k - position), default=position)
