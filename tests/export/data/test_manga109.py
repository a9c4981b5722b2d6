"""Manga109: spreads, pages or frames, with the genre of their title."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest

from mmr_export.data import manga109
from mmr_export.data.media import read_picture
from mmr_runtime.errors import InputError, MissingFileError, UsageError
from mmr_runtime.moods import GENRES
from tests.export.miniatures import SPREAD, TITLES, make_manga109, write_picture

WIDTH, HEIGHT = SPREAD


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make_manga109(tmp_path, frames=2)


def test_the_shipped_table_gives_each_of_109_volumes_one_of_the_twelve_genres() -> None:
    lines = manga109.GENRES_TABLE.read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# source: github.com/manga109/")
    rows = list(csv.DictReader((line for line in lines if line[0] != "#"), delimiter="\t"))
    assert len({row["book"] for row in rows}) == len(rows) == 109
    assert {row["genre"] for row in rows} == set(GENRES)
    assert min(Counter(row["genre"] for row in rows).values()) == 2


def test_an_item_is_a_spread_with_its_genre_told_bare(root: Path) -> None:
    dataset = manga109.read(root)
    assert dataset.modality == "image"
    assert dataset.classes == dataset.prompts == GENRES
    assert not dataset.skipped
    assert len(dataset.items) == 3 * len(TITLES)
    first = dataset.items[0]
    assert (first.key, first.text, first.labels) == ("ARMS/000.jpg", "science fiction", ("science fiction",))
    assert first.box is None
    assert first.path == root / "images" / "ARMS" / "000.jpg"
    assert [item.key for item in dataset.items] == sorted(item.key for item in dataset.items)


def test_the_folder_that_holds_the_release_will_do(root: Path) -> None:
    assert manga109.read(root.parent) == manga109.read(root)


def test_volumes_of_a_series_are_one_group(root: Path) -> None:
    groups = {item.key.split("/")[0]: item.group for item in manga109.read(root).items}
    assert groups["LoveHina_vol01"] == groups["LoveHina_vol14"] == "LoveHina"
    assert len(set(groups.values())) == len(TITLES) - 1


def test_pages_are_the_halves_the_right_one_first(root: Path) -> None:
    write_picture(root / "images" / "ARMS" / "000.jpg", 99, (30, 44))
    items = manga109.read(root, unit="page").items
    assert [(item.key, item.box) for item in items[:3]] == [
        ("ARMS/000.jpg", None),  # one page already
        ("ARMS/001.jpg#1", (WIDTH // 2, 0, WIDTH, HEIGHT)),
        ("ARMS/001.jpg#2", (0, 0, WIDTH // 2, HEIGHT)),
    ]
    assert [read_picture(item).size for item in items[:2]] == [(30, 44), (WIDTH // 2, HEIGHT)]


def test_frames_are_the_boxes_of_the_annotations(root: Path) -> None:
    items = manga109.read(root, unit="frame").items
    assert len(items) == 2 * 3 * len(TITLES)
    assert [(item.key, item.box) for item in items if item.key.startswith("Arisa/002")] == [
        ("Arisa/002.jpg#00020000", (0, 0, 32, 44)),
        ("Arisa/002.jpg#00020001", (32, 0, 64, 44)),
    ]


def test_frames_need_the_annotations_of_every_volume(root: Path) -> None:
    (root / "annotations" / "ARMS.xml").unlink()
    with pytest.raises(MissingFileError, match="1 of 7 volumes have no annotations: ARMS"):
        manga109.read(root, unit="frame")
    assert manga109.read(root).items


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('<book><pages><page index="0"/></pages></book>', "names no frames"),
        ('<book><page index="0"><frame id="1" xmin="a" ymin="0" xmax="9" ymax="9"/></page></book>', "frame of page 0"),
        ('<book><page index="4"><frame id="1" xmin="0" ymin="0" xmax="9"/></page></book>', "frame of page 4"),
        (
            '<book><page index="4"><frame id="1" xmin="0" ymin="0" xmax="9" ymax="9"/></page>'
            '<page index="5"><frame id="1" xmin="0" ymin="0" xmax="9" ymax="9"/></page></book>',
            "two frames have the id 1",
        ),
        ("<book>", "is not XML"),
        ('<!DOCTYPE b [<!ENTITY e "e">]><book/>', "document type"),
    ],
)
def test_annotations_that_cannot_be_used_are_named(root: Path, content: str, message: str) -> None:
    (root / "annotations" / "Arisa.xml").write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        manga109.read(root, unit="frame")
    assert "Arisa.xml" in caught.value.message


def test_what_cannot_be_used_is_left_out_with_its_reason(root: Path) -> None:
    images = root / "images"
    (images / "ARMS" / "001.jpg").write_bytes(b"")
    (images / "ARMS" / "._002.jpg").write_bytes(b"made by a Mac")
    (images / "ARMS" / "Thumbs.db").write_bytes(b"made by Windows")
    (images / "Mine").mkdir()
    shutil.rmtree(images / "Arisa")
    shutil.rmtree(images / "TasogareTsushin")
    (images / "TasogareTsushin").mkdir()
    dataset = manga109.read(root)
    assert dict(dataset.skipped) == {
        "ARMS/001.jpg": "the file is empty",
        "Mine": "not in the table of genres",
        "Arisa": "in books.txt, without a folder",
        "TasogareTsushin": "a folder without pictures",
    }
    assert len(dataset.items) == 3 * 5 - 1


def test_frames_too_small_to_be_seen_are_left_out(root: Path) -> None:
    path = root / "annotations" / "ARMS.xml"
    path.write_text(path.read_text().replace('ymax="44"', 'ymax="7"', 1))
    dataset = manga109.read(root, unit="frame")
    assert dataset.skipped == (("ARMS/000.jpg#00000000", "a frame of less than 8 pixels"),)
    assert all(min(read_picture(item).size) >= 8 for item in dataset.items)


def test_a_picture_without_a_readable_head_has_no_pages(root: Path) -> None:
    (root / "images" / "ARMS" / "001.jpg").write_bytes(b"<html>not found</html>")
    dataset = manga109.read(root, unit="page")
    assert dataset.skipped == (("ARMS/001.jpg", "no picture that can be read"),)


def test_an_unknown_unit_and_a_folder_without_pictures_are_errors(root: Path) -> None:
    with pytest.raises(UsageError, match="spread, page, frame"):
        manga109.read(root, unit="panel")  # type: ignore[arg-type]
    with pytest.raises(MissingFileError, match="no folder images"):
        manga109.read(root / "images")
    shutil.copytree(root, root.with_name("Manga109s_released_2021_12_30"))
    with pytest.raises(InputError, match="2 releases"):
        manga109.read(root.parent)
