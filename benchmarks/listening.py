"""Ten development pages and their first three songs by measure: `python benchmarks/listening.py --data DIR`.

Pages are taken evenly from both titles, read with dialogue and neighbours. Of each song tempo, mode and loudness are
estimated, so that a choice can be judged by something else than the model: a chase should be fast, a funeral minor.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile
from host import store
from numpy.typing import NDArray
from quality import Songs, Titles
from scipy import signal

from mmr_export.data.collection import grades_of
from mmr_runtime import Engine
from mmr_runtime.moods import MOODS
from mmr_runtime.rank import top
from mmr_runtime.soundtrack.affinity import NEIGHBOUR_WEIGHT

Floats = NDArray[np.float64]
PAGES = 10
RATE, HOP = 22050, 512
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
"""Key profiles of Krumhansl and Kessler (1982)."""


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--model", default="default")
def main(data: Path, model: str) -> None:
    """Measure and store results/listening.json."""
    with Engine.open(model) as engine:
        titles, songs = Titles.read(engine, data), Songs.read(engine, data)
        moods = titles.moods(engine, dialogue=True, neighbour_weight=NEIGHBOUR_WEIGHT)
        scores = titles.affinities(engine, moods, songs, neighbours=True)
        grades = grades_of(titles.pages)
        rows = []
        for i in np.linspace(2, len(titles.pages) - 3, PAGES).round().astype(int):
            path = titles.pages[i].path
            first = top(scores[i], songs.names, 3)
            rows.append(
                {
                    "page": f"{path.parent.name}/{path.stem}",
                    "graded": _names(grades[i], least=1),
                    "read": _names(moods[i], least=0.5),
                    "songs": [_song(data, songs, int(j)) for j in first],
                }
            )
        path = store("listening", {"model": engine.model_id, "pages": rows})
    click.echo(f"stored {path}", err=True)


def _names(values: Floats, least: float) -> str:
    """The moods at or above `least`, strongest first, at most three."""
    order = [i for i in np.argsort(-values, kind="stable") if values[i] >= least][:3]
    return ", ".join(MOODS[i] for i in order) or "none"


def _song(data: Path, songs: Songs, index: int) -> dict[str, Any]:
    samples, rate = soundfile.read(data / "songs_demo" / songs.names[index], dtype="float32", always_2d=True)
    mono = signal.resample_poly(samples.mean(axis=1), RATE, rate)
    return {
        "song": Path(songs.names[index]).stem,
        "intended": _names(songs.grades[index], least=1),
        "tempo": tempo(mono),
        "mode": mode(mono),
        "loudness": float(20 * np.log10(np.sqrt(np.mean(mono**2)) + 1e-9)),
    }


def tempo(mono: NDArray[np.float32]) -> float:
    """Beats per minute: the strongest period of the spectral flux between 50 and 200, weighted towards 110."""
    _, _, spectrum = signal.stft(mono, RATE, nperseg=2048, noverlap=2048 - HOP)
    flux = np.maximum(np.diff(np.log1p(100 * np.abs(spectrum)), axis=1), 0).sum(axis=0)
    flux -= flux.mean()
    lags = np.arange(round(60 * RATE / HOP / 200), round(60 * RATE / HOP / 50) + 1)
    strength = np.array([np.dot(flux[lag:], flux[:-lag]) / (len(flux) - lag) for lag in lags])
    beats = 60 * RATE / HOP / lags
    return float(beats[np.argmax(strength * np.exp(-0.5 * (np.log2(beats / 110) / 0.8) ** 2))])


def mode(mono: NDArray[np.float32]) -> str:
    """`major` or `minor`: the key profile that the pitch classes between 65 and 2,000 Hz correlate with best."""
    frequencies, power = signal.welch(mono, RATE, nperseg=16384)
    heard = (frequencies > 65) & (frequencies < 2000)
    classes = np.round(12 * np.log2(frequencies[heard] / 440)).astype(int) % 12
    chroma = np.bincount(classes, np.sqrt(power[heard]), minlength=12)
    fits = [max(np.corrcoef(np.roll(profile, k), chroma)[0, 1] for k in range(12)) for profile in (MAJOR, MINOR)]
    return "major" if fits[0] >= fits[1] else "minor"


if __name__ == "__main__":
    main()
