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
    "files", "ava", "boxes", "progress", "people", "tracklets", "scenes", "tracking", "evaluation", "data", "training",
    "lart", "baselines", *PAPERS[1:], "figures", "runs", "build", "cli",
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


INSIDE = sorted(module for module in MODULES if module.count(".") and PACKAGE.joinpath(*module.split(".")[1:]) not in
                {PACKAGE / folder for folder in FOLDERS})  # fmt: skip


def test_every_folder_has_its_place() -> None:
    assert {room(module) for module in MODULES if "." in module} <= set(ORDER)


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
    wrong = [
        f"{module} imports the folder {target}"
        for module in INSIDE
        for target in edges(module)
        if target in {f"lart_mini.{folder}" for folder in FOLDERS}
    ]
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


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_states_its_public_names_and_nothing_else(folder: str) -> None:
    docstring, *imports, names = MODULES[f"lart_mini.{folder}"].body
    assert isinstance(docstring, ast.Expr) and isinstance(docstring.value, ast.Constant)
    assert isinstance(names, ast.Assign | ast.AnnAssign) and names.value is not None
    public = ast.literal_eval(names.value)
    taken = []
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


def public_names(folder: str) -> list[str]:
    return importlib.import_module(f"lart_mini.{folder}").__all__


def code_of(path: Path) -> str:
    """What a notebook, a script or a page of prose would run."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
        return "\n".join("".join(cell["source"]) for cell in cells)
    if path.suffix == ".md":
        return "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    return text


USERS = [*NOTEBOOKS, *sorted((ROOT / "benchmarks").glob("*.py")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("path", USERS, ids=lambda path: path.name)
def test_users_import_from_folders(path: Path) -> None:
    tree, wrong, folders = ast.parse(code_of(path)), [], set()
    for source, name in imported(tree):
        if source.split(".")[0] != "lart_mini":
            continue
        where = [*source.split(".")[1:], *([name] if name else [])]
        if not where or where[0] not in ORDER or (where[0] == "build" and path.suffix == ".ipynb"):
            wrong.append(f"{source} {name}")
        elif where[0] in FOLDERS:
            if len(where) > 2 or (len(where) == 2 and where[1] not in public_names(where[0])):
                wrong.append(f"{source} {name}: not public")
            if source == "lart_mini":
                folders.add(where[0])
    for node in ast.walk(tree):  # people.Body, after `from lart_mini import people`
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in folders:
            if node.attr not in public_names(node.value.id):
                wrong.append(f"{node.value.id}.{node.attr}: not public")
    assert not wrong, "\n".join(wrong)


def test_first_notebook_begins_with_few_imports() -> None:
    lines = [line for line in code_of(NOTEBOOKS[0]).splitlines() if re.match(r"(from|import) lart_mini", line)]
    assert 1 <= len(lines) <= 5, "\n".join(lines)


def drawn(block: str) -> str:
    """README's tree as it should be: words and order as they stand in `block`, files and names as they are.

    What is new comes last in its folder, with its docstring's first line, to be shortened by hand.
    """
    words: dict[str, str] = {}
    folder = ""
    for line in block.splitlines()[1:]:
        entry = re.match(r"( {2}| {4})([\w.]+/?)(?: +(.*))?$", line)
        if entry:
            folder = "" if len(entry[1]) == 2 else folder
            words[folder + entry[2]] = entry[3] or ""
            folder = entry[2] if entry[2].endswith("/") else folder
    lines = ["lart_mini/"]

    def add(path: Path, indent: str) -> None:
        name = path.relative_to(PACKAGE).as_posix() + ("/" if path.is_dir() else "")
        docstring = ast.get_docstring(MODULES[module_name(path / "__init__.py" if path.is_dir() else path)]) or ""
        shown = indent + path.name + ("/" if path.is_dir() else "")
        lines.append(f"{shown:24}{words.get(name) or docstring.splitlines()[0]}")

    for name in ORDER:
        if name not in FOLDERS:
            if (PACKAGE / f"{name}.py").exists():
                add(PACKAGE / f"{name}.py", "  ")
            continue
        add(PACKAGE / name, "  ")
        if public_names(name):
            names = f"[{' '.join(public_names(name))}]"
            lines.extend(textwrap.wrap(names, 110, initial_indent="    ", subsequent_indent="     "))
        order = list(words)
        files = [path for path in (PACKAGE / name).glob("*.py") if path.name != "__init__.py"]
        files.sort(key=lambda path: (order.index(at) if (at := f"{name}/{path.name}") in words else 999, path.name))
        for path in files:
            add(path, "    ")
    return "\n".join(lines) + "\n"


def test_readme_lists_every_file_and_public_name() -> None:
    found = BLOCK.search((ROOT / "README.md").read_text(encoding="utf-8"))
    block = found[1] if found else "lart_mini/\n"
    expected = drawn(block)
    assert block == expected, f"README's tree should be\n\n{expected}"
    assert max(map(len, block.splitlines())) <= 110
