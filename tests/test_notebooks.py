"""The whole smoke run: every notebook through papermill, its results held to the stored ones.

After a change that moves the results on purpose: `cp runs/smoke/results.json tests/expected/smoke.json`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from notebook_kit import NOTEBOOKS, ROOT

from lart_mini.runs.notebooks import reproduce

EXPECTED = ROOT / "tests" / "expected" / "smoke.json"
NOT_HELD = {"seconds", "notebook_seconds", "commit", "versions"}
# Threads and library versions move trained scores a little; counts do not move at all.
TOLERANCE = 0.05


def differences(found: Any, expected: Any, where: str) -> list[str]:
    """Lines that say where two JSON values differ by more than TOLERANCE; seconds are passed over."""
    if isinstance(expected, dict) and isinstance(found, dict):
        lines = [f"{where}: keys {sorted(set(found) ^ set(expected))}"] if set(found) != set(expected) else []
        shared = [key for key in expected if key in found and "second" not in key]
        return lines + [
            line for key in shared for line in differences(found[key], expected[key], f"{where}.{key}")
        ]
    if isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        pairs = enumerate(zip(found, expected, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{where}[{i}]")]
    numbers = isinstance(expected, float) and isinstance(found, float)
    close = abs(found - expected) <= TOLERANCE * max(1, abs(expected)) if numbers else found == expected
    return [] if close else [f"{where}: {found}, stored {expected}"]


def test_differences_finds_what_it_should() -> None:
    stored = {"a": 0.5, "b": [1, {"c": None}], "seconds": 3}
    assert differences({"a": 0.52, "b": [1, {"c": None}], "seconds": 9}, stored, "x") == []
    assert differences({"a": 0.6, "b": [2, {"c": None}], "seconds": 3}, stored, "x") == [
        "x.a: 0.6, stored 0.5", "x.b[0]: 2, stored 1",
    ]  # fmt: skip
    assert differences({"b": [1]}, stored, "x") != []


@pytest.mark.notebooks
def test_smoke_run_gives_the_stored_results(tmp_path: Path) -> None:
    results = reproduce("smoke", out=tmp_path / "smoke")
    assert set(results["notebook_seconds"]) == {path.stem for path in NOTEBOOKS}
    held = {key: value for key, value in results.items() if key not in NOT_HELD}
    stored = json.loads(EXPECTED.read_text(encoding="utf-8"))
    problems = differences(
        held, {key: value for key, value in stored.items() if key not in NOT_HELD}, "results"
    )
    assert not problems, "\n".join(problems)
