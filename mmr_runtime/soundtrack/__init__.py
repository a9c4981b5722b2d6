"""A book cut into segments with a song for each: planned as a whole, or followed page by page; kept and exported."""

from __future__ import annotations

from mmr_runtime.soundtrack.compose import Fit, compose, fit, plan
from mmr_runtime.soundtrack.edit import correct, revise
from mmr_runtime.soundtrack.follow import Follower, Front, Reading
from mmr_runtime.soundtrack.formats import FORMS, Form, render, write
from mmr_runtime.soundtrack.options import Options, smooth, spread
from mmr_runtime.soundtrack.planning import plan_segments
from mmr_runtime.soundtrack.segments import RunnerUp, Segment
from mmr_runtime.soundtrack.soundtrack import Corrections, Part, Song, Soundtrack, assemble
from mmr_runtime.soundtrack.stored import from_json, to_json

__all__ = [
    "FORMS",
    "Corrections",
    "Fit",
    "Follower",
    "Form",
    "Front",
    "Options",
    "Part",
    "Reading",
    "RunnerUp",
    "Segment",
    "Song",
    "Soundtrack",
    "assemble",
    "compose",
    "correct",
    "fit",
    "from_json",
    "plan",
    "plan_segments",
    "render",
    "revise",
    "smooth",
    "spread",
    "to_json",
    "write",
]
