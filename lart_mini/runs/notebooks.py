"""Run every notebook with one profile's parameters and put what they found into one page and one JSON file.

runs/<profile>/NN_topic.ipynb   the notebooks as they ran
runs/<profile>/parts/*.json     what they recorded, one file a part
runs/<profile>/results.json     all parts, seconds, commit and versions; written last: it means success
runs/<profile>/report.html      results first, then every notebook
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from lart_mini.files import BadInput, atomic_path, shipped

REQUIRED_PARTS = ("validation", "baselines", "ladder")
VERSIONS = (
    "lart_mini",
    "lightning-fabric",
    "matplotlib",
    "numpy",
    "papermill",
    "polars",
    "scipy",
    "smplx",
    "torch",
)


class NotebookFailed(RuntimeError):
    """A notebook that did not run to its end. Its text is one line: notebook, cell, error."""


@dataclass(frozen=True)
class Profile:
    """How much work to do: parameters for each notebook, in reading order."""

    name: str
    cell_timeout: int  # seconds one cell may take
    notebooks: dict[str, dict[str, Any]]  # notebook without its suffix → papermill parameters


def find_notebooks(notebooks: str | Path | None = None) -> Path:
    """The folder of notebooks: the one given, else the one beside the package, else ./notebooks."""
    candidates = [Path(notebooks)] if notebooks else [shipped("notebooks"), Path("notebooks")]
    for folder in candidates:
        if any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder
    raise BadInput(candidates[0], "notebooks", "files NN_topic.ipynb", "none")


def read_profile(name: str, notebooks: Path) -> Profile:
    """Read profiles/`name`.yaml beside the notebooks and hold every parameter to those the notebooks declare.

    Raises BadInput for a profile, notebook, key or parameter that does not exist.
    """
    folder = notebooks.resolve().parent / "profiles"
    path = folder / f"{name}.yaml"
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    if name not in known:
        raise BadInput(f"profiles/{name}.yaml", "profile", " | ".join(known) or "a profile", name)
    shown = f"profiles/{path.name}"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadInput(shown, "file", "YAML", " ".join(str(error).split())) from None
    if not isinstance(content, dict) or set(content) != {"cell_timeout", "notebooks"}:
        raise BadInput(shown, "keys", "cell_timeout, notebooks", content and ", ".join(map(str, content)))
    stems = sorted(file.stem for file in notebooks.glob("[0-9][0-9]_*.ipynb"))
    given = content["notebooks"] or {}
    for stem in given:
        if stem not in stems:
            raise BadInput(shown, "notebooks", f"one of {', '.join(stems)}", stem)
    chosen = {stem: dict(given.get(stem) or {}) for stem in stems}
    for stem, parameters in chosen.items():
        _check_parameters(shown, stem, parameters, declared_parameters(notebooks / f"{stem}.ipynb"))
    return Profile(name, int(content["cell_timeout"]), chosen)


def declared_parameters(notebook: Path) -> set[str]:
    """Names that the `parameters` cell of a notebook sets."""
    from papermill import inspect_notebook

    return set(inspect_notebook(str(notebook)))


def _check_parameters(profile: str, stem: str, given: Mapping[str, Any], declared: set[str]) -> None:
    for name in given:
        if name not in declared:
            expected = ", ".join(sorted(declared)) or "no parameter"
            raise BadInput(profile, f"parameter of {stem}", f"one of {expected}", name)
    if "run_dir" not in declared:
        raise BadInput(
            f"{stem}.ipynb", "parameters cell", "run_dir = …", ", ".join(sorted(declared)) or "no such cell"
        )


def reproduce(
    profile: str, out: str | Path | None = None, notebooks: str | Path | None = None
) -> dict[str, Any]:
    """Run all notebooks, write results.json and report.html into `out` (runs/<profile>), return the results.

    Raises BadInput before anything runs, NotebookFailed at the first notebook that fails; then there is no
    results.json.
    """
    from lart_mini.runs.report import write_report

    folder = find_notebooks(notebooks)
    plan = read_profile(profile, folder)
    run_dir = Path(out) if out else folder.resolve().parent / "runs" / profile
    # What an earlier run left, its trained weights too, must not find its way into this one's results.
    earlier = [file for kind in ("parts/*.json", "*.safetensors", "*.csv") for file in run_dir.glob(kind)]
    for old in [run_dir / "results.json", run_dir / "report.html", *earlier]:
        old.unlink(missing_ok=True)
    run_dir.mkdir(parents=True, exist_ok=True)
    began, seconds = time.perf_counter(), {}
    for number, (stem, parameters) in enumerate(plan.notebooks.items(), start=1):
        started = time.perf_counter()
        run_notebook(folder / f"{stem}.ipynb", run_dir, parameters, plan.cell_timeout)
        seconds[stem] = round(time.perf_counter() - started, 1)
        print(f"[{number}/{len(plan.notebooks)}] {stem}  {seconds[stem]:.1f} s", flush=True)
    results = {
        "profile": profile,
        "seconds": round(time.perf_counter() - began, 1),
        "notebook_seconds": seconds,
        **collect(run_dir),
        "commit": commit(folder),
        "versions": versions(),
    }
    write_report(results, [run_dir / f"{stem}.ipynb" for stem in plan.notebooks], run_dir / "report.html")
    with atomic_path(run_dir / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return results


def run_notebook(notebook: Path, run_dir: Path, parameters: Mapping[str, Any], cell_timeout: int) -> None:
    """Run one notebook with papermill in its own folder. Raises NotebookFailed naming notebook and cell."""
    import papermill
    from nbclient.exceptions import CellTimeoutError, DeadKernelError

    given = {"run_dir": os.path.relpath(run_dir, notebook.parent), **parameters}
    try:
        papermill.execute_notebook(
            str(notebook),
            str(run_dir / notebook.name),
            parameters=given,
            cwd=str(notebook.parent),
            progress_bar={"desc": notebook.stem, "leave": False, "disable": None},
            execution_timeout=cell_timeout,
            extra_arguments=["--log-level=ERROR"],
        )
    except papermill.PapermillExecutionError as error:
        where, problem = f"cell {error.exec_count}", f"{error.ename}: {error.evalue}"
    except CellTimeoutError:
        where, problem = _last_cell(run_dir / notebook.name), f"ran longer than {cell_timeout} s"
    except DeadKernelError:
        where, problem = _last_cell(run_dir / notebook.name), "the kernel died (out of memory?)"
    else:
        return
    raise NotebookFailed(f"{notebook.name}: {where}: {' '.join(problem.split())}")


def _last_cell(notebook: Path) -> str:
    """Which code cell was running when the kernel was lost: the one after the last that has a count."""
    import nbformat

    counts = [
        cell.execution_count or 0 for cell in nbformat.read(notebook, 4).cells if cell.cell_type == "code"
    ]
    return f"cell {max(counts, default=0) + 1}"


def collect(run_dir: Path) -> dict[str, Any]:
    """All parts of a run by name. Raises BadInput when a required one was not recorded."""
    parts = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(run_dir.glob("parts/*.json"))
    }
    for name in REQUIRED_PARTS:
        if name not in parts:
            raise BadInput(
                "results.json", name, "recorded by a notebook", f"only {', '.join(parts) or 'nothing'}"
            )
    return parts


def commit(folder: Path) -> str | None:
    """The commit the notebooks stand on, "-dirty" added where the tree differs from it, None without git."""

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can move a number."""
    return {"python": platform.python_version(), **{name: version(name) for name in VERSIONS}}
