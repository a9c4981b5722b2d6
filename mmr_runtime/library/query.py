"""Whatever a caller searches with becomes a `rank.Query`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mmr_runtime.errors import UsageError
from mmr_runtime.library.records import Kind
from mmr_runtime.library.scan import SUFFIXES
from mmr_runtime.rank import Query

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine, Floats


def make_query(engine: Engine, source: Any, text: str | None, kind: Kind) -> Query:
    """Embed what is searched for.

    Args:
        engine: embeds it.
        source: a `Query`; a vector float32 (d,) or rows (q, d), taken as page vectors where songs are searched and as
            song vectors where pages are; the path of a song; a page (path, bytes, PIL image, uint8 array) or a list of
            pages that belong together; or None, to search by text alone.
        text: dialogue of the page, or what is searched for.
        kind: what is searched.

    Raises:
        InputError: a file cannot be read.
        UsageError: there is nothing to search for.
    """
    spoken = engine.embed_texts([text]) if text else None
    if source is None:
        if spoken is None:
            raise UsageError("there is nothing to search for", "give a page, a song or a text")
        return Query("text", spoken)
    query = source if isinstance(source, Query) else _embed(engine, source, kind)
    return query if spoken is None else replace(query, text=spoken)


def _embed(engine: Engine, source: Any, kind: Kind) -> Query:
    if isinstance(source, np.ndarray) and source.dtype.kind == "f":
        rows: Floats = np.atleast_2d(source).astype(np.float32, copy=False)
        if rows.ndim != 2 or rows.shape[1] != engine.embedding_size:
            raise UsageError(f"a vector of shape {source.shape} does not fit a model of size {engine.embedding_size}")
        return Query("image" if kind == "songs" else "audio", rows)
    if isinstance(source, str | Path) and _is_song(Path(source), kind):
        return Query("audio", engine.embed_audio(source).vector[None])
    pages = list(source) if isinstance(source, Sequence) and not isinstance(source, str | bytes) else [source]
    if not pages:
        raise UsageError("there is nothing to search for", "give at least one page")
    return Query("image", engine.embed_images(pages))


def _is_song(path: Path, kind: Kind) -> bool:
    """By its ending; a file of unknown ending is what a search of this kind starts from."""
    suffix = path.suffix.lower()
    if suffix in SUFFIXES["songs"]:
        return True
    return kind == "pages" and suffix not in SUFFIXES["pages"]
