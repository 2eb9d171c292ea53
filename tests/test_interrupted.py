"""A few kills of each; `python tests/interrupted` does many."""

from __future__ import annotations

import subprocess
import sys

import interrupted
import pytest


@pytest.mark.parametrize(("name", "times"), [("compose", 2), ("convert", 4), ("train", 3), ("reproduce", 1)])
def test_killed_work_ends_as_if_nothing_had_happened(name: str, times: int) -> None:
    """In a process of its own: threads that other tests started do not live on in what it forks."""
    job = [sys.executable, interrupted.__path__[0], name, "--times", str(times)]
    done = subprocess.run(job, capture_output=True, text=True)
    assert done.returncode == 0 and f"killed {times} times" in done.stdout, done.stdout + done.stderr
