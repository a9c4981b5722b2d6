"""Vectors become an order (DESIGN section 9).

Three forms. `direct`: cosine of query and item times the logit scale, as AudioCLIP. `text`: through the hinge, as in
the paper: how strongly the item has the moods of the query. `blend`: both, weighted.

In a space whose modalities were only ever tied through text, raw scores have hubs: items that win for every query. What
is known without the query corrects that. Items are compared within their library: their mood scores are standardised
over it. And of an item's score its mean over a reference set of queries is subtracted, in part, and its spread divided
by (cf. Dinu et al. 2015, "Improving zero-shot learning by mitigating the hubness problem").
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import UsageError
from mmr_runtime.moods import MOODS

if TYPE_CHECKING:
    from mmr_runtime.engine import Engine, Floats, Modality

_PAIR_SCALE = {
    frozenset(("image", "audio")): "audio_image",
    frozenset(("text", "audio")): "audio_text",
    frozenset(("image", "text")): "image_text",
}
_SPREAD_FLOOR = 0.1
"""Of the spread of all scores, added to an item's own: an item that scores nearly the same always must not win so."""
PRIOR = 15.0
"""How many items of the reference count beside those at hand."""


@dataclass(frozen=True, eq=False)
class Query:
    """What is searched for.

    Attributes:
        modality: what `vectors` were made from.
        vectors: float32 (q, d), unit rows: one page or several that belong together, a song's windows, texts.
        text: float32 (t, d), unit rows: dialogue of the page, or None.
    """

    modality: Modality
    vectors: Floats
    text: Floats | None = None

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or not len(self.vectors):
            raise UsageError("a query needs at least one vector")


class Ranker:
    """Scores of many items for any query; what depends on the items alone is computed once.

    Args:
        engine: gives moods, scales, reference sets and the rank parameters.
        items: float32 (n, d), unit rows.
        modality: what the items are.
    """

    def __init__(self, engine: Engine, items: Floats, modality: Modality) -> None:
        self._engine = engine
        self._items = items
        self._modality: Modality = modality
        self._spec = engine.bundle.manifest.rank
        self._scores: Floats | None = None
        self._hubs: dict[tuple[str, str], tuple[Floats, Floats]] = {}

    @property
    def engine(self) -> Engine:
        """What reads moods."""
        return self._engine

    def scores(self, query: Query) -> Floats:
        """One score an item, float32 (n,); higher is better."""
        if not len(self._items):
            return np.zeros(0, np.float32)
        return self._in_form(
            lambda: self._corrected("direct", self._direct(query), query.modality),
            lambda: self._corrected("text", self._item_scores() @ query_moods(self._engine, query), query.modality),
        )

    def affinities(self, vectors: Floats, shares: Floats, modality: Modality) -> Floats:
        """Scores of many queries whose moods are known from elsewhere.

        Args:
            vectors: float32 (q, d), one query a row.
            shares: float32 (q, 7), mood shares of the queries; rows sum to 1.
            modality: what the vectors were made from; chooses the reference set.

        Returns:
            float32 (q, n), in the bundle's form.
        """
        return self._in_form(
            lambda: self._corrected("direct", vectors @ self._items.T * self._scale(modality), modality),
            lambda: self._corrected("text", shares @ self._item_scores().T, modality),
        )

    def inner_products(self, modality: Modality) -> Floats:
        """The items as rows (n, k) whose inner products with `query_vector` are the scores, for any vector database.

        Args:
            modality: of the queries, since it chooses the reference set.
        """
        parts, constant = [], np.zeros(len(self._items), np.float32)
        for form, weight in self._weights():
            rows = self._items if form == "direct" else self._item_scores()
            share = np.float32(self._spec.hub_correction)
            mean, spread = self._hub(form, modality) if share else (np.float32(0), np.ones(1, np.float32))
            parts.append(weight * rows / np.reshape(spread, (-1, 1)))
            constant -= weight * share * mean / spread
        return np.concatenate([*parts, constant[:, None]], axis=1).astype(np.float32)

    def query_vector(self, query: Query) -> Floats:
        """A query (k,) for `inner_products`."""
        forms = [form for form, _ in self._weights()]
        parts = [self._asked(query) if form == "direct" else query_moods(self._engine, query) for form in forms]
        return np.concatenate([*parts, np.ones(1, np.float32)]).astype(np.float32)

    def _weights(self) -> list[tuple[str, np.float32]]:
        if self._spec.form != "blend":
            return [(self._spec.form, np.float32(1))]
        w = np.float32(self._spec.direct_weight)
        return [("direct", w), ("text", 1 - w)]

    def _direct(self, query: Query) -> Floats:
        return cast("Floats", self._items @ self._asked(query))

    def _asked(self, query: Query) -> Floats:
        """The vector (d,) whose product with an item is its direct score."""
        vector = query.vectors.mean(axis=0) * self._scale(query.modality)
        if query.text is not None and len(query.text):
            w = np.float32(self._spec.text_weight)
            vector = (1 - w) * vector + w * query.text.mean(axis=0) * self._scale("text")
        return cast("Floats", vector)

    def _in_form(self, direct: Callable[[], Floats], text: Callable[[], Floats]) -> Floats:
        if self._spec.form == "direct":
            return direct()
        if self._spec.form == "text":
            return text()
        w = np.float32(self._spec.direct_weight)
        return cast("Floats", w * direct() + (1 - w) * text())

    def _item_scores(self) -> Floats:
        if self._scores is None:
            scores = standardise(self._engine.mood_scores(self._items, self._modality).astype(np.float64))
            self._scores = scores.astype(np.float32)
        return self._scores

    def _corrected(self, form: str, raw: Floats, modality: Modality) -> Floats:
        share = np.float32(self._spec.hub_correction)
        if not share:
            return raw
        mean, spread = self._hub(form, modality)
        return cast("Floats", (raw - share * mean) / spread)

    def _scale(self, modality: str) -> np.float32:
        name = _PAIR_SCALE.get(frozenset((modality, self._modality)), "image_text")
        return np.float32(self._engine.bundle.manifest.logit_scales[name])

    def _hub(self, form: str, modality: Modality) -> tuple[Floats, Floats]:
        """Mean and spread (n,) of every item's score over the reference queries of this modality."""
        if (form, modality) not in self._hubs:
            reference = self._engine.reference(modality)
            if reference is None:
                self._hubs[form, modality] = np.zeros(1, np.float32), np.ones(1, np.float32)
            else:
                if form == "direct":
                    scores = self._items @ reference.T * self._scale(modality)
                else:
                    scores = self._item_scores() @ self._engine.moods(reference, modality).T
                spread = scores.std(axis=1) + np.float32(_SPREAD_FLOOR) * scores.std()
                self._hubs[form, modality] = scores.mean(axis=1), np.maximum(spread, np.float32(1e-6))
        return self._hubs[form, modality]


def standardise(scores: NDArray[np.float64], prior: float = PRIOR) -> NDArray[np.float64]:
    """Scores (n, k) less their mean and divided by their spread, both drawn towards 0 and 1.

    Mean and spread are those of the n items together with `prior` items of mean 0 and spread 1, which is what the
    reference set has.
    """
    count = len(scores) + prior
    mean = scores.sum(axis=0) / count
    square = ((scores**2).sum(axis=0) + prior) / count
    return np.asarray((scores - mean) / np.sqrt(np.maximum(square - mean**2, 1e-6)))


def query_moods(engine: Engine, query: Query) -> Floats:
    """Mood shares of a query, float32 (7,): page and dialogue fused where there are both."""
    scores = engine.mood_scores(query.vectors, query.modality).mean(axis=0)
    if query.text is not None and len(query.text):
        w = np.float32(engine.bundle.manifest.rank.text_weight)
        scores = (1 - w) * scores + w * engine.mood_scores(query.text, "dialogue").mean(axis=0)
    return cast("Floats", engine.mood_shares(scores[None])[0])


def top(scores: Floats, keys: Sequence[str], k: int) -> NDArray[np.int64]:
    """Indices of the k best, best first; equal scores in the order of their keys.

    Args:
        scores: (n,), no NaN.
        keys: n strings, the tie breaker (paths).
        k: how many at most.
    """
    n = len(scores)
    k = min(k, n)
    if k <= 0:
        return np.zeros(0, np.int64)
    # All that equals the k-th score competes for the last places: ties must not depend on partition's order.
    threshold = np.partition(scores, n - k)[n - k]
    candidates = np.flatnonzero(scores >= threshold)
    order = sorted(candidates.tolist(), key=lambda i: (-float(scores[i]), keys[i]))
    return np.array(order[:k], np.int64)


def reasons(page: Floats, item: Floats, most: int = 2) -> tuple[str, ...]:
    """The moods that speak for a match, strongest first: those whose share is above chance on both sides.

    Args:
        page: (7,) mood shares of the query.
        item: (7,) mood shares of the item.
        most: how many at most.
    """
    chance = 1 / len(MOODS)
    common = [i for i in np.argsort(-(page * item), kind="stable") if page[i] > chance and item[i] > chance]
    return tuple(MOODS[i].lower() for i in common[:most])
