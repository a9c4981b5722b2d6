"""From parts to samples: places notes on buses, adds chorus, overdrive, room and tone, and sets the level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .instruments import INSTRUMENTS, Renderer, Timbre, Tone
from .percussion import Kit

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Note:
    """A note: start and length in seconds, pitch (MIDI), velocity 0..1, slide from `bend` semitones away."""

    start: float
    seconds: float
    pitch: float
    velocity: float
    bend: float = 0.0


@dataclass(frozen=True)
class Part:
    """What one instrument plays."""

    instrument: str
    notes: tuple[Note, ...]
    gain: float = 1.0


@dataclass(frozen=True)
class Blow:
    """A drum blow: start in seconds, drum, velocity 0..1."""

    start: float
    drum: str
    velocity: float


@dataclass(frozen=True)
class Swell:
    """A noise effect, `riser` or `wind`, from `start` for `seconds`."""

    start: float
    seconds: float
    kind: str
    gain: float


@dataclass(frozen=True)
class Room:
    """How the whole sounds.

    Attributes:
        reverb: decay time (to -60 dB) in seconds.
        wet: level of the reverb.
        tilt: dB per octave around 1 kHz.
        cutoff: Hz above which the highs fall off, as they do in most mixes.
        level: RMS of the result in dBFS.
        hiss: RMS of noise in dBFS.
    """

    reverb: float
    wet: float
    tilt: float
    cutoff: float
    level: float
    hiss: float


@dataclass(frozen=True)
class Score:
    """Everything that sounds in a piece."""

    parts: tuple[Part, ...]
    blows: tuple[Blow, ...]
    swells: tuple[Swell, ...]


def mix(score: Score, room: Room, seconds: float, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Renders a score: samples (round(seconds * sample_rate),) float32, mono, absolute peak below 1."""
    count = round(seconds * sample_rate)
    renderer, kit = Renderer(sample_rate, rng), Kit(sample_rate, rng)
    bus = np.zeros(count, np.float32)
    for part in score.parts:
        bus += _part(part, renderer, count, rng)
    for blow in score.blows:
        _add(bus, kit.hit(blow.drum), blow.start * sample_rate, blow.velocity)
    for swell in score.swells:
        sound = kit.riser(swell.seconds) if swell.kind == "riser" else kit.wind(swell.seconds)
        _add(bus, sound, swell.start * sample_rate, swell.gain)
    bus = _in_room(bus, room, sample_rate, rng)
    return _levelled(bus, room, sample_rate, rng)


def _add(bus: Samples, sound: Samples, at: float, gain: float) -> None:
    """Adds a sound to a bus, cut where it leaves the bus."""
    start = round(at)
    skip = max(-start, 0)
    start = max(start, 0)
    fits = min(len(sound) - skip, len(bus) - start)
    if fits > 0:
        bus[start : start + fits] += sound[skip : skip + fits] * np.float32(gain)


def _part(part: Part, renderer: Renderer, count: int, rng: np.random.Generator) -> Samples:
    timbre = INSTRUMENTS[part.instrument]
    rate = renderer.sample_rate
    bus = np.zeros(count, np.float32)
    for note in part.notes:
        if note.start * rate >= count:
            continue
        # lengths and strengths in coarse grains, so that repeated figures are rendered once
        tone = Tone(
            440 * 2 ** ((note.pitch - 69) / 12),
            max(round(min(note.seconds, count / rate), 2), 0.02),
            max(round(note.velocity * 8), 1) / 8,
            note.bend,
        )
        _add(bus, renderer.note(part.instrument, tone), note.start * rate, part.gain)
    return _effects(bus, timbre, part.gain, rate, rng)


def _effects(bus: Samples, timbre: Timbre, gain: float, rate: int, rng: np.random.Generator) -> Samples:
    if timbre.chorus:
        bus = _chorus(bus, timbre.chorus, rate, rng)
    if timbre.drive:
        bus = _overdriven(bus, timbre.drive / gain, rate)
        bus *= np.float32(gain)
    if timbre.crush:
        steps = np.float32(2 ** (timbre.crush - 1) / gain)
        bus = (np.rint(bus * steps) / steps).astype(np.float32, copy=False)
    return bus


def _overdriven(bus: Samples, drive: float, rate: int) -> Samples:
    """The whole part through one amplifier, so that chords gain their difference tones.

    The lows are thinned before the clipping, as in a guitar amplifier; the mean of four neighbours after it stands for
    the loudspeaker, which passes little above 5 kHz (neighbours at 44.1 kHz, fewer at lower rates).
    """
    width = max(rate // 400, 1)
    total = np.concatenate([np.zeros(width), np.cumsum(bus, dtype=np.float64)])
    lows = ((total[width:] - total[:-width]) / width).astype(np.float32)
    hot: Samples = np.tanh((bus - np.float32(0.6) * lows) * np.float32(drive)) * np.float32(0.4)
    neighbours = max(rate // 11025, 1)
    out = hot.copy()
    for lag in range(1, neighbours):
        out[lag:] += hot[:-lag]
    out /= np.float32(neighbours)
    return out


def _chorus(bus: Samples, share: float, rate: int, rng: np.random.Generator) -> Samples:
    """The bus with two copies that wander in time like other players: each a little late and a little out of tune."""
    position = np.arange(len(bus), dtype=np.float64)
    out = bus.copy()
    for base, depth in ((0.012, 0.0011), (0.023, 0.0014)):
        knots = np.cumsum(rng.uniform(0.15, 0.5, 8 + int(5 * len(bus) / rate))) * rate
        wander = np.interp(position, knots, rng.standard_normal(len(knots)))
        source = position - rate * (base + depth * wander)
        whole = np.floor(source)
        part = (source - whole).astype(np.float32)
        index = np.clip(whole.astype(np.int64), 0, len(bus) - 2)
        out += np.float32(share) * ((1 - part) * bus[index] + part * bus[index + 1])
    out *= np.float32(1 / (1 + share))
    return out


def _in_room(bus: Samples, room: Room, rate: int, rng: np.random.Generator) -> Samples:
    """Reverb by a decaying noise response (Moorer 1979) and a tilted spectrum, both in one pass of the FFT."""
    tail = int(room.reverb * rate)
    size = -(-(len(bus) + tail) // 16384) * 16384
    spectrum = np.fft.rfft(bus, size)
    time = np.arange(tail, dtype=np.float32) / np.float32(rate)
    response = rng.standard_normal(tail).astype(np.float32) * np.exp(time * np.float32(-6.9 / room.reverb))
    response *= np.minimum(time / np.float32(0.012), 1)
    response *= np.float32(room.wet / (np.sqrt(np.sum(response * response)) + 1e-9))
    hertz = np.fft.rfftfreq(size, 1 / rate).astype(np.float32)
    air = 1 / (1 + (hertz / 3500) ** 2)  # walls and air swallow the highs
    octaves = np.log2(np.clip(hertz, 30, 16000) / 1000)
    tone = 10 ** (room.tilt * octaves / 20) * np.minimum(hertz / 25, 1) / (1 + (hertz / room.cutoff) ** 2) ** 0.75
    wet = np.fft.rfft(response, size) * air
    return np.fft.irfft(spectrum * (1 + wet) * tone, size)[: len(bus)].astype(np.float32)


def _levelled(bus: Samples, room: Room, rate: int, rng: np.random.Generator) -> Samples:
    """To the wanted RMS, peaks rounded off below 1, edges faded over 10 ms, a little noise under all."""
    bus = bus / np.float32(np.sqrt(np.mean(bus * bus)) + 1e-9)
    # a soft knee first, so that a few sharp peaks do not hold the level down
    bus = np.tanh(bus / 8) * 8
    bus *= np.float32(10 ** (room.level / 20) / (np.sqrt(np.mean(bus * bus)) + 1e-9))
    bus += rng.standard_normal(len(bus)).astype(np.float32) * np.float32(10 ** (room.hiss / 20))
    bus = np.float32(0.98) * np.tanh(bus)
    fade = min(len(bus) // 2, rate // 100)
    ramp = np.linspace(0, 1, fade, dtype=np.float32)
    bus[:fade] *= ramp
    bus[len(bus) - fade :] *= ramp[::-1]
    return bus
