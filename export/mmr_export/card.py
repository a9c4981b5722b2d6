"""The model card that lies in every bundle."""

from __future__ import annotations

from mmr_runtime.bundle import PROJECTIONS, Manifest
from mmr_runtime.errors import CheckpointError

_GENERIC = """\
# {id}

{size}-dimensional embeddings of {towers}, exported from a checkpoint of AudioCLIP's form
(SHA-256 {sha256}) for use with mmr.

## What it does
Ranks songs for manga pages, and pages for songs, by the similarity of their embeddings. What it is good at depends on
the weights, about which this card knows nothing: ask whoever trained them. AudioCLIP's published weights were trained
on photographs and everyday sounds, neither on manga nor on music.

## Inputs
- Pages: {height} x {width} pixels, resize form `{resize}`.
- Sound: windows of {seconds:.3g} s at {rate} Hz, amplitude convention `{amplitude}`.
- Text: at most {context} tokens of CLIP's tokenizer.

## Licence
{licence}. The merges table of the tokenizer is OpenAI's, MIT licensed; its notice lies beside it.
"""

_PROJECTIONS = """\
# {id}

{size}-dimensional embeddings of features that other programs computed of music and of pictures or videos
(SHA-256 {sha256}), for `Engine.project` of mmr. It hears no songs and sees no pages by itself.

## What it does
Finds music for pictures, and the reverse, by the cosine of their embeddings: two branches of fully connected layers
(VM-NET: Hong, Im and Yang 2017). What it is good at depends on its features and pairs, about which this card knows
nothing: ask whoever trained it.

## Inputs
{inputs}

## Licence
{licence}.
"""


def model_card(manifest: Manifest, own: object = None) -> str:
    """Text of MODEL_CARD.md: the checkpoint's own card, or a generic one that claims nothing.

    Raises:
        CheckpointError: `own` is no text.
    """
    if own is not None:
        if not isinstance(own, str) or not own.strip():
            raise CheckpointError("the metadata's `card` is no text", "mend the JSON file beside the checkpoint")
        return own.rstrip() + "\n"
    facts = {"id": manifest.id, "size": manifest.embedding_size, "sha256": manifest.source["sha256"]}
    projections = [tower for tower in PROJECTIONS if tower in manifest.graphs]
    if projections:
        inputs = "\n".join(f"- `{tower}`: {manifest.model[tower]} numbers." for tower in projections)
        return _PROJECTIONS.format(inputs=inputs, licence=manifest.licence, **facts)
    image, audio = manifest.image, manifest.audio
    return _GENERIC.format(
        towers=", ".join(manifest.graphs),
        height=image.height,
        width=image.width,
        resize=image.resize,
        seconds=audio.window_samples / audio.sample_rate,
        rate=audio.sample_rate,
        amplitude=audio.amplitude,
        context=manifest.text.context,
        licence=manifest.licence,
        **facts,
    )
