"""`mmr bench`: how it measures, what it tells, and that its documentation and its tables know every key."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from mmr_export.bench import cold, stages
from mmr_export.bench.command import bench
from mmr_export.bench.inputs import QUICK, Inputs, make_library
from mmr_export.bench.processes import can_measure, environment, measure
from mmr_export.bench.report import html_report
from mmr_export.bench.timing import Sample, Variant, calls, interleave, ratio, ratios, summary
from mmr_export.bench.worker import Worker
from mmr_export.bundle import write_bundle
from mmr_export.checkpoint import Checkpoint
from mmr_runtime import Engine, Library
from mmr_runtime.bundle import manifest_from_json, manifest_to_json
from mmr_runtime.errors import MmrError
from tests.export.conftest import Graphs, use_graphs

ROOT = Path(__file__).resolve().parents[2]
FP32, INT8, PYTORCH = Variant("fp32", 1), Variant("int8", 1), Variant("PyTorch", 1)


def run(*words: object) -> Result:
    return CliRunner().invoke(bench, [str(word) for word in words])


def change_manifest(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    manifest = manifest_from_json(path.read_text(encoding="utf-8"))
    path.write_text(manifest_to_json(replace(manifest, **changes)), encoding="utf-8")


@pytest.fixture(scope="module")
def written(tiny: Checkpoint, tiny_graphs: Graphs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with all towers in fp32; the graph of its text tower also goes by the name of int8."""
    folder = tmp_path_factory.mktemp("bench") / "bundle"
    with pytest.MonkeyPatch.context() as patch:
        use_graphs(patch, tiny_graphs)
        graphs = write_bundle(tiny, folder).graphs
    change_manifest(folder, graphs={**graphs, "text": dict.fromkeys(("fp32", "int8"), graphs["text"]["fp32"])})
    return folder


@pytest.fixture
def bundle(written: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(written, tmp_path / "bundle"))


# -- timing -----------------------------------------------------------------------------------------------------------


def test_a_summary_tells_percentiles_throughput_and_processor_time() -> None:
    told = summary([Sample(seconds / 1000, 0.002) for seconds in range(101)])
    assert told["n"] == 101
    assert told["seconds"] == {"p5": 0.005, "p50": 0.05, "p95": 0.095, "p99": 0.099, "mean": 0.05}
    assert told["cpu_seconds"] == 0.002
    assert told["per_second"] == 20


def test_a_whole_process_has_peak_memory_and_no_throughput() -> None:
    told = summary([Sample(1, 1, 2**20), Sample(1, 1, 3 * 2**20)])
    assert told["peak_mib"] == 2
    assert "per_second" not in told


def test_ratios_are_taken_round_by_round() -> None:
    """A machine that becomes ever slower changes the times, and not the ratio."""
    slower, faster = ([Sample(share * 2**n, 0) for n in range(8)] for share in (3.0, 1.0))
    assert ratio(slower, faster) == {"median": 3, "p5": 3, "p95": 3}


def test_every_action_runs_once_a_round_and_slow_ones_in_every_fifth() -> None:
    ran: list[str] = []
    steps: list[None] = []

    def action(name: str) -> Callable[[], Sample]:
        return lambda: (ran.append(name), Sample(1, 1))[1]

    blocks = {"quick": {FP32: action("a"), INT8: action("b")}, "slow": {FP32: action("c")}}
    samples = interleave(blocks, 7, warmup=2, slow={"slow"}, progress=lambda: steps.append(None))
    assert (ran.count("a"), ran.count("b"), ran.count("c")) == (9, 9, 4)
    assert [len(own) for own in (*samples["quick"].values(), *samples["slow"].values())] == [7, 7, 2]
    assert len(steps) == len(ran) == calls(blocks, 7, warmup=2, slow={"slow"})
    assert {ran.index("a"), ran.index("b")} == {0, 1}  # what is compared runs close together


def test_the_order_of_variants_changes_from_round_to_round() -> None:
    ran: list[str] = []

    def action(name: str) -> Callable[[], Sample]:
        return lambda: (ran.append(name), Sample(1, 1))[1]

    interleave({"page": {FP32: action("a"), INT8: action("b")}}, 20, warmup=0)
    assert {"".join(ran[i : i + 2]) for i in range(0, 40, 2)} == {"ab", "ba"}


def test_what_is_compared_with_what() -> None:
    one = [Sample(1, 1)]
    two_threads = Variant("int8", 2)
    found = ratios({"page": {FP32: one, INT8: one, PYTORCH: one, two_threads: one}}, "stage")
    pairs = {(r["variant"], r["threads"], *dict(r["against"]).values()) for r in found}  # type: ignore[call-overload]
    assert pairs == {
        ("fp32", 1, "PyTorch", 1),
        ("int8", 1, "PyTorch", 1),
        ("int8", 1, "fp32", 1),
        ("int8", 2, "int8", 1),
    }


# -- processes --------------------------------------------------------------------------------------------------------

linux = pytest.mark.skipif(not can_measure(), reason="whole processes are measured on Linux")


@linux
def test_the_memory_of_a_process_is_its_own_and_not_that_of_who_started_it(tmp_path: Path) -> None:
    ballast = b"x" * (200 << 20)
    sample = measure(["-c", "x = b'x' * (50 << 20)"], environment(1, tmp_path))
    assert sample.peak_bytes is not None
    assert 50 << 20 < sample.peak_bytes < 120 << 20 < len(ballast)
    assert sample.seconds > 0
    assert sample.cpu_seconds > 0


@linux
def test_a_process_that_fails_is_an_error_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(MmrError, match=r"failed with code 1.*ValueError: no luck"):
        measure(["-c", "raise ValueError('no luck')"], environment(1, tmp_path))


def test_a_worker_that_cannot_load_is_an_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MmrError, match="measure fp32 with 1 threads ended with code 1"):
        Worker(FP32, str(tmp_path / "nothing"), Inputs(tmp_path, QUICK))
    assert "BundleError" in capfd.readouterr().err


# -- inputs -----------------------------------------------------------------------------------------------------------


def test_the_made_up_library_is_one_that_the_runtime_knows(bundle: Path, tmp_path: Path) -> None:
    with Engine.open(bundle) as engine:
        make_library(tmp_path / "songs", tmp_path / "index", 30, engine.bundle.manifest)
        with Library.open(tmp_path / "songs", engine, tmp_path / "index") as library:
            report = library.update()
            assert (report.kept, report.added, report.removed, report.skipped) == (30, 0, 0, ())
            assert len(library.rank(None, text="rain", top=10)) == 10


def test_a_bundle_without_a_tower_has_the_stages_of_the_others(bundle: Path, tmp_path: Path) -> None:
    with Engine.open(bundle, precision="fp32", threads=1) as engine:
        graphs = engine.bundle.manifest.graphs
        inputs = Inputs(tmp_path, QUICK)
        inputs.make(engine.bundle.manifest, libraries=False)
        assert {"page", "image encoder", "window", "text", "song"} <= set(stages.encoder_stages(engine, inputs))
        engine.bundle.manifest = replace(engine.bundle.manifest, graphs={"text": graphs["text"]})
        assert set(stages.encoder_stages(engine, inputs)) == {"text"}
        assert set(stages.common_stages(engine, inputs)) == {"search"}


# -- the command ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--precision", "fp16"], "no fp16 graph"),
        (["--threads", "0"], "--threads cannot be 0"),
        (["--threads", "two"], "--threads cannot be two"),
    ],
)
def test_wrong_use_is_told_at_once(bundle: Path, words: list[str], message: str) -> None:
    result = run("--model", bundle, *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "hint: " in result.stderr


def test_a_missing_matplotlib_is_told_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = run("--html", tmp_path / "report.html")
    assert result.exit_code == 5
    assert "mmr-runtime[report]" in result.stderr


def test_a_checkpoint_of_another_model_is_refused(bundle: Path, tiny_checkpoint: Path) -> None:
    change_manifest(bundle, source={"sha256": "0" * 64})
    result = run("--model", bundle, "--quick", "--threads", 1, "--checkpoint", tiny_checkpoint)
    assert result.exit_code == 2
    assert "was not made of" in result.stderr


@linux
def test_a_run_writes_figures_tables_and_a_report(bundle: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    """All at once, for one run takes seconds: every key is documented, every table can be made of it."""
    json_file, html_file = tmp_path / "new" / "bench.json", tmp_path / "bench.html"
    result = run("--model", bundle, "--quick", "--rounds", 2, "--threads", 1, "--checkpoint", tiny_checkpoint,
                 "--json", json_file, "--html", html_file)  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert "whole processes" in result.stderr
    content = json.loads(json_file.read_text(encoding="utf-8"))
    assert (content["schema"], content["benchmark"]) == (1, "bench")
    figures = content["figures"]
    check_rows(figures)
    check_keys_are_documented(content)
    check_documents_can_be_made(figures, content)
    assert re.search(r"^page, whole +fp32 +[\d.]+ ms", result.stdout, re.MULTILINE)
    assert re.search(r"later run +PyTorch .* MiB$", result.stdout, re.MULTILINE)
    html = html_file.read_text(encoding="utf-8")
    assert html.count("<svg") == 5
    assert "library of 50 songs" in html


def check_rows(figures: dict[str, Any]) -> None:
    warm = {(row["stage"], row["variant"]): row for row in figures["warm"]}
    for stage in stages.labels(figures["sizes"]):
        assert any(known == stage for known, _ in warm), stage
    for stage in ("image encoder", "window", "text"):
        assert {(stage, "fp32"), (stage, "PyTorch")} <= set(warm)
    assert {stage for stage, variant in warm if variant == "int8"} == {"text"}
    assert all(row["n"] == (1 if row["stage"] in stages.SLOW else 2) for row in figures["warm"])
    whole = {(row["program"], row["variant"]): row for row in figures["cold"]}
    assert {known for known, _ in whole} == set(cold.labels(figures["sizes"]))
    assert whole["later run", "fp32"]["peak_mib"] > whole["python", "any"]["peak_mib"] > 5
    assert whole["later run", "PyTorch"]["peak_mib"] > whole["later run", "fp32"]["peak_mib"]
    assert figures["bytes"]["bundle"] >= figures["bytes"]["fp32"] > figures["bytes"]["int8"] > 0


def check_keys_are_documented(content: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    missing = [name for name in sorted({*keys(content)}) if f"`{name}`" not in text]
    assert not missing


def keys(node: object) -> Iterator[str]:
    """All keys of a result, and the names of stages, programs and variants in it."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield key
            if key in ("stage", "program", "variant"):
                yield value
            yield from keys(value)
    elif isinstance(node, list):
        for value in node:
            yield from keys(value)


def check_documents_can_be_made(figures: dict[str, Any], content: dict[str, Any]) -> None:
    """benchmarks/report.py understands a result of today."""
    spec = importlib.util.spec_from_file_location("report", ROOT / "benchmarks" / "report.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.load = lambda _: content
    assert f"`{figures['model']}` in fp32" in module.speed_table()
    assert "| page, whole |" in module.speed_table()
    assert re.search(r"\| on disk \| .* MB \| .* MB \| [\d.]+x \|", module.pytorch_table())


# -- reports ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def stored() -> dict[str, Any]:
    """The project's own result, with one number of threads."""
    content = json.loads((ROOT / "benchmarks" / "results" / "bench_default.json").read_text(encoding="utf-8"))
    figures: dict[str, Any] = content["figures"]
    figures["threads"] = figures["threads"][:1]
    return dict(content)


def test_a_report_shows_what_more_threads_are_worth(stored: dict[str, Any]) -> None:
    figures = stored["figures"]
    assert "times faster than with" not in html_report(stored)
    figures["threads"] = [1, 2]
    figures["warm"] += [row | {"threads": 2} for row in figures["warm"] if row["threads"] == 1]
    assert "times faster than with" in html_report(stored)


def test_a_report_without_processes_and_ratios_has_what_there_is(stored: dict[str, Any]) -> None:
    stored["figures"] |= {"cold": [], "cold_ratios": [], "warm_ratios": [], "page_seconds": []}
    html = html_report(stored)
    assert "Stages" in html
    assert "Whole processes" not in html
    assert "Side by side" not in html


def test_a_report_of_a_model_that_reads_no_pages_has_no_plot_of_ranked_pages(stored: dict[str, Any]) -> None:
    figures = stored["figures"]
    figures["cold"] = [row for row in figures["cold"] if row["program"] in ("python", "imports", "index")]
    html = html_report(stored)
    assert "start to one indexed song" in html
    assert "Start to the first ranked page" not in html
