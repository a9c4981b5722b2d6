"""`mmr evaluate`: bundle and checkpoint alike, what is judged, what is written, and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from mmr_export.bundle import write_bundle
from mmr_export.checkpoint import Checkpoint
from mmr_export.data.catalogue import read_dataset
from mmr_export.data.datasets import Dataset, Item
from mmr_export.data.splits import split_dataset, write_split
from mmr_export.evaluate.assess import BETWEEN, assess
from mmr_export.evaluate.assess_command import evaluate
from mmr_export.evaluate.document import document, summary
from mmr_export.evaluate.encoders import BundleEncoder, open_encoder, windows
from mmr_runtime.engine import Engine
from mmr_runtime.errors import InputError
from tests.export.conftest import METADATA
from tests.export.miniatures import (
    make_audioset,
    make_esc50,
    make_features,
    make_manga109,
    make_manifest,
    write_clip,
)

# -- encoders ---------------------------------------------------------------------------------------------------------


def test_windows_lie_side_by_side_around_the_middle() -> None:
    samples = np.arange(11, dtype=np.float32)
    np.testing.assert_array_equal(windows(samples, 3), [[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(windows(samples, 8), [samples[1:9]])
    assert windows(samples, 20).shape == (1, 20)


@pytest.fixture
def bundle(tiny: Checkpoint, made_graphs: Callable[..., None], tmp_path: Path) -> Path:
    write_bundle(tiny, tmp_path / "bundle")
    return tmp_path / "bundle"


def test_bundle_and_checkpoint_say_the_same(bundle: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / "long.wav", 440, seconds=1.3)
    write_clip(tmp_path / "short.wav", 300, seconds=0.2)
    pages = list(read_dataset("manga109", make_manga109(tmp_path / "m"), unit="page").items[:5])
    # A double page is one picture to both: the runtime must not cut it in two here, as it does for readers.
    double = np.hstack([np.zeros((60, 40), np.uint8), np.random.default_rng(0).integers(0, 256, (60, 40), np.uint8)])
    Image.fromarray(double).save(tmp_path / "double.png")
    pages.append(Item("double.png", tmp_path / "double.png", "", (), "double"))
    clips = [Item(name, tmp_path / name, "", (), name) for name in ("long.wav", "short.wav")]
    first, second = open_encoder(bundle), open_encoder(tiny_checkpoint)
    np.testing.assert_allclose(first.images(pages), second.images(pages), atol=1e-5)
    np.testing.assert_allclose(first.clips(clips), second.clips(clips), atol=2e-3)
    np.testing.assert_allclose(first.texts(["horror", "Sad music"]), second.texts(["horror", "Sad music"]), atol=1e-5)
    assert first.scales == pytest.approx(second.scales)
    np.testing.assert_allclose(np.linalg.norm(first.clips(clips), axis=1), 1, rtol=1e-5)


# -- the whole --------------------------------------------------------------------------------------------------------


class Oracle:
    """Knows every class: items and prompts lie on the axis of their label, but for those named in `wrong`."""

    name = "oracle"
    scales: dict[str, float]
    options: dict[str, dict[str, Any]]

    def __init__(self, axes: dict[str, int], wrong: frozenset[str] = frozenset()) -> None:
        self.axes, self.wrong, self.options = axes, wrong, {}
        self.scales = dict.fromkeys(("image_text", "audio_text", "audio_image"), 10.0)

    def images(self, items: Any) -> Any:
        shift = [i.key in self.wrong for i in items]
        return np.eye(len(self.axes), dtype=np.float32)[
            [self.axes[i.labels[0]] - s for i, s in zip(items, shift, strict=True)]
        ]

    clips = images

    def texts(self, texts: Any) -> Any:
        return np.eye(len(self.axes), dtype=np.float32)[[self.axes[text] for text in texts]]

    def pairs(self, items: Any) -> Any:
        rows = np.eye(len(items), dtype=np.float32)
        return rows, rows


def items(count: int, classes: tuple[str, ...], folds: int = 0) -> Dataset:
    made = [
        Item(
            str(i),
            Path(str(i)),
            c := classes[i % len(classes)],
            (c,),
            f"g{i // 4}",
            fold=i % folds + 1 if folds else None,
        )
        for i in range(count)
    ]
    return Dataset("set", "audio", tuple(made), classes, classes)


def test_figures_of_a_model_that_knows_all_and_of_one_that_errs() -> None:
    data = items(40, ("a", "b"), folds=5)
    axes = {"a": 0, "b": 1}
    right = assess(Oracle(axes), [(data, data.items, "all")]).to_json()["data"]["set"]
    assert right["accuracy"] == right["mAP"] == [1, 1, 1]
    assert right["folds"]["mean"] == 1
    errs = frozenset(i.key for i in data.items if i.labels == ("b",) and i.fold == 2)
    wrong = assess(Oracle(axes, errs), [(data, data.items, "all")]).to_json()["data"]["set"]
    assert wrong["folds"]["accuracy"]["2"] == pytest.approx(0.5)
    assert wrong["folds"]["standard deviation"] == pytest.approx(np.std([1, 0.5, 1, 1, 1], ddof=1))
    rows = summary({"set": wrong})
    assert rows[-1][1:3] == ["accuracy, mean ± standard deviation of 5 folds", "0.900 ± 0.224"]
    assert wrong["accuracy"][0] == pytest.approx(0.9)
    assert wrong["classes"]["b"]["recall"][0] == pytest.approx(0.8)
    assert wrong["accuracy"][1] < 0.9 < wrong["accuracy"][2]


def test_progress_counts_pictures_and_clips_of_all_data_sets() -> None:
    data, told = items(40, ("a", "b")), []
    both = [(data, data.items, "all"), (replace(data, name="other", modality="image"), data.items[:3], "three")]
    assess(Oracle({"a": 0, "b": 1}), both, progress=lambda *news: told.append(news))
    assert told == [(0, 43), (16, 43), (32, 43), (40, 43), (43, 43)]


def test_free_texts_are_found_by_their_items() -> None:
    data = items(3, ("a", "b", "c"))
    own = tuple(replace(item, group=item.key) for item in data.items)
    free = Dataset("set", "audio", own, (), ())
    found = assess(Oracle({"a": 0, "b": 1, "c": 2}), [(free, own, "all")]).to_json()["data"]["set"]
    assert found["item to text"]["R@1"] == [1, 1, 1]
    assert found["text to item"]["median rank"] == [1, 1, 1]


def test_a_class_of_one_title_has_figures_without_intervals() -> None:
    data = items(16, ("a", "b"))
    alone = tuple(replace(item, group="x") if item.labels == ("a",) else item for item in data.items)
    found = assess(Oracle({"a": 0, "b": 1}), [(data, alone, "all")])
    own = found.to_json()["data"]["set"]["classes"]
    assert own["a"]["recall"] == [1, None, None]
    assert own["b"]["recall"] == [1, 1, 1]
    assert "<td>a</td><td>1.00</td><td>1.00</td>" in document(found)


def test_pairs_of_features_are_projected_and_find_each_other(tmp_path: Path) -> None:
    class Projecting:
        """Both sides see their own half of the numbers that a pair shares."""

        model_id = "projecting"
        bundle = SimpleNamespace(manifest=SimpleNamespace(logit_scales={}))

        def project(self, features: Any, modality: str) -> Any:
            width = {"audio_features": 10, "image_features": 8}[modality]
            assert features.shape == (24, width)
            # The miniature's maps, undone.
            rng = np.random.default_rng(0)
            maps = {"audio_features": rng.normal(size=(4, 10)), "image_features": rng.normal(size=(4, 8))}
            hidden = features @ np.linalg.pinv(maps[modality])
            return hidden / np.linalg.norm(hidden, axis=1, keepdims=True)

    data = read_dataset("features", make_features(tmp_path))
    found = assess(BundleEncoder(cast("Engine", Projecting())), [(data, data.items, "all")])
    figures = found.to_json()["data"]["features"]
    for way in ("music to video", "video to music"):
        assert figures[way]["R@1"][0] > 0.9
        assert figures[way]["median rank"] == [1, 1, 1]
    assert figures["modality gap"] < 0.1
    assert "music to video" in document(found)


def test_a_checkpoint_of_towers_takes_no_features(tiny_checkpoint: Path, tmp_path: Path) -> None:
    result = run(tiny_checkpoint, "--data", f"features={make_features(tmp_path)}")
    assert result.exit_code == 2
    assert "takes no features, and there are 24 pairs" in result.stderr


def test_items_without_a_label_are_refused() -> None:
    data = items(4, ("a", "b"))
    bare = (*data.items[:3], Item("x", Path("x"), "x", (), "x"))
    with pytest.raises(InputError, match="without a label"):
        assess(_Placed(), [(data, bare, "all")])


class _Placed(Oracle):
    def __init__(self) -> None:
        super().__init__({"a": 0, "b": 1})

    def clips(self, items: Any) -> Any:  # type: ignore[override]
        return np.ones((len(items), 2), np.float32)


def run(*words: object) -> Result:
    return CliRunner().invoke(evaluate, [str(word) for word in words])


def test_pages_and_songs_by_a_bundle(bundle: Path, tmp_path: Path) -> None:
    pages, songs = make_manga109(tmp_path / "m"), make_audioset(tmp_path / "a")
    data = ("--data", f"manga109={pages}", "--data", f"audioset={songs}")
    output = tmp_path / "report"
    result = run(bundle, *data, "--as-published", "--output", output, "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    (book, sounds), tables = [k for k in found["data"] if k != BETWEEN], found["tables"]
    assert len(found["data"][book]["accuracy"]) == 3
    assert found["data"][book]["classes without items"]  # miniatures hold three genres of twelve
    assert found["data"][sounds]["classes"]["Sad music"]["items"] > 0
    assert set(tables) == {
        f"{way}, {what}"
        for way in ("genre to mood", "mood to genre")
        for what in ("of the first three", "posterior", "as published")
    }
    with (output / "genre-to-mood_posterior.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert len(rows) == 1 + 12 * 7
    report = (output / "report.html").read_text()
    assert report.count("<svg") == 2 * 2 + 1 + 6
    assert "Happy music" in report
    assert "[&#x27;" not in report  # no list as Python writes it
    assert not any(outside in report for outside in ("src=", "<link", "@import", "url(http"))


def test_a_checkpoint_is_judged_by_what_validated(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = make_esc50(tmp_path / "esc")
    model = shutil.copy(tiny_checkpoint, tmp_path / "best.pt")
    shutil.copy(tiny_checkpoint.with_suffix(".json"), tmp_path / "best.json")
    dataset = read_dataset("esc50", folder)
    split = split_dataset(dataset, "fold", fold=3)
    write_split(split, tmp_path / "best.split.json")
    judged = run(model, "--data", f"esc50={folder}")
    assert judged.exit_code == 0, judged.output
    assert f"the {len(split.validation)} that validate, split by fold" in judged.stdout
    assert f"all {len(dataset.items)} items" in run(model, "--data", f"esc50={folder}", "--all").stdout


def test_a_checkpoint_reads_its_data_as_it_was_trained(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = make_manga109(tmp_path / "m")
    model = shutil.copy(tiny_checkpoint, tmp_path / "best.pt")
    recipe = {"data": "manga109", "options": {"unit": "page"}}
    (tmp_path / "best.json").write_text(json.dumps({**METADATA, "training": {"recipe": recipe}}))
    split = split_dataset(read_dataset("manga109", folder, unit="page"), "group")
    write_split(split, tmp_path / "best.split.json")
    result = run(model, "--data", f"manga109={folder}", "--json")
    assert result.exit_code == 0, result.output
    (figures,) = json.loads(result.stdout)["data"].items()
    assert figures[0].endswith(", unit page")
    assert figures[1]["judged"] == f"the {len(split.validation)} that validate, split by title or video"


def test_items_of_a_split_that_are_not_there_are_told(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = make_manga109(tmp_path / "m")
    split = split_dataset(read_dataset("manga109", folder), "item")
    write_split(replace(split, validation=(*split.validation, "gone.jpg")), tmp_path / "s.json")
    told = run(tiny_checkpoint, "--data", f"manga109={folder}", "--split", tmp_path / "s.json", "--json")
    (figures,) = json.loads(told.stdout)["data"].values()
    count = len(split.validation)
    assert figures["judged"] == (
        f"the {count} that validate without 1 that are not there, split by single item, as the paper: titles leak"
    )
    write_split(replace(split, train=("x",), validation=("y",)), tmp_path / "other.json")
    refused = run(tiny_checkpoint, "--data", f"manga109={folder}", "--split", tmp_path / "other.json")
    assert refused.exit_code == 3
    assert "names no item of the data" in refused.stderr


def test_a_split_of_the_pages_leaves_all_songs(tiny_checkpoint: Path, tmp_path: Path) -> None:
    pages, songs = make_manga109(tmp_path / "m"), make_audioset(tmp_path / "a")
    split = split_dataset(read_dataset("manga109", pages), "group")
    write_split(split, tmp_path / "s.json")
    data = ("--data", f"manga109={pages}", "--data", f"audioset={songs}")
    told = json.loads(run(tiny_checkpoint, *data, "--split", tmp_path / "s.json", "--json").stdout)["data"]
    assert told[f"manga109 {pages.name}"]["items"] == len(split.validation)
    assert told["audioset a"]["judged"] == "all 21 items, none of which the split names"
    assert told[BETWEEN]["hubness"][0] is not None


def test_wrong_uses_are_told(tiny_checkpoint: Path, tmp_path: Path) -> None:
    songs = make_manifest(tmp_path / "f", {"a.wav": "Sad music", "b.wav": "Happy music"})
    pages = make_manifest(tmp_path / "g" / "f", {"a.png": "horror", "b.png": "humor"})
    for words, problem in (
        (("--data", "esc50"), "is not NAME=FOLDER"),
        (("--data", f"manifest={songs}", "--data", f"manifest={songs}"), "both of sound"),
        (("--data", f"manifest={songs}", "--data", f"manifest={pages}"), "two data sets are called manifest f"),
        (("--data", f"manifest={songs}", "--all", "--split", "s.json"), "exclude each other"),
        (("--data", f"birds={songs}"), "no kind of data set is named 'birds'"),
    ):
        result = run(tiny_checkpoint, *words)
        assert result.exit_code == 2, result.output
        assert problem in result.stderr
    assert run(tiny_checkpoint, "--data", f"manifest={songs}", "--split", tmp_path / "none.json").exit_code == 3
    refused = run(tiny_checkpoint, "--data", f"manifest={songs}", "--output", songs / "manifest.csv")
    assert refused.exit_code == 2
    assert "cannot be made a folder" in refused.stderr
