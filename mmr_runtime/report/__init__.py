"""A book's soundtrack as one HTML page that needs nothing beside it."""

from __future__ import annotations

from mmr_runtime.report.document import report_html

__all__ = ["report_html"]
