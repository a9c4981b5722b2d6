"""The engine: pages, songs and texts become unit vectors of one space, and moods are read off them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, cast

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.bundle import PROJECTIONS, Bundle, Projection, Tower
from mmr_runtime.errors import BundleError, DeviceError, InputError, TextError, UsageError
from mmr_runtime.limits import MAX_TEXT_CHARS
from mmr_runtime.sessions import Device, Product, Session, default_threads, resolve_device

if TYPE_CHECKING:
    from mmr_runtime.frontend import FrontEnd
    from mmr_runtime.text import Tokenizer

Floats = NDArray[np.float32]
Modality = Literal["image", "audio", "text"]
Source = Literal["image", "audio", "text", "dialogue"]
"""What a mood is read from: dialogue is text that is spoken, not text that describes."""

# Faster first: what `precision="auto"` takes of the precisions that a bundle holds.
_PRECISIONS = {"cpu": ("int8", "fp32", "fp16"), "cuda": ("fp16", "fp32", "int8")}
_SCALE_OF = {"image": "image_text", "audio": "audio_text", "text": "image_text", "dialogue": "image_text"}


@dataclass(frozen=True, eq=False)
class SongEmbedding:
    """What the audio tower says of one song.

    Attributes:
        vector: float32 (d,), unit length, the direction of the windows' mean.
        windows: float32 (w, d), unit rows.
        starts: float64 (w,), seconds.
        seconds: length of the song.
        loudness: of the windows, LUFS; None where it was not measured or there is only silence.
    """

    vector: Floats
    windows: Floats
    starts: NDArray[np.float64]
    seconds: float
    loudness: float | None = None


class Engine:
    """A model bundle ready to embed. Towers are loaded on first use; one engine may serve many threads.

    Open it with `Engine.open`, close it with `close` or a `with` block.
    """

    def __init__(self, bundle: Bundle, *, device: Device, precision: str, threads: int | None) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, not {threads}", "leave it out to let mmr choose")
        self.bundle = bundle
        self.precision = precision
        self.threads = threads or default_threads()
        self._asked_device = device
        self._sessions: dict[str, Session] = {}
        self._front_end: FrontEnd | None = None
        self._tokenizer: Tokenizer | None = None
        self._labels: dict[str, NDArray[Any]] | None = None
        # Creation of sessions is not safe beside itself in onnxruntime; running them is.
        self._lock = threading.RLock()

    @classmethod
    def open(
        cls,
        model: str | Path = "default",
        *,
        device: Device = "auto",
        precision: str = "auto",
        threads: int | None = None,
    ) -> Self:
        """Open a bundle; no graph is loaded yet.

        Args:
            model: `default`, or the folder of a bundle.
            device: `cpu`, `cuda` (an error where it cannot be had), or `auto`.
            precision: `fp32`, `int8`, `fp16`, or `auto`: the fastest one that the bundle holds.
            threads: cores for one graph; by default those allowed, at most 4.

        Raises:
            BundleError: the bundle is missing or damaged.
            UsageError: an argument is out of range.
        """
        return cls(Bundle.open(model), device=device, precision=precision, threads=threads)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back the memory of all towers; the next use loads them again."""
        with self._lock:
            self._sessions.clear()
            self._front_end = None

    @property
    def model_id(self) -> str:
        """Name of the model, which ends in a hash of its weights; vectors of two models are never compared."""
        return self.bundle.manifest.id

    @property
    def embedding_size(self) -> int:
        """Length d of every vector."""
        return self.bundle.manifest.embedding_size

    def warmup(self, towers: Iterable[Tower] = ("image",)) -> None:
        """Load these towers now, so that the first page turn need not."""
        for tower in towers:
            self.session(tower)

    # -- embedding ---------------------------------------------------------------------------------------------------

    def embed_images(self, images: Sequence[Any], *, spread: Literal["auto", "whole"] = "auto") -> Floats:
        """Embed pages.

        Args:
            images: paths, encoded bytes, PIL images or uint8 arrays (h, w[, c]).
            spread: `auto`: an image wider than tall is two pages, embedded apart and averaged; `whole`: as it is.

        Returns:
            float32 (n, d), unit rows.

        Raises:
            ImageError: an image cannot be read.
        """
        from mmr_runtime.image import load_image, preprocess

        session, spec = self.session("image"), self.bundle.manifest.image
        rows = np.empty((len(images), self.embedding_size), np.float32)
        for start in range(0, len(images), session.batch):
            pages = [
                preprocess(load_image(source, spec), spec, spread) for source in images[start : start + session.batch]
            ]
            vectors = unit_rows(session.run(_joined(pages)))
            ends = np.cumsum([len(halves) for halves in pages])
            rows[start : start + len(pages)] = [_mean_direction(of) for of in np.split(vectors, ends[:-1])]
        return rows

    def embed_audio(self, song: str | Path, *, windows: int = 8, measure: bool = False) -> SongEmbedding:
        """Embed a song by windows spread over it.

        Args:
            song: path of an audio file.
            windows: at most so many windows; a short song has fewer.
            measure: tell its loudness, too.

        Raises:
            AudioError: the file holds no sound that can be read.
        """
        from mmr_runtime.audio import read_windows

        if windows < 1:
            raise UsageError(f"windows must be at least 1, not {windows}")
        heard = read_windows(song, windows=windows, spec=self.bundle.manifest.audio)
        vectors = self.embed_samples(heard.samples)
        level = None
        if measure:
            from mmr_runtime.loudness import loudness

            level = loudness(heard.samples, self.bundle.manifest.audio.sample_rate)
        return SongEmbedding(_mean_direction(vectors), vectors, heard.starts, heard.seconds, level)

    def embed_samples(self, samples: Floats) -> Floats:
        """Embed windows of sound.

        Args:
            samples: float32 (n, t), mono in [-1, 1] at the bundle's sample rate; t at most one window. Shorter ones are
                put in the middle and their first and last value repeated, as AudioCLIP's loaders pad in evaluation.

        Returns:
            float32 (n, d), unit rows.
        """
        from mmr_runtime.audio import fill_window

        spec = self.bundle.manifest.audio
        samples = np.atleast_2d(np.asarray(samples, np.float32))
        if samples.shape[1] > spec.window_samples:
            raise UsageError(f"a window holds at most {spec.window_samples} samples, not {samples.shape[1]}")
        samples = fill_window(samples, spec.window_samples)
        session = self.session("audio")
        front_end = self.front_end()
        # The front end takes one window at a time: its image is 1.6 MB and its frames 13 MB, and speed does not depend
        # on it. On the CPU the session's batch is one window, too.
        batches = (samples[start : start + session.batch] for start in range(0, len(samples), session.batch))
        images = (_joined([front_end(window[None]) for window in batch]) for batch in batches)
        return unit_rows(np.concatenate([session.run(image) for image in images]))

    def embed_texts(self, texts: Sequence[str]) -> Floats:
        """Embed texts; one that is longer than the encoder's context is cut at sentence ends and its parts averaged.

        Returns:
            float32 (n, d), unit rows.

        Raises:
            TextError: a text is beyond the limits.
        """
        if isinstance(texts, str):
            raise UsageError("embed_texts takes a list of texts, not one text", "embed_texts([text])")
        session = self.session("text")
        tokenizer = self._open_tokenizer()
        context = self.bundle.manifest.text.context
        rows = np.empty((len(texts), self.embedding_size), np.float32)
        for row, text in zip(rows, texts, strict=True):
            if len(text) > MAX_TEXT_CHARS:
                raise TextError(f"the text has {len(text)} characters, more than {MAX_TEXT_CHARS}", "shorten it")
            # One text at a time, at its own length: the graph does no work for padding.
            parts = [session.run(tokenizer.tokens([p], context)) for p in tokenizer.pieces(text, context)]
            row[:] = _mean_direction(unit_rows(np.concatenate(parts)))
        return rows

    def project(self, features: Floats, modality: Projection) -> Floats:
        """Bring features that another program computed into the space of a bundle made for them.

        Args:
            features: float32 (n, f), as wide as those that the projections were trained on.
            modality: what they describe: `audio_features` or `image_features`.

        Returns:
            float32 (n, d), unit rows.

        Raises:
            UsageError: an unknown modality.
            BundleError: the bundle has no such projection.
            InputError: the features are of another shape or width, or not finite.
        """
        if modality not in PROJECTIONS:
            raise UsageError(f"no features are of the modality {modality!r:.40}", f"take {' or '.join(PROJECTIONS)}")
        session = self.session(modality)
        features = np.asarray(features, np.float32)
        width = session.shape[0]
        if features.ndim != 2 or features.shape[1] != width:
            raise InputError(
                f"{modality} of the shape {features.shape} were given, where {self.model_id} takes (n, {width})",
                "compute them as for its training, one row for each piece of music or picture",
            )
        wrong = int((~np.isfinite(features).all(axis=1)).sum())
        if wrong:
            raise InputError(f"{wrong} of {len(features)} rows of {modality} hold values that are not finite")
        if not len(features):
            return np.empty((0, self.embedding_size), np.float32)
        return unit_rows(session.run(features))

    # -- moods -------------------------------------------------------------------------------------------------------

    def label_vectors(self, name: str) -> Floats:
        """The prompts of a label set as unit rows, float32 (n, d).

        Raises:
            BundleError: the bundle has no such set.
        """
        labels = self._open_labels()
        if name not in self.bundle.manifest.labels or name not in labels:
            raise BundleError(
                f"the bundle has no label set {name!r}", "export it with a text tower, or with --labels FILE"
            )
        return cast("Floats", labels[name])

    def reference(self, modality: Modality) -> Floats | None:
        """Unit rows (r, d) of the reference set stored for queries of this modality, or None."""
        return cast("Floats | None", self._open_labels().get(f"reference_{modality}"))

    def mood_scores(self, vectors: Floats, source: Source) -> Floats:
        """How strongly each mood is present, before it is turned into a share.

        Cosines with the bundle's mood directions for this source, or where it has none with the mood prompts;
        standardised per mood over the bundle's reference set. Where the bundle has neither (AudioCLIP's own weights),
        cosine times the logit scale, as AudioCLIP does. A bundle may know dialogue apart from other text: what people
        say names a mood in another way than what describes it.

        Args:
            vectors: float32 (n, d), unit rows.
            source: what the vectors were made from.

        Returns:
            float32 (n, 7).
        """
        stored = self._open_labels()
        if source == "dialogue" and "directions_dialogue" not in stored:
            source = "text"
        directions = stored.get(f"directions_{source}")
        if directions is None:
            directions = self.label_vectors("mood")
        cosines = np.atleast_2d(vectors) @ directions.T
        calibration = stored.get(f"calibration_{source}")
        if calibration is None:
            return cast("Floats", cosines * np.float32(self.bundle.manifest.logit_scales[_SCALE_OF[source]]))
        return cast("Floats", (cosines - calibration[0]) / calibration[1])

    def moods(self, vectors: Floats, source: Source) -> Floats:
        """Shares of the seven moods.

        Args:
            vectors: float32 (n, d), unit rows.
            source: what they were made from.

        Returns:
            float32 (n, 7) in the order of `MOODS`; rows sum to 1.
        """
        return self.mood_shares(self.mood_scores(vectors, source))

    def mood_shares(self, scores: Floats) -> Floats:
        """Softmax of mood scores (n, 7) at the bundle's temperature; rows sum to 1."""
        z = scores * np.float32(self.bundle.manifest.rank.temperature)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        return cast("Floats", e / e.sum(axis=1, keepdims=True))

    # -- parts, made on first use ------------------------------------------------------------------------------------

    def session(self, tower: Tower) -> Session:
        """The loaded network of a tower."""
        with self._lock:
            if tower not in self._sessions:
                self._sessions[tower] = self._open_session(tower)
            return self._sessions[tower]

    def _open_session(self, tower: Tower) -> Session:
        device = resolve_device(self._asked_device)
        try:
            return self._make_session(tower, device)
        except DeviceError:
            if self._asked_device != "auto" or device == "cpu":
                raise
            # `auto` takes CUDA only if it works; from here on this engine stays on the CPU.
            self._asked_device = "cpu"
            return self._make_session(tower, "cpu")

    def _make_session(self, tower: Tower, device: Literal["cpu", "cuda"]) -> Session:
        path = self._graph(tower, device)
        return Session(path, device=device, threads=self.threads, sha256=self.bundle.manifest.files[path.name].sha256)

    def _graph(self, tower: Tower, device: Literal["cpu", "cuda"]) -> Path:
        have = self.bundle.manifest.graphs.get(tower)
        if not have:
            raise BundleError(f"the bundle {self.model_id} has no {tower} tower", "use a bundle that has it")
        if self.precision != "auto":
            wanted = self.precision
        else:
            wanted = next(p for p in (*_PRECISIONS[device], *have) if p in have)
        if wanted not in have:
            raise UsageError(f"the {tower} tower has no {wanted} graph", f"it has {', '.join(sorted(have))}")
        return self.bundle.graph(tower, wanted)

    def front_end(self) -> FrontEnd:
        """The loaded audio front end."""
        from mmr_runtime.frontend import FrontEnd

        with self._lock:
            if self._front_end is None:
                self._front_end = FrontEnd.load(
                    self.bundle.path("frontend.npz"),
                    self.bundle.manifest.audio,
                    lambda matrix: Product(matrix, self.threads),
                )
            return self._front_end

    def _open_tokenizer(self) -> Tokenizer:
        from mmr_runtime.text import Tokenizer

        with self._lock:
            if self._tokenizer is None:
                self._tokenizer = Tokenizer.load(self.bundle.path("merges.txt.gz"))
            return self._tokenizer

    def _open_labels(self) -> dict[str, NDArray[Any]]:
        with self._lock:
            if self._labels is None:
                self._labels = self.bundle.labels()
            return self._labels


def unit_rows(vectors: Floats) -> Floats:
    """Rows divided by their length; a zero row stays zero (upstream would give NaN)."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return cast("Floats", (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False))


def _joined(parts: Sequence[Floats]) -> Floats:
    """Rows of all parts; those of a single one, which a page on the CPU always is, are not copied."""
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _mean_direction(rows: Floats) -> Floats:
    """Unit vector (d,) along the mean of unit rows (n, d)."""
    return cast("Floats", unit_rows(rows.mean(axis=0, keepdims=True))[0])
