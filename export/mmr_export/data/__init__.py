"""Training data: labelled pages, clips and texts, and the teachers that add features to them."""
