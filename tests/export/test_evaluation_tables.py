"""The paper's tables: on the right axis, and as published."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mmr_export.evaluate.document import first_three
from mmr_export.evaluate.published import published_tables
from mmr_export.evaluate.tables import Side, Table, class_table

Floats = NDArray[np.float64]


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
    assert np.isnan(table.low[3]).all()
    assert "| sports |  |  | 0 |" in table.to_markdown()
    assert len(table.to_rows()) == 1 + 4 * 2


def test_the_first_of_a_row_are_only_those_that_are_there() -> None:
    similarity, genres, moods = meeting()
    more = Side(np.pad(moods.labels, ((0, 0), (1, 0))), ("sad", *moods.classes), moods.groups)
    table = class_table("t", similarity, genres, more, 20.0, "share")
    assert [[table.columns[i] for i in table.first(row)] for row in range(3)] == [["scary"], ["happy"], ["happy"]]
    assert first_three(table, 0, intervals=False) == ["scary 1.00", "-", "-"]


def test_a_row_of_one_title_has_no_interval() -> None:
    similarity, genres, moods = meeting()
    alone = Side(
        genres.labels,
        genres.classes,
        ["x" if animal else g for g, animal in zip(genres.groups, genres.labels[:, 2], strict=True)],
    )
    table = class_table("t", similarity, alone, moods, 20.0, "share")
    assert np.isnan(table.low[2]).all()
    assert not np.isnan(table.values).any()
    assert not np.isnan(table.low[:2]).any()


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
    np.testing.assert_allclose(to_moods, [[0.25, 0], [0.25, 0]])  # over songs, which are all alike: no page stands out


def test_tables_are_frozen_text() -> None:
    one = np.ones((1, 1))
    table = Table("t", ("a",), ("b",), 0.5 * one, 0.4 * one, 0.6 * one, None, np.array([3]))
    assert table.to_markdown() == "| t | b | queries |\n|---|---|---|\n| a | **0.500** | 3 |\n"
    assert table.to_rows()[1] == ["a", "b", 0.5, 0.4, 0.6, 3]
