"""The command `mmr-export`: what it prints, where, and its exit codes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mmr_export import bundle as export_bundle
from mmr_export.cli import main
from mmr_runtime.bundle import Bundle
from mmr_runtime.errors import CheckpointError

pytestmark = pytest.mark.usefixtures("made_graphs")


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


def test_an_export_prints_its_steps_on_stderr_and_a_table_on_stdout(tiny_checkpoint: Path, tmp_path: Path) -> None:
    result = export("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert result.exit_code == 0
    assert lines(result.stderr)[0].startswith("[1/5] ")
    table = lines(result.stdout)
    assert table[0].startswith(f"{tmp_path / 'out'}: model audioclip-")
    for tower in ("image", "text", "audio"):
        (row,) = [row for row in table if row.startswith(f"{tower}.fp32.onnx")]
        assert re.search(r" \d+\.\d +1 - cosine to PyTorch \d\.\de[-+]\d\d$", row)
    assert table[-1].startswith("all files")


def test_options_reach_the_bundle(tiny_checkpoint: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.toml").write_text('weather = ["rain"]')
    choices = ("--amplitude", "unit", "--resize", "tensor", "--labels", tmp_path / "labels.toml")
    assert export("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out", *choices).exit_code == 0
    manifest = Bundle.open(tmp_path / "out").manifest
    assert (manifest.audio.amplitude, manifest.image.resize) == ("unit", "tensor")
    assert manifest.labels["weather"].names == ("rain",)


def test_what_was_filled_in_is_told(tiny_checkpoint: Path, tmp_path: Path) -> None:
    import torch

    state = torch.load(tiny_checkpoint, weights_only=True)
    del state["logit_scale_ai"]
    torch.save(state, tmp_path / "best.pt")
    (tmp_path / "best.json").write_text(tiny_checkpoint.with_suffix(".json").read_text())
    result = export("--checkpoint", tmp_path / "best.pt", "--output", tmp_path / "out")
    assert "note: logit_scale_ai was missing" in result.stderr


@pytest.mark.parametrize(
    ("change", "code", "problem"),
    [
        ({"--checkpoint": "none.pt"}, 4, "none.pt: no such file"),
        ({"--checkpoint": "noise.pt"}, 4, "noise.pt"),
        ({"--output": "."}, 2, "exists already"),
        ({"--precision": "fp8"}, 2, "unknown precision"),
        ({"--labels": "none.toml"}, 2, "none.toml cannot be read"),
        ({"--calibration": "none"}, 2, "none is not a folder"),
    ],
)
def test_an_error_is_a_line_of_what_and_a_line_of_what_to_do(
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, str],
    code: int,
    problem: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("noise.pt").write_bytes(b"noise" * 100)
    arguments = {"--checkpoint": str(tiny_checkpoint), "--output": "out", **change}
    result = export(*(part for pair in arguments.items() for part in pair))
    assert result.exit_code == code
    assert result.stdout == ""
    what, hint = lines(result.stderr)
    assert what.startswith("error: ")
    assert problem in what
    assert hint.startswith("hint: ")
    assert not Path("out").exists()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    result = export("--checkpoint", tmp_path / "none.pt", "--output", tmp_path / "out", "--debug")
    assert result.exit_code == CheckpointError.exit_code
    assert "Traceback" in result.stderr


def test_a_wrong_choice_is_wrong_use(tiny_checkpoint: Path, tmp_path: Path) -> None:
    result = export("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out", "--amplitude", "loud")
    assert result.exit_code == 2
    assert export("--output", tmp_path / "out").exit_code == 2


def test_an_interrupt_leaves_nothing(tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_bundle, "_flush", interrupt)
    result = export("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert result.exit_code == 130
    assert lines(result.stderr)[-1] == "error: interrupted"
    assert list(tmp_path.iterdir()) == []


def test_an_existing_bundle_is_replaced_only_by_force(tiny_checkpoint: Path, tmp_path: Path) -> None:
    arguments = ("--checkpoint", tiny_checkpoint, "--output", tmp_path / "out")
    assert export(*arguments).exit_code == 0
    before = (tmp_path / "out" / "manifest.json").stat().st_ino
    assert export(*arguments).exit_code == 2
    assert (tmp_path / "out" / "manifest.json").stat().st_ino == before
    assert export(*arguments, "--force").exit_code == 0
    assert (tmp_path / "out" / "manifest.json").stat().st_ino != before


def test_the_table_tells_when_the_gate_was_not_passed() -> None:
    from mmr_export.cli import _agreement

    sets = {
        "generated": {"mean_cosine": 0.995, "top10_overlap": 0.93},
        "files": {"mean_cosine": 0.97, "top10_overlap": 0.7},
    }
    report = {"sets": sets, "float_nodes": ["a"], "passed": False}
    text = _agreement({"int8": {"audio": report}}, "audio", "int8")
    assert text.endswith("generated 0.9950, 0.930; files 0.9700, 0.700; float nodes 1  GATE NOT PASSED")
    assert "GATE" not in _agreement({"int8": {"audio": report | {"passed": True}}}, "audio", "int8")


def test_help_has_an_example_and_loads_no_numeric_package() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from mmr_export.cli import main; "
        "out = CliRunner().invoke(main, ['--help']).output; "
        "print(out); sys.exit(bool({'numpy', 'onnx', 'torch'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Example: mmr-export --checkpoint best.pt" in done.stdout
