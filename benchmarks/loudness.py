"""How far the loudness that an index keeps is from the song's: `python benchmarks/loudness.py --data DIR`.

The index measures mono windows spread over a song; BS.1770 measures every channel of the whole. The demo songs last 45
seconds: two windows are as much of them as eight are of a song of three minutes. Stored in results/loudness.json.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import click
import numpy as np
import soundfile
from host import store

from mmr_runtime.audio import read_windows
from mmr_runtime.bundle import AudioSpec
from mmr_runtime.loudness import loudness


@click.command()
@click.option("--data", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
def main(data: Path) -> None:
    """Measure and store."""
    songs = sorted((data / "songs_demo").glob("*.ogg"))
    whole = np.array([_whole(song) for song in songs])
    figures: dict[str, Any] = {"songs": len(songs), "spread of the songs, dB": float(whole.std())}
    for windows in (2, 8):
        heard = np.array([_heard(song, windows) for song in songs])
        error = heard - whole
        figures[f"{windows} windows"] = {
            "median error, dB": float(np.median(error)),
            "median absolute error, dB": float(np.median(np.abs(error))),
            "95 % below, dB": float(np.percentile(np.abs(error), 95)),
            "spread after levelling, dB": float(error.std()),
        }
    path = store("loudness", figures)
    click.echo(f"{figures}\nstored {path}")


def _whole(song: Path) -> float:
    """By the standard: the channels' powers are added, so two equal ones are 3 dB above one of them."""
    samples, rate = soundfile.read(song, dtype="float32", always_2d=True)
    if samples.shape[1] == 1:
        samples = np.repeat(samples, 2, axis=1)
    # `loudness` takes each row for two equal channels and averages over rows: the mean of twice the left and twice the
    # right power is their sum, which is the standard's. Only the gates may differ, by channel instead of by both.
    both = loudness(np.ascontiguousarray(samples.T), rate)
    assert both is not None
    return both


def _heard(song: Path, windows: int) -> float:
    spec = AudioSpec()
    found = loudness(read_windows(song, windows=windows, spec=spec).samples, spec.sample_rate)
    return math.nan if found is None else found


if __name__ == "__main__":
    main()
