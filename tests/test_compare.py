"""benchmarks/compare.py: what counts as a figure, and what counts as a regression."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from click.testing import CliRunner, Result

ROOT = Path(__file__).resolve().parents[1]
HOST = {"processor": "A", "cores": 2, "instructions": ["avx2"], "system": "Linux", "python": "3.11", "versions": {}}
Compare = Callable[..., Result]


@pytest.fixture(scope="module")
def module() -> Iterator[ModuleType]:
    path = ROOT / "benchmarks" / "compare.py"
    spec = importlib.util.spec_from_file_location("compare", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["compare"]


@pytest.fixture
def compare(module: ModuleType, tmp_path: Path) -> Compare:
    """Compare two trees of figures."""

    def run(old: Any, new: Any, *words: str, host: dict[str, Any] = HOST, benchmark: str = "speed") -> Result:
        paths = tmp_path / "old.json", tmp_path / "new.json"
        for path, content in zip(
            paths,
            (
                {"schema": 1, "benchmark": "speed", "host": HOST, "figures": old},
                {"schema": 1, "benchmark": benchmark, "host": host, "figures": new},
            ),
            strict=True,
        ):
            path.write_text(json.dumps(content))
        return CliRunner().invoke(module.main, [*map(str, paths), *words])

    return run


def time(median: float, low: float, high: float) -> dict[str, float]:
    return {"median": median, "p5": low, "p95": high}


def row(result: Result, name: str) -> str:
    return next(line for line in result.stdout.splitlines() if line.startswith(name))


# -- figures ----------------------------------------------------------------------------------------------------------


def test_times_ratios_and_sizes_are_found_by_their_names(module: ModuleType) -> None:
    found = module.figures(
        {
            "model": "mmr",
            "rounds": 30,
            "embedding_size": 256,
            "milliseconds": {"page": time(20, 19, 22), "song": {"p50": 3}},
            "bytes": {"image int8": 3_000_000},
            "MiB at the end": 120.5,
            "cold": {"first run": {"seconds": 0.4, "least": 0.3, "most": 0.5, "peak MiB": 100}},
            "work": {"int8": {"milliseconds": 10, "times faster": 5.5, "times faster, range": [5, 6]}},
        }
    )
    assert {name: (f.kind, f.value, f.low, f.high) for name, f in found.items()} == {
        "milliseconds > page": ("time", 20, 19, 22),
        "milliseconds > song": ("time", 3, 3, 3),
        "bytes > image int8": ("size", 3_000_000, 3_000_000, 3_000_000),
        "MiB at the end": ("size", 120.5, 120.5, 120.5),
        "cold > first run": ("time", 0.4, 0.3, 0.5),
        "cold > first run > peak MiB": ("size", 100, 100, 100),
        "work > int8": ("time", 10, 10, 10),
        "work > int8 > times faster": ("ratio", 5.5, 5, 6),
    }


def test_rows_of_lists_are_told_apart_by_their_texts_and_threads(module: ModuleType) -> None:
    seconds = {"seconds": {"p5": 1, "p50": 2, "p95": 3, "p99": 4, "mean": 2}, "peak_mib": 90, "n": 5}
    found = module.figures(
        {
            "warm": [{"stage": "page", "variant": "int8", "threads": n, **seconds} for n in (1, 2)],
            "warm_ratios": [
                {"stage": "page", "variant": "int8", "threads": 1, "against": {"variant": "fp32", "threads": 1}}
                | time(3, 2, 4)
            ],
        }
    )
    assert {name: f.kind for name, f in found.items()} == {
        "warm > page, int8, threads 1 > seconds": "time",
        "warm > page, int8, threads 1 > peak_mib": "size",
        "warm > page, int8, threads 2 > seconds": "time",
        "warm > page, int8, threads 2 > peak_mib": "size",
        "warm_ratios > page, int8, threads 1, against fp32, threads 1": "ratio",
    }


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "results").glob("*.json")), ids=lambda p: p.stem)
def test_a_stored_result_is_no_worse_than_itself(module: ModuleType, path: Path) -> None:
    found = module.figures(module.read(path)["figures"])
    changes = module.compare(found, found, 1.0, times=True)
    assert [change.verdict for change in changes] == [""] * len(found)


# -- regressions ------------------------------------------------------------------------------------------------------


def test_slower_beyond_the_limit_and_the_spread_is_a_regression(compare: Compare) -> None:
    result = compare({"page": time(10, 9, 11)}, {"page": time(13, 12, 14)})
    assert result.exit_code == 1
    assert row(result, "page").split() == ["page", "10", "13", "+30.0%", "worse"]
    assert "1 of 1 figures worse or gone" in result.stdout


def test_slower_within_the_spread_is_noise(compare: Compare) -> None:
    assert compare({"page": time(10, 9, 12.5)}, {"page": time(13, 12, 14)}).exit_code == 0


def test_slower_within_the_limit_is_allowed(compare: Compare) -> None:
    old, new = {"page": time(10, 9.9, 10.1)}, {"page": time(10.9, 10.8, 11)}
    assert compare(old, new).exit_code == 0
    assert compare(old, new, "--limit", "1.05").exit_code == 1


def test_faster_is_told_and_is_no_regression(compare: Compare) -> None:
    result = compare({"page": time(13, 12, 14)}, {"page": time(10, 9, 11)})
    assert result.exit_code == 0
    assert row(result, "page").endswith("-23.1%  better")
    assert "nothing got worse" in result.stdout


def test_of_a_ratio_less_is_worse(compare: Compare) -> None:
    old, new = {"ratios": {"int8": time(5, 4.8, 5.2)}}, {"ratios": {"int8": time(4, 3.9, 4.1)}}
    assert compare(old, new).exit_code == 1
    assert compare(new, old).exit_code == 0


def test_a_larger_file_and_more_memory_are_regressions(compare: Compare) -> None:
    assert compare({"bytes": {"all": 100}}, {"bytes": {"all": 111}}).exit_code == 1
    assert compare({"peak MiB": 100}, {"peak MiB": 111}).exit_code == 1
    assert compare({"peak MiB": 100}, {"peak MiB": 109}).exit_code == 0


def test_a_figure_that_is_gone_is_a_regression_and_a_new_one_is_none(compare: Compare) -> None:
    both, one = {"page": time(1, 1, 1), "song": time(1, 1, 1)}, {"page": time(1, 1, 1)}
    result = compare(both, one)
    assert result.exit_code == 1
    assert row(result, "song").endswith("gone")
    result = compare(one, both)
    assert result.exit_code == 0
    assert row(result, "song").endswith("new")


def test_a_figure_that_is_no_longer_a_number_is_gone(compare: Compare) -> None:
    assert compare({"page": {"median": 1.0}}, {"page": {"median": float("nan")}}).exit_code == 1


# -- machines ---------------------------------------------------------------------------------------------------------


def test_between_machines_times_are_not_compared_but_ratios_and_sizes_are(compare: Compare) -> None:
    other = {**HOST, "instructions": ["avx2", "avx512_vnni"]}
    old = {"page": time(10, 9, 11), "ratio": time(5, 5, 5), "bytes": {"all": 100}}
    slow = {**old, "page": time(30, 29, 31)}
    result = compare(old, slow, host=other)
    assert result.exit_code == 0
    assert "different machines: times are not compared" in result.stderr
    assert row(result, "page").endswith("not compared")
    assert compare(old, {**slow, "ratio": time(3, 3, 3)}, host=other).exit_code == 1
    assert compare(old, {**slow, "bytes": {"all": 200}}, host=other).exit_code == 1


def test_other_versions_on_the_same_machine_are_compared_and_named(compare: Compare) -> None:
    other = {**HOST, "versions": {"onnxruntime": "2.0"}}
    result = compare({"page": time(10, 9, 11)}, {"page": time(30, 29, 31)}, host=other)
    assert result.exit_code == 1
    assert "versions differ: {} and {'onnxruntime': '2.0'}" in result.stderr


# -- what cannot be compared ------------------------------------------------------------------------------------------


def test_results_of_different_benchmarks_are_refused(compare: Compare) -> None:
    result = compare({"page": time(1, 1, 1)}, {"page": time(1, 1, 1)}, benchmark="soak")
    assert result.exit_code == 3
    assert "of the benchmark speed" in result.stderr


def test_results_without_figures_are_refused(compare: Compare) -> None:
    assert compare({"grid": [1, 2]}, {"grid": [1, 2]}).exit_code == 3


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema": 2, "figures": {}, "host": {}}', '{"schema": 1}'])
def test_a_file_that_is_no_result_is_named(module: ModuleType, tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.json"
    path.write_text(content)
    result = CliRunner().invoke(module.main, [str(path), str(path)])
    assert result.exit_code == 3
    assert f"{path}" in result.stderr
    assert CliRunner().invoke(module.main, [str(tmp_path / "none.json"), str(path)]).exit_code == 3
