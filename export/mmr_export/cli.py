"""The command `mmr-export`: a checkpoint becomes a bundle.

`mmr-export --help` loads neither torch nor onnx: they are imported when there is work.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmr_runtime.cli.errors import Command
from mmr_runtime.cli.options import CONTEXT, debug_option
from mmr_runtime.errors import DeviceError, InputError, MissingFileError

if TYPE_CHECKING:
    from mmr_runtime.bundle import Manifest


@click.command(
    cls=Command,
    context_settings=CONTEXT,
    epilog="Example: mmr-export --checkpoint best.pt --output models/mine --precision fp32,int8",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    required=True,
    help="Weights of AudioCLIP, CLIP RN50 or ESResNeXt-fbsp (.pt or .safetensors), or projections of features. A JSON "
    "file of the same name beside it may hold the sizes, defaults of the options below, and more.",
)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option(
    "--precision", default="fp32", show_default=True, help="fp32, int8, fp16 or several of them, separated by commas."
)
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
    help="Folder of pages and songs, or of features (audio/*.npy, video/*.npy), to choose int8 ranges by. Default: "
    "generated ones.",
)
@click.option(
    "--gate",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Folder of pages and songs to judge quantized graphs by, beside generated ones; may be given more than once. "
    "Default: what --calibration leaves of its folder.",
)
@click.option(
    "--card", type=click.Path(path_type=Path), help="File with the text of MODEL_CARD.md. Default: a generic one."
)
@click.option("--allow-degraded", is_flag=True, help="Write the bundle although it does not pass the quality gate.")
@click.option("--force", is_flag=True, help="Replace an existing bundle.")
@debug_option
def main(**arguments: Any) -> None:
    """Turn a checkpoint into a bundle that mmr can run without PyTorch."""
    click.echo(summary(_export(**arguments), arguments["output"]))


def _export(
    checkpoint: Path, output: Path, precision: str, labels: Path | None, card: Path | None, **choices: Any
) -> Manifest:
    try:
        from .bundle import ExportOptions, write_bundle
        from .checkpoint import load
        from .labels import read_labels
    except ModuleNotFoundError as error:
        raise DeviceError(f"mmr-export needs the package {error.name}", "pip install 'mmr-runtime[export]'") from None
    precisions = tuple(dict.fromkeys(part.strip() for part in precision.split(",")))
    sets, text = read_labels(labels) if labels else {}, _read_card(card) if card else None
    options = ExportOptions(precisions, labels=sets, card=text, **choices)
    loaded = load(checkpoint)
    for note in loaded.notes:
        click.echo(f"note: {note}", err=True)
    return write_bundle(loaded, output, options, _tell)


def _read_card(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise MissingFileError(f"{path}: no such file", "give the path of the card's text") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", "give a UTF-8 text") from error


def _tell(step: int, steps: int, what: str) -> None:
    click.echo(f"[{step + 1}/{steps}] {what}", err=True)


def summary(manifest: Manifest, output: Path) -> str:
    """A table of the graphs: file, megabytes, agreement with PyTorch or with the float32 graph."""
    wide = max(18, *(len(graph.file) for graphs in manifest.graphs.values() for graph in graphs.values()))
    lines = [f"{output}: model {manifest.id}", f"{'file':<{wide}} {'MB':>7}  {'agreement':<s}"]
    for tower, graphs in manifest.graphs.items():
        for precision, graph in graphs.items():
            megabytes = manifest.files[graph.file].bytes / 1e6
            lines.append(f"{graph.file:<{wide}} {megabytes:7.1f}  {_agreement(manifest.quality, tower, precision)}")
    total = sum(facts.bytes for facts in manifest.files.values()) / 1e6
    lines.append(f"{'all files':<{wide}} {total:7.1f}")
    return "\n".join(lines)


def _agreement(quality: dict[str, Any], tower: str, precision: str) -> str:
    if precision == "fp32":
        return f"1 - cosine to PyTorch {quality['proof'][tower]['one_minus_cosine']:.1e}"
    report = quality[precision][tower]
    verdict = "" if report["passed"] else "  GATE NOT PASSED"
    sets = "; ".join(
        f"{name} {found['mean_cosine']:.4f}, {found['top10_overlap']:.3f}" for name, found in report["sets"].items()
    )
    return f"mean cosine to fp32, top-10 overlap: {sets}; float nodes {len(report['float_nodes'])}{verdict}"
