"""What a book says of itself: ComicInfo.xml (https://anansi-project.github.io/docs/comicinfo), read leniently."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from xml.etree.ElementTree import Element

from mmr_runtime.safe_xml import parse

STORY = "Story"
UNSEEN_TYPES = frozenset(("Advertisement", "Deleted"))
"""Types of pages that say nothing of the story."""

_TAG = re.compile(r"<[^>]{0,200}>")


@dataclass(frozen=True)
class BookInfo:
    """Facts about a book; empty where they are not known.

    Attributes:
        title: of the volume.
        series: that it belongs to.
        genres: as given, e.g. ("Comedy", "Shounen").
        summary: in words.
        right_to_left: whether it is read as manga is; None where it does not say.
        types: page number, from 0, -> type as ComicInfo names it.
    """

    title: str = ""
    series: str = ""
    genres: tuple[str, ...] = ()
    summary: str = ""
    right_to_left: bool | None = None
    types: Mapping[int, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def about(self) -> list[str]:
        """What the book is about, for a text encoder: its genres as one line, and its summary."""
        return [text for text in (", ".join(self.genres), self.summary) if text]


def read_comic_info(content: bytes, name: str = "ComicInfo.xml") -> BookInfo:
    """Read a ComicInfo.xml.

    Raises:
        InputError: it is not XML, or declares a document type.
    """
    root = parse(content, name)
    # Names in the wild differ in case (Komga#1130).
    texts = {child.tag.lower(): " ".join((child.text or "").split()) for child in root}
    genres = [part.strip() for key in ("genre", "tags") for part in texts.get(key, "").split(",")]
    direction = texts.get("manga", "").lower()
    return BookInfo(
        title=texts.get("title", ""),
        series=" ".join(filter(None, (texts.get("series"), texts.get("volume") or texts.get("number")))),
        genres=tuple(dict.fromkeys(filter(None, genres))),
        summary=" ".join(_TAG.sub(" ", texts.get("summary", "")).split()),
        right_to_left={"yesandrighttoleft": True, "yes": True, "no": False}.get(direction),
        types=_types(root),
    )


def _types(root: Element) -> Mapping[int, str]:
    types = {}
    for page in root.iter():
        attributes = {key.lower(): value for key, value in page.attrib.items()}
        number = attributes.get("image", "")
        if page.tag.lower() == "page" and number.isascii() and number.isdecimal() and len(number) < 7:
            # Several types may stand in one attribute, divided by spaces; the first one that matters counts.
            named = attributes.get("type", STORY).split() or [STORY]
            types[int(number)] = next((t for t in named if t in UNSEEN_TYPES), named[0])
    return MappingProxyType(types)
