"""A few kills of each; `python tests/interrupted` does many."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import interrupted
import pytest


@pytest.mark.parametrize(("name", "times"), [("compose", 2), ("convert", 4), ("train", 3), ("reproduce", 1)])
def test_killed_work_ends_as_if_nothing_had_happened(name: str, times: int) -> None:
    """In a process of its own: threads that other tests started do not live on in what it forks."""
    job = [sys.executable, interrupted.__path__[0], name, "--times", str(times)]
    done = subprocess.run(job, capture_output=True, text=True)
    assert done.returncode == 0 and f"killed {times} times" in done.stdout, done.stdout + done.stderr


def test_a_crash_is_a_fault_and_no_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupted, "run", lambda *_, moment=None: int(moment is not None))
    told = interrupted.kill("convert", tmp_path, 2, seed=0)
    assert told.kills == 0 and told.faults == [f"{tmp_path / 'round0'} did not go on"]
