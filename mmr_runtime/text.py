"""CLIP's tokenizer on the standard library: text becomes the ids that the text tower reads.

Byte-level BPE with 49,408 entries: 256 bytes, 256 bytes that end a word, 48,894 merges, start and end. Ids are equal
to those of CLIP's own tokenizer (which needs the packages `ftfy` and `regex`) for the golden texts and, in a property
test, for ordinary text of any script.
"""

from __future__ import annotations

import gzip
import heapq
import html
import html.entities
import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mmr_runtime.errors import BundleError, TextError

CONTEXT = 77
MERGES = 48_894
START = 49_406
END = 49_407

_MARKERS = {"<|startoftext|>": START, "<|endoftext|>": END}
_CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
_AGAIN = "copy or export the bundle again"
_CACHED_WORDS = 8192
_CACHED_LENGTH = 32  # words longer than this are seldom met twice


# -- cleaning ---------------------------------------------------------------------------------------------------------

_ENTITY = re.compile(r"&#?[0-9A-Za-z]{1,24};")
_ESCAPE_SEQUENCE = re.compile("\033\\[[0-9;]*[a-zA-Z]")
_LINE_BREAK = re.compile("\r\n?|[\u2028\u2029\x85]")
_SURROGATES = re.compile("[\ud800-\udbff][\udc00-\udfff]|[\ud800-\udfff]")
_CONTROLS = dict.fromkeys(
    (*range(0x09), 0x0B, *range(0x0E, 0x20), 0x7F, *range(0x206A, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFD))
)
_QUOTES = {ord(c): "'" for c in "ʼ‘’‚‛"} | {ord(c): '"' for c in "“”„‟"}
_LIGATURES = {ord(c): unicodedata.normalize("NFKC", c) for c in "ĲĳŉǄǅǆǇǈǉǊǋǌǱǲǳﬀﬁﬂﬃﬄﬆ"} | {ord("ﬅ"): "ſt"}
_WIDTHS = {0x3000: " "} | {code: unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF01, 0xFFF0)}
_TRANSLATIONS = _LIGATURES | _WIDTHS | _QUOTES

# Bytes that Windows-1252 leaves out stand for the C1 control of the same number, as browsers read them.
_WINDOWS_1252 = {byte: bytes([byte]).decode("cp1252", "ignore") or chr(byte) for byte in range(0x80, 0x100)}
_TO_BYTE = {ord(char): byte for byte, char in _WINDOWS_1252.items()} | {code: code for code in range(0x80, 0xA0)}
_C1 = {byte: char for byte, char in _WINDOWS_1252.items() if byte < 0xA0}


def _class(first: int, last: int) -> str:
    """A pattern's class of all characters that a UTF-8 byte in first..last turns into when misread."""
    return "[" + re.escape("".join(chr(c) for c, byte in _TO_BYTE.items() if first <= byte <= last)) + "]"


_TAIL = _class(0x80, 0xBF)
_MISREAD = re.compile(
    f"(?:{_class(0xC2, 0xDF)}{_TAIL}|{_class(0xE0, 0xEF)}{_TAIL}{{2}}|{_class(0xF0, 0xF4)}{_TAIL}{{3}})+"
)
# What proves a text misread: sequences that nobody writes. Marks that may well stand behind an accented letter (closing
# quotes, dashes, no-break space...) prove nothing by themselves; a C1 control does.
_PLAIN = "\xa0…’”»›–—•°‘“«‹‚„™®"
_LEAD_2, _LEAD_3, _C1_CLASS = _class(0xC2, 0xDF), _class(0xE0, 0xEF), "[\x80-\x9f]"
_PROOF = re.compile(
    f"[ÃÂ](?![…’]){_TAIL}"
    f"|{_LEAD_2}{_C1_CLASS}"
    f"|[ÎÏÐÑ×ØÙÅÄ]{_TAIL}[ÎÏÐÑ×ØÙÅÄ]{_TAIL}"
    f"|â€{_TAIL}"
    f"|{_LEAD_3}(?!\xa0|[{_PLAIN}]{{2}}){_TAIL}{{2}}"
    f"|ð(?![{_PLAIN}]{{3}}){_TAIL}{{3}}"
)


def clean(text: str) -> str:
    """Bring a text into the form that CLIP's merges were learned on.

    What CLIP does: `ftfy.fix_text`, HTML entities decoded twice, white space collapsed, lower case. Of ftfy's repairs
    these are done here: entities, curly quotes, ligatures, full and half width, line breaks, terminal escapes, control
    characters, surrogates, C1 controls, NFC, and UTF-8 misread as Windows-1252 or Latin-1. Not done: other misreadings
    (MacRoman, Windows-1250, -1251, -1253...), text with bytes lost in it (a no-break space become a space, a
    replacement character), entities in capitals ("&EACUTE;"), CESU-8. Random accented letters and marks, which ftfy
    sometimes takes for misread text, may be judged otherwise here.
    """
    lines = []
    entities = True
    for line in re.split("(?<=\n)", text):
        entities = entities and "<" not in line  # text that holds mark-up means its entities
        lines.append(_repair(line, entities))
    text = html.unescape(html.unescape("".join(lines)))
    return " ".join(text.split()).lower()


def _repair(text: str, entities: bool) -> str:
    """Do the repairs again and again until nothing changes: one may bring another to light."""
    if text.isascii() and text.isprintable() and "&" not in text:
        return text
    while True:
        before = text
        if entities:
            text = _ENTITY.sub(_entity, text)
        if _PROOF.search(text):
            text = _MISREAD.sub(_reread, text)
        text = text.translate(_C1).translate(_TRANSLATIONS)
        text = _LINE_BREAK.sub("\n", text)
        text = _SURROGATES.sub(_join_surrogates, text)
        text = _ESCAPE_SEQUENCE.sub("", text).translate(_CONTROLS)
        text = unicodedata.normalize("NFC", text)
        if text == before:
            return text


def _entity(match: re.Match[str]) -> str:
    name = match[0]
    return html.unescape(name) if name[1] == "#" or name[1:] in html.entities.html5 else name


def _reread(match: re.Match[str]) -> str:
    try:
        return bytes(_TO_BYTE[ord(char)] for char in match[0]).decode()
    except UnicodeDecodeError:
        return match[0]


def _join_surrogates(match: re.Match[str]) -> str:
    return match[0].encode("utf-16", "surrogatepass").decode("utf-16", "replace")


# -- words ------------------------------------------------------------------------------------------------------------


def _kind(char: str) -> str:
    """L for a letter, N for a number, a space, or P for any other mark."""
    if char.isspace():
        return " "
    major = unicodedata.category(char)[0]
    return major if major in "LN" else "P"


def words(text: str) -> Iterator[str]:
    """Split cleaned text as CLIP's pattern does.

    Markers, English contractions, runs of letters, single number characters, runs of other marks; the first that fits
    at a place is taken.
    """
    kinds = [_kind(char) for char in text]
    start = 0
    while start < len(text):
        kind = kinds[start]
        if kind == " ":
            start += 1
            continue
        fixed = _fixed_word(text, start)
        end = start + (len(fixed) if fixed else 1)
        if not fixed and kind != "N":
            while end < len(text) and kinds[end] == kind:
                end += 1
        yield text[start:end]
        start = end


def _fixed_word(text: str, start: int) -> str | None:
    if text[start] == "'":
        # The original's pattern ignores case by Unicode's rules, where the long s is an s.
        near = text[start : start + 3].replace("ſ", "s")
        return next((c for c in _CONTRACTIONS if near.startswith(c)), None)
    if text[start] == "<":
        return next((m for m in _MARKERS if text.startswith(m, start)), None)
    return None


# -- byte pairs -------------------------------------------------------------------------------------------------------


_PRINTABLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_BYTES = (*_PRINTABLE, *sorted(set(range(256)).difference(_PRINTABLE)))
"""The byte of each id 0..255: printable Latin-1 first. Id + 256 is the same byte at the end of a word."""
_SYMBOLS = (*map(chr, _PRINTABLE), *(chr(0x100 + i) for i in range(256 - len(_PRINTABLE))))
"""How the merges table writes them."""

_PLACES = (
    re.compile("(?<=\n)"),  # lines
    re.compile("(?<=[.!?…][\"'”’)])(?=\\s)|(?<=[.!?…])(?=\\s)|(?<=[。！？])(?![」』）])"),  # sentences
    re.compile("(?=\\s)|(?<=[、，])"),  # words
)
"""Where an over-long text is split, best first; every pattern matches between two characters."""


class Tokenizer:
    """CLIP's byte-pair encoder; it may serve many threads.

    Args:
        merges: pairs of ids; the i-th makes the id 512 + i. A smaller id is merged first.
    """

    def __init__(self, merges: dict[tuple[int, int], int]) -> None:
        self._merges = merges
        self._byte_ids = sorted(range(256), key=_BYTES.__getitem__)
        self._word = lru_cache(_CACHED_WORDS)(self._encode_word)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read merges.txt.gz of a bundle.

        Raises:
            BundleError: the file cannot be read or is not CLIP's table.
        """
        try:
            lines = gzip.decompress(Path(path).read_bytes()).decode().splitlines()
            ids = {symbol: i for i, symbol in enumerate((*_SYMBOLS, *(s + "</w>" for s in _SYMBOLS)))}
            merges: dict[tuple[int, int], int] = {}
            for line in lines:
                left, right = line.split(" ")
                # Each merge makes a symbol of its own, so its id also tells its rank.
                merges[ids[left], ids[right]] = ids[left + right] = 2 * 256 + len(merges)
        except (OSError, EOFError, ValueError, KeyError, zlib.error) as error:
            raise BundleError(f"cannot read the merges table {path}: {error}", _AGAIN) from error
        if len(merges) != MERGES or len(ids) != START:
            raise BundleError(f"the merges table {path} is not CLIP's", _AGAIN)
        return cls(merges)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, without start and end."""
        ids: list[int] = []
        for word in words(clean(text)):
            if word in _MARKERS:
                ids.append(_MARKERS[word])
            else:
                ids += (self._word if len(word) <= _CACHED_LENGTH else self._encode_word)(word)
        return ids

    def tokens(self, texts: Sequence[str], context: int = CONTEXT, *, pad_to: int | None = None) -> NDArray[np.int64]:
        """The text tower's input.

        Args:
            texts: any text, even an empty one.
            context: most ids per text, start and end included.
            pad_to: length of the rows; by default that of the longest text.

        Returns:
            int64 (n, length), padded with 0 behind.

        Raises:
            TextError: a text has more ids than `context`.
        """
        rows = [[START, *self.encode(text), END] for text in texts]
        longest = max(map(len, rows), default=0)
        if longest > context:
            raise TextError(f"the text takes {longest} tokens, the encoder at most {context}", "shorten it or split it")
        table = np.zeros((len(rows), longest if pad_to is None else pad_to), np.int64)
        for line, row in zip(table, rows, strict=True):
            line[: len(row)] = row
        return table

    def pieces(self, text: str, context: int = CONTEXT) -> list[str]:
        """Split a text into parts that each fit the encoder: at lines, else sentences, else words, else anywhere.

        Returns:
            At least one part; the text itself if it fits.
        """
        return self._split(text, context - 2, _PLACES)

    def _split(self, text: str, room: int, places: Sequence[re.Pattern[str]]) -> list[str]:
        if len(text) < 2 or len(self.encode(text)) <= room:
            return [text]
        if not places:
            half = len(text) // 2
            return self._split(text[:half], room, ()) + self._split(text[half:], room, ())
        parts: list[str] = []
        for unit in filter(str.strip, places[0].split(text)):
            if parts and len(self.encode(parts[-1] + unit)) <= room:
                parts[-1] += unit
            else:
                parts += self._split(unit, room, places[1:])
        return parts

    def _encode_word(self, word: str) -> tuple[int, ...]:
        """Merge the bytes of a word: always the pair of the lowest rank, the leftmost first.

        A pair that holds a merged symbol ranks behind that symbol's own merge, so a heap keeps the original's order.
        """
        ids = [self._byte_ids[byte] for byte in word.encode()]
        ids[-1] += 256
        count = len(ids)
        before, after = list(range(-1, count - 1)), list(range(1, count + 1))
        heap = [(self._merges[pair], i) for i, pair in enumerate(pairwise(ids)) if pair in self._merges]
        heapq.heapify(heap)
        while heap:
            new, left = heapq.heappop(heap)
            right = after[left]
            # Either may have been taken by another merge since; -1 stands in the place of one that is gone.
            if right == count or self._merges.get((ids[left], ids[right])) != new:
                continue
            ids[left], ids[right] = new, -1
            after[left] = after[right]
            if after[right] < count:
                before[after[right]] = left
            for i, j in ((before[left], left), (left, after[left])):
                if i >= 0 and j < count and (rank := self._merges.get((ids[i], ids[j]))) is not None:
                    heapq.heappush(heap, (rank, i))
        return tuple(i for i in ids if i >= 0)
