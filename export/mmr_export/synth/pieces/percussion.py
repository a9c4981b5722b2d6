"""Drums and noise effects: decaying modes under a burst of coloured noise, and swells of noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Drum:
    """A drum: (Hz, gain, decay s) of its modes, and its noise.

    Attributes:
        modes: sines that decay.
        sweep: octaves by which the modes start too high (the skin's tension falls after the blow).
        noise: gain of the noise.
        noise_decay: time constant of the noise.
        dark: length of the average that dulls the noise, in samples at 44.1 kHz; 0 leaves it bright.
        bright: how many times the noise is differenced to thin it out.
    """

    modes: tuple[tuple[float, float, float], ...] = ()
    sweep: float = 0.0
    noise: float = 0.0
    noise_decay: float = 0.05
    dark: int = 0
    bright: int = 0


DRUMS: dict[str, Drum] = {
    "kick": Drum(((52, 1.0, 0.11), (90, 0.3, 0.03)), sweep=1.6, noise=0.15, noise_decay=0.006),
    "hard kick": Drum(((56, 1.0, 0.10), (120, 0.5, 0.03)), sweep=2.4, noise=0.4, noise_decay=0.008),
    "snare": Drum(((185, 0.5, 0.06), (330, 0.3, 0.04)), sweep=0.3, noise=0.32, noise_decay=0.07, dark=2, bright=1),
    "brush": Drum(noise=0.25, noise_decay=0.07, bright=1),
    "rim": Drum(((480, 0.5, 0.012), (1700, 0.5, 0.012)), noise=0.1, noise_decay=0.004),
    "clap": Drum(((1100, 0.15, 0.02),), noise=0.35, noise_decay=0.05, dark=3, bright=1),
    "hat": Drum(((8300, 0.05, 0.02),), noise=0.13, noise_decay=0.022, bright=2),
    "open hat": Drum(noise=0.12, noise_decay=0.13, bright=2),
    "ride": Drum(((3100, 0.015, 0.3), (4700, 0.015, 0.25)), noise=0.08, noise_decay=0.2, bright=2),
    "crash": Drum(((2600, 0.01, 0.6), (4100, 0.01, 0.5)), noise=0.22, noise_decay=0.55, bright=1),
    "shaker": Drum(noise=0.1, noise_decay=0.03, bright=2),
    "tambourine": Drum(((6800, 0.12, 0.09), (9100, 0.1, 0.07)), noise=0.1, noise_decay=0.06, bright=2),
    "high tom": Drum(((190, 0.9, 0.14), (300, 0.2, 0.05)), sweep=0.5, noise=0.15, noise_decay=0.02),
    "low tom": Drum(((105, 1.0, 0.2), (170, 0.25, 0.07)), sweep=0.5, noise=0.15, noise_decay=0.02),
    "taiko": Drum(((62, 1.2, 0.35), (99, 0.6, 0.2), (143, 0.3, 0.12)), sweep=0.5, noise=0.5, noise_decay=0.04, dark=12),
    "timpani": Drum(
        ((73, 1.0, 0.7), (110, 0.6, 0.5), (146, 0.4, 0.4), (178, 0.2, 0.3)), noise=0.2, noise_decay=0.03, dark=8
    ),
    "woodblock": Drum(((870, 0.7, 0.025), (1340, 0.4, 0.018))),
    "low woodblock": Drum(((610, 0.7, 0.03), (960, 0.4, 0.02))),
    "cowbell": Drum(((562, 0.5, 0.08), (845, 0.4, 0.07), (1690, 0.15, 0.04))),
    "tick": Drum(((2400, 0.4, 0.006), (3900, 0.3, 0.005)), noise=0.05, noise_decay=0.003),
    "anvil": Drum(
        ((840, 0.4, 0.3), (1370, 0.4, 0.25), (2290, 0.3, 0.2), (3610, 0.25, 0.15)), noise=0.3, noise_decay=0.01
    ),
    "heart": Drum(((38, 1.0, 0.12), (61, 0.5, 0.06)), sweep=0.6),
    "boom": Drum(((34, 1.2, 0.9), (51, 0.6, 0.6)), sweep=0.8, noise=0.5, noise_decay=0.3, dark=40),
    "chip kick": Drum(((70, 0.8, 0.06),), sweep=2.5),
    "chip snare": Drum(noise=0.45, noise_decay=0.06, dark=2),
    "chip hat": Drum(noise=0.2, noise_decay=0.015, bright=1),
}


def coloured(noise: Samples, dark: int, bright: int) -> Samples:
    """Noise (n,) averaged over `dark` samples, then differenced `bright` times; same length, unit RMS."""
    out = noise
    if dark > 1:
        total = np.cumsum(noise, dtype=np.float64)
        out = (total - np.concatenate([np.zeros(dark), total[:-dark]])).astype(np.float32)
    for _ in range(bright):
        out = np.diff(out, prepend=np.float32(0))
    return out / np.float32(np.sqrt(np.mean(out * out)) + 1e-9)


class Kit:
    """Renders drums and noise effects at one sample rate; every drum of a kit is one sample, as in a sampler."""

    def __init__(self, sample_rate: int, rng: np.random.Generator) -> None:
        self.sample_rate = sample_rate
        self._rng = rng
        self._tuning = float(2 ** rng.uniform(-0.25, 0.25))
        self._drums: dict[str, Samples] = {}

    def hit(self, name: str) -> Samples:
        """Samples (n,) float32 of a blow at full strength; not to be written to."""
        if name not in self._drums:
            self._drums[name] = self._render(DRUMS[name])
        return self._drums[name]

    def _render(self, drum: Drum) -> Samples:
        longest = max([decay for _, _, decay in drum.modes] + [drum.noise_decay if drum.noise else 0])
        time = np.arange(int(6 * longest * self.sample_rate), dtype=np.float32) / np.float32(self.sample_rate)
        wave = np.zeros(len(time), np.float32)
        cycles = np.cumsum(2 ** (drum.sweep * np.exp(-time / 0.03)), dtype=np.float64) / self.sample_rate
        for hertz, gain, decay in drum.modes:
            angle = 2 * np.pi * hertz * self._tuning * cycles
            wave += (np.sin(angle) * np.exp(-time / decay) * gain).astype(np.float32)
        if drum.noise:
            dark = round(drum.dark * self.sample_rate / 44100)
            noise = coloured(self._rng.standard_normal(len(time)).astype(np.float32), dark, drum.bright)
            wave += noise * np.exp(-time / np.float32(drum.noise_decay)) * np.float32(drum.noise)
        fade = min(len(wave), self.sample_rate // 200)
        wave[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
        return wave

    def riser(self, seconds: float) -> Samples:
        """Noise that grows louder and brighter until its end, over a tone that climbs two octaves."""
        count = int(seconds * self.sample_rate)
        rise = np.linspace(0, 1, count, dtype=np.float32)
        noise = self._rng.standard_normal(count).astype(np.float32)
        dull, sharp = coloured(noise, 30, 0), coloured(noise, 0, 1)
        tone = np.sin(2 * np.pi * np.cumsum(110 * 4.0**rise) / self.sample_rate).astype(np.float32)
        return ((1 - rise) * dull + rise * sharp + tone) * rise**2 * np.float32(0.25)

    def wind(self, seconds: float) -> Samples:
        """Dull noise in slow gusts."""
        count = int(seconds * self.sample_rate)
        gusts = np.interp(np.arange(count), np.linspace(0, count, 3 + int(seconds)), self._rng.random(3 + int(seconds)))
        noise = coloured(self._rng.standard_normal(count).astype(np.float32), round(60 * self.sample_rate / 44100), 0)
        return noise * gusts.astype(np.float32) * np.float32(0.3)
