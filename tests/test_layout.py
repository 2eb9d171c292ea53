"""The house: imports run downwards, folders state their public names, and users import from folders alone."""

from __future__ import annotations

import ast
import importlib
import json
import re
import textwrap
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from notebook_kit import NOTEBOOKS, ROOT

PAPERS = ("lart", "action_transformer", "skeletr", "ups")  # none imports another
ORDER = (
    "files", "ava", "boxes", "progress", "reading", "people", "tracklets", "scenes", "tracking", "evaluation",
    "data", "appearance", "training", "lart", "baselines", *PAPERS[1:], "figures", "runs", "claims", "course",
    "build", "cli",
)  # fmt: skip
PACKAGE = ROOT / "lart_mini"
FOLDERS = [name for name in ORDER if (PACKAGE / name).is_dir()]
BLOCK = re.compile(r"```\n(lart_mini/\n.*?)```", re.DOTALL)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): ast.parse(path.read_text(encoding="utf-8")) for path in PACKAGE.rglob("*.py")}


def room(module: str) -> str:
    """The folder or top module that a module is in: lart_mini.people.body → people."""
    return module.split(".")[1]


def imported(tree: ast.AST) -> Iterator[tuple[str, str | None]]:
    """Every import of the package at any depth: (module, name), name None for `import module`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((entry.name, None) for entry in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, "no relative imports"
            yield from ((node.module, entry.name) for entry in node.names)


def edges(module: str) -> set[str]:
    """The modules of the package that a module imports, wherever it does so."""
    found = set()
    for source, name in imported(MODULES[module]):
        if source.split(".")[0] == "lart_mini":
            target = f"{source}.{name}" if f"{source}.{name}" in MODULES else source
            if target != "lart_mini":  # the version alone
                found.add(target)
    return found


FRONTS = {f"lart_mini.{folder}" for folder in FOLDERS}  # the folders' __init__
INSIDE = sorted(set(MODULES) - FRONTS - {"lart_mini"})


def test_every_folder_has_its_place() -> None:
    assert {room(module) for module in INSIDE} <= set(ORDER)


def test_imports_run_downwards() -> None:
    wrong = [
        f"{module} imports {target}"
        for module in INSIDE
        for target in sorted(edges(module))
        if ORDER.index(room(target)) > ORDER.index(room(module))
        or ({room(module), room(target)} <= set(PAPERS) and room(module) != room(target))
    ]
    assert not wrong, "\n".join(wrong)


def test_no_circle_inside_a_folder() -> None:
    list(TopologicalSorter({module: edges(module) for module in INSIDE}).static_order())


def test_inside_the_defining_module_is_imported() -> None:
    wrong = [f"{module} imports {target}" for module in INSIDE for target in edges(module) & FRONTS]
    assert not wrong, "\n".join(wrong)


def test_training_knows_no_paper() -> None:
    names = re.compile(rf"\b({'|'.join(PAPERS)})\b", re.IGNORECASE)
    wrong = [
        f"training/{path.name}:{number}: {line.strip()}"
        for path in sorted((PACKAGE / "training").glob("*.py"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if names.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def public_names(folder: str) -> list[str]:
    """A folder's __all__, read without running it."""
    names = MODULES[f"lart_mini.{folder}"].body[-1]
    assert isinstance(names, ast.Assign | ast.AnnAssign) and names.value is not None
    return ast.literal_eval(names.value)


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_states_its_public_names_and_nothing_else(folder: str) -> None:
    docstring, *imports, _ = MODULES[f"lart_mini.{folder}"].body
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    taken, public = [], public_names(folder)
    for statement in imports:
        assert isinstance(statement, ast.ImportFrom), ast.unparse(statement)
        assert str(statement.module).startswith(f"lart_mini.{folder}."), statement.module
        assert all(entry.asname is None for entry in statement.names)
        taken += [entry.name for entry in statement.names]
    assert public == sorted(taken, key=by_kind) and len(set(taken)) == len(taken)
    module = importlib.import_module(f"lart_mini.{folder}")
    assert module.__all__ == public and all(hasattr(module, name) for name in public)


def by_kind(name: str) -> tuple[int, str]:
    """CONSTANTS first, then Classes, then functions."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def code_of(path: Path) -> str:
    """What a notebook, a script or a page of prose would run."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        return "\n".join("".join(cell["source"]) for cell in cells)
    if path.suffix == ".md":
        return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    return text


TREE = PACKAGE / "README.md"
PROSE = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", TREE]
USERS = [*NOTEBOOKS, *sorted((ROOT / "benchmarks").glob("*.py")), *PROSE]


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.name)
def test_users_import_from_folders(path: Path) -> None:
    tree = ast.parse(code_of(path))
    used, folders = [], set()
    for source, name in imported(tree):
        if name and source.split(".")[0] == "lart_mini":
            used.append(f"{source}.{name}")
            folders |= {name} & set(FOLDERS) if source == "lart_mini" else set()
        elif source.startswith("lart_mini."):
            used.append(source)
    for node in ast.walk(tree):  # people.Body, after `from lart_mini import people`
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in folders:
            used.append(f"lart_mini.{node.value.id}.{node.attr}")
    wrong = [name for name in used if not public(name, notebook=path.suffix == ".ipynb")]
    assert not wrong, "not public: " + "\n".join(wrong)


def public(name: str, notebook: bool) -> bool:
    """Is it a folder, a top module, or what one of them offers?"""
    first, *rest = name.split(".")[1:]
    if first in FOLDERS:
        offered = len(rest) < 2 and set(rest) <= set(public_names(first))
        return offered and not (notebook and first == "build")
    return first == "__version__" or (first in ORDER and len(rest) < 2)


def test_first_notebook_begins_with_few_imports() -> None:
    lines = re.findall(r"^(?:from|import) lart_mini.*", code_of(NOTEBOOKS[0]), re.MULTILINE)
    assert 1 <= len(lines) <= 5, "\n".join(lines)


def drawn(block: str) -> str:
    """The tree as it should be: words and order as they stand in `block`, files and names as they are.

    What is new comes last in its folder, with its docstring's first line, to be shortened by hand.
    """
    words, folder = {}, ""
    for indent, name, said in re.findall(r"^( {2}| {4})([\w.]+/?) +(.*)$", block, re.MULTILINE):
        folder = "" if len(indent) == 2 else folder
        words[folder + name] = said
        folder = name if name.endswith("/") else folder
    order = list(words)

    def place(path: Path) -> tuple[int, str]:
        name = f"{path.parent.name}/{path.name}"
        return (order.index(name) if name in words else len(words)), path.name

    def line(indent: str, name: str, module: str) -> str:
        new = (ast.get_docstring(MODULES[module]) or "").split("\n")[0]
        return f"{indent + name.split('/', len(indent) // 4)[-1]:23} {words.get(name) or new}"

    lines = ["lart_mini/"]
    for name in ORDER:
        if (PACKAGE / f"{name}.py").exists():
            lines.append(line("  ", f"{name}.py", f"lart_mini.{name}"))
        if name in FOLDERS:
            lines.append(line("  ", f"{name}/", f"lart_mini.{name}"))
            names = f"[{' '.join(public_names(name))}]" if public_names(name) else ""
            lines += textwrap.wrap(names, 110, initial_indent="    ", subsequent_indent="     ")
            files = set((PACKAGE / name).glob("*.py")) - {PACKAGE / name / "__init__.py"}
            lines += [
                line("    ", f"{name}/{path.name}", module_name(path)) for path in sorted(files, key=place)
            ]
    return "\n".join(lines) + "\n"


def test_the_packages_readme_lists_every_file_and_public_name() -> None:
    found = BLOCK.search(TREE.read_text(encoding="utf-8"))
    block = found[1] if found else ""
    expected = drawn(block)
    assert block == expected, f"the tree in lart_mini/README.md should be\n\n{expected}"
    assert max(map(len, block.splitlines())) <= 110


def test_the_readme_lists_every_folder_in_the_same_words() -> None:
    short, whole = (BLOCK.search(path.read_text(encoding="utf-8")) for path in (ROOT / "README.md", TREE))
    assert short and whole
    top = [line for line in whole[1].splitlines() if re.match(r"(  )?[a-z]", line)]
    assert short[1].splitlines() == top
