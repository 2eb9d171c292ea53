"""What a run consists of: notebooks in reading order, their parameters, and what each needs before it.

profiles/<name>.yaml says how much work to do. What must run before a notebook stands in its own metadata:
`"lart_mini": {"needs": ["05_pretrain"]}` names those whose results it reads; where one of them fails, it is
not run. `"after"` is order alone: 00 makes mini_ava, and those that make more of it find it made (who only
reads it waits for it while it is made). `"trains"` says what takes long, `"takes"` about how many seconds of
one core with the smoke profile: the longest chain starts first.
Opened alone, a notebook makes what is missing by itself.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lart_mini.files import BadInput, shipped, whole_number
from lart_mini.reading.text import read_json, read_yaml

MOST_THREADS = 4096
TRAINED = ("pretrain", "finetune", "control")  # a model for each seed, and one more
USUAL = 10  # seconds of a notebook that does not say what it takes
SILENCE = 600  # seconds that a kernel may neither compute nor say anything


class NotebookFailed(RuntimeError):
    """Notebooks that did not run to their end. Its text is a line for each: notebook, cell, error."""


@dataclass(frozen=True)
class Plan:
    """One size of work."""

    name: str  # of the profile: smoke, laptop or gpu
    threads: int  # of each notebook; a trained model's last digits depend on it
    folder: Path  # of the notebooks
    notebooks: dict[str, dict[str, Any]]  # notebook without its suffix → papermill parameters
    needs: dict[str, tuple[str, ...]]  # notebook → earlier ones whose results it reads
    after: dict[str, tuple[str, ...]]  # notebook → earlier ones that should have run before it, all the same
    trains: dict[str, tuple[str, ...]]  # notebook → what it trains by its parameters, of TRAINED
    takes: dict[str, int]  # notebook → about how long, in seconds of one core with the smoke profile


def find_notebooks(notebooks: str | Path | None = None) -> Path:
    """The folder of notebooks: the one given, else the one that comes with the kit, else ./notebooks."""
    candidates = [Path(notebooks)] if notebooks else [shipped("notebooks"), Path("notebooks")]
    for folder in candidates:
        if any(folder.glob("[0-9][0-9]_*.ipynb")):
            return folder
    raise BadInput(candidates[0], "notebooks", "files NN_topic.ipynb", "none")


def read_plan(profile: str, notebooks: Path) -> Plan:
    """Read profiles/`profile`.yaml beside the notebooks and hold it to what the notebooks declare.

    Raises BadInput for a profile, notebook, key, parameter or need that does not exist.
    """
    content = _read_profile(profile, notebooks.resolve().parent / "profiles")
    shown = f"profiles/{profile}.yaml"
    threads = whole_number(shown, "threads", content["threads"], 1, MOST_THREADS)
    stems = sorted(file.stem for file in notebooks.glob("[0-9][0-9]_*.ipynb"))
    given = _mapping(shown, "notebooks", content["notebooks"])
    for stem in given:
        if stem not in stems:
            raise BadInput(shown, "notebooks", f"one of {', '.join(stems)}", stem)
    chosen = {stem: _mapping(shown, f"parameters of {stem}", given.get(stem)) for stem in stems}
    needs, after, trains, takes = {}, {}, {}, {}
    for place, (stem, parameters) in enumerate(chosen.items()):
        name = f"{stem}.ipynb"
        content = read_notebook(notebooks / name)
        _check_parameters(shown, stem, parameters, declared_parameters(content))
        about = content.metadata.get("lart_mini", {})
        needs[stem] = _named("needs", name, about, stems[:place], "no earlier one")
        after[stem] = _named("after", name, about, stems[:place], "no earlier one")
        trains[stem] = _named("trains", name, about, TRAINED)
        taken = about.get("takes", USUAL) if isinstance(about, dict) else USUAL
        takes[stem] = whole_number(name, "takes", taken, 1)
    return Plan(profile, threads, notebooks, chosen, needs, after, trains, takes)


def _mapping(shown: str, field: str, given: Any) -> dict[str, Any]:
    """What a profile says by names; an empty place stands for none."""
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(name, str) for name in given):
        raise BadInput(shown, field, "names, each with what it gets", given)
    return given


def read_notebook(path: Path) -> Any:
    """A notebook in nbformat 4. Raises BadInput for anything else."""
    import nbformat

    content = read_json(path)
    try:
        nbformat.validate(nbformat.from_dict(content))  # what nbformat reads, it may read with complaints
        return nbformat.read(path, 4)
    except Exception as error:  # of many kinds, by what is missing where
        raise BadInput(path.name, "file", "a notebook", str(error).strip().split("\n")[0]) from None


def declared_parameters(notebook: Any) -> set[str]:
    """Names that the `parameters` cell of a notebook (nbformat 4) sets."""
    from papermill.translators import PythonTranslator

    # Not papermill's own inspect_notebook: it puts values in where a path has braces.
    tagged = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    return {parameter.name for cell in tagged for parameter in PythonTranslator.inspect(cell)}


def choose(only: str | None, stems: Collection[str]) -> list[str]:
    """The notebooks named in "05,07_ava_evaluation", in reading order; all for None.

    Raises BadInput for a number or name that no notebook has.
    """
    if only is None:
        return list(stems)
    names = {alias: stem for stem in stems for alias in (stem, stem[:2], stem[:2].lstrip("0") or "0")}
    wanted = [word.strip() for word in only.split(",")]
    for word in wanted:
        if word not in names:
            raise BadInput("--only", "notebook", f"some of {', '.join(s[:2] for s in stems)}", word or "none")
    return sorted({names[word] for word in wanted})


def _read_profile(name: str, folder: Path) -> dict[str, Any]:
    known = sorted(file.stem for file in folder.glob("*.yaml"))
    shown = f"profiles/{name}.yaml"
    if name not in known:
        raise BadInput(shown, "profile", " | ".join(known) or "a profile", name)
    content = read_yaml(folder / f"{name}.yaml", shown)
    if not isinstance(content, dict) or set(content) != {"threads", "notebooks"}:
        found = ", ".join(map(str, content)) if isinstance(content, dict) else content
        raise BadInput(shown, "keys", "threads, notebooks", found)
    return content


def _check_parameters(shown: str, stem: str, given: Mapping[str, Any], declared: set[str]) -> None:
    for name, value in given.items():
        if name not in declared:
            expected = ", ".join(sorted(declared)) or "no parameter"
            raise BadInput(shown, f"parameter of {stem}", f"one of {expected}", name)
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            expected = "texts, finite numbers, and lists and mappings of them"
            raise BadInput(shown, f"{name} of {stem}", expected, value) from None
    if "run_dir" not in declared:
        raise BadInput(
            f"{stem}.ipynb", "parameters cell", "run_dir = …", ", ".join(sorted(declared)) or "no such cell"
        )


def _named(
    key: str, notebook: str, about: Any, known: Collection[str], none: str = "none"
) -> tuple[str, ...]:
    """What a notebook says `about` itself under a key, of what is known; `none` says that nothing is."""
    named = about.get(key, []) if isinstance(about, dict) else about
    if not isinstance(named, list):
        raise BadInput(notebook, key, "a list of names", named)
    for name in named:
        if name not in known:
            raise BadInput(notebook, key, f"one of {', '.join(known) or none}", name)
    return tuple(named)
