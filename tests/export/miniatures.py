"""Miniature data sets in the official layouts, made from seeds; what a class is can be seen or heard in its items."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

RATE = 44100
TITLES = (  # science fiction, romantic comedy, horror; LoveHina has two volumes
    "ARMS",
    "AppareKappore",
    "Arisa",
    "LoveHina_vol01",
    "LoveHina_vol14",
    "MayaNoAkaiKutsu",
    "TasogareTsushin",
)
_TONES = {"ARMS": 40, "AppareKappore": 40, "MayaNoAkaiKutsu": 5, "TasogareTsushin": 5}
SPREAD = (64, 44)
MOOD_IDS = tuple(f"/t/dd0003{i}" for i in range(1, 8))
SPEECH_ID = "/m/09x0r"


def write_picture(path: Path, grey: int, size: tuple[int, int] = SPREAD, seed: int = 0) -> None:
    """A noisy picture of a mean grey value."""
    noise = np.random.default_rng(seed).integers(-4, 5, size[::-1])
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.clip(noise + grey, 0, 255).astype(np.uint8)).save(path)


def write_clip(path: Path, hertz: float, seconds: float = 0.3, rate: int = RATE, seed: int = 0) -> None:
    """A tone with some noise."""
    times = np.arange(round(seconds * rate)) / rate
    sound = 0.5 * np.sin(2 * np.pi * hertz * times) + np.random.default_rng(seed).normal(0, 0.01, len(times))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, rate)


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def make_manga109(folder: Path, titles: Sequence[str] = TITLES, pages: int = 3, frames: int = 0) -> Path:
    """A release: spreads of 64 x 44 pixels, darker for horror, lighter for comedy; `frames` in each, if wanted.

    Args:
        folder: to hold it.
        titles: of Manga109.
        pages: spreads of each title.
        frames: of each spread, side by side, in annotations.
    """
    root = folder / "Manga109_released_2023_12_07"
    for i, title in enumerate(titles):
        for page in range(pages):
            write_picture(root / "images" / title / f"{page:03}.jpg", 6 * _TONES.get(title, 25), seed=100 * i + page)
        if frames:
            _annotate(root / "annotations" / f"{title}.xml", title, pages, frames)
    (root / "books.txt").write_text("".join(f"{title}\n" for title in titles))
    return root


def _annotate(path: Path, title: str, pages: int, frames: int) -> None:
    width, height = SPREAD
    lines = [f'<?xml version="1.0" encoding="UTF-8"?>\n<book title="{title}">\n<pages>']
    for page in range(pages):
        lines.append(f'<page index="{page}" width="{width}" height="{height}">')
        for i in range(frames):
            left, right = width * i // frames, width * (i + 1) // frames
            lines.append(
                f'<frame id="{page:04x}{i:04x}" xmin="{left}" ymin="0" xmax="{right}" ymax="{height}" />'
                f'<text id="t{page:04x}{i:03x}" xmin="1" ymin="1" xmax="9" ymax="9">...</text>'
            )
        lines.append("</page>")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, "</pages>\n</book>\n"]), encoding="utf-8")


def make_audioset(folder: Path, clips: int = 21, seconds: float = 0.3) -> Path:
    """Two lists of segments and the clips: moods in turn, a second one for every fifth, and one clip without a mood.

    Args:
        folder: to hold it.
        clips: with moods; their pitch is that of the first mood in the turn.
        seconds: of a clip.
    """
    segments = []
    for i in range(clips):
        moods = {i % 7, (i + 1) % 7} if i % 5 == 4 else {i % 7}
        segments.append((video_id(i), 30.0, [SPEECH_ID, *(MOOD_IDS[mood] for mood in sorted(moods))]))
        write_clip(folder / "clips" / f"{video_id(i)}.wav", 200 * (1 + i % 7), seconds, seed=i)
    segments.append((video_id(clips), 0.0, [SPEECH_ID]))
    half = clips // 2
    write_segments(folder / "balanced_train_segments.csv", segments[:half])
    write_segments(folder / "eval_segments.csv", segments[half:])
    return folder


def video_id(number: int) -> str:
    """Eleven characters, as a video's id has."""
    return f"-v_{number:08}"


def write_segments(path: Path, segments: Sequence[tuple[str, float, Sequence[str]]]) -> None:
    """A list of segments of ten seconds, as AudioSet's are written."""
    lines = [
        "# Segments csv created Sun Mar  5 10:54:25 2017",
        f"# num_ytids={len(segments)}, num_segs={len(segments)}, num_unique_labels=8, num_positive_labels=9",
        "# YTID, start_seconds, end_seconds, positive_labels",
        *(f'{video}, {start:.3f}, {start + 10:.3f}, "{",".join(mids)}"' for video, start, mids in segments),
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def make_esc50(folder: Path, classes: Sequence[str] = ("dog", "chirping_birds"), recordings: int = 2) -> Path:
    """Five folds.

    Args:
        folder: to hold it.
        classes: numbered in this order; a tone for each.
        recordings: of each class in each fold; the first one gives two clips.
    """
    rows: list[Sequence[object]] = [("filename", "fold", "target", "category", "esc10", "src_file", "take")]
    for fold in range(1, 6):
        for target, label in enumerate(classes):
            for recording in range(recordings):
                source = 100000 + 1000 * fold + 10 * target + recording
                for take in "AB" if recording == 0 else "A":
                    name = f"{fold}-{source}-{take}-{target}.wav"
                    rows.append((name, fold, target, label, target == 0, source, take))
                    write_clip(folder / "audio" / name, 300 * (1 + target), seed=source)
    write_csv(folder / "meta" / "esc50.csv", rows)
    return folder


def make_urbansound8k(folder: Path, classes: Sequence[str] = ("air_conditioner", "dog_bark")) -> Path:
    """Ten folds with two clips of one recording of each class; the second one lasts 0.05 seconds."""
    header = ("slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class")
    rows: list[Sequence[object]] = [header]
    for fold in range(1, 11):
        for number, label in enumerate(classes):
            source = 1000 * fold + number
            for piece, seconds in enumerate((0.3, 0.05)):
                name = f"{source}-{number}-0-{piece}.wav"
                rows.append((name, source, piece, piece + seconds, 1, fold, number, label))
                write_clip(folder / "audio" / f"fold{fold}" / name, 300 * (1 + number), seconds, seed=source)
    write_csv(folder / "metadata" / "UrbanSound8K.csv", rows)
    return folder


def make_features(
    folder: Path, pairs: int = 24, audio: int = 10, video: int = 8, frames: int = 0, sides: bool = False, seed: int = 0
) -> Path:
    """Pairs that share four hidden numbers, seen through two linear maps and a little noise.

    Args:
        folder: to hold them.
        pairs: how many.
        audio: width of the music's features.
        video: width of the video's.
        frames: of every file; 0: one vector.
        sides: three of four pairs train, one validates.
        seed: of all numbers.
    """
    rng = np.random.default_rng(seed)
    maps = {"audio": rng.normal(size=(4, audio)), "video": rng.normal(size=(4, video))}
    rows: list[Sequence[object]] = [("id", "split") if sides else ("id",)]
    for i in range(pairs):
        hidden = rng.normal(size=4)
        name = f"pair{i:04}"
        rows.append((name, "validation" if i % 4 == 3 else "train") if sides else (name,))
        for modality, matrix in maps.items():
            shape = (frames, matrix.shape[1]) if frames else matrix.shape[1]
            values = hidden @ matrix + rng.normal(0, 0.05, shape)
            path = folder / modality / f"{name}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, values.astype(np.float32))
    write_csv(folder / "ids.csv", rows)
    return folder


def make_manifest(folder: Path, files: Mapping[str, str], column: str = "label") -> Path:
    """Pictures or clips by the endings of their names, and `manifest.csv`.

    Args:
        folder: to hold them.
        files: label or text by relative path; what is the same looks or sounds the same.
        column: `label` or `text`.
    """
    kinds = {value: i for i, value in enumerate(dict.fromkeys(files.values()))}
    for seed, (name, value) in enumerate(files.items()):
        if name.endswith((".png", ".jpg")):
            write_picture(folder / name, 40 + 170 * kinds[value] // len(kinds), seed=seed)
        else:
            write_clip(folder / name, 200 * (1 + kinds[value]), seed=seed)
    write_csv(folder / "manifest.csv", [("file", column), *files.items()])
    return folder
