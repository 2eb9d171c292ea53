"""300 cases of the fuzz: everything is read rightly or refused in one line, and each kind has both."""

from __future__ import annotations

import re
import subprocess
import sys

from notebook_kit import ROOT

CASES, SEED = 300, 0


def test_everything_is_read_or_refused() -> None:
    """In a process of its own, which forks: this one has threads. More by `make fuzz`."""
    fuzz = [sys.executable, "tests/fuzz", "--cases", str(CASES), "--seed", str(SEED)]
    done = subprocess.run(fuzz, cwd=ROOT, capture_output=True, text=True, encoding="utf-8")
    rows = re.findall(r"^(\w+) +(\d+) +(\d+) +(\d+) +(\d+) ", done.stdout, re.MULTILINE)
    assert rows and done.returncode == 0, done.stdout + done.stderr[-2000:]
    for kind, cases, read, refused, faults in rows:
        assert int(read) and int(refused) and not int(faults), f"{kind}: {cases} cases, none of one sort"
    assert rows[-1][:2] == ("all", str(CASES)) and len(rows) > 10
