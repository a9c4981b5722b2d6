"""The quality report of a bundle: `mmr quality` (DESIGN section 8)."""
