"""What is wrong when a mAP is far from what it should be: the usual faults, recognised from the tables."""

from __future__ import annotations

import polars as pl


def diagnose(groundtruth: pl.DataFrame, detections: pl.DataFrame, cap: int | None = None) -> list[str]:
    """Sentences on what is wrong, the gravest first."""
    return []
