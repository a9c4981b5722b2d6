"""UrbanSound8K: clips in the folders of their folds, recordings that stay together."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmr_export.data import urbansound8k
from mmr_runtime.errors import InputError
from tests.export.miniatures import make_urbansound8k


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_urbansound8k(tmp_path)


def test_items_have_class_prompt_fold_and_recording(folder: Path) -> None:
    dataset = urbansound8k.read(folder)
    assert dataset.classes == ("air_conditioner", "dog_bark")
    assert dataset.prompts == ("air conditioner", "dog bark")
    assert len(dataset.items) == 10 * 2 * 2
    assert {item.fold for item in dataset.items} == set(range(1, 11))
    item = next(item for item in dataset.items if item.key == "fold10/10001-1-0-1.wav")
    assert (item.text, item.labels, item.group, item.fold) == ("dog bark", ("dog_bark",), "10001", 10)
    assert item.path == folder / "audio" / "fold10" / "10001-1-0-1.wav"


def test_a_fold_that_was_not_unpacked_is_left_out(folder: Path) -> None:
    for path in (folder / "audio" / "fold7").iterdir():
        path.unlink()
    dataset = urbansound8k.read(folder)
    assert len(dataset.skipped) == 4
    assert {item.fold for item in dataset.items} == {*range(1, 11)} - {7}


def test_no_name_leads_out_of_the_folder(folder: Path) -> None:
    path = folder / "metadata" / "UrbanSound8K.csv"
    path.write_text(path.read_text().replace("1000-0-0-0.wav", "../../../1000-0-0-0.wav", 1))
    with pytest.raises(InputError, match="no file below"):
        urbansound8k.read(folder)
