"""`mmr bench`: how fast a bundle is on this machine, stage by stage and as whole processes (docs/benchmarks.md)."""
