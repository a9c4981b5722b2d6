"""For hosts that are frozen with PyInstaller: what it cannot see by itself (entry point `pyinstaller40`)."""

from __future__ import annotations

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Folders of hooks."""
    return [str(Path(__file__).parent)]
