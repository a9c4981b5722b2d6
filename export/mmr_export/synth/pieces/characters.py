"""What makes music sound happy, funny, sad, tender, exciting, angry or scary: one table of distributions.

The ranges follow the literature on musical expression:

- Hevner (1936, 1937), Am. J. Psychology: mode, tempo, pitch, harmony and rhythm against adjectives (major and flowing:
  happy, tender; minor and low: sad; complex dissonant harmony: agitation; low and slow: sad, dignified).
- Juslin and Laukka (2003, 2004): cues of performers (happy: fast, staccato, bright, little variability; sad: slow,
  legato, soft, dark, vibrato; anger: fast, loud, sharp attacks, bright and noisy; fear: soft, irregular, staccato,
  pauses, sharp contrasts; tenderness: slow, soft, legato, dark timbre).
- Gabrielsson and Lindstroem (2010), Handbook of Music and Emotion, ch. 14: structural factors, all of the above.
- Eerola, Friberg and Bresin (2013), Frontiers in Psychology 4:487: mode and tempo weigh most, then register (high:
  happy or scared, low: sad, angry), dynamics, articulation, timbre; their effects add.
- Bresin and Friberg (2011), Cortex 47: values that people choose themselves for tempo, level, articulation, register.
- Livingstone, Muhlberger, Brown and Thompson (2010), Computer Music Journal 34(1): rules of mode, tempo, loudness,
  articulation and pitch height per quadrant of valence and arousal.
- Huron, Kinney and Precoda (2006), Huron (2004, humour in music): low and loud is threatening; pauses, wrong notes,
  mismatched instruments and drifts make listeners laugh.

Effects of the cues add (Eerola et al. 2013), so a blend of two moods lies between their ranges.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from mmr_runtime.moods import MOODS

Range = tuple[float, float]


@dataclass(frozen=True)
class Character:
    """Ranges of what a mood does to music.

    Attributes:
        tempo: beats per minute.
        articulation: share of a note's time that sounds (staccato 0.3, legato 1).
        density: notes of the melody per beat.
        register: centre of the melody (MIDI).
        level: RMS in dBFS.
        contrast: dB between quiet and loud stretches.
        tilt: dB per octave of brightness.
        reverb: seconds.
        wet: level of the reverb.
        dissonance: chance that a chord gets a semitone or tritone added.
        chromatic: chance of a grace note or a note out of the scale.
        pauses: chance that a bar ends in silence.
        rubato: relative spread of the tempo.
        jitter: irregularity of onsets in seconds.
        modes: modes, each with its weight.
        progressions: chord progressions to take in turn, a chord a bar (see theory.Key.chord).
    """

    tempo: Range
    articulation: Range
    density: Range
    register: Range
    level: Range
    contrast: Range
    tilt: Range
    reverb: Range
    wet: Range
    dissonance: Range
    chromatic: Range
    pauses: Range
    rubato: Range
    jitter: Range
    modes: tuple[tuple[str, float], ...]
    progressions: tuple[str, ...]


CHARACTERS: dict[str, Character] = {
    "Happy": Character(
        tempo=(108, 150),
        articulation=(0.5, 0.85),
        density=(1.2, 2.0),
        register=(72, 81),
        level=(-20, -14),
        contrast=(0, 4),
        tilt=(-1.5, 0.3),
        reverb=(0.5, 1.3),
        wet=(0.1, 0.3),
        dissonance=(0, 0),
        chromatic=(0, 0.04),
        pauses=(0, 0.03),
        rubato=(0, 0.01),
        jitter=(0.001, 0.008),
        modes=(("major", 8), ("mixolydian", 1), ("lydian", 1)),
        progressions=("1 4 5 1", "1 5 6 4", "1 4 1 5", "1 6 4 5", "1 3 4 5", "1 4 2 5", "4 5 1 6", "1 1 4 5"),
    ),
    "Funny": Character(
        tempo=(92, 170),
        articulation=(0.22, 0.45),
        density=(1.3, 2.4),
        register=(58, 80),
        level=(-22, -16),
        contrast=(0, 7),
        tilt=(-2.0, 0.0),
        reverb=(0.25, 0.7),
        wet=(0.05, 0.18),
        dissonance=(0, 0.1),
        chromatic=(0.12, 0.35),
        pauses=(0.08, 0.35),
        rubato=(0, 0.03),
        jitter=(0.001, 0.012),
        modes=(("major", 5), ("minor", 1), ("mixolydian", 1), ("harmonic minor", 2), ("lydian", 1)),
        progressions=("1 5M 1 5M", "1 1 5M 1", "1 6M 2M 5M", "1 b6 1 5M", "1 b2 1 5M", "1 1o 5M 1", "1 4 #4o 5M"),
    ),
    "Sad": Character(
        tempo=(46, 72),
        articulation=(0.92, 1.05),
        density=(0.6, 1.2),
        register=(60, 74),
        level=(-26, -19),
        contrast=(2, 8),
        tilt=(-2.5, -0.8),
        reverb=(1.5, 3.2),
        wet=(0.3, 0.6),
        dissonance=(0, 0.05),
        chromatic=(0, 0.05),
        pauses=(0, 0),
        rubato=(0.02, 0.06),
        jitter=(0.004, 0.02),
        modes=(("minor", 7), ("harmonic minor", 2), ("dorian", 1)),
        progressions=("1 6 3 7", "1 4 1 5m", "1 b7 b6 5m", "1 6 4 5", "1 4 6 5", "6 4 1 1", "1 3 4 6", "1 5m 6 4"),
    ),
    "Tender": Character(
        tempo=(56, 84),
        articulation=(0.9, 1.05),
        density=(0.8, 1.5),
        register=(67, 79),
        level=(-27, -20),
        contrast=(1, 5),
        tilt=(-2.0, -0.5),
        reverb=(1.2, 2.5),
        wet=(0.25, 0.5),
        dissonance=(0, 0),
        chromatic=(0, 0.02),
        pauses=(0, 0),
        rubato=(0.01, 0.05),
        jitter=(0.003, 0.015),
        modes=(("major", 9), ("lydian", 1)),
        progressions=("1j 4j 1j 4j", "1 3m 4j 1", "1 6m 4j 5s", "1 4 1 5", "1 5 6 4", "4j 1 2m 5s", "19 4j 6m 5s"),
    ),
    "Exciting": Character(
        tempo=(126, 178),
        articulation=(0.5, 0.8),
        density=(1.6, 2.8),
        register=(66, 80),
        level=(-18, -12),
        contrast=(2, 8),
        tilt=(-1.5, 0.3),
        reverb=(0.6, 1.8),
        wet=(0.12, 0.3),
        dissonance=(0, 0.05),
        chromatic=(0, 0.05),
        pauses=(0, 0.02),
        rubato=(0, 0.005),
        jitter=(0.0, 0.005),
        modes=(("minor", 5), ("dorian", 2), ("mixolydian", 2), ("major", 2), ("harmonic minor", 1)),
        progressions=("1 b6 b7 1", "1 b7 b6 b7", "1 b3 b7 4", "1 1 b6 b7", "b6 b7 1 1", "1 b6 b3 b7", "1 4 b6 b7"),
    ),
    "Angry": Character(
        tempo=(118, 185),
        articulation=(0.35, 0.7),
        density=(1.5, 3.0),
        register=(50, 66),
        level=(-15, -10),
        contrast=(0, 3),
        tilt=(-0.8, 0.9),
        reverb=(0.3, 0.9),
        wet=(0.05, 0.16),
        dissonance=(0.1, 0.4),
        chromatic=(0.08, 0.25),
        pauses=(0, 0.08),
        rubato=(0, 0.01),
        jitter=(0.0, 0.008),
        modes=(("phrygian", 6), ("minor", 2), ("octatonic", 2), ("chromatic", 1)),
        progressions=(
            "1p 1p b2p 1p",
            "1p b2p 1p #4p",
            "1p 1p b3p b2p",
            "1p b6p #4p b2p",
            "1p 1p 1p b2p",
            "1p b3p 1p #4p",
        ),
    ),
    "Scary": Character(
        tempo=(44, 92),
        articulation=(0.3, 1.1),
        density=(0.25, 0.8),
        register=(58, 86),
        level=(-28, -15),
        contrast=(6, 16),
        tilt=(-4.0, -0.5),
        reverb=(2.0, 4.0),
        wet=(0.4, 0.8),
        dissonance=(0.5, 1.0),
        chromatic=(0.2, 0.5),
        pauses=(0.1, 0.35),
        rubato=(0.03, 0.12),
        jitter=(0.01, 0.05),
        modes=(("octatonic", 4), ("chromatic", 4), ("phrygian", 2)),
        progressions=(
            "1c 1c b2c 1c",
            "1d #4d 1d #4d",
            "1o 1o b2o 1o",
            "1c #4c b2c 1c",
            "1m #4m b6m 1m",
            "1a b2a 1a 3a",
        ),
    ),
}
assert tuple(CHARACTERS) == MOODS

# Moods that mix in one piece; every other pair contradicts itself in tempo, mode or level.
BLENDS: dict[str, tuple[str, ...]] = {
    "Happy": ("Funny", "Exciting", "Tender"),
    "Funny": ("Happy", "Exciting", "Scary"),
    "Sad": ("Tender", "Scary", "Tender"),
    "Tender": ("Happy", "Sad"),
    "Exciting": ("Angry", "Happy", "Scary"),
    "Angry": ("Exciting", "Scary"),
    "Scary": ("Angry", "Sad", "Exciting"),
}


def blended(main: Character, other: Character, share: float) -> Character:
    """Ranges `share` of the way from `main` to `other`; modes by weight; progressions stay the main mood's."""
    values: dict[str, object] = {}
    for field in fields(Character):
        if field.name not in ("modes", "progressions"):
            (low, high), (other_low, other_high) = getattr(main, field.name), getattr(other, field.name)
            values[field.name] = (low + share * (other_low - low), high + share * (other_high - high))
    modes = [(name, weight * (1 - share)) for name, weight in main.modes]
    modes += [(name, weight * share) for name, weight in other.modes]
    return Character(**values, modes=tuple(modes), progressions=main.progressions)  # type: ignore[arg-type]
