"""ESC-50 (Piczak 2015): 2,000 recordings of five seconds in 50 classes and five folds."""

from __future__ import annotations

from pathlib import Path

from mmr_export.data.datasets import Dataset
from mmr_export.data.folded import Layout, read_folded

LAYOUT = Layout(
    "esc50", "meta/esc50.csv", "filename", "category", "target", "src_file", key=lambda row: row["filename"]
)


def read(folder: Path) -> Dataset:
    """Read `meta/esc50.csv` and `audio/` (see `read_folded`)."""
    return read_folded(folder, LAYOUT)
