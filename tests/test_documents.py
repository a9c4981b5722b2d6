"""The documents say what the stored results say, and name only what is there."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
CARD = ROOT / "models" / "default" / "MODEL_CARD.md"


@pytest.fixture(scope="module")
def report() -> ModuleType:
    """benchmarks/report.py, which makes every table."""
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_agree_with_the_results(report: ModuleType) -> None:
    for path in report.DOCUMENTS:
        text = path.read_text(encoding="utf-8")
        assert report.rendered(text) == text, f"{path.name}: run benchmarks/report.py"


def test_results_speak_of_the_shipped_model() -> None:
    manifest = json.loads((ROOT / "models" / "default" / "manifest.json").read_text(encoding="utf-8"))
    for name in ("quality", "bench_default", "rank_parameters"):
        figures = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))["figures"]
        assert figures["model"] == manifest["id"]


def test_the_shipped_card_is_the_written_one() -> None:
    assert CARD.read_text(encoding="utf-8") == (ROOT / "docs" / "model-card.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
