"""Anybody's own data, named by a CSV."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmr_export.data import manifest
from mmr_runtime.errors import InputError, MissingFileError
from tests.export.miniatures import make_manifest, write_csv, write_picture

LABELLED = {"b/1.png": "sad_song", "a.png": "calm", "c.jpg": "calm|sad_song"}


def test_labels_are_classes_and_told_with_spaces(tmp_path: Path) -> None:
    dataset = manifest.read(make_manifest(tmp_path, LABELLED))
    assert dataset.modality == "image"
    assert dataset.classes == ("calm", "sad_song")
    assert dataset.prompts == ("calm", "sad song")
    assert [(i.key, i.text, i.labels, i.group) for i in dataset.items] == [
        ("a.png", "calm", ("calm",), "a.png"),
        ("b/1.png", "sad song", ("sad_song",), "b/1.png"),
        ("c.jpg", "calm, sad song", ("calm", "sad_song"), "c.jpg"),
    ]


def test_texts_have_no_classes(tmp_path: Path) -> None:
    dataset = manifest.read(make_manifest(tmp_path, {"a.wav": "quiet rain, far away"}, column="text"))
    assert dataset.modality == "audio"
    assert dataset.classes == dataset.prompts == ()
    assert [(item.text, item.labels) for item in dataset.items] == [("quiet rain, far away", ())]


def test_groups_and_sides_are_taken_where_they_are_given(tmp_path: Path) -> None:
    for name in "abc":
        write_picture(tmp_path / f"{name}.png", 99)
    rows = [("a.png", "x", "train", "g"), ("b.png", "x", "test", ""), ("./c.png", "y", "", "g")]
    path = write_csv(tmp_path / "any name.csv", [("file", "label", "split", "group"), *rows])
    found = [(item.key, item.side, item.group) for item in manifest.read(path).items]
    assert found == [("a.png", "train", "g"), ("b.png", "test", "b.png"), ("c.png", None, "g")]


def test_missing_and_empty_files_are_left_out_but_their_labels_are_classes(tmp_path: Path) -> None:
    make_manifest(tmp_path, LABELLED)
    (tmp_path / "a.png").unlink()
    (tmp_path / "c.jpg").write_bytes(b"")
    dataset = manifest.read(tmp_path)
    assert dataset.skipped == (("a.png", "the file is missing"), ("c.jpg", "the file is empty"))
    assert dataset.classes == ("calm", "sad_song")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("file", "label")], "names no files"),
        ([("file", "mood"), ("a.png", "x")], "one of the columns label and text"),
        ([("file", "label", "text"), ("a.png", "x", "y")], "one of the columns label and text"),
        ([("file", "label"), ("a.png", " | ")], "line 2: a.png has neither a label nor a text"),
        ([("file", "label"), ("a.png", "x"), ("b.wav", "x")], "pictures and sound: a.png and b.wav"),
        ([("file", "label"), ("a.pdf", "x")], "line 2: a.pdf is neither a picture nor sound"),
        ([("file", "label"), ("a.png", "x"), ("a.png", "y")], "line 3 names 'a.png' again"),
        ([("file", "label"), ("a.png", "x"), ("./a.png", "y")], "line 3 names 'a.png' again"),
        ([("file", "label"), ("/a.png", "x")], "line 2: '/a.png' is no file below"),
        ([("file", "label"), ("../a.png", "x")], "line 2: '../a.png' is no file below"),
        ([("file", "label", "split"), ("a.png", "x", "dev")], "no side is named 'dev'"),
        ([("name", "label"), ("a.png", "x")], "no column file"),
    ],
)
def test_a_bad_manifest_is_an_error(tmp_path: Path, rows: list[tuple[str, ...]], message: str) -> None:
    write_picture(tmp_path / "a.png", 99)
    write_csv(tmp_path / "manifest.csv", rows)
    with pytest.raises(InputError, match=message):
        manifest.read(tmp_path)


def test_the_manifest_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no manifest\.csv"):
        manifest.read(tmp_path)
