"""The bundle: a folder with everything the runtime needs of a model (DESIGN section 5).

`manifest.json` names every other file with its size and SHA-256. Opening a bundle checks the manifest, and that the
files are there in their sizes; a file's hash is checked when it is first used (`Bundle.path`), and the result is
remembered in the user's cache folder for as long as the file keeps its size and time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import types
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    Self,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from mmr_runtime.errors import BundleError
from mmr_runtime.limits import MAX_ERROR_NAMES, MAX_GRAPH_BYTES, MAX_ID_CHARS, MAX_MANIFEST_BYTES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCHEMA = 1
Encoder = Literal["image", "text", "audio"]
Projection = Literal["audio_features", "image_features"]
Tower = Literal[Encoder, Projection]
ENCODERS: tuple[Encoder, ...] = ("image", "text", "audio")
PROJECTIONS: tuple[Projection, ...] = ("audio_features", "image_features")
"""Of features that another program computed, in a bundle of their own."""
TOWERS: tuple[Tower, ...] = (*ENCODERS, *PROJECTIONS)
"""What a bundle may hold a graph of."""
PRECISIONS = ("fp32", "int8", "fp16")
SCALES = ("image_text", "audio_image", "audio_text")
MANIFEST, LABELS, FRONT_END, MERGES = "manifest.json", "labels.npz", "frontend.npz", "merges.txt.gz"


@dataclass(frozen=True)
class ImageSpec:
    """How a page becomes the image tower's input, float32 (n, 3, height, width).

    Attributes:
        height: rows of the input.
        width: columns of the input.
        mean: per channel, subtracted after scaling to [0, 1].
        std: per channel, divided by.
        resize: `pil`: shorter side to `height` by Pillow's antialiased bicubic, centre crop, then RGB (CLIP's path);
            `tensor`: the same without antialiasing, on float values (AudioCLIP's trainer and demo);
            `page`: the whole page, antialiased, stretched to height x width, nothing cut off.
        grey: convert to luminance first and repeat it three times.
    """

    height: int = 224
    width: int = 224
    mean: tuple[float, float, float] = (0.48145466, 0.4578275, 0.40821073)
    std: tuple[float, float, float] = (0.26862954, 0.26130258, 0.27577711)
    resize: Literal["pil", "tensor", "page"] = "pil"
    grey: bool = False


@dataclass(frozen=True)
class TextSpec:
    """The text tower's input, int64 (n, length), length at most `context`."""

    context: int = 77


@dataclass(frozen=True)
class AudioSpec:
    """How a window of sound becomes the audio tower's input, float32 (n, 3, bins, frames) in dB.

    Attributes:
        sample_rate: Hz.
        window_samples: length of one window at that rate; shorter ones are padded as the front end pads.
        hop: samples between frames.
        frames: frames of one window.
        amplitude: `int16`: unit samples times 32768 before the front end (what AudioCLIP was trained on);
            `unit`: as they are (what its demo did).
        floor_db: lowest value of the dB image, or None for AudioCLIP's own clamp.
    """

    sample_rate: int = 44100
    window_samples: int = 220500
    hop: int = 561
    frames: int = 392
    amplitude: Literal["int16", "unit"] = "int16"
    floor_db: float | None = None


@dataclass(frozen=True)
class GraphFile:
    """One ONNX graph of a tower; the batch dimension is named `batch`, the text length `length`."""

    file: str
    input: str
    output: str


@dataclass(frozen=True)
class FileFacts:
    """Size in bytes and SHA-256 (hexadecimal) of one file."""

    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path) -> Self:
        """Measure a file."""
        with path.open("rb") as file:
            return cls(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


@dataclass(frozen=True)
class LabelSet:
    """Names a user sees, and the prompts whose embeddings stand in labels.npz under the set's name."""

    names: tuple[str, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class RankSpec:
    """How scores are made (DESIGN section 9); fitted at export, read by `mmr_runtime.rank`.

    Attributes:
        form: `direct`: cosine of the vectors; `text`: agreement of the mood profiles; `blend`: both.
        direct_weight: weight of the direct part in `blend`, in 0..1, both parts standardised.
        text_weight: weight of a page's dialogue beside its image, in 0..1.
        temperature: sharpness of the mood posteriors (softmax over standardised mood scores).
        hub_correction: share of each song's mean score over the reference set that is subtracted before the score is
            divided by its spread there, in 0..1; 0 leaves scores as they are.
    """

    form: Literal["direct", "text", "blend"] = "direct"
    direct_weight: float = 0.5
    text_weight: float = 0.5
    temperature: float = 1.0
    hub_correction: float = 0.0


@dataclass(frozen=True)
class Manifest:
    """The content of manifest.json.

    Attributes:
        id: name of the model; vectors of different ids never meet in one index.
        logit_scales: `image_text`, `audio_image`, `audio_text`, after AudioCLIP's clamp (exp, within 1..100).
        graphs: tower (of `TOWERS`) -> precision (`fp32`, `int8`, `fp16`) -> graph. What belongs to a tower that is
            not there (`image`, `text`, `audio`) has no meaning.
        labels: `mood`, `genre` and any user set.
        model: the sizes of the towers, as the export side describes them.
        quality: what was measured when the bundle was made.
        source: the checkpoint that it was made of.
        versions: of the programs that made it.
        files: name -> size and SHA-256 of every file but the manifest.
    """

    id: str
    embedding_size: int
    licence: str
    image: ImageSpec
    text: TextSpec
    audio: AudioSpec
    logit_scales: dict[str, float]
    graphs: dict[str, dict[str, GraphFile]]
    labels: dict[str, LabelSet]
    rank: RankSpec = field(default_factory=RankSpec)
    model: dict[str, Any] = field(default_factory=dict)
    quality: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    files: dict[str, FileFacts] = field(default_factory=dict)
    schema: int = SCHEMA


# -- the manifest as JSON ---------------------------------------------------------------------------------------------

_AGAIN = "export the bundle again, or copy it again"
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_T = TypeVar("_T")


def manifest_to_json(manifest: Manifest) -> str:
    """The text of manifest.json; equal manifests give equal text."""
    return json.dumps(dataclasses.asdict(manifest), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def manifest_from_json(text: str) -> Manifest:
    """Read and check the text of manifest.json: schema, keys, types and ranges.

    Raises:
        BundleError: anything is missing, unknown, of the wrong type or out of range; or the schema is newer than this
            program.
    """
    try:
        content = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{MANIFEST} is not JSON: {error}", _AGAIN) from None
    schema = content.get("schema") if isinstance(content, dict) else None
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise BundleError(f"{MANIFEST} says no schema: it is not a manifest of mmr", "give the folder of a bundle")
    if schema > SCHEMA:
        raise BundleError(
            f"the bundle is of schema {schema}, and this program reads up to {SCHEMA}",
            "pip install --upgrade mmr-runtime, or use an older bundle",
        )
    manifest = _decode(Manifest, content, "")
    _check(manifest)
    return manifest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key stands there twice")
    return content


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _decode(kind: type[_T], value: Any, where: str) -> _T:
    """A plain JSON value as the annotated type `kind`; `where` names it in errors."""
    result: Any
    origin, inner = get_origin(kind), get_args(kind)
    if dataclasses.is_dataclass(kind):
        result = _decode_dataclass(kind, value, where)
    elif origin is dict:
        result = {k: _decode(inner[1], v, f"{where}.{k}") for k, v in _expect(dict, value, where).items()}
    elif origin is tuple:
        items = _expect(list, value, where)
        if inner[-1] is not Ellipsis and len(items) != len(inner):
            raise BundleError(f"{MANIFEST}: {where} must hold {len(inner)} values, not {len(items)}", _AGAIN)
        result = tuple(_decode(inner[0], v, f"{where}[{i}]") for i, v in enumerate(items))
    elif origin is Literal:
        if value not in inner:
            raise BundleError(f"{MANIFEST}: {where} must be one of {', '.join(inner)}, not {value!r:.60}", _AGAIN)
        result = value
    elif origin in (Union, types.UnionType):
        result = None if value is None else _decode(inner[0], value, where)
    elif kind is float:
        result = float(_expect(int, value, where) if isinstance(value, int) else _expect(float, value, where))
    else:
        result = value if kind is Any else _expect(kind, value, where)
    return cast("_T", result)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    content = _expect(dict, value, where or "the whole")
    hints = get_type_hints(kind)
    prefix = f"{where}." if where else ""
    for problem, names in (("lacks", hints.keys() - content.keys()), ("has unknown", content.keys() - hints.keys())):
        if names:
            some = ", ".join(f"{prefix}{n:.60}" for n in sorted(names)[:MAX_ERROR_NAMES])
            raise BundleError(f"{MANIFEST} {problem} {some}", _AGAIN)
    return kind(**{name: _decode(hint, content[name], f"{prefix}{name}") for name, hint in hints.items()})


def _expect(kind: type[_T], value: Any, where: str) -> _T:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise BundleError(f"{MANIFEST}: {where} must be {_JSON_NAMES[kind]}, not {value!r:.60}", _AGAIN)
    return value


_JSON_NAMES: dict[type, str] = {
    dict: "an object",
    list: "a list",
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _check(manifest: Manifest) -> None:
    """What types alone do not say.

    Raises:
        BundleError: a value is out of range, or refers to what is not there.
    """
    image, audio, rank = manifest.image, manifest.audio, manifest.rank
    counts = (manifest.embedding_size, image.height, image.width, manifest.text.context)
    sizes = (*counts, audio.sample_rate, audio.window_samples, audio.hop, audio.frames)
    numbers = (*image.mean, *image.std, *manifest.logit_scales.values(), rank.temperature, audio.floor_db or 0.0)
    _require(0 < len(manifest.id) <= MAX_ID_CHARS and manifest.id.isprintable(), "the id is empty, long or unprintable")
    _require(all(0 < size <= 1 << 24 for size in sizes), "a size is not positive, or beyond all reason")
    _require(
        all(math.isfinite(x) for x in numbers) and min(image.std) > 0, "a number is not finite, or a std not positive"
    )
    _require(set(manifest.logit_scales) == set(SCALES), f"logit_scales must name {', '.join(SCALES)}")
    _require(
        all(0 <= w <= 1 for w in (rank.direct_weight, rank.text_weight, rank.hub_correction)),
        "a weight of rank is not in 0..1",
    )
    for name, facts in manifest.files.items():
        if not _FILE_NAME.fullmatch(name) or name == MANIFEST:
            raise BundleError(f"the bundle lists the file {name!r:.80}, which would leave its folder", _AGAIN)
        _require(0 <= facts.bytes <= MAX_GRAPH_BYTES, f"the size of {name} is beyond the limits")
        _require(re.fullmatch("[0-9a-f]{64}", facts.sha256) is not None, f"the SHA-256 of {name} is none")
    for tower, graphs in manifest.graphs.items():
        _require(tower in TOWERS and len(graphs) > 0, f"the tower {tower!r:.40} is unknown or has no graph")
        _require(set(graphs) <= set(PRECISIONS), f"the {tower} tower has a precision not among {', '.join(PRECISIONS)}")
    for name, labels in manifest.labels.items():
        _require(len(labels.names) == len(labels.prompts) > 0, f"the label set {name!r:.40} lacks a name or prompt")
    for name in sorted(_needed(manifest) - set(manifest.files)):
        raise BundleError(f"{MANIFEST} does not list {name:.80}, which the model needs", _AGAIN)


def _needed(manifest: Manifest) -> set[str]:
    """Files without which some part of the bundle could not work."""
    names = {graph.file for graphs in manifest.graphs.values() for graph in graphs.values()}
    extras = ((FRONT_END, "audio" in manifest.graphs), (MERGES, "text" in manifest.graphs), (LABELS, manifest.labels))
    return names | {name for name, wanted in extras if wanted}


def _require(condition: bool, problem: str) -> None:
    if not condition:
        raise BundleError(f"{MANIFEST}: {problem}", _AGAIN)


# -- the folder -------------------------------------------------------------------------------------------------------


class Bundle:
    """An opened bundle. `open` it; `path` gives its files, each verified on first use.

    Attributes:
        folder: where it lies.
        manifest: what it says of itself.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._verified: set[str] = set()

    @classmethod
    def open(cls, model: str | Path = "default") -> Self:
        """Open a bundle: read its manifest, check that all its files are there.

        Args:
            model: `default`, the bundle that comes with mmr, or the folder of another.

        Raises:
            BundleError: there is none, or it is damaged or made for a newer mmr.
        """
        folder = default_folder() if model == "default" else Path(model)
        path = folder / MANIFEST
        try:
            if path.stat().st_size > MAX_MANIFEST_BYTES:
                raise BundleError(f"{path} is larger than {MAX_MANIFEST_BYTES} bytes", _AGAIN)
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise BundleError(f"{path} is not UTF-8 text", _AGAIN) from None
        except OSError as error:
            reason = "is no bundle: it has no manifest.json" if folder.is_dir() else "is not a folder"
            if path.exists():
                reason = f"cannot be read: {error.strerror}"
            raise BundleError(f"{folder} {reason}", "make one with mmr-export, or use --model default") from None
        bundle = cls(folder, manifest_from_json(text))
        for name in bundle.manifest.files:
            bundle._locate(name)
        return bundle

    def path(self, name: str) -> Path:
        """Path of one of the bundle's files, its content verified.

        Raises:
            BundleError: the bundle does not list it, its content is not what the manifest says, or it is a graph with
                data in other files.
        """
        if name not in self.manifest.files:
            raise BundleError(f"the bundle {self.folder} has no file {name!r:.80}", _AGAIN)
        path = self._locate(name)
        if name not in self._verified:
            self._verify(name, path)
            self._verified.add(name)
        return path

    def graph(self, tower: Tower, precision: str) -> Path:
        """Path of a tower's graph, verified.

        Raises:
            BundleError: there is no such graph.
        """
        have = self.manifest.graphs.get(tower, {})
        if precision not in have:
            some = ", ".join(sorted(have)) or "none"
            raise BundleError(
                f"the bundle {self.folder} has no {precision} graph of the {tower} tower", f"it has {some}"
            )
        return self.path(have[precision].file)

    def labels(self) -> dict[str, NDArray[np.float32]]:
        """Arrays of labels.npz; none for a bundle without label sets.

        Returns:
            unit rows (n, d) for each label set under its name; where the model brings them, also
            `calibration_{image,audio,text,dialogue}` (2, 7), mean and spread of mood cosines, `directions_{image,...}`
            (7, d), what takes the place of the mood prompts there, and `reference_{image,...}` (r, d), unit
            rows. All float32.

        Raises:
            BundleError: the file cannot be read, or an array is missing or of another shape.
        """
        if not self.manifest.labels:
            return {}
        import numpy as np

        path = self.path(LABELS)
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise BundleError(f"cannot read {path}: {error}", _AGAIN) from error
        size = self.manifest.embedding_size
        shapes = {name: (len(labels.names), size) for name, labels in self.manifest.labels.items()}
        for name, array in arrays.items():
            shape = shapes.get(name, (array.size // size, size))
            if name.startswith(("calibration_", "directions_")):
                shape = (2, 7) if name.startswith("calibration_") else (7, size)
            if array.dtype != np.float32 or array.shape != shape or not np.isfinite(array).all():
                raise BundleError(f"{path}: {name} is not float32 {shape} of finite numbers", _AGAIN)
        for name in sorted(set(shapes) - set(arrays)):
            raise BundleError(f"{path} lacks the label set {name}", _AGAIN)
        return arrays

    def _locate(self, name: str) -> Path:
        """Where a listed file lies: inside the folder, a file, of the right size."""
        path = self.folder / name
        try:
            real = path.resolve(strict=True)
            size = real.stat().st_size
        except (OSError, RuntimeError):
            raise BundleError(f"the bundle {self.folder} lacks its file {name}", _AGAIN) from None
        if not real.is_relative_to(self.folder.resolve()):
            raise BundleError(f"{path} is a link to a file outside the bundle", "put the file itself there")
        if not real.is_file():
            raise BundleError(f"{path} is not a file", _AGAIN)
        wanted = self.manifest.files[name].bytes
        if size != wanted:
            raise BundleError(f"{path} has {size} bytes instead of {wanted}", _AGAIN)
        return path

    def _verify(self, name: str, path: Path) -> None:
        from mmr_runtime.known_files import KnownFiles

        known = KnownFiles(self.folder)
        if known.has(name, path, self.manifest.files[name].sha256):
            return
        try:
            facts = FileFacts.of(path)
        except OSError as error:
            raise BundleError(f"{path} cannot be read: {error.strerror}", _AGAIN) from error
        if facts != self.manifest.files[name]:
            raise BundleError(f"{path} is damaged: its SHA-256 is not the one in {MANIFEST}", _AGAIN)
        if name.endswith(".onnx"):
            _refuse_external_data(path)
        known.add(name, path, facts.sha256)


def default_folder() -> Path:
    """The bundle that comes with mmr: inside the installed package, or in the checkout beside it."""
    package = Path(__file__).resolve().parent
    installed = package / "models" / "default"
    return installed if installed.is_dir() else package.parent / "models" / "default"


def _refuse_external_data(path: Path) -> None:
    from mmr_runtime.onnx_scan import has_external_data

    try:
        external = has_external_data(path)
    except ValueError as error:
        raise BundleError(f"{path} is not an ONNX graph: {error}", _AGAIN) from None
    if external:
        raise BundleError(f"{path} keeps weights in another file, which is not allowed", "export it as a single file")
