"""`mmr evaluate`: figures as scikit-learn has them, tables on the right axis, bundle and checkpoint alike."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn

from mmr_export.bundle import write_bundle
from mmr_export.checkpoint import Checkpoint
from mmr_export.data.catalogue import read_dataset
from mmr_export.data.datasets import Dataset, Item
from mmr_export.data.splits import split_dataset, write_split
from mmr_export.evaluate.assess import BETWEEN, assess
from mmr_export.evaluate.assess_command import evaluate
from mmr_export.evaluate.classification import (
    ClassReport,
    average_precision,
    average_precisions,
    calibration,
    confusion,
    first_right,
    group_interval,
    softmax,
)
from mmr_export.evaluate.encoders import open_encoder, windows
from mmr_export.evaluate.published import published_tables
from mmr_export.evaluate.retrieval import Recall, hubness, modality_gap, occurrences, partner_ranks
from mmr_export.evaluate.tables import Side, Table, class_table
from mmr_runtime.errors import InputError
from tests.export.miniatures import make_audioset, make_esc50, make_manga109, make_manifest, write_clip

Floats = NDArray[np.float64]


@st.composite
def answers(draw: st.DrawFn) -> tuple[NDArray[np.bool_], Floats]:
    """Labels (n, k) with at least one a row, and scores with ties."""
    n, k = draw(st.integers(2, 30)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    labels = rng.random((n, k)) < 0.3
    labels[np.arange(n), rng.integers(0, k, n)] = True
    return labels, rng.integers(0, draw(st.integers(1, 20)) + 1, (n, k)).astype(float)


# -- classification ---------------------------------------------------------------------------------------------------


@given(answers())
def test_average_precision_is_scikit_learns(case: tuple[NDArray[np.bool_], Floats]) -> None:
    labels, scores = case
    for positive, score in zip(labels.T, scores.T, strict=True):
        if positive.any():
            expected = sklearn.average_precision_score(positive, score)
            assert average_precision(positive, score) == pytest.approx(expected)
    known = labels.any(axis=0)
    expected = sklearn.average_precision_score(labels[:, known], scores[:, known], average="macro")
    assert np.nanmean(average_precisions(labels, scores)) == pytest.approx(expected)


def test_a_class_without_positives_has_no_average_precision() -> None:
    assert np.isnan(average_precision(np.zeros(3, bool), np.arange(3.0)))


@given(answers())
def test_report_and_confusion_are_scikit_learns(case: tuple[NDArray[np.bool_], Floats]) -> None:
    _, scores = case
    n, k = scores.shape
    true = np.random.default_rng(n).integers(0, k, n)
    labels, said = np.eye(k, dtype=bool)[true], scores.argmax(axis=1)
    matrix = confusion(labels, scores)
    np.testing.assert_array_equal(matrix, sklearn.confusion_matrix(true, said, labels=range(k)))
    assert first_right(labels, scores) == pytest.approx(sklearn.accuracy_score(true, said))
    ours = ClassReport.of(matrix)
    theirs = sklearn.precision_recall_fscore_support(true, said, labels=range(k), zero_division=np.nan)
    for mine, other in zip((ours.precision, ours.recall, ours.f1, ours.support), theirs, strict=True):
        np.testing.assert_allclose(mine, other)


def test_an_item_of_two_classes_is_right_by_either_and_counts_half_in_each() -> None:
    labels = np.array([[True, True, False]])
    assert first_right(labels, np.array([[0, 1, 0.5]])) == 1
    np.testing.assert_array_equal(confusion(labels, np.array([[0, 1, 0.5]])), [[0, 0.5, 0], [0, 0.5, 0], [0, 0, 0]])


def test_calibration_bins_are_scikit_learns_and_a_calibrated_answer_has_no_error() -> None:
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20_000)
    right = rng.random(20_000) < confidence
    posterior = np.stack([confidence, 1 - confidence], axis=1)
    found = calibration(np.stack([right, ~right], axis=1), posterior)
    assert found.error < 0.02
    from sklearn.calibration import calibration_curve

    accuracy, said = calibration_curve(right, confidence, n_bins=10)
    filled = found.count > 0
    np.testing.assert_allclose(found.accuracy[filled], accuracy)
    np.testing.assert_allclose(found.confidence[filled], said)
    sure = calibration(np.stack([right, ~right], axis=1), np.tile([1.0, 0.0], (20_000, 1)))
    assert sure.error == pytest.approx(1 - right.mean())


def test_an_interval_over_groups_is_wider_where_their_items_are_alike() -> None:
    right = np.repeat(np.random.default_rng(0).random(20) < 0.5, 10).astype(float)
    titles = [str(i // 10) for i in range(200)]
    wide = group_interval(lambda rows: float(right[rows].mean()), titles)
    narrow = group_interval(lambda rows: float(right[rows].mean()), [str(i) for i in range(200)])
    assert wide[1] - wide[0] > 2 * (narrow[1] - narrow[0])
    assert wide[0] < right.mean() < wide[1]


# -- retrieval --------------------------------------------------------------------------------------------------------


@given(st.integers(1, 30), st.integers(0, 99))
def test_ranks_are_found_by_sorting(n: int, seed: int) -> None:
    similarity = np.random.default_rng(seed).random((n, n))
    expected = [int(np.flatnonzero(np.argsort(-row) == i)[0]) + 1 for i, row in enumerate(similarity)]
    np.testing.assert_array_equal(partner_ranks(similarity), expected)


def test_who_says_the_same_of_all_finds_nothing() -> None:
    assert Recall.of(partner_ranks(np.ones((20, 20)))) == Recall(0, 0, 0, 20)
    assert Recall.of(partner_ranks(np.eye(20))) == Recall(1, 1, 1, 1)


def test_a_hub_skews_the_occurrences() -> None:
    rng = np.random.default_rng(0)
    even = rng.random((500, 100))
    hub = even.copy()
    hub[:, 0] += 1
    assert occurrences(hub)[0] == 500
    assert occurrences(hub).sum() == 5000
    assert abs(hubness(even)) < 1 < hubness(hub)
    from scipy.stats import skew

    assert hubness(hub) == pytest.approx(float(skew(occurrences(hub))))


def test_the_gap_of_two_modalities_is_the_distance_of_their_means() -> None:
    assert modality_gap(np.array([[1.0, 0], [0, 1]]), np.array([[-1.0, 0], [0, -1]])) == pytest.approx(np.sqrt(2))


# -- tables -----------------------------------------------------------------------------------------------------------


def meeting(pages: int = 60, songs: int = 42, seed: int = 0) -> tuple[Floats, Side, Side]:
    """Pages of three genres and songs of two moods; horror's pages are near scary songs, the others near happy ones."""
    rng = np.random.default_rng(seed)
    genre, mood = rng.integers(0, 3, pages), rng.integers(0, 2, songs)
    likes = np.array([1, 0, 0])[genre]
    similarity = 0.1 * rng.random((pages, songs)) + (likes[:, None] == mood[None])
    genres = Side(np.eye(3, dtype=bool)[genre], ("horror", "humor", "animal"), [str(i // 4) for i in range(pages)])
    return similarity, genres, Side(np.eye(2, dtype=bool)[mood], ("happy", "scary"), list(map(str, range(songs))))


@pytest.mark.parametrize("reading", ["share", "posterior"])
def test_moods_of_a_genre_are_those_of_its_songs(reading: Any) -> None:
    similarity, genres, moods = meeting()
    table = class_table("t", similarity, genres, moods, 20.0, reading)
    assert [table.columns[table.first(row)[0]] for row in range(3)] == ["scary", "happy", "happy"]
    np.testing.assert_allclose(table.values.sum(axis=1), 1)
    assert (table.low <= table.values + 1e-9).all()
    assert (table.values <= table.high + 1e-9).all()
    turned = class_table("t", similarity.T, moods, genres, 20.0, reading)
    assert turned.columns[turned.first(1)[0]] == "horror"


def test_a_posterior_does_not_depend_on_how_many_songs_there_are() -> None:
    similarity, genres, moods = meeting()
    twice = Side(np.tile(moods.labels, (2, 1)), moods.classes, [*moods.groups, *moods.groups])
    once = class_table("t", similarity, genres, moods, 20.0, "posterior")
    again = class_table("t", np.tile(similarity, (1, 2)), genres, twice, 20.0, "posterior")
    np.testing.assert_allclose(once.values, again.values)


def test_a_class_without_queries_has_an_empty_row() -> None:
    similarity, genres, moods = meeting()
    more = Side(np.pad(genres.labels, ((0, 0), (0, 1))), (*genres.classes, "sports"), genres.groups)
    table = class_table("t", similarity, more, moods, 20.0, "share")
    assert table.first(3) == []
    assert "| sports |  |  | 0 |" in table.to_markdown()
    assert len(table.to_rows()) == 1 + 4 * 2


def test_the_published_way_reads_a_transposed_axis() -> None:
    """Perfect similarities come out right only where the axis is: in the table of genres."""
    genre = mood = np.arange(50) % 2
    similarity = (mood[:, None] == genre[None]) + 0.01 * np.random.default_rng(1).random((50, 50))
    to_moods, to_genres = published_tables(similarity, mood.tolist(), genre.tolist(), 2, 2, 100.0)
    assert to_genres.argmax(axis=1).tolist() == [0, 1]
    assert to_genres[0, 1] == to_genres[1, 0] == 0
    assert (to_moods > 0).all()  # songs of the other mood, which no page is near to, have "confidence", too


def test_published_confidence_is_the_mean_of_hits_and_zero_without() -> None:
    similarity = np.zeros((4, 4))
    similarity[:, 0] = 1
    to_moods, to_genres = published_tables(similarity, [0] * 4, [1, 0, 0, 0], 2, 2, 1000.0)
    assert to_genres[0, 1] == pytest.approx(1)
    assert to_genres[1].tolist() == [0, 0]
    assert to_moods.shape == (2, 2)


def test_softmax_takes_large_logits() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0], [3.0, 3.0]])), [[1, 0], [0.5, 0.5]])


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
    pages = read_dataset("manga109", make_manga109(tmp_path / "m"), unit="page").items[:5]
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

    def __init__(self, axes: dict[str, int], wrong: frozenset[str] = frozenset()) -> None:
        self.axes, self.wrong = axes, wrong
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
    assert wrong["accuracy"][0] == pytest.approx(0.9)
    assert wrong["classes"]["b"]["recall"] == pytest.approx(0.8)
    assert wrong["accuracy"][1] < 0.9 < wrong["accuracy"][2]


def test_free_texts_are_found_by_their_items() -> None:
    data = items(3, ("a", "b", "c"))
    free = Dataset("set", "audio", data.items, (), ())
    found = assess(Oracle({"a": 0, "b": 1, "c": 2}), [(free, free.items, "all")]).to_json()["data"]["set"]
    assert found["item to text"]["R@1"] == [1, 1, 1]
    assert found["text to item"]["median rank"] == [1, 1, 1]


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


def test_the_papers_split_is_called_what_it_is(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = make_manga109(tmp_path / "m")
    write_split(split_dataset(read_dataset("manga109", folder), "item"), tmp_path / "s.json")
    told = run(tiny_checkpoint, "--data", f"manga109={folder}", "--split", tmp_path / "s.json")
    assert "as the paper: titles leak" in told.stdout


def test_wrong_uses_are_told(tiny_checkpoint: Path, tmp_path: Path) -> None:
    songs = make_manifest(tmp_path / "f", {"a.wav": "Sad music", "b.wav": "Happy music"})
    for words, problem in (
        (("--data", "esc50"), "is not NAME=FOLDER"),
        (("--data", f"manifest={songs}", "--data", f"manifest={songs}"), "both of sound"),
        (("--data", f"manifest={songs}", "--all", "--split", "s.json"), "exclude each other"),
        (("--data", f"birds={songs}"), "no kind of data set is named 'birds'"),
    ):
        result = run(tiny_checkpoint, *words)
        assert result.exit_code == 2, result.output
        assert problem in result.stderr
    assert run(tiny_checkpoint, "--data", f"manifest={songs}", "--split", tmp_path / "none.json").exit_code == 3


def test_tables_are_frozen_text() -> None:
    one = np.ones((1, 1))
    table = Table("t", ("a",), ("b",), 0.5 * one, 0.4 * one, 0.6 * one, None, np.array([3]))
    assert table.to_markdown() == "| t | b | queries |\n|---|---|---|\n| a | **0.500** | 3 |\n"
    assert table.to_rows()[1] == ["a", "b", 0.5, 0.4, 0.6, 3]
