"""The demo: `python -m mmr_export.synth FOLDER` makes FOLDER/pages/*.png and FOLDER/songs/*.ogg, for every mood."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import soundfile

from mmr_export.synth.pages import generate_page
from mmr_export.synth.pieces import compose
from mmr_runtime.moods import MOODS

PAGE_SIZE = (800, 1144)
SONG_SECONDS = 40.0
SONGS_OF_A_MOOD = 2
SEED = 2023


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Generate demo pages and songs into FOLDER; files that exist are kept."""
    pages, songs = folder / "pages", folder / "songs"
    pages.mkdir(parents=True, exist_ok=True)
    songs.mkdir(exist_ok=True)
    for number, mood in enumerate(MOODS):
        path = pages / f"{mood.lower()}.png"
        if not path.exists():
            page = generate_page(SEED + number, mood=mood, width=PAGE_SIZE[0], height=PAGE_SIZE[1])
            page.image.save(path, optimize=True)
        for take in range(SONGS_OF_A_MOOD):
            _write_song(songs, mood, SEED + number * SONGS_OF_A_MOOD + take)
    click.echo(f"{len(MOODS)} pages in {pages}, {len(MOODS) * SONGS_OF_A_MOOD} songs in {songs}", file=sys.stderr)


def _write_song(folder: Path, mood: str, seed: int) -> None:
    path = folder / f"{mood.lower()}-{seed}.ogg"
    if path.exists():
        return
    piece = compose(seed, mood=mood, seconds=SONG_SECONDS)
    part = path.with_name(f".{path.name}")
    with soundfile.SoundFile(part, "w", piece.sample_rate, 1, format="OGG", subtype="VORBIS") as file:
        file.title = f"{mood} piece in {piece.key} {piece.mode}"
        file.artist = "mmr"
        # libsndfile's Vorbis encoder overflows its stack on one huge block.
        for start in range(0, len(piece.samples), 1 << 16):
            file.write(piece.samples[start : start + (1 << 16)])
    part.replace(path)


if __name__ == "__main__":
    main()
