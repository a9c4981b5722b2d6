"""A bar on a terminal, one line elsewhere, silence where there is nothing to do."""

from __future__ import annotations

import io
from pathlib import Path

from mmr_runtime.cli.display import width
from mmr_runtime.cli.progress import ProgressBar
from mmr_runtime.library import Progress
from tests.cli.test_display import Terminal

STEPS = [Progress(0, 2, Path("夜に駆ける" * 20)), Progress(1, 2, Path("b.mp3")), Progress(2, 2, None)]


def shown(stream: io.StringIO, steps: list[Progress]) -> str:
    bar = ProgressBar("songs", stream)
    for step in steps:
        bar(step)
    bar.close()
    return stream.getvalue()


def test_a_terminal_shows_a_bar_that_leaves_no_trace() -> None:
    text = shown(Terminal(), STEPS)
    frames = text.split("\r")[1:]
    assert frames[0].startswith("indexing ░░░░░░░░░░░░░░░░░░░░ 0/2  夜")
    assert any("████████████████████ 2/2" in frame for frame in frames)
    assert all(width(frame) <= 77 for frame in frames[:-2]), "the terminal's own ^C must fit behind it"
    assert "\n" not in text
    assert text.endswith(" \r")


def test_a_log_gets_one_line() -> None:
    assert shown(io.StringIO(), STEPS) == "indexing 2 songs\n"


def test_nothing_to_do_is_not_worth_a_word() -> None:
    assert shown(io.StringIO(), [Progress(0, 0, None)]) == ""
    assert shown(Terminal(), [Progress(0, 0, None)]) == ""
