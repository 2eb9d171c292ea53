"""Fuzz everything that reads: `python tests/fuzz --help`.

Prints how many cases of each kind were read rightly and how many refused in one line; each fault with the
command that shows it again. Exit code 1 when there is a fault.
"""

# ruff: noqa: E402

from __future__ import annotations

import os
import sys
from pathlib import Path

# Children are forked: nothing may start threads before.
os.environ |= {"OMP_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "MPLBACKEND": "agg"}
HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import argparse
from collections import Counter

from kinds import MAKERS, fill_shelf
from runner import Outcome, outcomes, workshop
from tqdm import tqdm


def plan(cases: int, kinds: list[str]) -> list[tuple[str, int]]:
    """Kinds in turn, numbered from 0 each."""
    return [(kinds[i % len(kinds)], i // len(kinds)) for i in range(cases)]


def summary(found: list[Outcome], kinds: list[str]) -> str:
    """A line a kind."""
    lines = [f"{'kind':<12}{'cases':>8}{'read':>8}{'refused':>9}{'FAULTS':>8}{'seconds':>9}  slowest"]
    for kind in [*kinds, "all"]:
        own = [one for one in found if kind in (one.kind, "all")]
        count = Counter(one.verdict for one in own)
        seconds = sum(one.seconds for one in own)
        told = f"{count['read']:>8}{count['refused']:>9}{count['fault']:>8}{seconds:>9.1f}"
        slowest = max(own, key=lambda one: one.seconds, default=None)
        told += f"  {slowest.kind}:{slowest.number} ({slowest.seconds:.1f} s)" if slowest else ""
        lines.append(f"{kind:<12}{len(own):>8}{told}")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description="Fuzz everything that reads.")
    parser.add_argument("--cases", type=int, default=10_000, help="over all kinds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=sorted(MAKERS), help="one kind")
    parser.add_argument("--case", help="one case, as released:17; says how it ended")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="children side by side")
    parser.add_argument("--each", action="store_true", help="say how every case ended, not faults alone")
    options = parser.parse_args()
    kinds = [options.only] if options.only else sorted(MAKERS)
    cases = plan(options.cases, kinds)
    if options.case:
        kind, _, number = options.case.partition(":")
        kinds, cases = [kind], [(kind, int(number))]
    found: list[Outcome] = []
    with workshop() as folder, tqdm(total=len(cases), desc="cases", mininterval=1) as bar:
        fill_shelf(folder / "shelf")
        for outcome in outcomes(cases, MAKERS, options.seed, folder, options.jobs):
            found.append(outcome)
            bar.update()
            if outcome.verdict == "fault" or options.case or options.each:
                again = f"python tests/fuzz --seed {options.seed} --case {outcome.kind}:{outcome.number}"
                again += f"    # {outcome.seconds:.1f} s" if options.each else ""
                tqdm.write(f"{outcome.verdict}  {again}\n    {outcome.why[:600]}")
    print(summary(found, kinds))
    return int(any(one.verdict == "fault" for one in found))


if __name__ == "__main__":
    sys.exit(main())
