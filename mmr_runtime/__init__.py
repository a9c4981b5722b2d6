"""Music for manga: rank your own songs for a manga page, offline, without PyTorch.

Everything that a host needs is named here and loaded on first use: `import mmr_runtime` costs a few milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmr_runtime.books import Book
    from mmr_runtime.companion import Decision, Session
    from mmr_runtime.engine import Engine, SongEmbedding
    from mmr_runtime.errors import (
        AudioError,
        BookError,
        BundleError,
        CheckpointError,
        DeviceError,
        ExportError,
        ImageError,
        InputError,
        LibraryError,
        MmrError,
        TextError,
    )
    from mmr_runtime.library import Filters, Library, Match, Track, UpdateReport
    from mmr_runtime.moods import GENRES, MOODS
    from mmr_runtime.rank import Query
    from mmr_runtime.soundtrack import Corrections, Follower, Options, Soundtrack, plan

__version__ = "0.1.0"

_HOME = {
    "Engine": "engine",
    "SongEmbedding": "engine",
    "Query": "rank",
    "Book": "books",
    "Decision": "companion",
    "Session": "companion",
    "Corrections": "soundtrack",
    "Follower": "soundtrack",
    "Options": "soundtrack",
    "Soundtrack": "soundtrack",
    "plan": "soundtrack",
    "Filters": "library",
    "Library": "library",
    "Match": "library",
    "Track": "library",
    "UpdateReport": "library",
    "GENRES": "moods",
    "MOODS": "moods",
    "AudioError": "errors",
    "BookError": "errors",
    "BundleError": "errors",
    "CheckpointError": "errors",
    "DeviceError": "errors",
    "ExportError": "errors",
    "ImageError": "errors",
    "InputError": "errors",
    "LibraryError": "errors",
    "MmrError": "errors",
    "TextError": "errors",
}

__all__ = [
    "GENRES",
    "MOODS",
    "AudioError",
    "Book",
    "BookError",
    "BundleError",
    "CheckpointError",
    "Corrections",
    "Decision",
    "DeviceError",
    "Engine",
    "ExportError",
    "Filters",
    "Follower",
    "ImageError",
    "InputError",
    "Library",
    "LibraryError",
    "Match",
    "MmrError",
    "Options",
    "Query",
    "Session",
    "SongEmbedding",
    "Soundtrack",
    "TextError",
    "Track",
    "UpdateReport",
    "__version__",
    "plan",
]


def __getattr__(name: str) -> Any:
    """Load a public name from its module on first use (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
