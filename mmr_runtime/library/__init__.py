"""Folders of songs (or pages) with an index beside them, and the order in which they fit a query."""

from __future__ import annotations

from mmr_runtime.library.library import Library
from mmr_runtime.library.records import Contents, Kind, Match, Progress, Track, UpdateReport

__all__ = ["Contents", "Kind", "Library", "Match", "Progress", "Track", "UpdateReport"]
