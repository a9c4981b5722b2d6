"""Keys, modes, chords and metres: what the composer knows of music theory.

Pitches are MIDI numbers (69 = A4 = 440 Hz); steps are sixteenth notes.
"""

from __future__ import annotations

from dataclasses import dataclass

NOTE_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")

MODES: dict[str, tuple[int, ...]] = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "lydian": (0, 2, 4, 6, 7, 9, 11),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "harmonic minor": (0, 2, 3, 5, 7, 8, 11),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "octatonic": (0, 1, 3, 4, 6, 7, 9, 10),
    "chromatic": tuple(range(12)),
}

_QUALITIES: dict[str, tuple[int, ...]] = {
    "M": (0, 4, 7),
    "m": (0, 3, 7),
    "d": (0, 3, 6),
    "a": (0, 4, 8),
    "s": (0, 5, 7),
    "7": (0, 4, 7, 10),
    "j": (0, 4, 7, 11),
    "9": (0, 4, 7, 14),
    "o": (0, 3, 6, 9),
    "c": (0, 1, 6, 7),
    "p": (0, 7, 12),
}


@dataclass(frozen=True)
class Metre:
    """Length of a bar and of a beat, both in sixteenth notes."""

    name: str
    bar: int
    beat: int


METRES = {"4/4": Metre("4/4", 16, 4), "3/4": Metre("3/4", 12, 4), "6/8": Metre("6/8", 12, 6)}


@dataclass(frozen=True)
class Chord:
    """A root (pitch class 0..11) with the intervals above it, in semitones."""

    root: int
    intervals: tuple[int, ...]

    @property
    def classes(self) -> frozenset[int]:
        """Pitch classes of the chord."""
        return frozenset((self.root + interval) % 12 for interval in self.intervals)

    def voicing(self, centre: float, voices: int) -> list[int]:
        """The `voices` chord pitches nearest to `centre`, low to high: close position, so that voices move little."""
        low = round(centre) - 12
        near = [pitch for pitch in range(low, low + 25) if pitch % 12 in self.classes]
        near.sort(key=lambda pitch: (abs(pitch - centre), pitch))
        return sorted(near[:voices])

    def bass(self, centre: float) -> list[int]:
        """Root nearest to `centre`, its fifth (as the chord has it) and octave."""
        root = round((centre - self.root) / 12) * 12 + self.root
        fifth = min(self.intervals, key=lambda interval: abs(interval - 7))
        return [root, root + fifth, root + 12]


@dataclass(frozen=True)
class Key:
    """A tonic (pitch class 0..11) and a mode's name."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        """The tonic in letters."""
        return NOTE_NAMES[self.tonic]

    @property
    def scale(self) -> tuple[int, ...]:
        """Semitones of the mode above the tonic."""
        return MODES[self.mode]

    def pitches(self, low: float, high: float) -> list[int]:
        """Every pitch of the scale from `low` to `high`."""
        classes = {(self.tonic + step) % 12 for step in self.scale}
        return [pitch for pitch in range(round(low), round(high) + 1) if pitch % 12 in classes]

    def chord(self, token: str) -> Chord:
        """A chord from a token such as `4`, `b6`, `5M`, `1s`.

        An accidental counts the degree from the major scale and makes the chord major; without a quality letter the
        chord is the stack of the mode's own thirds. Letters: M m d a (triads), s (sus4), 7, j (major 7), 9 (add 9),
        o (diminished 7), c (cluster), p (fifths).
        """
        accidental = {"b": -1, "#": 1}.get(token[0], 0)
        digits = token[1:] if accidental else token
        degree, quality = int(digits[0]) - 1, digits[1:]
        scale = MODES["major"] if accidental else self.scale
        root = scale[degree % len(scale)] + accidental
        if quality or accidental:
            intervals = _QUALITIES[quality or "M"]
        else:
            intervals = tuple((scale[(degree + skip) % len(scale)] - root) % 12 for skip in (0, 2, 4))
        return Chord((self.tonic + root) % 12, intervals)
