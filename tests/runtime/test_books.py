"""Books of every kind read alike, keep a reader's page numbers, and do no harm whatever is in them."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mmr_runtime.books import Book, VectorCache, embed_book
from mmr_runtime.books.embedding import tiles
from mmr_runtime.books.names import decoded, natural_key
from mmr_runtime.errors import BookError, CancelledError, InputError, MissingFileError, MmrError
from mmr_runtime.limits import MAX_BOOK_MEMBERS
from mmr_runtime.safe_xml import parse
from tests.runtime.fake_engine import FakeEngine


def png(shade: int, size: tuple[int, int] = (24, 32)) -> bytes:
    """A small grey page."""
    content = io.BytesIO()
    Image.new("L", size, shade).save(content, "PNG")
    return content.getvalue()


PAGES = {"p1.png": png(10), "p2.png": png(90), "p10.png": png(200)}
ORDER = ["p1.png", "p2.png", "p10.png"]


def write_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_folder(path: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


def vint(value: int) -> bytes:
    """A number of RAR 5: seven bits a byte, the lowest first."""
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def write_rar(path: Path, files: dict[str, bytes]) -> Path:
    """RAR 5 of stored members (https://www.rarlab.com/technote.htm)."""

    def block(kind: int, flags: int, body: bytes, data: bytes = b"") -> bytes:
        head = vint(kind) + vint(flags) + body
        head = vint(len(head)) + head
        return struct.pack("<I", zlib.crc32(head)) + head + data

    content = b"Rar!\x1a\x07\x01\x00" + block(1, 0, vint(0))
    for name, data in files.items():
        raw = name.encode()
        facts = vint(4) + vint(len(data)) + vint(0) + struct.pack("<I", zlib.crc32(data)) + vint(0) + vint(1)
        content += block(2, 2, vint(len(data)) + facts + vint(len(raw)) + raw, data)
    path.write_bytes(content + block(5, 0, vint(0)))
    return path


def write_epub(path: Path, documents: list[str], images: dict[str, bytes]) -> Path:
    container = '<container xmlns="x"><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>'
    items = "".join(f'<item id="d{i}" href="d{i}.xhtml"/>' for i in range(len(documents)))
    spine = "".join(f'<itemref idref="d{i}"/>' for i in range(len(documents)))
    package = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/"><metadata>'
        f"<dc:title>Sea</dc:title><dc:subject>Romance</dc:subject></metadata><manifest>{items}</manifest>"
        f'<spine page-progression-direction="rtl">{spine}</spine></package>'
    )
    files = {"META-INF/container.xml": container.encode(), "OPS/book.opf": package.encode()}
    files |= {f"OPS/d{i}.xhtml": text.encode() for i, text in enumerate(documents)}
    return write_zip(path, files | {f"OPS/{name}": content for name, content in images.items()})


def names(path: Path) -> list[str]:
    with Book.open(path) as book:
        return [page.name for page in book.pages]


# -- kinds of books ----------------------------------------------------------------------------------------------------

WRITERS: dict[str, Callable[[Path, dict[str, bytes]], Path]] = {
    "a": write_folder,
    "a.cbz": write_zip,
    "a.cbt": write_tar,
    "a.tar.gz": lambda path, files: write_tar(path, files, "w:gz"),
    "a.cbr": write_rar,
    "zip.cbr": write_zip,  # wrongly named archives are common
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_kind_has_the_same_pages(name: str, tmp_path: Path) -> None:
    if name == "a.cbr":
        pytest.importorskip("rarfile")
    files = {"notes.txt": b"x", ".hidden.png": png(1), "__MACOSX/p1.png": png(1), "Thumbs.db": b"x", **PAGES}
    with Book.open(WRITERS[name](tmp_path / name, files)) as book:
        assert [page.name for page in book.pages] == ORDER
        assert [book.image(i) for i in range(3)] == [PAGES[n] for n in ORDER]
        assert (book.title, book.notes, len(book)) == (Path(name).stem, [], 3)


def test_pdf_pages_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("pypdfium2", exc_type=ImportError)
    first, second = (Image.new("RGB", (60, 90), colour) for colour in ("black", "white"))
    first.save(tmp_path / "a.pdf", save_all=True, append_images=[second])
    with Book.open(tmp_path / "a.pdf") as book:
        assert [page.name for page in book.pages] == ["1", "2"]
        shades = [np.asarray(book.image(i)).mean() for i in range(2)]
        assert book.dialogue.lines == {}
    assert shades == pytest.approx([0, 255], abs=2)


def test_epub_pages_are_in_the_order_of_the_spine(tmp_path: Path) -> None:
    documents = [
        '<!DOCTYPE html><html><title>long title</title><body><img src="p2.png"/></body></html>',
        '<html><body><svg><image xlink:href="p10.png?x#y"/></svg></body></html>',
        '<html><body><img src="../OPS/p1.png"/><img src="https://example.org/x.png"/></body></html>',
    ]
    with Book.open(write_epub(tmp_path / "a.epub", documents, PAGES)) as book:
        assert [page.name for page in book.pages] == ["OPS/p2.png", "OPS/p10.png", "OPS/p1.png"]
        assert (book.info.title, book.info.genres, book.info.right_to_left) == ("Sea", ("Romance",), True)


def test_a_novel_is_no_comic(tmp_path: Path) -> None:
    with pytest.raises(BookError, match="not a comic"):
        Book.open(write_epub(tmp_path / "a.epub", [f"<p>{'word ' * 500}</p><img src='p1.png'/>"], PAGES))


def test_volumes_packed_by_chapter_read_as_one_book(tmp_path: Path) -> None:
    one, two = write_zip(tmp_path / "1.zip", {"b.png": png(1)}), write_tar(tmp_path / "2.cbt", {"a.png": png(2)})
    outer = {"ch 2.cbt": two.read_bytes(), "ch 1.zip": one.read_bytes(), "cover.png": png(3), "broken.cbz": b"PK\3\4"}
    with Book.open(write_zip(tmp_path / "all.cbz", outer)) as book:
        assert [page.name for page in book.pages] == ["ch 1.zip/b.png", "ch 2.cbt/a.png", "cover.png"]
        assert [book.image(i) for i in (1, 0, 1, 2)] == [png(2), png(1), png(2), png(3)]
        assert [note.split(" ")[0] for note in book.notes] == ["broken.cbz"]


def test_archives_too_deep_are_named(tmp_path: Path) -> None:
    content = write_zip(tmp_path / "0.zip", {"a.png": png(1)}).read_bytes()
    for _ in range(4):
        content = write_zip(tmp_path / "n.zip", {"in.zip": content, "p.png": png(2)}).read_bytes()
    (tmp_path / "deep.cbz").write_bytes(content)
    with Book.open(tmp_path / "deep.cbz") as book:
        assert len(book) == 3
        assert any("too deep" in note for note in book.notes)


def test_what_is_no_book_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.cb7").write_bytes(b"7z\xbc\xaf\x27\x1c" + bytes(40))
    (tmp_path / "a.cbz").write_bytes(b"nothing")
    (tmp_path / "zero.cbz").touch()
    (tmp_path / "p.png").write_bytes(png(1))
    for name, message in {
        "empty": "holds no pages",
        "a.cb7": "7z",
        "a.cbz": "no book",
        "zero.cbz": "no book",
        "p.png": "one page",
    }.items():
        with pytest.raises(BookError, match=message) as caught:
            Book.open(tmp_path / name)
        assert caught.value.hint
    with pytest.raises(MissingFileError):
        Book.open(tmp_path / "gone.cbz")


# -- names -------------------------------------------------------------------------------------------------------------


def test_pages_are_ordered_as_people_count() -> None:
    for ordered in (
        ["p.png", "p1.png", "P2.png", "p10.png"],
        ["01.png", "２.png", "10.png"],
        ["ch2/9.png", "ch10/1.png"],
        ["Page 1.png", "page 1-2.png", "PAGE 2.png"],
        ["v01 - 001.png", "v01 - 002.png", "v02 - 001.png"],
    ):
        assert sorted(set(ordered), key=natural_key) == ordered


@given(*2 * [st.text(alphabet="a1/0９٣²-.", max_size=9)])
def test_any_names_have_one_order(one: str, other: str) -> None:
    assert (natural_key(one) == natural_key(other)) == (one == other)
    natural_key("9" * 5000)  # longer than an int may be


@pytest.mark.parametrize(
    ("name", "encoding"), [("第1話/表紙.png", "cp932"), ("第1話/表紙.png", "utf-8"), ("é.png", "cp437")]
)
def test_names_of_old_archives_are_read(name: str, encoding: str, tmp_path: Path) -> None:
    assert decoded([name.encode(encoding)]) == [name]
    content = write_zip(tmp_path / "a.cbz", {"x" * len(name.encode(encoding)): png(1)}).read_bytes()
    raw = name.encode(encoding)
    (tmp_path / "a.cbz").write_bytes(content.replace(b"x" * len(raw), raw))
    assert names(tmp_path / "a.cbz") == [name]
    assert names(write_tar(tmp_path / "a.cbt", {name: png(1)})) == [name]


# -- hostile archives --------------------------------------------------------------------------------------------------


def opened_within(path: Path, seconds: float = 5.0, mebibytes: int = 200) -> Exception | None:
    """Open a book and read all its pages; what it raises, within caps of time and memory."""
    tracemalloc.start()
    started = time.perf_counter()
    try:
        with Book.open(path) as book:
            for number in range(len(book)):
                if book.pages[number].problem is None:
                    book.image(number)
            assert book.dialogue is not None
        return None
    except MmrError as error:
        return error
    finally:
        assert time.perf_counter() - started < seconds
        assert tracemalloc.get_traced_memory()[1] < mebibytes * 2**20
        tracemalloc.stop()


def test_a_bomb_is_a_page_that_cannot_be_read(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.cbz", {"0.png": bytes(60 * 2**20), **PAGES})
    with Book.open(path) as book:
        assert "looks harmful" in str(book.pages[0].problem)
        assert book.pages[1].problem is None
        with pytest.raises(BookError, match="looks harmful"):
            book.image(0)
    assert opened_within(path) is None


def test_many_bombs_are_no_book(tmp_path: Path) -> None:
    assert isinstance(
        opened_within(write_zip(tmp_path / "a.cbz", {f"{i}.png": bytes(30 * 2**20) for i in range(8)})), BookError
    )
    assert isinstance(opened_within(write_tar(tmp_path / "a.tgz", {"0.png": bytes(150 * 2**20)}, "w:gz")), BookError)


def test_a_hundred_thousand_members_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.cbz", "w") as archive:
        for i in range(100_000):
            archive.writestr(zipfile.ZipInfo(f"{i}.png"), b"")
    error = opened_within(tmp_path / "a.cbz", seconds=20)
    assert isinstance(error, BookError)
    assert str(MAX_BOOK_MEMBERS) in str(error)


def test_a_directory_of_gigabytes_is_not_read(tmp_path: Path) -> None:
    content = write_zip(tmp_path / "a.cbz", PAGES).read_bytes()
    at = content.rfind(b"PK\5\6")
    (tmp_path / "a.cbz").write_bytes(content[: at + 12] + struct.pack("<I", 2**31) + content[at + 16 :])
    with pytest.raises(BookError, match="far too many"):
        Book.open(tmp_path / "a.cbz")


def test_names_that_leave_the_folder_write_nothing(tmp_path: Path) -> None:
    evil = ["../../evil.png", "/etc/evil.png", "C:\\evil.png", "./..\\evil.png"]
    home = tmp_path / "home"
    home.mkdir()
    for writer, name in ((write_zip, "a.cbz"), (write_tar, "a.cbt")):
        with Book.open(writer(home / name, dict.fromkeys(evil, png(7)))) as book:
            assert len(book) == 4
            assert book.image(2) == png(7)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.cbt", "a.cbz", "home"]


def test_members_that_overlap_are_refused(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.cbz", {"a.png": png(1), "b.png": png(2)}, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    second = content.rfind(b"PK\1\2")
    content[second + 42 : second + 46] = struct.pack("<I", 0)  # both begin where the first one does
    path.write_bytes(content)
    with pytest.raises(BookError, match="overlap"):
        Book.open(path)


@pytest.mark.parametrize("stated", [0, 5, 2**31])
def test_lying_sizes_end_at_an_error(stated: int, tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.cbz", PAGES, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    first = content.find(b"PK\1\2")
    content[first + 24 : first + 28] = struct.pack("<I", stated)
    path.write_bytes(content)
    with pytest.raises(BookError), Book.open(path) as book:
        book.image(0)


def test_a_password_is_said(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.cbz", PAGES, zipfile.ZIP_STORED)
    content = bytearray(path.read_bytes())
    for sign, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.find(sign)
        content[at + offset] |= 1
    path.write_bytes(content)
    with Book.open(path) as book:
        assert book.pages[0].problem == "is protected by a password"
        assert book.notes == ["page 1, p1.png, is protected by a password"]


def test_links_in_a_tar_are_no_pages(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.cbt", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(BookError, match="no pages"):
        Book.open(tmp_path / "a.cbt")


@settings(max_examples=150, deadline=None)
@given(data=st.data(), kind=st.sampled_from([write_zip, write_tar, write_rar]))
def test_damaged_archives_raise_only_our_errors(
    data: st.DataObject, kind: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    pytest.importorskip("rarfile")
    path = kind(tmp_path_factory.mktemp("b") / "a.cbz", {**PAGES, "ComicInfo.xml": b"<ComicInfo/>"})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        with Book.open(path) as book:
            for number in range(len(book)):
                try:
                    book.image(number)
                except BookError as error:
                    assert error.hint  # noqa: PT017
    except MmrError as error:
        assert error.hint  # noqa: PT017


# -- what a book says of itself ----------------------------------------------------------------------------------------

INFO = """<?xml version="1.0" encoding="utf-8"?>
<ComicInfo xmlns:xsi="x"><Series>The  Sea</Series><Volume>2</Volume><Genre>Romance, Drama</Genre><Tags>Sea,Drama</Tags>
<Summary>They meet &lt;b&gt;again&lt;/b&gt;.</Summary><Manga>YesAndRightToLeft</Manga>
<Pages><Page Image="0" Type="FrontCover"/><Page Image="1" type="Story Advertisement"/><Page Image="x" Type="Deleted"/>
</Pages></ComicInfo>"""


def test_comic_info_is_read(tmp_path: Path) -> None:
    with Book.open(write_zip(tmp_path / "a.cbz", {**PAGES, "comicinfo.XML": INFO.encode()})) as book:
        assert book.info.series == "The Sea 2"
        assert book.info.about == ["Romance, Drama, Sea", "They meet again ."]
        assert book.info.right_to_left is True
        assert [page.type for page in book.pages] == ["FrontCover", "Advertisement", "Story"]
        assert [page.is_seen for page in book.pages] == [True, False, True]


@pytest.mark.parametrize(
    "content",
    [
        b'<!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>',
        '<?xml version="1.0" encoding="utf-16"?><!DOCTYPE a [<!ENTITY x "y">]><a>&x;</a>'.encode("utf-16"),
        b"<a><b></a>",
        b"",
        b"\0\1",
    ],
)
def test_document_types_and_broken_xml_are_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        parse(content, "a.xml")
    with Book.open(write_zip(tmp_path / "a.cbz", {**PAGES, "ComicInfo.xml": content})) as book:
        assert len(book.notes) == 1
        assert book.info.genres == ()


def test_deeply_nested_xml_is_an_error_or_read() -> None:
    try:
        parse(b"<a>" * 100_000 + b"</a>" * 100_000, "a.xml")
    except InputError as error:
        assert error.hint  # noqa: PT017


# -- dialogue ----------------------------------------------------------------------------------------------------------

MOKURO = {
    "version": "0.2.1",
    "pages": [
        {"img_path": "p2.png", "blocks": [{"lines": ["Where", "are you?"]}, {"lines": ["どこ"]}, {"lines": []}]},
        {"img_path": "gone.png", "blocks": [{"lines": ["nobody hears"]}]},
    ],
}


def test_mokuro_in_the_book_or_beside_it(tmp_path: Path) -> None:
    content = json.dumps(MOKURO).encode()
    inside = write_zip(tmp_path / "in.cbz", {**PAGES, "in.mokuro": content})
    beside = write_folder(tmp_path / "Vol. 1", PAGES)
    (tmp_path / "Vol. 1.mokuro").write_bytes(content)
    for path in (inside, beside):
        with Book.open(path) as book:
            assert book.dialogue.lines == {1: ["Where are you?"]}
            assert book.dialogue.unread == 1


def test_text_json_by_language_number_or_name(tmp_path: Path) -> None:
    content = {"p1": {"en": ["Yes!"], "ja": ["はい"]}, "p2.png": ["No.", " "], "p3": ["gone"], "p10": 5}
    with Book.open(write_zip(tmp_path / "a.cbz", {**PAGES, "text.json": json.dumps(content).encode()})) as book:
        assert book.dialogue.lines == {0: ["Yes!"], 1: ["No."]}


def test_texts_beside_the_pages(tmp_path: Path) -> None:
    with Book.open(write_folder(tmp_path / "a", {**PAGES, "p10.txt": "\ufeffRun!\n\nNow!\n".encode()})) as book:
        assert book.dialogue.lines == {2: ["Run!", "Now!"]}


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"pages": 3}', b"\xff", b'{"pages": [3, {"img_path": 5}]}'])
def test_broken_dialogue_is_a_note(content: bytes, tmp_path: Path) -> None:
    with Book.open(write_zip(tmp_path / "a.cbz", {**PAGES, "a.mokuro": content})) as book:
        assert book.dialogue.lines == {}
        assert len(book.notes) <= 1


# -- vectors -----------------------------------------------------------------------------------------------------------


def test_a_book_is_embedded_once(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.cbz", {**PAGES, "p2.txt": b"Run!"})
    engine, steps = FakeEngine(), []
    for _ in range(2):
        cache = VectorCache(tmp_path / "cache" / "pages.db")
        with Book.open(path) as book:
            found = embed_book(book, engine, cache, progress=lambda done, count: steps.append((done, count)))
        cache.close()
        assert engine.embedded == ["image"] * 3
        assert found.seen.all()
        np.testing.assert_allclose(np.linalg.norm(found.pages, axis=1), 1, atol=1e-6)
        assert [lines is None for lines in found.dialogue] == [True, False, True]
    assert steps[:4] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    with Book.open(path) as book:
        np.testing.assert_array_equal(embed_book(book, engine).pages, found.pages)


def test_what_a_book_is_about_is_embedded(tmp_path: Path) -> None:
    files = {**PAGES, "ComicInfo.xml": INFO.encode()}
    with Book.open(write_zip(tmp_path / "a.cbz", files)) as book:
        assert embed_book(book, FakeEngine()).about.shape == (2, 16)
    with Book.open(write_zip(tmp_path / "b.cbz", PAGES)) as book:
        assert embed_book(book, FakeEngine()).about.shape == (0, 16)


def test_broken_pages_and_advertisements_are_not_seen(tmp_path: Path) -> None:
    info = b'<ComicInfo><Pages><Page Image="2" Type="Advertisement"/></Pages></ComicInfo>'
    files = {"1.png": png(5), "2.png": b"no image", "3.png": png(9), "4.jxl": b"x", "ComicInfo.xml": info}
    with Book.open(write_zip(tmp_path / "a.cbz", files)) as book:
        found = embed_book(book, FakeEngine())
    assert found.seen.tolist() == [True, False, False, False]
    assert [page for page, _ in found.problems] == [1, 3]
    assert not found.pages[1:].any()


def test_strips_are_seen_in_pieces(tmp_path: Path) -> None:
    strip = Image.new("L", (100, 1000), 0)
    strip.paste(255, (0, 500, 100, 1000))
    pieces = tiles(strip)
    assert sum(piece.height for piece in pieces) == 1000
    assert all(1 < piece.height / piece.width <= 1.5 for piece in pieces)
    assert tiles(Image.new("L", (100, 300))) == [Image.new("L", (100, 300))]
    content = io.BytesIO()
    strip.save(content, "PNG")
    with Book.open(write_folder(tmp_path / "a", {"1.png": content.getvalue()})) as book:
        engine = FakeEngine()
        embed_book(book, engine)
        assert len(engine.embedded) == len(pieces)


def test_stopping_keeps_what_is_embedded(tmp_path: Path) -> None:
    cache, engine = VectorCache(tmp_path / "pages.db"), FakeEngine()
    with Book.open(write_folder(tmp_path / "a", PAGES)) as book:
        with pytest.raises(CancelledError):
            embed_book(book, engine, cache, cancel=lambda: len(engine.embedded) == 2)
        embed_book(book, engine, cache)
    cache.close()
    assert len(engine.embedded) == 3


@pytest.mark.parametrize("damage", [b"", b"no database at all, but longer than the header of one" * 40])
def test_a_cache_that_is_damaged_is_made_anew(damage: bytes, tmp_path: Path) -> None:
    path = tmp_path / "pages.db"
    path.write_bytes(damage)
    cache = VectorCache(path)
    cache.put(b"k", np.ones((2, 3), np.float32))
    cache.close()
    cache = VectorCache(path)
    np.testing.assert_array_equal(cache.get(b"k", 3), np.ones((2, 3)))
    assert cache.get(b"other", 3) is None
    assert cache.get(b"k", 4) is None
    cache.close()


def test_without_a_place_for_the_cache_all_works(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    cache = VectorCache(tmp_path / "file" / "pages.db")
    cache.put(b"k", np.ones((1, 3), np.float32))
    assert cache.get(b"k", 3) is None
    cache.close()


def test_hostile_images_are_problems_of_their_page(tmp_path: Path) -> None:
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s2I5B", 13, b"IHDR", 60000, 60000, 8, 2, 0, 0, 0)
    bomb += struct.pack(">I", zlib.crc32(bomb[12:]))
    with Book.open(
        write_folder(tmp_path / "a", {"1.png": bomb, "2.png": png(1), "3.gif": b"GIF89a" + bytes(9)})
    ) as book:
        found = embed_book(book, FakeEngine())
    assert found.seen.tolist() == [False, True, False]
    assert issubclass(BookError, InputError)
