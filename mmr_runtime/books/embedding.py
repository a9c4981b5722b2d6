"""A book's pages and dialogue as vectors."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.books.book import Book
from mmr_runtime.books.cache import VectorCache, content_key
from mmr_runtime.engine import unit_rows
from mmr_runtime.errors import CancelledError, InputError
from mmr_runtime.image import load_image
from mmr_runtime.limits import MAX_STRIP_RATIO, MAX_TEXT_CHARS

if TYPE_CHECKING:
    from PIL.Image import Image

    from mmr_runtime.engine import Engine

Floats = NDArray[np.float32]
_TILE_RATIO = 1.5
"""Height by width of a piece of a strip: about a page's."""


@dataclass(frozen=True, eq=False)
class BookEmbedding:
    """What a model sees and reads in a book of n pages.

    Attributes:
        pages: float32 (n, d), unit rows; zeros for a page that is not seen.
        seen: bool (n,): the page was read, and is no advertisement.
        dialogue: for each page the vectors (t, d) of its lines, or None where nothing is spoken.
        about: float32 (a, d), genres and summary as the book states them; a is 0 where it does not.
        problems: (page from 0, reason) of those that could not be read.
    """

    pages: Floats
    seen: NDArray[np.bool_]
    dialogue: list[Floats | None]
    about: Floats
    problems: list[tuple[int, str]]


def embed_book(
    book: Book,
    engine: Engine,
    cache: VectorCache | None = None,
    *,
    read: Callable[[Image], list[str]] | None = None,
    progress: Callable[[int, int], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> BookEmbedding:
    """Embed all pages of a book, and what is spoken on them.

    A page that cannot be read is left out and named; a strip is seen in pieces and averaged.

    Args:
        book: is read page by page; one page at a time is held in memory.
        engine: the model.
        cache: vectors of earlier runs; None: nothing is kept.
        read: tells what is lettered on a page (`ocr.Lettering.read`), for a book whose dialogue nobody wrote down.
        progress: called with the number of pages done, and of all.
        cancel: says when to stop; what is embedded stays in the cache.

    Raises:
        CancelledError: `cancel` said so.
    """
    count, size = len(book), engine.embedding_size
    pages, seen = np.zeros((count, size), np.float32), np.zeros(count, np.bool_)
    spoken: list[Floats | None] = [None] * count
    problems = []
    lines = book.dialogue.lines
    for number, page in enumerate(book.pages):
        if cancel and cancel():
            raise CancelledError(f"stopped at page {number + 1} of {count}", "what is embedded is kept")
        if progress:
            progress(number, count)
        if page.is_seen:
            try:
                image = book.image(number)
                pages[number] = embed_page(image, engine, cache)
                seen[number] = True
                if read and not lines:
                    spoken[number] = _lettering(image, engine, cache, read)
            except InputError as error:
                problems.append((number, error.message))
        elif page.problem:
            problems.append((number, page.problem))
        if number in lines:
            spoken[number] = embed_lines(lines[number], engine, cache)
    if progress:
        progress(count, count)
    about = [text[:MAX_TEXT_CHARS] for text in book.info.about]
    told = embed_lines(about, engine, cache) if about else np.zeros((0, size), np.float32)
    return BookEmbedding(pages, seen, spoken, told, problems)


def _lettering(
    image: bytes | Image, engine: Engine, cache: VectorCache | None, read: Callable[[Image], list[str]]
) -> Floats | None:
    def embed() -> Floats:
        lines = read(load_image(image))
        return engine.embed_texts(lines) if lines else np.zeros((0, engine.embedding_size), np.float32)

    vectors = _kept(engine, cache, "lettering", _content(image), embed)
    return vectors if len(vectors) else None


def _content(image: bytes | Image) -> bytes:
    return image if isinstance(image, bytes) else image.tobytes()


def embed_page(image: bytes | Image, engine: Engine, cache: VectorCache | None) -> Floats:
    """A page, as `Book.image` gives it, as a unit vector (d,).

    Raises:
        ImageError: it cannot be read.
    """

    def embed() -> Floats:
        loaded = load_image(image, engine.bundle.manifest.image)
        pieces = tiles(loaded)
        if len(pieces) == 1:
            return engine.embed_images(pieces)
        seen = engine.embed_images(pieces, spread="whole")
        return unit_rows(np.mean(seen, axis=0, keepdims=True))

    vectors: Floats = _kept(engine, cache, "page", _content(image), embed)[0]
    return vectors


def embed_lines(lines: list[str], engine: Engine, cache: VectorCache | None) -> Floats:
    """Texts that belong together as unit rows (t, d)."""
    return _kept(engine, cache, "lines", json.dumps(lines).encode(), lambda: engine.embed_texts(lines))


def _kept(engine: Engine, cache: VectorCache | None, kind: str, content: bytes, embed: Callable[[], Floats]) -> Floats:
    if cache is None:
        return embed()
    # The graph's precision moves vectors a little.
    key = content_key(f"{engine.model_id} {engine.precision}", kind, content)
    vectors = cache.get(key, engine.embedding_size)
    if vectors is None:
        vectors = embed()
        cache.put(key, vectors)
    return vectors


def tiles(image: Image) -> list[Image]:
    """A page as it is, or a strip cut into pieces about as high as pages."""
    width, height = image.size
    if height <= MAX_STRIP_RATIO * width:
        return [image]
    count = math.ceil(height / (_TILE_RATIO * width))
    edges = [round(height * i / count) for i in range(count + 1)]
    return [image.crop((0, top, width, bottom)) for top, bottom in pairwise(edges)]
