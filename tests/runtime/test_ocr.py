"""Lettering is read where it is English, joined by balloon, and used for pages that nobody wrote down."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from mmr_runtime.books import Book, VectorCache, embed_book
from mmr_runtime.books.ocr import Lettering, balloons
from mmr_runtime.errors import DeviceError
from tests.runtime.fake_engine import FakeEngine


def box(x: float, y: float, width: float = 50, height: float = 10) -> np.ndarray:
    return np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], float)


def test_lines_of_a_balloon_are_joined() -> None:
    lines = [
        (box(200, 2), "over"),
        (box(5, 14), "are"),
        (box(0, 0), "Where"),
        (box(205, 15), "here"),
        (box(0, 60), "!"),
    ]
    assert balloons(lines) == [["Where", "are"], ["over", "here"], ["!"]]
    assert balloons([]) == []


def test_pages_that_nobody_wrote_down_are_read_once(tmp_path: Path) -> None:
    for name, shade in (("1.png", 10), ("2.png", 200)):
        Image.new("L", (24, 32), shade).save(tmp_path / name)
    looked: list[int] = []

    def read(page: Image.Image) -> list[str]:
        looked.append(int(np.asarray(page)[0, 0]))
        return ["Run!"] if looked[-1] == 10 else []

    cache, engine = VectorCache(tmp_path / "cache.db"), FakeEngine()
    with Book.open(tmp_path) as book:
        for _ in range(2):
            found = embed_book(book, engine, cache, read=read)
            assert [lines is None for lines in found.dialogue] == [False, True]
    assert looked == [10, 200]
    (tmp_path / "2.txt").write_text("Stay.", encoding="utf-8")
    with Book.open(tmp_path) as book:
        found = embed_book(book, engine, cache, read=read)
        assert [lines is None for lines in found.dialogue] == [True, False]
    assert looked == [10, 200]
    cache.close()


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rapidocr_onnxruntime", None)
    with pytest.raises(DeviceError) as caught:
        Lettering()
    assert "mmr-runtime[ocr]" in caught.value.hint


def test_english_is_read() -> None:
    pytest.importorskip("rapidocr_onnxruntime", exc_type=ImportError)
    page = Image.new("RGB", (500, 300), "white")
    font = ImageFont.load_default(36)
    ImageDraw.Draw(page).text((40, 60), "WHERE HAVE", fill="black", font=font)
    ImageDraw.Draw(page).text((40, 105), "YOU BEEN?", fill="black", font=font)
    lettering = Lettering()
    assert [text.replace(" ", "") for text in lettering.read(page)] == ["WHEREHAVEYOUBEEN?"]
    assert lettering.read(Image.new("L", (300, 200), 255)) == []
