"""The wheel alone, with the `cpu` extra in a clean environment, does the main job without torch.

Set MMR_OFFLINE=1 to leave this out where no package index can be reached.
"""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = [
    pytest.mark.skipif(os.environ.get("MMR_OFFLINE") == "1", reason="MMR_OFFLINE=1: no package index"),
    pytest.mark.skipif(not (ROOT / "models" / "default" / "manifest.json").exists(), reason="no default model"),
]


def run(*command: object, **environment: str) -> str:
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env={**{k: v for k, v in os.environ.items() if k != "PYTHONPATH"}, **environment},
        cwd=environment.get("HOME", "/"),
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with nothing but the wheel and its `cpu` extra."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT, HOME=str(folder))
    wheel = next(folder.glob("*.whl"))
    venv.create(folder / "env", with_pip=True)
    run(folder / "env" / "bin" / "pip", "install", "--quiet", f"{wheel}[cpu]", HOME=str(folder))
    return folder


SOURCES = ("mmr_runtime", "export", "models", "docs", "benchmarks", "tests", "README.md", "CHANGELOG.md", "LICENSE")
MOST_BYTES = 350_000_000
"""Of the runtime with the extra `cpu` and all it depends on, without byte code: 291 MB when this was written."""


def built(folder: Path, *, mask: int, moment: float, seed: int) -> dict[str, bytes]:
    """Wheel and sdist, from a copy of the sources in this folder, as a machine with other habits would build them."""
    for name in (*SOURCES, "NOTICE", "Makefile", "pyproject.toml", ".gitignore"):
        source, target = ROOT / name, folder / "source" / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)
    for path in (folder / "source").rglob("*"):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
        os.utime(path, (moment, moment))
    environment = {"PYTHONHASHSEED": str(seed), "TZ": "UTC" if seed else "Asia/Tokyo", "HOME": str(folder)}
    run(sys.executable, "-m", "build", "--outdir", folder / "out", folder / "source", **environment)
    return {path.name: path.read_bytes() for path in (folder / "out").iterdir()}


def test_wheel_and_sdist_are_the_same_bytes_wherever_they_are_built(tmp_path: Path) -> None:
    first = built(tmp_path / "a", mask=0o022, moment=1.6e9, seed=0)
    second = built(tmp_path / "elsewhere" / "b", mask=0o077, moment=1.7e9, seed=1)
    assert sorted(Path(name).suffix for name in first) == [".gz", ".whl"]
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def test_the_wheel_holds_the_default_model(clean: Path) -> None:
    held = zipfile.ZipFile(next(clean.glob("*.whl")))
    model = ROOT / "models" / "default"
    files = {f"mmr_runtime/models/default/{path.name}": path.read_bytes() for path in model.iterdir()}
    assert {name: held.read(name) for name in held.namelist() if "/models/" in name} == files


@pytest.fixture(scope="module")
def size() -> ModuleType:
    """benchmarks/size.py, which measures what the documents state."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("size", ROOT / "benchmarks" / "size.py")
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def test_an_installation_stays_small(clean: Path, size: ModuleType) -> None:
    sizes = size.installed(size.site_packages(clean / "env"), leave_out=("pip", "setuptools"))
    assert size.OWN in sizes
    assert size.total(sizes) < MOST_BYTES, sizes


def test_the_main_job_runs_without_torch(clean: Path) -> None:
    python, home = clean / "env" / "bin" / "python", str(clean)
    run(python, "-m", "mmr_export.synth", clean / "demo", HOME=home)
    answer = run(
        clean / "env" / "bin" / "mmr-infer", clean / "demo" / "pages" / "scary.png",
        "--library", clean / "demo" / "songs", "--json", "--top", 3, HOME=home,
    )  # fmt: skip
    matches = json.loads(answer)["matches"]
    assert [m["rank"] for m in matches] == [1, 2, 3]
    assert all(Path(m["path"]).is_file() for m in matches)


def test_neither_torch_nor_onnx_is_there(clean: Path) -> None:
    code = "import importlib.util as u; print([n for n in ('torch', 'onnx', 'transformers') if u.find_spec(n)])"
    assert run(clean / "env" / "bin" / "python", "-c", code, HOME=str(clean)).strip() == "[]"


def test_onnxruntime_does_not_report_home(clean: Path) -> None:
    """With a fresh HOME an embedding leaves no telemetry files behind and starts no further thread of theirs."""
    home = clean / "fresh"
    home.mkdir()
    code = (
        "from mmr_runtime import Engine; import os; "
        "e = Engine.open(threads=1); e.embed_texts(['a quiet morning']); "
        "print(os.environ['ORT_DISABLE_TELEMETRY'], len(os.listdir('/proc/self/task')))"
    )
    environment = {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "CI": "", "OPENBLAS_NUM_THREADS": "1"}
    flag, threads = run(clean / "env" / "bin" / "python", "-c", code, **environment).split()
    assert flag == "1"
    left = [p for p in home.rglob("*") if "onnxruntime" in p.name.lower() or "Microsoft" in p.parts]
    assert not left
    if sys.platform == "linux":
        assert int(threads) <= 2


HOST = """\
import sys
from mmr_runtime import Engine, Library

with Engine.open() as engine, Library.open(sys.argv[2], engine, sys.argv[3]) as library:
    library.update()
    for match in library.rank(sys.argv[1], top=3):
        print(match.rank, match.track.path)
"""


def test_a_frozen_host_runs_where_there_is_no_python(clean: Path) -> None:
    """By the hook that the wheel brings; from a path with spaces and Japanese characters, with an empty environment."""
    run(clean / "env" / "bin" / "pip", "install", "--quiet", "pyinstaller", HOME=str(clean))
    work = clean / "frozen"
    work.mkdir()
    (work / "host.py").write_text(HOST, encoding="utf-8")
    options = ("--noconfirm", "--log-level", "ERROR", "--distpath", work, "--workpath", work / "w", "--specpath", work)
    run(clean / "env" / "bin" / "pyinstaller", *options, work / "host.py", HOME=str(clean))
    moved = (work / "host").rename(work / "読者 の プログラム")
    run(clean / "env" / "bin" / "python", "-m", "mmr_export.synth", work / "demo", HOME=str(clean))
    done = subprocess.run(
        [moved / "host", work / "demo" / "pages" / "sad.png", work / "demo" / "songs", work / "index"],
        capture_output=True,
        text=True,
        env={"HOME": str(work)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["1", "2", "3"]


OFFLINE = """\
import socket, sys
from pathlib import Path

def refuse(*_, **__):
    raise AssertionError("somebody asked for the network")

socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = socket.create_connection = refuse
from mmr_runtime import Book, Engine, Library, Session, plan

home = Path(sys.argv[1])
engine = Engine.open()
songs, pages = home / "demo" / "songs", home / "demo" / "pages"
with Library.open(songs, engine, home / "offline") as library, Book.open(pages) as book:
    library.update()
    print(len(plan(book, library).pages))
    with Session(engine, library) as session:
        session.open_book(book).result()
        print(session.turn(0).action)
"""


def test_books_and_sessions_need_no_network(clean: Path) -> None:
    run(clean / "env" / "bin" / "python", "-m", "mmr_export.synth", clean / "demo", HOME=str(clean))
    said = run(clean / "env" / "bin" / "python", "-c", OFFLINE, clean, HOME=str(clean))
    assert said.split() == ["7", "switch"]
