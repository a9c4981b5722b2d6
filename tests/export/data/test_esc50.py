"""ESC-50: clips, classes in the order of their numbers, folds, and recordings that stay together."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import pytest

from mmr_export.data import esc50
from mmr_runtime.errors import InputError, MissingFileError
from tests.export.miniatures import make_esc50


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_esc50(tmp_path / "ESC-50-master")


def test_items_have_class_prompt_fold_and_recording(folder: Path) -> None:
    dataset = esc50.read(folder)
    assert dataset.classes == ("dog", "chirping_birds")
    assert dataset.prompts == ("dog", "chirping birds")
    assert len(dataset.items) == 5 * 2 * 3
    item = next(item for item in dataset.items if item.key == "3-103010-B-1.wav")
    assert (item.text, item.labels, item.group, item.fold) == ("chirping birds", ("chirping_birds",), "103010", 3)
    assert item.path == folder / "audio" / item.key


def test_a_recording_lies_in_one_fold(folder: Path) -> None:
    folds = defaultdict(set)
    for item in esc50.read(folder).items:
        folds[item.group].add(item.fold)
    assert {len(found) for found in folds.values()} == {1}


def test_missing_and_empty_clips_are_left_out(folder: Path) -> None:
    (folder / "audio" / "1-101000-A-0.wav").unlink()
    (folder / "audio" / "1-101000-B-0.wav").write_bytes(b"")
    assert esc50.read(folder).skipped == (
        ("1-101000-A-0.wav", "the file is missing"),
        ("1-101000-B-0.wav", "the file is empty"),
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1-101000-B-0.wav", "1-101000-A-0.wav", "line 3 names '1-101000-A-0.wav' again"),
        ("1-101000-A-0.wav,1,", "1-101000-A-0.wav,one,", "fold is 'one'"),
        ("1-101000-A-0.wav", "../secret.wav", "no file below"),
        ("src_file", "source", "no column src_file"),
        ("1-101000-B-0.wav,1,0,dog", "1-101000-B-0.wav,1,0,cat", "'cat' as number 0"),
    ],
)
def test_a_table_that_contradicts_itself_is_an_error(folder: Path, old: str, new: str, message: str) -> None:
    path = folder / "meta" / "esc50.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputError, match=message):
        esc50.read(folder)


def test_the_table_must_be_there(folder: Path) -> None:
    with pytest.raises(MissingFileError, match=r"no esc50\.csv"):
        esc50.read(folder.parent)
