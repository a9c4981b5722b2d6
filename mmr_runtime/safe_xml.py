"""XML of unknown origin: without a document type, so that no entity can grow or reach for a file."""

from __future__ import annotations

from typing import NoReturn
from xml.etree import ElementTree
from xml.parsers import expat

from mmr_runtime.errors import InputError


def parse(content: bytes, name: str) -> ElementTree.Element:
    """The root element; names of elements are those after the namespace.

    Raises:
        InputError: the content is not XML, or declares a document type.
    """
    builder = ElementTree.TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    def refuse(*_: object) -> NoReturn:
        raise InputError(f"{name} declares a document type", "remove the line that begins with <!DOCTYPE")

    def start(tag: str, attributes: dict[str, str]) -> None:
        builder.start(_local(tag), {_local(key): value for key, value in attributes.items()})

    def end(tag: str) -> None:
        builder.end(_local(tag))

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, ValueError, AssertionError) as error:
        raise InputError(f"{name} is not XML: {error}", "remove it, or write it again") from error


def _local(name: str) -> str:
    return name.rpartition("}")[2]
