"""What all tests share: where the development data is, when it is there."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of the development data; the test is skipped where there is none."""
    if not SHARED.is_dir():
        pytest.skip("no development data beside the checkout")
    return SHARED


@pytest.fixture(scope="session")
def golden(shared: Path) -> Path:
    """Folder of the golden vectors computed with the original AudioCLIP."""
    return shared / "golden"
