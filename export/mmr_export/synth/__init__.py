"""Generators of training and demo material: manga-like pages and short pieces of music, both from a seed."""
