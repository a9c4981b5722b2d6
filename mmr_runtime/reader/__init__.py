"""`mmr-reader`: a small desktop reader for manga with music, and the reference of a host (extra `reader`, PySide6)."""
