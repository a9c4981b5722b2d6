"""Readers that exist, with music: programs that run inside them or beside them."""
