"""Make every mutant and see whether its tests notice.

    python tests/mutants [--only NAME] [--jobs N] [--list]

Each mutant gets a copy of the tree of its own in a temporary folder; the working tree is never touched. First
the tests that the mutants name must pass on an unchanged copy. Ends with 1 unless every mutant was caught.
"""

from __future__ import annotations

import argparse
import multiprocessing
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from mutants import ROOT, Mutant, all_mutants, run_pytest

LIMIT = 3600  # seconds for a mutant's tests, which take a few; a mutant may hang
# Each run is a fork of a process that has the large packages already, but nothing of lart_mini.
PROCESSES = multiprocessing.get_context("forkserver")
LARGE = "torch scipy.stats scipy.signal polars joblib lightning_fabric matplotlib.figure hypothesis pytest"
PROCESSES.set_forkserver_preload(LARGE.split())


@contextmanager
def scratch(mutant: Mutant | None = None) -> Iterator[Path]:
    """A copy of the tree, with the mutant in it; links to folders that nobody changes."""
    copied = {"lart_mini", "tests"} | ({mutant.file.split("/")[0]} if mutant else set())
    with tempfile.TemporaryDirectory(prefix="mutant_") as folder:
        tree = Path(folder)
        for entry in ROOT.iterdir():
            if entry.is_file() and entry.name != ".git":
                shutil.copy2(entry, tree)
            elif entry.name in copied:
                shutil.copytree(entry, tree / entry.name)
            elif entry.is_dir() and entry.name not in ("runs", "build") and not entry.name.startswith("."):
                (tree / entry.name).symlink_to(entry)
        if mutant:
            path = tree / mutant.file
            text = path.read_text(encoding="utf-8")
            path.write_text(text.replace(mutant.before, mutant.after), encoding="utf-8")
        yield tree


def run_tests(tree: Path, tests: tuple[str, ...]) -> tuple[int | None, str]:
    """pytest's exit code and its output; None where it did not end."""
    output = tree / "output.txt"
    process = PROCESSES.Process(target=run_pytest, args=(tree, tests, output))
    process.start()
    process.join(LIMIT)
    if process.exitcode is None:
        process.kill()
    return process.exitcode, output.read_text(encoding="utf-8", errors="replace")


def passes(tests: tuple[str, ...]) -> str:
    """Empty where an unchanged copy passes these tests, else what they said."""
    with scratch() as tree:
        code, output = run_tests(tree, tests)
    return "" if code == 0 else output


def verdict(mutant: Mutant) -> str:
    """caught (and by which test first), ESCAPED, or why nothing can be said."""
    problem = mutant.problem()
    if problem:
        return f"does not apply: {problem}"
    with scratch(mutant) as tree:
        code, output = run_tests(tree, mutant.tests)
    if code == 1:
        return " by ".join(["caught", *re.findall(r"^FAILED (\S+)", output, re.M)])
    last = output.strip().splitlines()[-1:] or ["nothing"]
    return "ESCAPED" if code == 0 else f"no answer: pytest ended with {code}, {last[0]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", metavar="NAME", action="append", help="a mutant, or a list of them")
    parser.add_argument("--jobs", type=int, default=1, help="mutants at a time")
    parser.add_argument("--list", action="store_true", help="print their names and end")
    options = parser.parse_args()
    lists = all_mutants()
    wanted = options.only or list(lists)
    unknown = set(wanted) - set(lists) - {mutant.name for mutants in lists.values() for mutant in mutants}
    if unknown or options.jobs < 1:
        parser.error(f"no mutant or list {sorted(unknown)}" if unknown else "--jobs: at least 1")
    chosen = [m for name, mutants in lists.items() for m in mutants if {name, m.name} & set(wanted)]
    if options.list:
        print(*(f"{mutant.name}  ({mutant.file})" for mutant in chosen), sep="\n")
        return 0
    by_file: dict[str, set[str]] = {}
    for test in (test for mutant in chosen for test in mutant.tests):
        by_file.setdefault(test.split("::")[0], set()).add(test)
    with ThreadPoolExecutor(options.jobs) as pool:
        files = [tuple(sorted(tests)) for tests in by_file.values()]
        red = [said for said in pool.map(passes, files) if said]
        if red:
            print("without any mutant these tests do not pass:", *red, sep="\n")
            return 1
        caught = 0
        for mutant, said in zip(chosen, pool.map(verdict, chosen), strict=True):
            caught += said.startswith("caught")
            print(f"{mutant.name}: {said}", flush=True)
    print(f"{caught} of {len(chosen)} mutants caught")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
