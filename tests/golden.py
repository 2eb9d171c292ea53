"""Figures that a small data set is known by, and the data's version they belong to: expected/mini_ava.json.

    python tests/golden.py      write them anew, once it is known why they moved and VERSION is raised

Figures, not digests: another machine's last digits move a digest, but no figure by more than TOLERANCE.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import numpy as np

from lart_mini.data import mini_ava
from lart_mini.data.mini_ava import SIZES, SPLITS, VERSION, MiniAva, Size
from lart_mini.tracklets.tracklet import Tracklet

STORED = Path(__file__).parent / "expected" / "mini_ava.json"
TINY = Size(train=8, kinetics=2, val=5, test=2, windows=1)
TOLERANCE = 2e-4  # of a field's standard deviation; a draw more or less moves some figure by ten times that
FIELDS = ("pose", "betas", "translation", "joints", "box", "confidence", "labels")


def figures(data: MiniAva) -> dict[str, dict[str, dict[str, float]]]:
    """Split → tracklet's name → figure → value."""
    return {split: {one.name: _figures(one) for one in data.tracklets(split)} for split in SPLITS}


def _figures(tracklet: Tracklet) -> dict[str, float]:
    """Frames detected, rows labelled, and a weighted mean of each field, in its own standard deviations."""
    found = {
        "detected": float(tracklet.detected.sum()),
        "labelled": float((tracklet.label_source > 0).sum()),
    }
    for name in FIELDS:
        numbers = getattr(tracklet, name).astype(np.float64).ravel()
        weights = np.cos(np.arange(len(numbers)))  # so that no two numbers can stand in for each other
        spread = numbers.std()
        found[name] = float(round((numbers * (2 + weights)).mean() / spread, 7)) if spread > 0 else 0.0
    return found


def differences(stored: dict, made: dict) -> list[str]:
    """What moved, a line each; nothing if the data are the same but for last digits."""
    lines = []
    for split in SPLITS:
        before, after = stored[split], made[split]
        if list(before) != list(after):
            lines.append(f"{split}: tracklets {sorted(set(before) ^ set(after))}")
            continue
        for name, known in before.items():
            for field, value in known.items():
                found, allowed = after[name][field], 2 if field in ("detected", "labelled") else TOLERANCE
                if abs(found - value) > allowed:
                    lines.append(f"{name}: {field} {value} → {found}")
    return lines


def main() -> None:
    """Compose the small data set and store its figures."""
    SIZES["tiny"] = TINY
    with tempfile.TemporaryDirectory() as folder:
        made = figures(mini_ava("tiny", 0, folder, jobs=1))
    STORED.write_text(json.dumps({"version": VERSION, "figures": made}, indent=1) + "\n", encoding="utf-8")
    print(f"{STORED.name}: version {VERSION}, {sum(map(len, made.values()))} tracklets")


if __name__ == "__main__":
    main()
