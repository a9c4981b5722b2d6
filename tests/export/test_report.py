"""The quality report: what it shows of a bundle, what it says where something is missing, and its exit code."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from mmr_export.report import command
from mmr_export.report.document import report_html
from mmr_export.report.evidence import Ranking, read_evidence, read_quality
from mmr_export.report.latency import measure_latencies
from mmr_runtime.bundle import (
    TOWERS,
    AudioSpec,
    Bundle,
    FileFacts,
    GraphFile,
    ImageSpec,
    Manifest,
    TextSpec,
    manifest_to_json,
)
from mmr_runtime.engine import unit_rows
from mmr_runtime.errors import BundleError, DeviceError, UsageError

ROOT = Path(__file__).resolve().parents[2]
SIZE = 12
COUNTS = {"generated": 40, "files": 12}
Arrays = dict[str, np.ndarray[Any, Any]]
Make = Callable[..., Path]


def figures(**changes: float) -> dict[str, float]:
    return {
        "count": 40,
        "mean_cosine": 0.9954,
        "p1_cosine": 0.981,
        "min_cosine": 0.9781,
        "top10_overlap": 0.95,
        "noise": 0.011,
        "first_mood_kept": 0.97,
        "mood_change": 0.004,
    } | changes


def quality(precisions: tuple[str, ...] = ("int8",), **changes: Any) -> dict[str, Any]:
    """What the exporter writes; `changes` are of the image tower in int8."""
    gates: dict[str, Any] = {
        precision: {
            tower: {
                "passed": True,
                "method": "percentile",
                "float_nodes": [f"{tower}_stem"],
                "inputs": {"calibration": 31, "selection": 63},
                "sets": {"generated": figures(), "files": figures(count=12)},
            }
            for tower in TOWERS
        }
        for precision in precisions
    }
    gates["int8"]["image"] |= changes
    found = {"pages": 40, "songs": 40, "top10_overlap": 0.93, "first_song_kept": 0.85, "score_change": 0.0123}
    return {
        "proof": {"image": {"inputs": 6, "one_minus_cosine": 3.3e-12}},
        "front_end": {"form": "banded", "error_db": 0.69},
        "end_to_end": {precision: {"generated": found} for precision in precisions},
        **gates,
    }


def vectors(precisions: tuple[str, ...] = ("int8",), towers: tuple[str, ...] = TOWERS) -> Arrays:
    rng = np.random.default_rng(0)
    arrays: Arrays = {}
    for name, count in COUNTS.items():
        for tower in towers:
            rows = rng.standard_normal((count, SIZE)).astype(np.float32)
            arrays[f"{name}.{tower}.fp32"] = unit_rows(rows)
            arrays[f"{name}.{tower}.names"] = np.array([f"{name} {tower} {i}" for i in range(count)])
            for precision in precisions:
                noise = rng.standard_normal(rows.shape).astype(np.float32)
                arrays[f"{name}.{tower}.{precision}"] = unit_rows(rows + 0.1 * noise).astype(np.float16)
    return arrays


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Write a bundle: graphs that are none, a manifest, and the evidence, if there is any."""

    def write(
        found: dict[str, Any], evidence: Arrays | None = None, precisions: tuple[str, ...] = ("fp32", "int8")
    ) -> Path:
        folder = tmp_path_factory.mktemp("bundle")
        graphs = {t: {p: GraphFile(f"{t}.{p}.onnx", "in", "out") for p in precisions} for t in TOWERS}
        for tower, files in graphs.items():
            for precision, graph in files.items():
                (folder / graph.file).write_bytes(bytes(len(tower) * (4000 if precision == "fp32" else 1000)))
        for other in ("frontend.npz", "merges.txt.gz"):
            (folder / other).write_bytes(b"")
        if evidence is not None:
            np.savez(folder / "quality.npz", **evidence)  # type: ignore[arg-type]
        manifest = Manifest(
            "tiny <b>&", SIZE, "none", ImageSpec(), TextSpec(), AudioSpec(),
            {"image_text": 1.0, "audio_image": 1.0, "audio_text": 1.0}, graphs, labels={}, quality=found,
            versions={"mmr": "0.1.0"},
        )  # fmt: skip
        manifest = replace(manifest, files={path.name: FileFacts.of(path) for path in folder.iterdir()})
        (folder / "manifest.json").write_text(manifest_to_json(manifest), encoding="utf-8")
        return folder

    return write


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(command.quality, [str(word) for word in words])


def plots(text: str) -> list[str]:
    """Captions of all plots."""
    assert text.count("<svg") == text.count("</svg>")
    return re.findall(r"<figcaption>(.*?)</figcaption>", text)


@pytest.fixture(scope="module")
def text(make: Make) -> str:
    """The document of a bundle with all there is."""
    return report_html(Bundle.open(make(quality(), vectors())), {tower: {"fp32": 3.0, "int8": 1.0} for tower in TOWERS})


# -- the document -----------------------------------------------------------------------------------------------------


def test_the_document_shows_every_tower_in_every_precision(make: Make) -> None:
    both = ("int8", "fp16")
    bundle = Bundle.open(make(quality(both), vectors(both, ("image", "audio")), ("fp32", *both)))
    captions = plots(report_html(bundle, None))
    for precision in both:
        for tower in ("image", "audio"):
            assert any(caption.startswith(f"{tower}, {precision}: cosines") for caption in captions)
        assert f"Scores (cosines) in float32 and {precision}" in captions
        assert any(caption.startswith(f"{precision}: share of the k best") for caption in captions)


def test_sizes_and_latencies_are_the_last_plots(text: str) -> None:
    assert plots(text)[-2:] == ["Size of each graph", "One input on this machine, one thread, median"]


def test_the_document_holds_the_manifests_figures(text: str) -> None:
    for cell in ("0.9954", "0.9810", "0.9500", "0.0110", "image_stem", "31", "63", "0.8500", "0.0123", "3.3e-12"):
        assert f"<td>{cell}</td>" in text, cell
    assert "banded, 0.69 dB" in text


def test_the_inputs_that_changed_most_are_named(make: Make) -> None:
    arrays = vectors(towers=("audio",))
    arrays["files.audio.int8"][7] *= -1
    text = report_html(Bundle.open(make(quality(), arrays)), None)
    row = text[: text.index("<td>files audio 7</td>")].rsplit("<tr>", 1)[1]
    assert row == "<td>int8</td><td>files</td>"
    assert "files audio 7</td><td>-0.9" in text


def test_names_are_escaped_and_nothing_is_loaded_from_elsewhere(make: Make) -> None:
    arrays = vectors(towers=("audio",))
    arrays["files.audio.names"] = np.array(["<script>alert(1)</script>"] * COUNTS["files"])
    arrays["files.audio.int8"] *= -1
    text = report_html(Bundle.open(make(quality(), arrays)), None)
    assert "<script" not in text
    assert "tiny &lt;b&gt;&amp;" in text
    assert not re.search(r"""(src|href)\s*=\s*["'](?!#)""", text)


def test_equal_bundles_give_equal_documents(make: Make) -> None:
    bundle = Bundle.open(make(quality(), vectors(towers=("audio",))))
    assert report_html(bundle, None) == report_html(bundle, None)


def test_without_evidence_there_are_figures_and_no_plots_of_it(make: Make) -> None:
    text = report_html(Bundle.open(make(quality())), None)
    assert "quality.npz) is not in the bundle" in text
    assert plots(text) == ["Size of each graph"]
    assert "<td>0.9954</td>" in text


def test_figures_of_the_first_release_are_read(make: Make) -> None:
    flat = {"passed": True, "method": "minmax", "float_nodes": [], "inputs": {"calibration": 32, "gate": 64}}
    bundle = Bundle.open(make({"int8": {"audio": {**flat, "mean_cosine": 0.9912, "top10_overlap": 0.91}}}))
    (verdict,) = read_quality(bundle.manifest).verdicts
    assert verdict.sets["gate"] == {"count": 64, "mean_cosine": 0.9912, "top10_overlap": 0.91}
    assert "<td>0.9912</td>" in report_html(bundle, None)


def test_a_bundle_of_float32_alone_had_no_gate_to_pass(make: Make) -> None:
    assert "no graph that had to pass the gate" in report_html(Bundle.open(make({}, None, ("fp32",))), None)


def test_one_tower_alone_is_scored_among_its_own(make: Make) -> None:
    text = report_html(Bundle.open(make(quality(), vectors(towers=("text",)))), None)
    assert "generated, text for text (1500 of 1560)" in text
    assert "songs for pages" not in text


def test_pages_and_songs_are_scored_with_each_other(text: str) -> None:
    assert "generated, songs for pages (1500 of 1600)" in text
    assert "files, songs for pages (144 of 144)" in text


# -- rankings ---------------------------------------------------------------------------------------------------------


def test_the_overlap_is_the_share_of_the_best_that_stay() -> None:
    reference = np.array([[4, 3, 2, 1], [4, 3, 2, 1]], np.float32)
    scores = np.array([[4, 3, 2, 1], [1, 2, 3, 4]], np.float32)
    ranking = Ranking("", "", reference, scores)
    assert [ranking.overlap(k) for k in (1, 2, 3, 4)] == pytest.approx([0.5, 0.5, 5 / 6, 1])


def test_nobody_is_its_own_neighbour(make: Make) -> None:
    evidence = read_evidence(Bundle.open(make(quality(), vectors())))
    assert evidence
    for ranking in evidence.neighbours("image", "int8"):
        assert np.isneginf(np.diag(ranking.reference)).all()
        assert np.isneginf(np.diag(ranking.scores)).all()


# -- what cannot be read ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"generated.image.fp32": None}, r"image\.fp32 is missing"),
        ({"generated.image.names": None}, r"image\.names is missing"),
        ({"generated.image.names": np.array(["one"])}, "not one text for each of 40 inputs"),
        ({"generated.image.names": np.zeros(40)}, "not one text for each"),
        ({"generated.image.int8": np.ones((3, SIZE), np.float32)}, r"int8 is not an array \(40, 12\) of floats"),
        ({"generated.image.int8": np.ones((40, SIZE), np.int8)}, "of floats"),
        ({"generated.image.int8": np.full((40, SIZE), np.nan, np.float32)}, "not finite"),
        ({"generated.touch.int8": np.ones((40, SIZE), np.float32)}, "no tower and precision"),
        ({"generated.image.names": np.array([{}] * 40, object)}, "cannot read"),
    ],
)
def test_evidence_that_cannot_be_is_refused(make: Make, change: dict[str, Any], problem: str) -> None:
    arrays = {name: array for name, array in (vectors() | change).items() if array is not None}
    with pytest.raises(BundleError, match=problem) as caught:
        read_evidence(Bundle.open(make(quality(), arrays)))
    assert caught.value.hint


def test_evidence_that_is_no_archive_is_refused(make: Make) -> None:
    folder = make(quality(), {})
    (folder / "quality.npz").write_bytes(b"x" * (folder / "quality.npz").stat().st_size)
    with pytest.raises(BundleError):
        read_evidence(Bundle.open(folder))


@pytest.mark.parametrize(
    "found",
    [
        {"int8": 3},
        {"int8": {"image": {}}},
        {"int8": {"image": {"passed": True, "method": "", "float_nodes": 3, "inputs": {}, "sets": {}}}},
        {"int8": {"image": quality()["int8"]["image"] | {"sets": {}}}},
        {"int8": {"image": quality()["int8"]["image"] | {"sets": {"generated": {"mean_cosine": 0.5}}}}},
        {"front_end": {"form": "dense", "error_db": "much"}},
        {"end_to_end": {"int8": 3}},
        {"proof": {"image": 1e-9}},
    ],
)
def test_figures_that_cannot_be_are_refused(make: Make, found: dict[str, Any]) -> None:
    with pytest.raises(BundleError, match="quality cannot be read"):
        read_quality(Bundle.open(make(found)).manifest)


# -- the command ------------------------------------------------------------------------------------------------------


def test_the_command_tells_verdicts_and_where_the_document_lies(make: Make, tmp_path: Path) -> None:
    result = run(make(quality()), "--output", tmp_path / "q.html", "--no-latency")
    assert result.exit_code == 0, result.output
    head, *rows = result.stdout.splitlines()
    assert head.split() == ["tower", "precision", "gate", "mean", "cosine", "top-10", "overlap", "MB", "ms"]
    assert rows[1].split() == ["image", "int8", "passed", "0.9954", "0.9500", "0.0"]
    assert rows[-1] == f"wrote {tmp_path / 'q.html'}"
    assert (tmp_path / "q.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert [path.name for path in tmp_path.iterdir()] == ["q.html"]


def test_a_gate_that_was_not_passed_is_exit_code_1(make: Make, tmp_path: Path) -> None:
    failed = {"generated": figures(), "files": figures(mean_cosine=0.97)}
    result = run(make(quality(passed=False, sets=failed)), "--output", tmp_path / "q.html", "--no-latency")
    assert result.exit_code == 1
    assert re.search(r"image +int8 +NOT PASSED +0\.9700", result.stdout)
    text = (tmp_path / "q.html").read_text(encoding="utf-8")
    assert '<p class="bad">image int8, files: mean cosine 0.9700, at least 0.99</p>' in text


def test_a_missing_bundle_is_named(tmp_path: Path) -> None:
    result = run(tmp_path / "none", "--output", tmp_path / "q.html")
    assert result.exit_code == BundleError.exit_code
    assert "none is not a folder" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_wrong_use(make: Make, tmp_path: Path) -> None:
    result = run(make(quality()), "--output", tmp_path / "none" / "q.html", "--no-latency")
    assert result.exit_code == UsageError.exit_code
    assert "q.html cannot be written: No such file or directory" in result.stderr


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    result = run("default", "--output", tmp_path / "q.html")
    assert result.exit_code == DeviceError.exit_code
    assert "mmr-runtime[report]" in result.stderr


@pytest.mark.skipif(not (ROOT / "models/default/manifest.json").exists(), reason="no default model")
def test_latencies_are_taken_of_every_graph_of_the_shipped_model() -> None:
    bundle = Bundle.open()
    found = measure_latencies(bundle)
    assert {t: set(by) for t, by in found.items()} == {t: set(g) for t, g in bundle.manifest.graphs.items()}
    assert all(milliseconds > 0 for by in found.values() for milliseconds in by.values())


def test_help_has_an_example_and_loads_no_numeric_package() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from mmr_export.report.command import quality; "
        "print(CliRunner().invoke(quality, ['--help']).output); "
        "sys.exit(bool({'numpy', 'onnx', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Example: mmr quality" in done.stdout
