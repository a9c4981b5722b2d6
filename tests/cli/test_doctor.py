"""`mmr doctor` finds what is wrong, says how to mend it, and its exit code tells which part it is."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from mmr_runtime.bundle import FileFacts
from mmr_runtime.cli import doctor as module
from mmr_runtime.cli.doctor import Check, doctor, examine, exit_code
from mmr_runtime.errors import DeviceError
from tests.cli.conftest import Invoke


def by_name(checks: list[Check]) -> dict[str, Check]:
    found: dict[str, Check] = {}
    for check in checks:
        found.setdefault(check.name, check)
    return found


@pytest.fixture
def bundle(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bundle of one file, as far as the doctor looks into it."""
    folder = home / "bundle"
    folder.mkdir()
    graph = folder / "image.onnx"
    graph.write_bytes(b"weights")
    manifest = SimpleNamespace(id="small", files={"image.onnx": FileFacts.of(graph)})
    opened = SimpleNamespace(folder=folder, manifest=manifest, path=lambda name: folder / name)
    monkeypatch.setattr("mmr_runtime.cli.doctor.Bundle.open", lambda *_: opened)
    return folder


def test_a_sound_installation(bundle: Path, run: Invoke) -> None:
    result = run(doctor, "--json")
    report = json.loads(result.stdout)
    found = {check["name"]: check for check in report["checks"]}
    assert (result.exit_code, report["schema"], report["healthy"]) == (0, 1, True)
    expected = ["python", "mmr", "onnxruntime", "providers", "telemetry", "threads", "libsndfile", "m4a", "books"]
    assert list(found) == [*expected, "model", "cache", "data"]
    assert "CPU" in found["providers"]["detail"]
    assert found["telemetry"]["detail"] == "off"
    assert "hashes match" in found["model"]["detail"]


def test_it_leaves_no_trace(bundle: Path, run: Invoke, home: Path) -> None:
    run(doctor)
    assert sorted(path.name for path in home.iterdir()) == ["bundle"]


def test_in_words(bundle: Path, run: Invoke) -> None:
    lines = run(doctor).stdout.splitlines()
    assert lines[0].startswith("ok       python       3.")
    assert any(line.startswith("ok       model        small, ") for line in lines)


def test_a_damaged_file_is_a_bad_model(bundle: Path, run: Invoke) -> None:
    (bundle / "image.onnx").write_bytes(b"weights of another kind")
    result = run(doctor)
    assert result.exit_code == 4
    assert "problem  model        " in result.stdout
    assert "hint: copy the bundle again" in result.stdout


def test_a_missing_bundle_is_a_bad_model(home: Path, run: Invoke) -> None:
    assert run(doctor, "--model", "nowhere").exit_code == 4


def test_two_onnxruntimes_are_a_problem_with_the_line_that_mends_it(
    bundle: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "onnxruntimes", lambda: {"onnxruntime": "1.30", "onnxruntime-gpu": "1.29"})
    check = by_name(examine())["onnxruntime"]
    assert check.state == "problem"
    assert "onnxruntime 1.30, onnxruntime-gpu 1.29" in check.detail
    assert check.hint == "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'mmr-runtime[gpu]'"
    assert run(doctor).exit_code == 5


def test_no_onnxruntime_is_a_problem(bundle: Path, run: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> object:
        raise DeviceError("onnxruntime is not installed", "pip install it")

    monkeypatch.setattr("mmr_runtime.sessions.load_onnxruntime", missing)
    monkeypatch.setattr(module, "onnxruntimes", dict)
    result = run(doctor)
    assert result.exit_code == 5
    assert "onnxruntime is not installed" in result.stdout


def test_telemetry_that_a_host_left_on_is_noted(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmr_runtime.sessions.telemetry_is_off", lambda: False)
    check = by_name(examine())["telemetry"]
    assert check.state == "note"
    assert "ORT_DISABLE_TELEMETRY=1" in check.hint


def test_a_libsndfile_without_mp3_is_noted(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("soundfile.available_formats", lambda: {"WAV": "", "FLAC": "", "OGG": ""})
    check = by_name(examine())["libsndfile"]
    assert check.state == "note"
    assert "not MP3" in check.detail


def test_folders_that_cannot_be_written(bundle: Path, run: Invoke, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "file").write_text("in the way", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "file"))
    assert by_name(examine())["cache"].state == "note"
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "file"))
    result = run(doctor)
    assert result.exit_code == 6
    assert "no index can be kept there" in result.stdout


def test_the_first_problem_gives_the_exit_code() -> None:
    checks = [Check("a", "ok", ""), Check("b", "problem", "", "", 5), Check("c", "problem", "", "", 4)]
    assert exit_code(checks) == 5
    assert exit_code(checks[:1]) == 0


def test_books_that_need_an_extra_are_noted(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "rarfile" else object())
    found = by_name(examine())["books"]
    assert (found.state, found.hint) == ("note", "pip install 'mmr-runtime[cbr]'")
    assert found.detail == "folders, CBZ, CBT, EPUB, PDF; not CBR"


def test_indexes_are_looked_at(bundle: Path, run: Invoke, home: Path) -> None:
    from mmr_runtime.library import schema

    libraries = home / ".data" / "mmr" / "libraries"
    for name in ("a", "b", "c"):
        (libraries / name).mkdir(parents=True)
        schema.create(libraries / name / "index.db", "songs")
    (libraries / "b" / "index.db").write_bytes(b"no database")
    with contextlib.closing(sqlite3.connect(libraries / "c" / "index.db")) as index:
        index.execute(f"PRAGMA user_version = {schema.SCHEMA + 1}")
    result = run(doctor)
    assert result.exit_code == 6
    assert f"ok       index        0 files at {libraries / 'a'}" in result.stdout
    assert "b/index.db is damaged" in result.stdout
    assert "c/index.db is a newer mmr's" in result.stdout
