"""From a mood to a score: draws a plan from the mood's distributions and writes the parts of its style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.moods import MOODS

from .casting import Layer, Style
from .characters import BLENDS, CHARACTERS, Character, Range, blended
from .figures import GROOVES, PATTERNS, Stroke, fill, groove
from .instruments import INSTRUMENTS
from .melody import LINES, melody
from .mixing import Blow, Note, Part, Room, Score, Swell
from .styles import STYLES
from .theory import METRES, Chord, Key, Metre

_BLEND_CHANCE = 0.45
_FADES = ("flat", "rise", "fall", "arch", "terraces")


@dataclass(frozen=True)
class Plan:
    """What was drawn for a piece before a note is written; units as in Character."""

    grades: tuple[int, ...]
    style_name: str
    style: Style
    tempo: float
    metre: Metre
    key: Key
    chords: tuple[Chord, ...]
    articulation: float
    density: float
    register: float
    contrast: float
    contour: str
    dissonance: float
    chromatic: float
    pauses: float
    rubato: float
    jitter: float
    room: Room
    seconds: float


def draw_plan(mood: str | None, seconds: float, rng: np.random.Generator) -> Plan:
    """Draws style, blend, key and numbers of a piece of a mood (None: any)."""
    main = mood if mood is not None else MOODS[int(rng.integers(len(MOODS)))]
    name = _pick([name for name, style in STYLES.items() if style.mood == main], rng)
    style = STYLES[name]
    grades = dict.fromkeys(MOODS, 0)
    character = CHARACTERS[main]
    if rng.random() < _BLEND_CHANCE:
        other = _pick(BLENDS[main], rng)
        share = float(rng.uniform(0.15, 0.45))
        character = blended(character, CHARACTERS[other], share)
        grades[other] = 1 if share < 0.28 else 2
    grades[main] = 3
    if style.also:
        grades[style.also[0]] = max(grades[style.also[0]], style.also[1])
    metre = METRES[_pick(style.metres.split("|"), rng)]
    tempo = _in(character.tempo, rng) * style.tempo * (0.7 if metre.beat == 6 else 1.0)
    key = Key(int(rng.integers(12)), _weighted(character.modes, rng))
    bars = int(np.ceil(seconds * tempo / 60 * metre.beat / metre.bar)) + 1
    room = Room(
        reverb=_in(character.reverb, rng),
        wet=_in(character.wet, rng),
        tilt=_in(character.tilt, rng),
        cutoff=float(np.exp(rng.uniform(np.log(2800), np.log(15000)))),
        level=_in(character.level, rng),
        hiss=float(rng.uniform(-100, -75)),
    )
    return Plan(
        tuple(grades[m] for m in MOODS),
        name,
        style,
        tempo,
        metre,
        key,
        _progression(character, key, bars, rng),
        _in(character.articulation, rng),
        _in(character.density, rng),
        _in(character.register, rng) + style.register,
        _in(character.contrast, rng),
        _pick(_FADES, rng),
        _in(character.dissonance, rng),
        _in(character.chromatic, rng),
        _in(character.pauses, rng),
        _in(character.rubato, rng),
        _in(character.jitter, rng),
        room,
        seconds,
    )


def _in(bounds: Range, rng: np.random.Generator) -> float:
    return float(rng.uniform(*bounds))


def _pick(names: list[str] | tuple[str, ...], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]


def _weighted(choices: tuple[tuple[str, float], ...], rng: np.random.Generator) -> str:
    weights = np.array([weight for _, weight in choices])
    return choices[int(rng.choice(len(choices), p=weights / weights.sum()))][0]


def _progression(character: Character, key: Key, bars: int, rng: np.random.Generator) -> tuple[Chord, ...]:
    """A chord for every bar: two progressions of the mood in the order A A B A, each repeated as often as needed."""
    first, second = (_pick(character.progressions, rng).split() for _ in range(2))
    tokens: list[str] = []
    while len(tokens) < bars:
        tokens += first + first + second + first
    return tuple(key.chord(token) for token in tokens[:bars])


class Writer:
    """Writes the parts of one plan; every draw comes from the one generator, in a fixed order."""

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        self.plan = plan
        self.rng = rng
        self._bars = len(plan.chords)
        self._steps = self._bars * plan.metre.bar
        self._times = self._step_times()
        self._silences = self._draw_silences()

    def score(self) -> Score:
        """The whole piece."""
        parts = [self._layer(layer) for layer in self.plan.style.layers if self.rng.random() < layer.chance]
        if self.plan.style.leads:
            parts += self._lead()
        blows = self._drums()
        swells: list[Swell] = []
        for effect in self.plan.style.effects.split("|"):
            if effect and self.rng.random() < 0.5:
                self._effect(effect, parts, blows, swells)
        return Score(tuple(parts), tuple(blows), tuple(swells))

    # ------------------------------------------------------------------ time and loudness
    def _step_times(self) -> NDArray[np.float64]:
        """Seconds at every sixteenth: tempo, its slow drift, and late off-beats where the style swings."""
        plan, rng = self.plan, self.rng
        step = 60 / plan.tempo / plan.metre.beat
        count = self._steps + plan.metre.bar
        wave = np.sin(2 * np.pi * (np.arange(count) / (4 * plan.metre.bar) + rng.random()))
        drift = np.repeat(rng.standard_normal(count // 4 + 1), 4)[:count]
        lengths = step * np.maximum(1 + plan.rubato * (wave + 0.5 * drift), 0.5)
        times: NDArray[np.float64] = np.concatenate([[0.0], np.cumsum(lengths)])
        late = (np.arange(count + 1) % 4 == 2) * plan.style.swing * 2 * step
        times += late
        return times

    def _at(self, step: float) -> float:
        return float(np.interp(step, np.arange(len(self._times)), self._times))

    def _draw_silences(self) -> list[tuple[float, float]]:
        """Stretches (from step, to step) where everybody is silent: the ends of some bars."""
        metre = self.plan.metre
        return [
            ((bar + 1) * metre.bar - metre.beat * float(self.rng.integers(1, 3)), (bar + 1) * metre.bar)
            for bar in range(self._bars)
            if bar % 2 == 1 and self.rng.random() < 2 * self.plan.pauses
        ]

    def _silent(self, step: float) -> bool:
        return any(start <= step < end for start, end in self._silences)

    def _loudness(self, step: float) -> float:
        """Factor on velocity: the piece's contour and its contrast in dB."""
        place = step / self._steps
        height = {
            "flat": 0.0,
            "rise": place - 1,
            "fall": -place,
            "arch": -abs(2 * place - 1),
            "terraces": -float(int(place * 4) % 2),
        }[self.plan.contour]
        return float(10 ** (self.plan.contrast * height / 20))

    def _note(self, step: float, length: float, pitch: float, velocity: float, hold: float, bend: float = 0.0) -> Note:
        jitter, style = self.rng.standard_normal(2)
        start = max(self._at(step) + self.plan.jitter * jitter, 0.0)
        end = self._at(step + length)
        for silence, _ in self._silences:
            if step < silence:
                end = min(end, self._at(silence) + 0.02)
        seconds = max((end - self._at(step)) * hold, 0.03)
        loud = velocity * self._loudness(step) * float(self.rng.uniform(0.85, 1.1))
        return Note(start, seconds, pitch + self.plan.style.detune * style, float(np.clip(loud, 0.05, 1)), bend)

    # ------------------------------------------------------------------ parts
    def _layer(self, layer: Layer) -> Part:
        plan, rng = self.plan, self.rng
        instrument = _pick(layer.instruments.split("|"), rng)
        centre = layer.centre + float(rng.uniform(-3, 3))
        pattern = PATTERNS[layer.pattern]
        figure = pattern(plan.metre, rng)
        hold = min(plan.articulation * layer.articulation, 1.4)
        notes: list[Note] = []
        resting = self._resting_phrases(layer)
        for bar, chord in enumerate(plan.chords):
            if bar // 4 in resting:
                continue
            if bar % 4 == 3 and rng.random() < 0.4:
                figure = pattern(plan.metre, rng)
            pitches = self._voicing(layer, chord, centre)
            for stroke in figure:
                step = bar * plan.metre.bar + stroke.step
                if not self._silent(step):
                    notes += self._stroke(layer, stroke, step, pitches, hold)
        return Part(instrument, tuple(notes), layer.gain)

    def _resting_phrases(self, layer: Layer) -> set[int]:
        """Phrases of four bars in which a voice above the bass is silent: the texture thins out and fills again."""
        phrases = range(-(-self._bars // 4))
        often = 0.2 if layer.voicing == "chord" and len(self.plan.style.layers) > 2 else 0.0
        return {phrase for phrase in phrases if self.rng.random() < often}

    def _stroke(self, layer: Layer, stroke: Stroke, step: float, pitches: list[int], hold: float) -> list[Note]:
        voices = stroke.voices if stroke.voices is not None else range(len(pitches))
        if layer.voicing in ("drone", "cluster", "power"):
            voices = range(len(pitches))
        elif layer.voicing == "bass" and stroke.voices is None:
            voices = (0,)
        spread = 0.35 if layer.pattern == "strum" else 0.0
        return [
            self._note(step + spread * k, stroke.length, pitches[voice % len(pitches)], stroke.accent, hold)
            for k, voice in enumerate(voices)
        ]

    def _voicing(self, layer: Layer, chord: Chord, centre: float) -> list[int]:
        rng = self.rng
        if layer.voicing == "bass":
            return chord.bass(centre)
        if layer.voicing == "power":
            return chord.bass(centre)[: 2 + int(rng.random() < 0.5)]
        if layer.voicing == "drone":
            root = Chord(self.plan.key.tonic, (0, 7, 12)).bass(centre)[0]
            return [root, root + 12] if rng.random() > self.plan.dissonance * 0.4 else [root, root + 1]
        pitches = chord.voicing(centre, 4)
        if layer.voicing == "cluster" and rng.random() < 0.3 + 0.7 * self.plan.dissonance:
            low = pitches[0]
            return [low, low + 1, low + 2 + int(rng.integers(2)), low + 6 + int(rng.integers(2))]
        if rng.random() < self.plan.dissonance:
            pitches = [*pitches[:-1], pitches[0] + int(rng.choice((1, 6, 11)))]
        return pitches

    def _lead(self) -> list[Part]:
        plan, rng, style = self.plan, self.rng, self.plan.style
        instrument = _pick(style.leads.split("|"), rng)
        if not instrument:
            return []
        line = LINES[_pick(style.lines.split("|"), rng)]
        centre = plan.register
        written = melody(line, plan.key, list(plan.chords), plan.metre, centre, plan.density, plan.chromatic, rng)
        hold = min(plan.articulation * line.legato, 1.3)
        notes: list[Note] = []
        for sung in written:
            if self._silent(sung.step):
                continue
            notes.append(self._note(sung.step, sung.length, sung.pitch, sung.accent, hold, sung.bend))
            if sung.grace and sung.step >= 1:
                notes.append(self._note(sung.step - 0.6, 0.6, sung.pitch - 1, 0.6, 0.9))
        parts = [Part(instrument, tuple(notes), style.gain)]
        if rng.random() < 0.2 and not INSTRUMENTS[instrument].drive:
            doubled = tuple(Note(n.start, n.seconds, n.pitch + 12, n.velocity, n.bend) for n in notes)
            parts.append(Part(instrument, doubled, 0.4 * style.gain))
        return parts

    def _drums(self) -> list[Blow]:
        plan, rng = self.plan, self.rng
        names = [name for name in plan.style.grooves.split("|") if self._fits(name)]
        name = _pick(names, rng) if names else "none"
        if name == "none":
            return []
        level = float(rng.uniform(0.6, 1.0) if plan.style.mood in ("Exciting", "Angry") else rng.uniform(0.4, 0.8))
        filled = len(GROOVES[name]) > 2 and plan.style.mood in ("Happy", "Exciting", "Angry")
        blows: list[Blow] = []
        for bar in range(self._bars):
            strokes = groove(name, plan.metre, rng)
            if filled and bar % 4 == 3:
                strokes += fill(plan.metre, rng)
            for step, drum, velocity in strokes:
                place = bar * plan.metre.bar + step
                if not self._silent(place):
                    at = max(self._at(place) + plan.jitter * float(rng.standard_normal()), 0)
                    blows.append(Blow(at, drum, level * velocity * self._loudness(place)))
        return blows

    def _fits(self, name: str) -> bool:
        """Whether a groove suits the metre; a few are so bare that they suit any."""
        lengths = {len(line) for line in GROOVES[name].values()}
        if name == "waltz":
            return self.plan.metre.name == "3/4"
        if name == "jig":
            return self.plan.metre.name == "6/8"
        return not lengths or max(lengths) == self.plan.metre.bar or name in ("heart", "boom", "tambourine")

    # ------------------------------------------------------------------ effects
    def _effect(self, name: str, parts: list[Part], blows: list[Blow], swells: list[Swell]) -> None:
        plan, rng = self.plan, self.rng
        moments = self._moments()
        if name == "wind":
            swells.append(Swell(0, plan.seconds, "wind", float(rng.uniform(0.2, 0.7))))
        for moment in moments:
            if name == "riser":
                swells.append(Swell(max(moment - 3, 0), min(moment, 3.0) + 0.01, "riser", 0.35))
                blows.append(Blow(moment, "crash", 0.7))
            elif name == "crash":
                blows.append(Blow(moment, "crash", 0.7))
            elif name == "timpani":
                blows += [Blow(moment - 0.09 * k, "timpani", 0.8 * 0.88**k) for k in range(10) if moment > 0.09 * k]
            elif name == "stinger":
                root = 36 + plan.key.tonic
                hit = tuple(Note(moment, 0.7, root + step, 1.0) for step in (0, 12, 18, 23, 25, 31, 37))
                parts.append(Part("brass", hit, 0.7))
                blows.append(Blow(moment, "boom", 1.0))
            elif name == "bell":
                parts.append(Part("bell", (Note(moment, 2.5, 48 + plan.key.tonic, 0.9),), 0.5))
            elif name == "slide":
                up = float(rng.choice((-14, 14)))
                parts.append(Part("whistle", (Note(moment, 0.5, 84, 0.8, up),), 0.6))
            elif name == "boing":
                parts.append(
                    Part("banjo", tuple(Note(moment + 0.06 * k, 0.1, 52 + 3 * (k % 2), 0.9, 9) for k in range(5)), 0.6)
                )
            elif name == "plop":
                parts.append(
                    Part("marimba", (Note(moment, 0.12, 79, 1.0, -12), Note(moment + 0.2, 0.12, 67, 0.8, 10)), 0.7)
                )

    def _moments(self) -> list[float]:
        """Seconds of the events: the ends of silences where there are some, else beginnings of phrases."""
        ends = [self._at(end) for _, end in self._silences]
        starts = [self._at(bar * self.plan.metre.bar) for bar in range(2, self._bars, 4)]
        moments = [m for m in ends or starts if 0.2 < m < self.plan.seconds - 0.5]
        return moments[:: max(1, len(moments) // 3)] if len(moments) > 3 else moments
