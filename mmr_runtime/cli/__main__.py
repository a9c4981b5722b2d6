"""`python -m mmr_runtime.cli` is `mmr`."""

from __future__ import annotations

from mmr_runtime.cli import main

if __name__ == "__main__":
    main()
