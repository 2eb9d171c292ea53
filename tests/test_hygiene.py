"""Every committed notebook was executed in order, cleanly, and keeps the anatomy that all of them share."""

from __future__ import annotations

import re
from functools import reduce
from importlib import import_module
from pathlib import Path

import nbformat
import pytest
from notebook_kit import NOTEBOOKS, ROOT

MOST_BYTES = 1_000_000
MOST_LINES = 25
SECTIONS = ("Objectives", "Check yourself", "Summary", "Exercises", "References")
IMAGES = ("image/png", "image/jpeg", "image/svg+xml")
ABSOLUTE = re.compile(  # or two folders up, which is outside the project
    r"(?<![\w/.:])/(home|root|work|tmp|usr|opt|Users|mnt|var)/|[A-Za-z]:\\\\|\.\./\.\./"
)


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS and NOTEBOOKS[0].stem == "00_start_here"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in code(notebook) for output in cell.outputs]


def prose(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_size_and_format(path: Path) -> None:
    assert path.stat().st_size < MOST_BYTES
    nbformat.validate(nbformat.read(path, as_version=4))


def test_executed_in_order(notebook: nbformat.NotebookNode) -> None:
    cells = code(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_no_errors_and_no_noise(notebook: nbformat.NotebookNode) -> None:
    for output in outputs(notebook):
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text


def test_no_paths_of_a_machine(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        assert not ABSOLUTE.search(cell.source), cell.source
    for output in outputs(notebook):
        texts = [
            output.get("text", ""),
            *(str(v) for k, v in output.get("data", {}).items() if k == "text/plain"),
        ]
        assert not any(ABSOLUTE.search(text) for text in texts), texts


def test_no_widgets_committed(notebook: nbformat.NotebookNode) -> None:
    assert "widgets" not in notebook.metadata
    for output in outputs(notebook):
        assert not any("widget" in kind for kind in output.get("data", {}))


def test_anatomy(notebook: nbformat.NotebookNode) -> None:
    tagged = [cell for cell in code(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    # Formulas and comments aside, one line that begins with a single # is the title.
    headings = re.findall(
        r"^(#+) (.+)$", re.sub(r"```.*?```", "", prose(notebook), flags=re.DOTALL), re.MULTILINE
    )
    assert [marks for marks, _ in headings].count("#") == 1 and headings[0][0] == "#"
    titles = " ".join(title for _, title in headings)
    for section in SECTIONS:
        assert section in titles, section


def test_cells_are_short_and_asserts_exist(notebook: nbformat.NotebookNode) -> None:
    for cell in code(notebook):
        assert len(cell.source.splitlines()) <= MOST_LINES, cell.source
    sources = [cell.source for cell in code(notebook)]
    assert any(
        re.search(r"^\s*(assert |np\.testing|torch\.testing|testing\.)", source, re.M) for source in sources
    )
    last = max(i for i, cell in enumerate(notebook.cells) if "## Check yourself" in cell.source)
    following = [cell.source for cell in notebook.cells[last:] if cell.cell_type == "code"]
    assert any("assert" in source for source in following)


def test_code_that_only_draws_is_folded(notebook: nbformat.NotebookNode) -> None:
    for cell in code(notebook):
        folded = bool(cell.metadata.get("jupyter", {}).get("source_hidden"))
        assert folded == ("plot" in cell.metadata.get("tags", [])), cell.source


def test_every_picture_has_words(notebook: nbformat.NotebookNode) -> None:
    for output in outputs(notebook):
        data = output.get("data", {})
        for kind in IMAGES:
            if kind in data:
                assert len(output.metadata.get(kind, {}).get("alt", "")) > 15, data.get("text/plain")
        for tag in re.findall(r"<img\b[^>]*>", data.get("text/html", "")):
            assert re.search(r'alt="[^"]{15,}"', tag), tag[:200]


def test_start_here_names_every_notebook_and_folders_that_exist() -> None:
    """00 has a table of stages and one of sessions; whoever adds a notebook adds it to both."""
    lines = prose(nbformat.read(NOTEBOOKS[0], as_version=4)).splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("|")]
    stages, sessions = [row for row in rows if len(row) == 3], [row for row in rows if len(row) == 4]
    stems = {path.stem for path in NOTEBOOKS}
    assert {name for row in stages for name in re.findall(r"`(\w+)`", row[2])} == stems - {"00_start_here"}
    assert {name for row in sessions for name in re.findall(r"`(\w+)`", row[1])} == stems
    folders = {name for row in stages for name in re.findall(r"`(\w+)`", row[1])} - {"lart_mini"}
    assert folders and all((ROOT / "lart_mini" / name).is_dir() for name in folders)


def test_start_here_names_functions_that_exist() -> None:
    """00 has a table from the paper to the kit: each name in it is one that `lart_mini` has."""
    lines = prose(nbformat.read(NOTEBOOKS[0], as_version=4)).splitlines()
    names = [found for line in lines if (found := re.search(r"\| `([a-z_]+)\.([\w.]+)` \| \[`", line))]
    assert len(names) > 15
    for name in names:
        folder, path = name.groups()
        assert callable(reduce(getattr, path.split("."), import_module(f"lart_mini.{folder}"))), name[0]
