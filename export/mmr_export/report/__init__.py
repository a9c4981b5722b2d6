"""The quality report of a bundle: `mmr report` (DESIGN section 8)."""
