"""The command `mmr-export`: a checkpoint becomes a bundle.

`mmr-export --help` loads neither torch nor onnx: they are imported when there is work.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmr_runtime.errors import DeviceError, MmrError

if TYPE_CHECKING:
    from mmr_runtime.bundle import Manifest

_INTERRUPTED = 130


@click.command(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: mmr-export --checkpoint best.pt --output models/mine --precision fp32,int8",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    required=True,
    help="Weights of AudioCLIP, CLIP RN50 or ESResNeXt-fbsp (.pt or .safetensors). A JSON file of the same name beside "
    "it may hold the sizes, defaults of the options below, and more.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--precision", default="fp32", show_default=True, help="fp32, int8 or both, separated by a comma.")
@click.option(
    "--amplitude",
    type=click.Choice(["int16", "unit"]),
    help="Scale of the samples that the weights expect. Default: what the checkpoint says, else int16.",
)
@click.option(
    "--resize",
    type=click.Choice(["pil", "tensor", "page"]),
    help="How pages are brought to size: CLIP's antialiased way, AudioCLIP's trainer's, or the whole page stretched. "
    "Default: what the checkpoint says, else pil.",
)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help='TOML or JSON file of label sets: [weather] rain = "rainy day music".',
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path),
    help="Folder of pages and songs to choose int8 ranges by. Default: generated ones.",
)
@click.option("--allow-degraded", is_flag=True, help="Write the bundle although int8 does not pass the quality gate.")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool, **arguments: Any) -> None:
    """Turn a checkpoint into a bundle that mmr can run without PyTorch."""
    try:
        manifest = _export(**arguments)
    except MmrError as error:
        if debug:
            raise
        click.echo(f"error: {error.message}", err=True)
        if error.hint:
            click.echo(f"hint: {error.hint}", err=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        click.echo("interrupted; nothing was written", err=True)
        sys.exit(_INTERRUPTED)
    click.echo(summary(manifest, arguments["output"]))


def _export(checkpoint: Path, output: Path, precision: str, labels: Path | None, **choices: Any) -> Manifest:
    try:
        from .bundle import ExportOptions, write_bundle
        from .checkpoint import load_checkpoint
        from .labels import read_labels
    except ModuleNotFoundError as error:
        raise DeviceError(f"mmr-export needs the package {error.name}", "pip install 'mmr-runtime[export]'") from None
    precisions = tuple(dict.fromkeys(part.strip() for part in precision.split(",")))
    options = ExportOptions(precisions, labels=read_labels(labels) if labels else {}, **choices)
    loaded = load_checkpoint(checkpoint)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    return write_bundle(loaded, output, options, _tell)


def _tell(step: int, steps: int, what: str) -> None:
    click.echo(f"[{step + 1}/{steps}] {what}", err=True)


def summary(manifest: Manifest, output: Path) -> str:
    """A table of the graphs: file, megabytes, agreement with PyTorch or with the float32 graph."""
    lines = [f"{output}: model {manifest.id}", f"{'file':<18} {'MB':>7}  {'agreement':<s}"]
    for tower, graphs in manifest.graphs.items():
        for precision, graph in graphs.items():
            megabytes = manifest.files[graph.file].bytes / 1e6
            lines.append(f"{graph.file:<18} {megabytes:7.1f}  {_agreement(manifest.quality, tower, precision)}")
    total = sum(facts.bytes for facts in manifest.files.values()) / 1e6
    lines.append(f"{'all files':<18} {total:7.1f}")
    return "\n".join(lines)


def _agreement(quality: dict[str, Any], tower: str, precision: str) -> str:
    if precision == "fp32":
        return f"1 - cosine to PyTorch {quality['proof'][tower]['one_minus_cosine']:.1e}"
    report = quality[precision][tower]
    verdict = "" if report["passed"] else "  GATE NOT PASSED"
    return (
        f"cosine to fp32: mean {report['mean_cosine']:.4f}, 1st percentile {report['p1_cosine']:.4f}; "
        f"top-10 overlap {report['top10_overlap']:.3f}; float nodes {len(report['float_nodes'])}{verdict}"
    )
