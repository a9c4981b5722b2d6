"""The cache of prepared graphs: complete or absent, never believed, never in the way."""

from __future__ import annotations

import json
import os
import re
import threading
import time
from pathlib import Path

import pytest

from mmr_runtime.prepared import FACTS, GRAPH, PreparedGraph, cache_folder, processor_flags

SHA = "a" * 64


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda *_, **__: str(tmp_path / "cache"))
    return cache_folder()


def prepared(runtime: str = "1.31.1", sha256: str = SHA, **options: str) -> PreparedGraph:
    return PreparedGraph(sha256, runtime, options)


def write(target: Path) -> None:
    target.write_bytes(b"graph")
    (target.parent / "weights.bin").write_bytes(bytes(4096))


def refuse(target: Path) -> None:
    raise AssertionError("nothing should be made")


def age(path: Path, days: float) -> None:
    then = time.time() - days * 86400
    os.utime(path, (then, then))


def test_it_lies_in_the_users_cache_folder(cache: Path, tmp_path: Path) -> None:
    assert cache == tmp_path / "cache" / "prepared"
    assert prepared().folder.is_relative_to(cache)


def test_there_is_none_at_first_and_asking_creates_nothing(cache: Path) -> None:
    assert prepared().find() is None
    assert not cache.exists()


def test_what_was_built_is_found_by_the_next_process() -> None:
    built = prepared().build(write)
    assert built == prepared().folder / GRAPH
    assert prepared().find() == built
    assert built.read_bytes() == b"graph"


def test_its_name_appears_only_when_it_is_complete_and_facts_are_written_last() -> None:
    form = prepared()

    def watch(target: Path) -> None:
        write(target)
        assert target.parent != form.folder
        assert not (target.parent / FACTS).exists()
        assert form.find() is None

    assert form.build(watch) is not None
    assert {p.name for p in form.folder.iterdir()} == {GRAPH, "weights.bin", FACTS}
    assert list(form.folder.parent.iterdir()) == [form.folder]


@pytest.mark.parametrize(
    "other",
    [
        lambda: prepared(runtime="1.32.0"),
        lambda: prepared(sha256="b" * 64),
        lambda: prepared(batch="8"),
    ],
    ids=["onnxruntime", "graph", "options"],
)
def test_a_form_for_anything_else_does_not_count(other: type[PreparedGraph]) -> None:
    prepared().build(write)
    assert other().find() is None


def test_a_form_for_another_processor_does_not_count_and_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    mine = prepared()
    mine.build(write)
    monkeypatch.setattr("mmr_runtime.prepared.processor_flags", lambda: "sse2")
    theirs = prepared()
    assert theirs.find() is None
    assert theirs.build(write) is not None
    assert mine.find() is not None


def test_processor_flags_are_those_of_this_machine() -> None:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        pytest.skip("no /proc/cpuinfo")
    line = re.search(r"^(?:flags|Features)\s*:(.*)$", info.read_text(encoding="utf-8"), re.MULTILINE)
    assert line is not None
    assert set(processor_flags().split()) == set(line[1].split())


@pytest.mark.parametrize("name", [GRAPH, "weights.bin", FACTS])
def test_a_truncated_file_is_noticed_and_made_again(name: str) -> None:
    form = prepared()
    form.build(write)
    path = form.folder / name
    path.write_bytes(path.read_bytes()[:-1])
    assert form.find() is None
    assert form.build(write) is not None
    assert form.find() is not None


@pytest.mark.parametrize("name", [GRAPH, "weights.bin", FACTS])
def test_a_missing_file_is_noticed(name: str) -> None:
    form = prepared()
    form.build(write)
    (form.folder / name).unlink()
    assert form.find() is None


def test_a_file_changed_at_its_size_is_noticed() -> None:
    form = prepared()
    form.build(write)
    weights = form.folder / "weights.bin"
    weights.write_bytes(b"x" * 4096)
    os.utime(weights, ns=(1, 1))
    assert form.find() is None


@pytest.mark.parametrize("text", ["", "[]", "null", '{"files": 3}', "[" * 100_000, "\udcff"])
def test_facts_that_are_none_are_not_believed(text: str) -> None:
    form = prepared()
    form.build(write)
    (form.folder / FACTS).write_text(text, encoding="utf-8", errors="surrogateescape")
    assert form.find() is None


def test_without_a_writable_cache_folder_there_is_none_and_nothing_fails(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    assert prepared().find() is None
    assert prepared().build(refuse) is None


def test_a_form_that_cannot_be_made_leaves_nothing() -> None:
    def fail(target: Path) -> None:
        write(target)
        raise RuntimeError("no space left on device")

    form = prepared()
    assert form.build(fail) is None
    assert list(form.folder.parent.iterdir()) == []


def test_a_discarded_form_is_gone() -> None:
    form = prepared()
    form.build(write)
    form.discard()
    assert form.find() is None
    assert not form.folder.exists()


def test_the_faster_of_two_builders_wins_and_both_have_a_form() -> None:
    form = prepared()

    def slow(target: Path) -> None:
        write(target)
        target.write_bytes(b"slower")
        assert prepared().build(write) is not None

    built = form.build(slow)
    assert built is not None
    assert built.read_bytes() == b"graph"
    assert list(form.folder.parent.iterdir()) == [form.folder]


def test_many_builders_at_once_all_get_a_form() -> None:
    together, found = threading.Barrier(8), []

    def make(target: Path) -> None:
        together.wait(timeout=30)
        write(target)

    workers = [threading.Thread(target=lambda: found.append(prepared().build(make))) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [prepared().folder / GRAPH] * 8


def test_forms_for_other_versions_of_onnxruntime_are_removed() -> None:
    old, other_graph = prepared(runtime="1.22.0"), prepared(runtime="1.22.0", sha256="b" * 64)
    old.build(write)
    other_graph.build(write)
    prepared().build(write)
    assert not old.folder.exists()
    assert other_graph.find() is not None


def test_what_nobody_used_for_long_is_removed_and_use_keeps_it() -> None:
    unused, used = prepared(sha256="b" * 64), prepared(sha256="c" * 64)
    for form in (unused, used):
        form.build(write)
        age(form.folder / FACTS, days=100)
    used.find()
    prepared().build(write)
    assert not unused.folder.parent.exists()
    assert used.find() is not None


def test_what_a_killed_process_left_is_removed_and_what_a_living_one_builds_is_not() -> None:
    folder = prepared().folder.parent
    left, building = folder / "left.tmp", folder / "building.tmp"
    for path in (left, building):
        path.mkdir(parents=True)
    age(left, days=1)
    prepared().build(write)
    assert not left.exists()
    assert building.exists()


def test_facts_say_what_the_form_was_made_for() -> None:
    form = prepared(batch="1")
    form.build(write)
    facts = json.loads((form.folder / FACTS).read_text(encoding="utf-8"))
    assert facts["graph"] == SHA
    assert facts["onnxruntime"] == "1.31.1"
    assert facts["options"] == {"batch": "1"}
    assert processor_flags() in facts["processor"]
    assert facts["files"]["weights.bin"][0] == 4096
