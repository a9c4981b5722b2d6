"""Books as ordered pages: folders, comic archives, EPUB and PDF; and their vectors, kept from run to run."""

from __future__ import annotations

from mmr_runtime.books.book import Book, Page
from mmr_runtime.books.cache import VectorCache
from mmr_runtime.books.dialogue import Dialogue
from mmr_runtime.books.embedding import BookEmbedding, embed_book
from mmr_runtime.books.info import BookInfo

__all__ = ["Book", "BookEmbedding", "BookInfo", "Dialogue", "Page", "VectorCache", "embed_book"]
