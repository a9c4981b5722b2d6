"""Folders of songs (or pages) with an index beside them, and the order in which they fit a query."""

from __future__ import annotations

from mmr_runtime.library.filters import Filters
from mmr_runtime.library.library import Library
from mmr_runtime.library.records import Contents, Kind, Match, Progress, Track, UpdateReport
from mmr_runtime.library.roots import Patterns

__all__ = ["Contents", "Filters", "Kind", "Library", "Match", "Patterns", "Progress", "Track", "UpdateReport"]
