"""What all tests share: where the development data is, when it is there."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"

# Prepared graphs and indexes of the tests stay out of the user's folders; set before anything reads them.
_USER = tempfile.TemporaryDirectory(prefix="mmr-tests-")
for _kind in ("CACHE", "DATA", "CONFIG"):
    os.environ[f"XDG_{_kind}_HOME"] = str(Path(_USER.name) / _kind.lower())

# The same examples in every run: a failure here is a failure everywhere.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.load_profile("fixed")


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
