"""The tests themselves: the list of mutants (tests/mutants) does not rot, and test modules stand alone."""

from __future__ import annotations

import ast
from functools import cache

from mutants import ROOT, all_mutants

MUTANTS = [mutant for mutants in all_mutants().values() for mutant in mutants]


def test_every_mutant_applies() -> None:
    assert {m.name: m.problem() for m in MUTANTS if m.problem()} == {}


def test_names_are_unique() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) > 0


def test_every_mutant_still_parses() -> None:
    for mutant in MUTANTS:
        text = (ROOT / mutant.file).read_text(encoding="utf-8").replace(mutant.before, mutant.after)
        if mutant.file.endswith(".py"):
            ast.parse(text, mutant.name)


@cache
def functions(file: str) -> set[str]:
    """Names of a test file's functions."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_named_tests_exist() -> None:
    for test in (test for mutant in MUTANTS for test in mutant.tests if "::" in test):
        file, name = test.split("::")
        assert name.split("[")[0] in functions(file), test


def test_no_test_module_imports_another() -> None:
    """What two of them need stands in tests/factories.py or a fixture of conftest.py."""
    for path in sorted((ROOT / "tests").rglob("*.py")):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
        names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
        assert not [name for name in names if name.removeprefix("tests.").startswith("test_")], path.name
