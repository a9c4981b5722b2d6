"""Tables stay aligned for every script, fit the terminal, and carry nothing that could hurt it."""

from __future__ import annotations

import io
import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmr_runtime.cli.display import (
    Column,
    Style,
    bars,
    clock,
    cut,
    cut_front,
    one_line,
    pad,
    table,
    width,
    write,
    write_json,
)

TERMINAL = Style(columns=60)
COLUMNS = (Column("n", right=True), Column("title", shrinks="end"), Column("path", shrinks="front"))
ROWS = [("1", "夜に駆ける " * 8, "/music/夜/" * 8 + "a.mp3"), ("22", "short", "/music/b.mp3")]


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "columns"),
    [("abc", 3), ("夜に駆ける", 10), ("ﾊﾝｶｸ", 4), ("か\u3099", 2), ("é", 1), ("e\u0301", 1), ("", 0), ("Ａ１", 4)],
)
def test_width_counts_columns(text: str, columns: int) -> None:
    assert width(text) == columns


@given(st.text(), st.integers(1, 40))
def test_what_is_cut_fits_and_what_fits_is_not_cut(text: str, columns: int) -> None:
    for shorten in (cut, cut_front):
        assert width(shorten(text, columns)) <= columns
        assert shorten(text, width(text)) == text


@given(st.text())
def test_one_line_holds_nothing_that_moves_a_cursor(text: str) -> None:
    shown = one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066" for c in shown)


def test_one_line_keeps_names_that_are_no_text() -> None:
    assert one_line("caf\udce9\u202e\x1b") == "caf\udce9?"


def test_cutting_keeps_the_telling_end() -> None:
    assert cut("a long title", 6) == "a lon…"
    assert cut_front("/music/album/song.mp3", 10) == "…/song.mp3"
    assert cut("夜に駆ける", 6) == "夜に…"
    assert pad("夜", 4) == "夜  "
    assert pad("1", 3, right=True) == "  1"


@given(st.lists(st.tuples(*[st.text(max_size=30)] * 3), max_size=5))
def test_columns_are_aligned_and_a_terminal_is_not_overrun(rows: list[tuple[str, str, str]]) -> None:
    columns = (Column("a", shrinks="end"), Column("b", right=True, shrinks="end"), Column("c", right=True))
    lines = table(columns, rows, Style()).splitlines()
    assert len(lines) == len(rows) + 1
    assert len({width(line) for line in lines}) == 1
    fitted = table(columns, rows, Style(columns=66)).splitlines()
    assert max(map(width, fitted)) <= 66


def test_a_terminal_is_filled_and_a_pipe_gets_everything() -> None:
    fitted = table(COLUMNS, ROWS, TERMINAL).splitlines()
    assert max(map(width, fitted)) <= 60
    assert "…" in fitted[1]
    assert fitted[1].endswith("a.mp3")
    assert ROWS[0][2] in table(COLUMNS, ROWS, Style())


def test_colours_only_where_they_are_welcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Style.of(Terminal()).colour
    assert "\x1b[1m" in table(COLUMNS, ROWS, Style.of(Terminal()))
    assert not Style.of(io.StringIO()).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Style.of(Terminal()).colour
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not Style.of(Terminal()).colour


def test_a_closed_stream_wants_nothing() -> None:
    assert Style.of(None) == Style()


def test_ascii_terminals_get_ascii_marks() -> None:
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    style = Style.of(ascii_only)
    assert bars({"Sad": 0.75, "Happy": 0.25}, style) == f"Sad     75%  {'#' * 18}\nHappy   25%  {'#' * 6}"
    assert "..." in table(COLUMNS, ROWS, Style(columns=60, plain=True))


def test_output_of_any_name_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, expected in (("utf-8", "夜\udcff".encode("utf-8", "surrogateescape")), ("ascii", b"??")):
        buffer = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding))
        write("夜\udcff")
        assert buffer.getvalue() == expected + b"\n"


def test_json_is_valid_utf8_and_names_survive_it(monkeypatch: pytest.MonkeyPatch) -> None:
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="latin-1"))
    write_json({"path": "夜\udcff", "title": 'a "quoted" \\ one'})
    text = buffer.getvalue().decode("utf-8")
    assert "夜\\udcff" in text
    assert os.fsencode(json.loads(text)["path"]) == "夜".encode() + b"\xff"
    assert json.loads(text)["title"] == 'a "quoted" \\ one'


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (9.99, "0:09"), (61, "1:01"), (3725.5, "1:02:05")])
def test_a_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text
