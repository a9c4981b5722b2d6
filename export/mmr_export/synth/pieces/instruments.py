"""Pitched instruments: a table of timbres and one function that renders a note of any of them.

A note is a sum of three groups of harmonics, each one lookup in a single-cycle table under its own envelope: high
partials decay faster on struck and plucked strings (Karplus and Strong 1983; Fletcher and Rossing 1998) and enter later
on blown ones (Risset 1966). Bars and bells have a few inharmonic partials instead (Fletcher and Rossing 1998, ch. 19).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

_TABLE = 4096  # nearest lookup in so long a cycle errs by -67 dB on the fundamental
_GROUPS = ((1, 2), (3, 6), (7, 60))
_GROUP_DECAY = (1.0, 0.5, 0.22)
_GROUP_ATTACK = (1.0, 1.4, 2.2)


@dataclass(frozen=True)
class Timbre:
    """How an instrument sounds; times in seconds.

    Attributes:
        rolloff: harmonic h has amplitude h ** -rolloff.
        even: gain of even harmonics (clarinet: small).
        duty: pulse width of a pulse wave, 0 for none.
        formants: (centre Hz, gain) of fixed resonances.
        bells: (ratio, gain, decay s) of inharmonic partials, instead of harmonics.
        attack: time to full level.
        decay: time constant at 220 Hz, shorter above; 0 for a sustained tone.
        sustain: share of the level that does not decay.
        release: time to silence after the note's end.
        vibrato: depth in cents.
        tremolo: depth 0..1 of amplitude beats at `tremolo_rate` Hz (bow tremolo, reed beats).
        tremolo_rate: Hz.
        breath: level of breath or bow noise.
        knock: level of the noise burst of hammer, plectrum or tongue.
        unison: cents between two strings or reeds of one note, which beat against each other.
        chorus: share of detuned copies that make one player a section.
        drive: overdrive of the whole part, 0 for none.
        crush: bits of amplitude of a sound chip, 0 for none.
        gain: level next to other instruments.
    """

    rolloff: float = 1.5
    even: float = 1.0
    duty: float = 0.0
    formants: tuple[tuple[float, float], ...] = ()
    bells: tuple[tuple[float, float, float], ...] = ()
    attack: float = 0.005
    decay: float = 0.0
    sustain: float = 1.0
    release: float = 0.08
    vibrato: float = 0.0
    tremolo: float = 0.0
    tremolo_rate: float = 6.0
    breath: float = 0.0
    knock: float = 0.0
    unison: float = 0.0
    chorus: float = 0.0
    drive: float = 0.0
    crush: int = 0
    gain: float = 1.0


INSTRUMENTS: dict[str, Timbre] = {
    # struck and plucked strings
    "piano": Timbre(rolloff=1.5, unison=1.6, decay=1.1, sustain=0.0, release=0.12, knock=0.072, gain=1.2),
    "felt piano": Timbre(
        rolloff=2.4, unison=1.2, attack=0.012, decay=1.3, sustain=0.0, release=0.25, knock=0.12, gain=1.3
    ),
    "honky-tonk": Timbre(rolloff=1.25, decay=0.7, sustain=0.0, release=0.06, knock=0.072, unison=22),
    "harp": Timbre(rolloff=2.0, decay=0.9, sustain=0.0, release=0.6, knock=0.03, gain=1.2),
    "guitar": Timbre(rolloff=1.6, even=0.8, decay=0.7, sustain=0.0, release=0.15, knock=0.072, formants=((200, 0.8),)),
    "steel guitar": Timbre(rolloff=1.15, unison=3, decay=0.9, sustain=0.0, release=0.12, knock=0.12),
    "ukulele": Timbre(rolloff=1.7, decay=0.35, sustain=0.0, release=0.08, knock=0.15, formants=((500, 1.2),)),
    "banjo": Timbre(rolloff=0.95, decay=0.25, sustain=0.0, release=0.05, knock=0.24, formants=((1100, 1.0),)),
    "harpsichord": Timbre(rolloff=0.8, decay=0.6, sustain=0.0, release=0.06, knock=0.09, gain=0.8),
    "pizzicato": Timbre(rolloff=1.7, decay=0.16, sustain=0.0, release=0.1, knock=0.18, chorus=0.4, gain=1.4),
    "clean electric": Timbre(rolloff=1.4, even=0.7, decay=1.0, sustain=0.05, release=0.08, knock=0.06),
    # bowed strings
    "violin": Timbre(
        rolloff=1.1, attack=0.07, release=0.12, vibrato=22, breath=0.012, formants=((500, 0.6), (2800, 1.2))
    ),
    "cello": Timbre(
        rolloff=1.2, attack=0.09, release=0.15, vibrato=18, breath=0.012, formants=((250, 0.8), (1500, 0.7))
    ),
    "strings": Timbre(rolloff=1.35, attack=0.16, release=0.35, vibrato=9, breath=0.008, chorus=0.9),
    "spiccato": Timbre(
        rolloff=1.1, attack=0.012, decay=0.25, sustain=0.15, release=0.07, knock=0.15, chorus=0.7, gain=1.2
    ),
    "tremolo strings": Timbre(
        rolloff=1.15, attack=0.12, release=0.25, tremolo=0.85, tremolo_rate=12.5, breath=0.032, chorus=0.7
    ),
    "harmonics": Timbre(rolloff=2.6, attack=0.3, release=0.6, vibrato=4, breath=0.032, chorus=0.8),
    # wind
    "flute": Timbre(rolloff=2.3, attack=0.05, release=0.09, vibrato=14, breath=0.028, knock=0.024),
    "whistle": Timbre(rolloff=3.4, attack=0.03, release=0.06, vibrato=20, breath=0.016),
    "ocarina": Timbre(rolloff=2.9, even=0.4, attack=0.03, release=0.08, vibrato=12, breath=0.02),
    "clarinet": Timbre(rolloff=1.2, even=0.12, attack=0.035, release=0.07, vibrato=4, breath=0.008),
    "oboe": Timbre(rolloff=0.8, attack=0.04, release=0.08, vibrato=14, formants=((1100, 2.0), (2900, 0.8)), gain=0.8),
    "bassoon": Timbre(rolloff=0.9, attack=0.025, release=0.06, formants=((480, 2.5), (1150, 0.8)), knock=0.048),
    "horn": Timbre(rolloff=1.9, attack=0.07, release=0.15, vibrato=4, formants=((400, 1.0),)),
    "trumpet": Timbre(
        rolloff=0.85, attack=0.03, release=0.08, vibrato=8, formants=((1200, 1.4),), knock=0.048, gain=0.8
    ),
    "brass": Timbre(rolloff=1.0, attack=0.035, release=0.12, formants=((900, 1.2),), chorus=0.6, knock=0.06, gain=0.9),
    "tuba": Timbre(rolloff=1.7, attack=0.03, decay=0.6, sustain=0.5, release=0.06, knock=0.048, gain=1.2),
    "kazoo": Timbre(rolloff=0.35, attack=0.02, release=0.05, vibrato=15, formants=((1000, 2.0), (2400, 1.5)), gain=0.5),
    "accordion": Timbre(rolloff=0.9, attack=0.04, release=0.06, unison=14, formants=((1500, 0.6),), gain=0.7),
    "organ": Timbre(rolloff=0.9, even=0.8, attack=0.015, release=0.06, unison=4, chorus=0.3, gain=0.8),
    "calliope": Timbre(rolloff=2.0, attack=0.02, release=0.05, breath=0.048, tremolo=0.3, tremolo_rate=7.5, chorus=0.3),
    # bars, bells and glass
    "music box": Timbre(bells=((1, 1, 1.0), (2.0, 0.2, 0.5), (5.4, 0.18, 0.12)), release=0.8, knock=0.03),
    "celesta": Timbre(bells=((1, 1, 0.8), (2.76, 0.12, 0.2), (4.0, 0.25, 0.35)), attack=0.004, release=0.6),
    "glockenspiel": Timbre(bells=((1, 1, 0.6), (2.76, 0.5, 0.25), (5.4, 0.3, 0.1)), release=0.6, gain=0.7),
    "xylophone": Timbre(bells=((1, 1, 0.09), (3.0, 0.5, 0.04), (6.2, 0.2, 0.02)), release=0.08, knock=0.18, gain=1.5),
    "marimba": Timbre(bells=((1, 1, 0.22), (3.93, 0.25, 0.06), (9.2, 0.08, 0.02)), release=0.15, knock=0.06, gain=1.3),
    "bell": Timbre(
        bells=((0.5, 0.6, 3.0), (1, 1, 2.0), (1.19, 0.6, 1.4), (1.5, 0.4, 1.0), (2.0, 0.6, 0.9), (2.67, 0.3, 0.4)),
        release=2.0,
    ),
    "glass": Timbre(bells=((1, 1, 2.5), (2.32, 0.3, 1.2), (4.25, 0.2, 0.6)), attack=0.25, release=1.0),
    # voices and pads
    "choir": Timbre(
        rolloff=1.1, attack=0.25, release=0.4, vibrato=16, breath=0.02, formants=((650, 2.5), (1100, 1.5)), chorus=0.9
    ),
    "dark choir": Timbre(
        rolloff=1.3, attack=0.4, release=0.6, vibrato=20, breath=0.032, formants=((330, 2.5), (800, 0.8)), chorus=0.9
    ),
    "pad": Timbre(rolloff=1.7, attack=0.5, release=0.7, chorus=0.9, gain=0.9),
    "warm pad": Timbre(rolloff=2.6, attack=0.4, release=0.8, chorus=0.7),
    "drone": Timbre(rolloff=1.15, attack=0.8, release=0.8, tremolo=0.35, tremolo_rate=0.7, breath=0.04, chorus=0.8),
    "theremin": Timbre(rolloff=2.4, attack=0.12, release=0.2, vibrato=45),
    # electric and electronic
    "distorted guitar": Timbre(rolloff=1.1, decay=1.6, sustain=0.3, release=0.05, knock=0.12, drive=9.0),
    "lead guitar": Timbre(rolloff=1.2, decay=2.5, sustain=0.5, release=0.08, vibrato=20, knock=0.06, drive=6.0),
    "crunch guitar": Timbre(rolloff=1.2, decay=1.2, sustain=0.2, release=0.06, knock=0.12, drive=3.0),
    "bass": Timbre(rolloff=1.8, decay=0.6, sustain=0.25, release=0.05, knock=0.072, gain=1.3),
    "contrabass": Timbre(rolloff=1.9, decay=0.3, sustain=0.0, release=0.1, knock=0.09, gain=1.5),
    "low strings": Timbre(rolloff=1.3, attack=0.08, release=0.2, breath=0.012, chorus=0.7, gain=1.1),
    "synth bass": Timbre(rolloff=1.0, decay=0.25, sustain=0.35, release=0.04, gain=1.1),
    "growl bass": Timbre(rolloff=0.8, decay=0.4, sustain=0.5, release=0.04, tremolo=0.4, tremolo_rate=9, drive=5.0),
    "saw lead": Timbre(rolloff=1.0, unison=12, attack=0.008, release=0.08, vibrato=6, chorus=0.7, gain=0.8),
    "pluck synth": Timbre(rolloff=1.0, unison=9, decay=0.22, sustain=0.05, release=0.1, chorus=0.4),
    "square": Timbre(rolloff=1.0, duty=0.5, attack=0.002, release=0.015, vibrato=6, crush=5, gain=0.75),
    "pulse": Timbre(rolloff=1.0, duty=0.25, attack=0.002, decay=0.5, sustain=0.4, release=0.015, crush=5, gain=0.75),
    "triangle": Timbre(rolloff=2.0, duty=0.5, attack=0.002, release=0.015, crush=5, gain=1.1),
}


@dataclass(frozen=True)
class Tone:
    """One note to render: Hz, seconds until release, velocity 0..1, and a slide from `bend` semitones to the pitch."""

    frequency: float
    seconds: float
    velocity: float
    bend: float = 0.0


class Renderer:
    """Renders notes at one sample rate; tables and notes are kept for the life of the object."""

    def __init__(self, sample_rate: int, rng: np.random.Generator) -> None:
        self.sample_rate = sample_rate
        self._noise = rng.standard_normal(4 * sample_rate).astype(np.float32)
        self._vibrato_rate = float(rng.uniform(4.8, 6.2))  # Hz, as singers and players do it (Seashore 1938)
        self._tables: dict[tuple[str, float], Samples] = {}
        self._notes: dict[tuple[str, Tone], Samples] = {}

    def note(self, instrument: str, tone: Tone) -> Samples:
        """Samples (n,) float32 of a note with its release; equal notes are the same array, not to be written to."""
        key = (instrument, tone)
        if key not in self._notes:
            self._notes[key] = self._render(instrument, INSTRUMENTS[instrument], tone)
        return self._notes[key]

    def _render(self, instrument: str, timbre: Timbre, tone: Tone) -> Samples:
        count = max(int((tone.seconds + timbre.release) * self.sample_rate), 64)
        time = np.arange(count, dtype=np.float32) / np.float32(self.sample_rate)
        phase = self._phase(timbre, tone, count)
        wave = (
            self._bells(timbre, tone, phase, time)
            if timbre.bells
            else self._table(instrument, timbre, tone, phase, time)
        )
        wave *= np.minimum(time / np.float32(max(timbre.attack, 0.002)), 1)
        if timbre.breath:
            wave += self._noise_for(count) * np.float32(timbre.breath) * np.minimum(time / 0.05, 1)
        if timbre.tremolo:
            swing = 0.5 - 0.5 * np.cos(np.float32(2 * np.pi * timbre.tremolo_rate) * time)
            wave *= 1 - np.float32(timbre.tremolo) * swing
        if timbre.knock:
            knock = self._noise_for(min(count, self.sample_rate // 25))
            wave[: len(knock)] += knock * np.exp(-time[: len(knock)] / 0.006) * np.float32(timbre.knock * tone.velocity)
        tail = np.clip((np.float32(tone.seconds + timbre.release) - time) / np.float32(timbre.release), 0, 1)
        wave *= tail * tail * np.float32(timbre.gain * tone.velocity)
        return wave.astype(np.float32, copy=False)

    def _phase(self, timbre: Timbre, tone: Tone, count: int) -> NDArray[np.float64]:
        """Cycles since the onset, with vibrato that sets in after a moment and the slide at the onset."""
        time = np.arange(count) / self.sample_rate
        if tone.bend:
            left = np.clip(1 - time / max(tone.seconds, 0.01), 0, 1)
            return np.cumsum(tone.frequency * 2 ** (tone.bend * left / 12)) / self.sample_rate
        phase = tone.frequency * time
        if timbre.vibrato and tone.seconds > 0.25:
            rate = self._vibrato_rate
            depth = tone.frequency * (2 ** (timbre.vibrato / 1200) - 1) / (2 * np.pi * rate)
            phase += depth * np.minimum(time / 0.5, 1) ** 2 * np.sin(2 * np.pi * rate * time)
        return phase

    def _table(self, instrument: str, timbre: Timbre, tone: Tone, phase: NDArray[np.float64], time: Samples) -> Samples:
        tables = self._cycle(instrument, timbre, tone.frequency)
        indices = [(phase * _TABLE).astype(np.int64) & (_TABLE - 1)]
        if timbre.unison:
            indices.append((phase * (2 ** (timbre.unison / 1200) * _TABLE)).astype(np.int64) & (_TABLE - 1))
        decay = timbre.decay * min(max(220 / tone.frequency, 0.15), 2.0) ** 0.5
        wave = np.zeros(len(phase), np.float32)
        for group, table in enumerate(tables):
            if not table.any():
                continue
            gain = np.float32(tone.velocity ** (0.5 * group))  # played louder, sounds brighter
            part = table.take(indices[0]) * gain
            for index in indices[1:]:
                part = np.float32(0.65) * (part + table.take(index) * gain)
            if decay:
                fall = np.exp(time * np.float32(-1 / (decay * _GROUP_DECAY[group])))
                part *= np.float32(timbre.sustain) + np.float32(1 - timbre.sustain) * fall
            elif group:
                part *= np.minimum(time / np.float32(max(timbre.attack * _GROUP_ATTACK[group], 0.002)), 1)
            wave += part
        return wave

    def _cycle(self, instrument: str, timbre: Timbre, frequency: float) -> Samples:
        """One cycle of each group of harmonics, (3, 4096), without anything above 0.45 of the sample rate."""
        key = (instrument, frequency)
        if key not in self._tables:
            harmonic = np.arange(1, _GROUPS[-1][1] + 1)
            amplitude = harmonic ** -float(timbre.rolloff)
            amplitude[1::2] *= timbre.even
            if timbre.duty:
                amplitude *= np.abs(np.sin(np.pi * harmonic * timbre.duty))
            hertz = harmonic * frequency
            shape = np.ones(len(harmonic))
            for centre, gain in timbre.formants:
                shape += gain * np.exp(-((np.log2(hertz / centre) / 0.45) ** 2))
            amplitude *= shape * (hertz < 0.45 * self.sample_rate)
            amplitude /= np.sqrt(np.sum(amplitude**2) / 2) + 1e-9
            spectrum = np.zeros((len(_GROUPS), _TABLE // 2 + 1), np.complex128)
            for group, (first, last) in enumerate(_GROUPS):
                chosen = harmonic[first - 1 : last]
                # quadratic phases keep the crest of the cycle low
                spectrum[group, chosen] = amplitude[first - 1 : last] * np.exp(-1.94j * chosen * chosen)
            self._tables[key] = (0.25 * np.fft.irfft(spectrum, axis=1) * (_TABLE / 2)).astype(np.float32)
        return self._tables[key]

    def _bells(self, timbre: Timbre, tone: Tone, phase: NDArray[np.float64], time: Samples) -> Samples:
        wave = np.zeros(len(phase), np.float32)
        scale = min(max(523 / tone.frequency, 0.3), 2.0) ** 0.5
        for number, (ratio, gain, decay) in enumerate(timbre.bells):
            if ratio * tone.frequency < 0.45 * self.sample_rate:
                angle = ((phase * ratio) % 1.0).astype(np.float32) * np.float32(2 * np.pi)
                level = np.float32(0.4 * gain * tone.velocity ** (0.3 * number))
                wave += np.sin(angle) * np.exp(time * np.float32(-1 / (decay * scale))) * level
        return wave

    def _noise_for(self, count: int) -> Samples:
        return np.resize(self._noise, count) if count > len(self._noise) else self._noise[:count].copy()
