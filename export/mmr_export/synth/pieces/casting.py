"""What a style of background music is made of: a cast of instruments and what each of them plays."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Layer:
    """One accompanying voice.

    Attributes:
        pattern: name of a rhythm of figures.PATTERNS.
        instruments: one of them is drawn.
        centre: MIDI pitch around which it lies.
        gain: level.
        chance: how often the layer is there at all.
        voicing: `chord`, `bass` (root, fifth, octave), `power` (the same, all at once), `cluster` or `drone` (tonic).
        articulation: factor on the mood's articulation.
    """

    pattern: str
    instruments: str
    centre: float = 60
    gain: float = 0.5
    chance: float = 1.0
    voicing: str = "chord"
    articulation: float = 1.0


@dataclass(frozen=True)
class Style:
    """A cast for one mood.

    Attributes:
        mood: its main mood.
        leads: melody instruments separated by `|`; empty for no melody.
        lines: kinds of melody (melody.LINES) separated by `|`.
        layers: accompaniment and bass.
        grooves: drum patterns (figures.GROOVES) separated by `|`; `none` for no drums.
        effects: names of effects (composing) separated by `|`, each there every other time.
        also: a second mood that the style itself hints at, with its grade.
        metres: metres separated by `|`.
        tempo: factor on the mood's tempo.
        register: semitones added to the mood's register.
        swing: share by which off-beat eighths come late.
        detune: spread in semitones of each note's pitch.
        gain: level of the melody.
    """

    mood: str
    leads: str
    lines: str
    layers: tuple[Layer, ...]
    grooves: str = "none"
    effects: str = ""
    also: tuple[str, int] | None = None
    metres: str = "4/4"
    tempo: float = 1.0
    register: float = 0.0
    swing: float = 0.0
    detune: float = 0.0
    gain: float = 0.8
