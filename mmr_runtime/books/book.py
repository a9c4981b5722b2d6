"""A book: pages in reading order, what is spoken on them, and what the book says of itself (DESIGN section 1)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Self, TypeVar

from mmr_runtime.books import dialogue as spoken
from mmr_runtime.books import epub
from mmr_runtime.books.dialogue import Dialogue
from mmr_runtime.books.info import STORY, UNSEEN_TYPES, BookInfo, read_comic_info
from mmr_runtime.books.names import UNREAD_SUFFIXES, is_hidden, natural_key, suffix
from mmr_runtime.books.nested import Nested, open_archive_file
from mmr_runtime.books.sources import Folder, Source
from mmr_runtime.errors import BookError, InputError, MissingFileError
from mmr_runtime.image import SUFFIXES as PAGE_SUFFIXES
from mmr_runtime.limits import MAX_DIALOGUE_BYTES, MAX_INFO_BYTES, MAX_TEXT_CHARS

if TYPE_CHECKING:
    from PIL.Image import Image

T = TypeVar("T")
D = TypeVar("D")
_Reader = Callable[[bytes, str, Sequence[str]], Dialogue]
_COMIC_INFO = "comicinfo.xml"
_PDF_MAGIC = b"%PDF-"


@dataclass(frozen=True)
class Page:
    """A page of a book.

    Attributes:
        name: in the book, with slashes.
        type: as ComicInfo names it: `Story`, `FrontCover`, `Advertisement` and so on.
        problem: why it cannot be read, or None.
    """

    name: str
    type: str = STORY
    problem: str | None = None

    @property
    def is_seen(self) -> bool:
        """Whether its drawing says something of the story."""
        return self.problem is None and self.type not in UNSEEN_TYPES


class Book:
    """A folder, CBZ, CBT, CBR, EPUB or PDF; open it with `Book.open`. Threads may share it.

    Pages are all images in natural order, also those that cannot be read, so that their numbers are a reader's.

    Attributes:
        path: absolute.
        title: name of the file or folder.
        pages: in reading order.
        info: what the book says of itself.
        notes: what was left out, and why, for people.
    """

    def __init__(
        self,
        path: Path,
        pages: Sequence[Page],
        info: BookInfo,
        notes: list[str],
        source: Source,
        draw: Callable[[int], Image] | None = None,
    ) -> None:
        self.path = path
        self.title = path.name if path.is_dir() else path.stem
        self.pages = tuple(pages)
        self.info = info
        self.notes = notes
        self._source = source
        self._draw = draw

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a book; no page is decoded yet.

        Raises:
            MissingFileError: there is no such file or folder.
            BookError: it is no book that can be read, it has no pages, or it was built to do harm.
        """
        path = Path(path).expanduser().absolute()
        if path.is_dir():
            return cls._of_files(path, Folder(path))
        if not path.exists():
            raise MissingFileError(f"there is no book {path}", "check the path")
        if suffix(path.name) in PAGE_SUFFIXES:
            raise BookError(f"{path.name} is one page", "give the folder that holds it, or use mmr-infer")
        if _begins_with(path, _PDF_MAGIC):
            return cls._of_pdf(path)
        archive = open_archive_file(path)
        try:
            names = {member.name for member in archive.members()}
            return cls._of_epub(path, archive) if epub.CONTAINER in names else cls._of_files(path, Nested(archive))
        except BaseException:
            archive.close()
            raise

    @classmethod
    def _of_files(cls, path: Path, source: Source) -> Self:
        members = sorted(source.members(), key=lambda member: natural_key(member.name))
        members = [member for member in members if not is_hidden(member.name)]
        notes: list[str] = []
        info = BookInfo()
        described = [m for m in members if PurePosixPath(m.name).name.lower() == _COMIC_INFO and not m.problem]
        if described:
            # That of the whole book lies highest.
            name = min(described, key=lambda member: member.name.count("/")).name
            info = _noted(notes, lambda: read_comic_info(source.read(name, MAX_INFO_BYTES), name), info)
        pages: list[Page] = []
        for member in members:
            ending = suffix(member.name)
            if ending in PAGE_SUFFIXES | UNREAD_SUFFIXES:
                problem = member.problem or (f"is {ending[1:].upper()}" if ending in UNREAD_SUFFIXES else None)
                pages.append(Page(member.name, info.types.get(len(pages), STORY), problem))
            elif member.problem:
                notes.append(f"{member.name} {member.problem}")
        return cls._checked(path, pages, info, notes, source)

    @classmethod
    def _of_epub(cls, path: Path, source: Source) -> Self:
        names, info = epub.read_epub(source, path.name)
        problems = {member.name: member.problem for member in source.members()}
        return cls._checked(path, [Page(name, STORY, problems[name]) for name in names], info, [], source)

    @classmethod
    def _of_pdf(cls, path: Path) -> Self:
        from mmr_runtime.books.pdf import Pdf

        pdf = Pdf(path)
        digits = len(str(len(pdf)))
        pages = [Page(f"{number + 1:0{digits}d}") for number in range(len(pdf))]
        return cls(path, pages, BookInfo(), [], pdf, pdf.draw)

    @classmethod
    def _checked(cls, path: Path, pages: list[Page], info: BookInfo, notes: list[str], source: Source) -> Self:
        problems = [f"page {i + 1}, {page.name}, {page.problem}" for i, page in enumerate(pages) if page.problem]
        if not pages:
            held = f": {notes[0]}" if notes else ""
            raise BookError(f"{path} holds no pages{held}", f"pages are images: {', '.join(sorted(PAGE_SUFFIXES))}")
        if len(problems) == len(pages):
            raise BookError(f"no page of {path} can be read: {problems[0]}", "pack it again as plain images")
        return cls(path, pages, info, [*notes, *problems], source)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file behind it."""
        self._source.close()

    def __len__(self) -> int:
        return len(self.pages)

    @property
    def key(self) -> str:
        """Tells this book from others, wherever it lies: of its title and the names of its pages."""
        names = json.dumps([self.title, *(page.name for page in self.pages)])
        return hashlib.blake2b(names.encode(), digest_size=16).hexdigest()

    def image(self, number: int) -> bytes | Image:
        """A page, counted from 0, as `mmr_runtime.image.load_image` takes it: encoded, or of a PDF as drawn.

        Raises:
            BookError: it cannot be read.
        """
        return self._draw(number) if self._draw else self._source.read(self.pages[number].name)

    @cached_property
    def dialogue(self) -> Dialogue:
        """What is spoken, from the first of: a .mokuro or text.json in the book or beside it, texts of single pages.

        A file that cannot be used is named in `notes`.
        """
        names = [page.name for page in self.pages]
        for read, name, content in self._sidecars():
            found = _noted(self.notes, lambda: read(content(), name, names), None)  # noqa: B023 (called at once)
            if found is not None and (found.lines or found.unread):
                return found
        return self._page_texts(names)

    def _sidecars(self) -> Iterator[tuple[_Reader, str, Callable[[], bytes]]]:
        """Files that may hold the dialogue of all pages: what reads them, their name, their content."""
        for ending, read in ((spoken.MOKURO_SUFFIX, spoken.read_mokuro), (spoken.TEXT_JSON, spoken.read_text_json)):
            for member in self._source.members():
                if member.name.lower().endswith(ending) and not member.problem and not is_hidden(member.name):
                    yield read, member.name, partial(self._source.read, member.name, MAX_DIALOGUE_BYTES)
            dot = "" if ending.startswith(".") else "."
            beside = self.path.with_name(f"{self.title}{dot}{ending}")
            if beside.is_file():
                yield read, beside.name, partial(_read_beside, beside)

    def _page_texts(self, names: list[str]) -> Dialogue:
        texts = {member.name for member in self._source.members() if not member.problem}

        def read(number: int) -> bytes | None:
            name = str(PurePosixPath(names[number]).with_suffix(".txt"))
            if name not in texts:
                return None
            return _noted(self.notes, lambda: self._source.read(name, MAX_TEXT_CHARS), None)

        return spoken.read_page_texts(read, names)


def _begins_with(path: Path, magic: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError as error:
        raise BookError(f"{path} cannot be read: {error.strerror or error}", "check the file") from error


def _read_beside(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_DIALOGUE_BYTES:
            raise BookError(f"{path.name} has more than {MAX_DIALOGUE_BYTES} bytes", "it is too large for what it is")
        return path.read_bytes()
    except OSError as error:
        raise BookError(f"{path.name} cannot be read: {error.strerror or error}", "check the file") from error


def _noted(notes: list[str], read: Callable[[], T], default: D) -> T | D:
    """What was read, or the default with a note where that cannot be: a book works without what is said of it."""
    try:
        return read()
    except InputError as error:
        notes.append(f"{error.message}: left out")
        return default
