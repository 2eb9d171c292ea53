"""Mutants: plausible mistakes, each with the tests that must turn red when it is made.

`python tests/mutants` makes them one by one in a scratch copy of the tree and says how many were caught.
A list has a file of its own here and is named MUTANTS.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Mutant:
    """One mistake: `before`, which stands once in `file`, becomes `after`."""

    name: str
    file: str  # relative to the project's root
    before: str
    after: str
    tests: tuple[str, ...]  # files or ids, as pytest takes them at the project's root

    def problem(self, root: Path = ROOT) -> str:
        """Why it does not apply to the tree any more; empty if it does."""
        path = root / self.file
        if not path.is_file():
            return f"no file {self.file}"
        count = path.read_text(encoding="utf-8").count(self.before)
        if count != 1:
            return f"{self.file} has its text {count} times"
        if self.before == self.after:
            return "changes nothing"
        missing = [test for test in self.tests if not (root / test.split("::")[0]).is_file()]
        return f"no file {missing[0]}" if missing else "" if self.tests else "names no test"


def all_mutants() -> dict[str, list[Mutant]]:
    """The mutants of every list, by its name."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return {name: importlib.import_module(f"mutants.{name}").MUTANTS for name in names if name != "__main__"}


def run_pytest(tree: Path, tests: tuple[str, ...], output: Path) -> None:
    """Run the tests of a tree in this process, with what they print in a file, and end with pytest's code."""
    with open(output, "w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(tree)
    os.environ |= {"PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    sys.dont_write_bytecode = True
    sys.path = [str(tree), *(path for path in sys.path if path not in ("", str(ROOT), str(ROOT / "tests")))]
    import pytest

    import lart_mini

    assert Path(lart_mini.__file__).resolve().is_relative_to(tree.resolve()), lart_mini.__file__
    sys.exit(int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])))
