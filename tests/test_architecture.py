"""The direction of dependencies (docs/architecture.md): the imports themselves are read and held to it."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / "mmr_runtime"
EXPORT = ROOT / "export" / "mmr_export"

# Lower floors know nothing of higher ones; within a floor modules may know each other.
FLOORS = {
    **dict.fromkeys(("errors", "limits", "moods", "files", "safe_xml"), 0),
    **dict.fromkeys(("bundle", "sessions", "known_files", "onnx_scan", "onnx_product", "prepared"), 1),
    **dict.fromkeys(("frontend", "image", "text", "audio", "decoders", "mp3", "loudness"), 2),
    "engine": 3,
    "rank": 4,
    **dict.fromkeys(("library", "books"), 5),
    **dict.fromkeys(("soundtrack", "describe"), 6),
    "_pyinstaller": 0,
    **dict.fromkeys(("companion", "ctl", "report", "cli", "serve", "readers", "reader"), 7),
}
FORBIDDEN = ("torch", "onnx", "mmr_export", "librosa")
SOURCES = sorted(RUNTIME.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Absolute names of all modules that a file imports, also inside functions."""
    package = path.relative_to(ROOT).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *filter(None, [base])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def part(name: str) -> str | None:
    """The floor's name of a runtime module: `mmr_runtime.library.store` is of `library`."""
    pieces = name.split(".")
    return pieces[1] if pieces[0] == "mmr_runtime" and len(pieces) > 1 else None


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_arrows_point_down(path: Path) -> None:
    own = path.relative_to(RUNTIME).parts[0].removesuffix(".py")
    if own == "__init__":
        pytest.skip("the package's face names everything, lazily")
    assert own in FLOORS, f"give {own} a floor"
    above = [n for n in imports(path) if (p := part(n)) in FLOORS and p != own and FLOORS[p] > FLOORS[own]]
    assert not above


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_the_runtime_knows_neither_torch_nor_the_exporter(path: Path) -> None:
    assert not [n for n in imports(path) if n.split(".")[0] in FORBIDDEN]


def test_one_module_imports_onnxruntime() -> None:
    users = {
        p.relative_to(ROOT).as_posix() for p in SOURCES if any(n.split(".")[0] == "onnxruntime" for n in imports(p))
    }
    assert users == {"mmr_runtime/sessions.py"}


@pytest.mark.parametrize("path", [*SOURCES, *sorted(EXPORT.rglob("*.py"))], ids=lambda p: str(p.relative_to(ROOT)))
def test_no_private_name_crosses_a_folder(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("mmr_runtime", "mmr_export")):
            assert not [a.name for a in node.names if a.name.startswith("_") and not a.name.startswith("__")]


def test_modules_stay_readable() -> None:
    lengths = {p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in SOURCES}
    assert not {name: n for name, n in lengths.items() if n > 520}


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, mmr_runtime; "
        "print(sorted({m.split('.')[0] for m in sys.modules} & "
        "{'numpy', 'scipy', 'PIL', 'onnxruntime', 'soundfile', 'click', 'sqlite3'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
