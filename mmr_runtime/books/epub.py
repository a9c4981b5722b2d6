"""Pages of a comic in EPUB: the images that its spine shows, in that order (EPUB 3.3, sections 4 and 5)."""

from __future__ import annotations

import posixpath
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

from mmr_runtime.books.info import BookInfo
from mmr_runtime.books.names import suffix
from mmr_runtime.books.sources import Source
from mmr_runtime.errors import BookError
from mmr_runtime.image import SUFFIXES as PAGE_SUFFIXES
from mmr_runtime.limits import MAX_INFO_BYTES
from mmr_runtime.safe_xml import parse

CONTAINER = "META-INF/container.xml"
_MAX_PROSE = 400
"""Characters on a page of a comic; where the spine holds more on average it is a novel with pictures."""


def read_epub(source: Source, title: str) -> tuple[list[str], BookInfo]:
    """Names of the page images in reading order, and what the book says of itself.

    Raises:
        InputError: it is no EPUB, or no comic.
    """
    names = {member.name for member in source.members()}
    root = parse(source.read(CONTAINER, MAX_INFO_BYTES), CONTAINER)
    packages = [file.get("full-path", "") for file in root.iter("rootfile")]
    if not packages or packages[0] not in names:
        raise BookError(f"{title} does not say where its contents are", "pack it again")
    package = parse(source.read(packages[0], MAX_INFO_BYTES), packages[0])
    base = posixpath.dirname(packages[0])
    items = {item.get("id", ""): _joined(base, item.get("href", "")) for item in package.iter("item")}
    spine = [items.get(item.get("idref", ""), "") for item in package.iter("itemref")]
    pages: list[str] = []
    prose = 0
    for name in spine:
        if suffix(name) in PAGE_SUFFIXES:
            pages.append(name)
        elif name in names:
            document = _Document()
            document.feed(source.read(name, MAX_INFO_BYTES).decode("utf-8", "replace"))
            prose += document.letters
            pages += [_joined(posixpath.dirname(name), image) for image in document.images]
    pages = [page for page in dict.fromkeys(pages) if page in names]
    if not pages or prose > _MAX_PROSE * len(spine):
        raise BookError(f"{title} is not a comic: it holds {len(pages)} pictures between text", "give a book of images")
    direction = next((item.get("page-progression-direction") for item in package.iter("spine")), None)
    titles = [" ".join((item.text or "").split()) for item in package.iter("title")]
    subjects = [" ".join((item.text or "").split()) for item in package.iter("subject")]
    summary = [" ".join((item.text or "").split()) for item in package.iter("description")]
    return pages, BookInfo(
        title=next(iter(titles), ""),
        genres=tuple(filter(None, subjects)),
        summary=next(iter(summary), ""),
        right_to_left=None if direction in (None, "default") else direction == "rtl",
    )


class _Document(HTMLParser):
    """Images that an XHTML page shows, and how much it says."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []
        self.letters = 0
        self._silent = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._silent = tag in ("title", "style", "script")
        place = {"img": values.get("src"), "image": values.get("xlink:href") or values.get("href")}.get(tag)
        if place:
            self.images.append(place)

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 (the parser's signature)
        self._silent = False

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.letters += len(data.strip())


def _joined(folder: str, reference: str) -> str:
    """A reference of a document as a name in the archive."""
    return posixpath.normpath(posixpath.join(folder, unquote(urlsplit(reference).path)))
