"""Manga109 (Aizawa et al. 2020): 109 volumes of manga, with the genres that its authors publish.

A picture is a double page. Which volume is of which genre stands in manga109_genres.tsv, for the data set itself does
not say it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal, get_args

from mmr_export.data.datasets import Box, Dataset, Item, sorted_by_key
from mmr_export.data.tables import problem, read_records, read_table
from mmr_runtime.errors import InputError, MissingFileError, UsageError
from mmr_runtime.image import FORMATS, SUFFIXES
from mmr_runtime.limits import MAX_ERROR_NAMES, MIN_IMAGE_SIDE
from mmr_runtime.moods import GENRE_PROMPTS, GENRES
from mmr_runtime.safe_xml import parse

Parts = list[tuple[str, Box | None]]
"""What is added to a picture's key, and the box: the parts of the picture that are items."""

Unit = Literal["spread", "page", "frame"]
GENRES_TABLE = Path(__file__).with_name("manga109_genres.tsv")
_VOLUME = re.compile(r"_vol\d+$")


def read(folder: Path, unit: Unit = "spread") -> Dataset:
    """Read `images/BOOK/NNN.jpg`, and `annotations/BOOK.xml` for frames. Volumes of one series are a group.

    Only presence and emptiness of the pictures are looked at, which takes a second for all 10,000; to know that a
    picture is whole it must be decoded, and that is what whoever reads it does, naming it if it is not.

    Args:
        folder: of the release, or the one that holds it.
        unit: what an item is: `spread`: a picture; `page`: its right and its left half, in this order, as it is read;
            `frame`: a frame of the annotations.

    Raises:
        UsageError: there is no such unit.
        MissingFileError: there are no pictures; or frames are asked for, and a book has no annotations.
        InputError: annotations cannot be used, or name no frames.
    """
    if unit not in get_args(Unit):
        raise UsageError(f"no unit is named {unit!r}", f"take {', '.join(get_args(Unit))}")
    root = _root(folder)
    genres = {row["book"]: row["genre"] for row in read_table(GENRES_TABLE, ("book", "genre"), delimiter="\t")}
    books, skipped = _books(root, genres)
    frames = _read_frames(root, books) if unit == "frame" else {}
    items: list[Item] = []
    for book, pictures in books.items():
        genre, group = genres[book], _VOLUME.sub("", book)
        for picture in pictures:
            key = f"{book}/{picture.name}"
            reason = problem(picture)
            parts: Parts = [("", None)]
            if not reason and unit == "page":
                parts, reason = _halves(picture)
            elif not reason and unit == "frame":
                parts = frames[book].get(picture.stem.lstrip("0") or "0", [])
            if reason:
                skipped.append((key, reason))
                continue
            for part, box in parts:
                if box and min(box[2] - box[0], box[3] - box[1]) < MIN_IMAGE_SIDE:
                    skipped.append((key + part, f"a frame of less than {MIN_IMAGE_SIDE} pixels"))
                else:
                    items.append(Item(key + part, picture, genre, (genre,), group, box=box))
    return Dataset("manga109", "image", sorted_by_key(items), GENRES, GENRE_PROMPTS, tuple(skipped))


def _root(folder: Path) -> Path:
    """The folder that holds `images`."""
    if (folder / "images").is_dir():
        return folder
    releases = [path.parent for path in sorted(folder.glob("Manga109*/images"))]
    if len(releases) > 1:
        raise InputError(f"{folder} holds {len(releases)} releases", f"name one: {releases[-1]}")
    if not releases:
        raise MissingFileError(f"there is no folder images in {folder}", "name the folder Manga109_released_...")
    return releases[0]


def _books(root: Path, genres: Mapping[str, str]) -> tuple[dict[str, list[Path]], list[tuple[str, str]]]:
    """Pictures of every volume with a genre, and what is left out."""
    books: dict[str, list[Path]] = {}
    skipped: list[tuple[str, str]] = []
    folders = {path.name: path for path in sorted((root / "images").iterdir()) if path.is_dir()}
    if (root / "books.txt").is_file():
        listed = [fields[0] for _, fields in read_records(root / "books.txt")]
        skipped += [(book, "in books.txt, without a folder") for book in listed if book not in folders]
    for book, folder in folders.items():
        if book not in genres:
            skipped.append((book, "not in the table of genres"))
            continue
        books[book] = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in SUFFIXES and p.name[0] != "."]
        if not books[book]:
            skipped.append((book, "a folder without pictures"))
    return books, skipped


def _halves(picture: Path) -> tuple[Parts, str | None]:
    """The pages of a picture, the right one first; or why it has none."""
    from PIL import Image

    try:
        with Image.open(picture, formats=FORMATS) as image:
            width, height = image.size
    except Exception:  # broken files raise whatever their decoder stumbles over
        return [], "no picture that can be read"
    if width <= height:
        return [("", None)], None
    middle = width // 2
    return [("#1", (middle, 0, width, height)), ("#2", (0, 0, middle, height))], None


def _read_frames(root: Path, books: Iterable[str]) -> dict[str, dict[str, Parts]]:
    """Frames by book and number of the picture, without leading zeros."""
    paths = {book: root / "annotations" / f"{book}.xml" for book in books}
    missing = [book for book, path in paths.items() if not path.is_file()]
    if missing:
        raise MissingFileError(
            f"{len(missing)} of {len(paths)} volumes have no annotations: {', '.join(missing[:MAX_ERROR_NAMES])}",
            "put annotations/BOOK.xml of the release beside images",
        )
    return {book: _frames_of(path) for book, path in paths.items()}


def _frames_of(path: Path) -> dict[str, Parts]:
    frames: dict[str, Parts] = {}
    seen: set[str] = set()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}", "check its permissions") from error
    for page in parse(content, str(path)).iter("page"):
        parts = frames.setdefault(page.get("index", ""), [])
        for frame in page.iter("frame"):
            try:
                left, top, right, bottom = (int(frame.attrib[side]) for side in ("xmin", "ymin", "xmax", "ymax"))
                name = frame.attrib["id"]
            except (KeyError, ValueError) as error:
                raise InputError(
                    f"{path}: a frame of page {page.get('index')} lacks its id or a side: {error}", "get it again"
                ) from None
            if name in seen:
                raise InputError(f"{path}: two frames have the id {name}", "get it again")
            seen.add(name)
            parts.append((f"#{name}", (left, top, right, bottom)))
    if not seen:
        raise InputError(f"{path} names no frames", "take the unit spread or page, or another release")
    return frames
