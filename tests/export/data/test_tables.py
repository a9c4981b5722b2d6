"""Tables of data sets: what is wrong in one is said with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr_export.data.tables import EMPTY, MISSING, file_below, numbered_classes, problem, read_records, read_table
from mmr_runtime.errors import InputError, MissingFileError
from tests.export.miniatures import write_csv

FIELD = st.text(st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufeff"), min_size=1).map(
    lambda text: f"x{text}".strip()
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def test_columns_are_found_by_name_and_others_left_out(path: Path) -> None:
    write_csv(path, [("b", "c", "a"), (1, 2, 3), (4, 5, 6)])
    rows = read_table(path, ("a", "b"), optional=("d",))
    assert [row.values for row in rows] == [{"a": "3", "b": "1"}, {"a": "6", "b": "4"}]
    assert rows[1].whole("a") == 6
    assert rows[1].where == f"{path}, line 3"


@given(st.lists(st.tuples(FIELD, FIELD), max_size=5))
def test_what_was_written_is_read(tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]]) -> None:
    path = write_csv(tmp_path_factory.mktemp("t") / "t.csv", [("a", "b"), *rows])
    assert [(row["a"], row["b"]) for row in read_table(path, ("a", "b"))] == rows


def test_comments_at_the_top_are_no_lines_of_the_table_but_count(path: Path) -> None:
    path.write_text('# made by hand\n# in a hurry\na, "b,c"\n\n#d, e\n')
    assert list(read_records(path)) == [(3, ["a", "b,c"]), (5, ["#d", "e"])]


def test_a_byte_order_mark_is_no_part_of_the_first_column(path: Path) -> None:
    path.write_text("a,b\n1,2\n", encoding="utf-8-sig")
    assert read_table(path, ("a",))[0]["a"] == "1"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"a,x\n1,2\n", "has no column b"),
        (b"a,b\n1,2\n3\n", "line 3 has 1 fields, not 2"),
        (b"a,b\n1,2\n3,4\n1,5\n", "line 4 names '1' again, as line 2 does"),
        (b"a,b\n\xe9,2\n", "is not UTF-8"),
        (b'a,b\n"1"x,2\n', "line 2"),
        (b'a,b\n"1,2\n', "unexpected end of data"),
    ],
)
def test_a_bad_table_is_an_error_that_names_it(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_table(path, ("a", "b"), unique="a")
    assert str(path) in caught.value.message


def test_a_missing_table_is_named(path: Path) -> None:
    with pytest.raises(MissingFileError, match=r"there is no table\.csv"):
        read_table(path, ("a",))


def test_a_number_that_is_none_is_named(path: Path) -> None:
    write_csv(path, [("fold",), ("two",)])
    with pytest.raises(InputError, match="line 2: fold is 'two', no whole number"):
        read_table(path, ("fold",))[0].whole("fold")


def test_classes_stand_in_the_order_of_their_numbers(path: Path) -> None:
    write_csv(path, [("n", "c"), (2, "b"), (0, "z"), (2, "b")])
    assert numbered_classes(read_table(path, ("n", "c")), "c", "n") == ("z", "b")


@pytest.mark.parametrize("line", [(1, "b"), (2, "c")])
def test_two_numbers_of_a_class_and_two_classes_of_a_number_are_errors(path: Path, line: tuple[int, str]) -> None:
    write_csv(path, [("n", "c"), (2, "b"), line])
    with pytest.raises(InputError, match="line 3"):
        numbered_classes(read_table(path, ("n", "c")), "c", "n")


@pytest.mark.parametrize("name", ["a.wav", "a/b.wav", "./a.wav", "a..b/c"])
def test_files_are_named_below_a_folder(tmp_path: Path, name: str) -> None:
    assert file_below(tmp_path, name, "line 1") == tmp_path / name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/../../b", "/etc/passwd", "C:\\a", "C:a", "\\\\host\\a", "a\0"]
)
def test_no_table_leads_out_of_its_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="line 7"):
        file_below(tmp_path, name, "line 7")


def test_missing_and_empty_files_are_noticed(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "full").write_text("x")
    assert [problem(tmp_path / name) for name in ("none", "empty", "full")] == [MISSING, EMPTY, None]
    assert problem(tmp_path) is not None
    assert problem(tmp_path / "full" / "none") == MISSING
