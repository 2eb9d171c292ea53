"""Run every notebook with one profile's parameters and put what they found into one page and one JSON file.

runs/<profile>/NN_topic.ipynb   the notebooks as they ran
runs/<profile>/parts/*.json     what they recorded, one file a part
runs/<profile>/ran.json         which of them ran to their end, for the same command to go on from
runs/<profile>/results.json     all parts, seconds, commit and versions; it is there once all have run
runs/<profile>/report.html      results first, then every notebook; drawn last
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from tqdm import tqdm

from lart_mini.files import BadInput, atomic_path, locked, optional, process_count
from lart_mini.progress import progress
from lart_mini.runs.kept import Kept, Ran, check_own, clear, code_digest, notebook_digests, versions
from lart_mini.runs.plan import (
    SILENCE,
    NotebookFailed,
    Plan,
    choose,
    find_notebooks,
    read_notebook,
    read_plan,
)
from lart_mini.runs.record import percent, read_parts

REQUIRED_PARTS = ("validation", "baselines", "ladder")


def reproduce(
    profile: str,
    out: str | Path | None = None,
    notebooks: str | Path | None = None,
    *,
    only: str | None = None,
    jobs: int | None = None,
    fresh: bool = False,
    silence: int = SILENCE,
) -> dict[str, Any]:
    """Run the notebooks of a profile and return what is in `out` (./runs/<profile>) then.

    Notebooks that do not need each other run side by side, `jobs` at a time (as many as the cores have room
    for). One that has run with the same code, source and parameters is not run again; with `fresh` all that
    has run is removed first. `only` names some, as "05,07". Once all have run, results.json is written, and
    report.html last. `silence`: seconds without computing and output after which a notebook counts as
    hanging. A folder has one run at a time, and `out` no files of others that a run would remove.

    Raises BadInput before anything runs; NotebookFailed at the end, when all have run that do not need one
    that failed.
    """
    optional("ipykernel", "ipykernel", "notebooks")
    plan = read_plan(profile, find_notebooks(notebooks))
    chosen = choose(only, plan.notebooks)
    jobs = -1 if jobs is None else process_count(jobs)
    code = code_digest()
    digests = notebook_digests(plan, code)
    run_dir = Path(out) if out else Path("runs") / profile
    if run_dir.exists() and run_dir.samefile(plan.folder):
        expected = "another folder than the notebooks', which a run would clear"
        raise BadInput(run_dir, "output", expected, "the notebooks'")
    with locked(run_dir, "run"):
        if out:  # runs/<profile> is the kit's own: notebooks run by hand record there
            check_own(run_dir)
        kept = clear(run_dir, code, digests, fresh)
        waiting = [stem for stem in chosen if stem not in kept.notebooks]
        for stem in chosen:
            if stem not in waiting:
                tell(f"kept   {stem}  {kept.notebooks[stem].seconds:.1f} s (--fresh starts over)")
        for line in forecasts(plan, waiting):
            tell(line)
        jobs = max(1, (os.cpu_count() or 1) // plan.threads) if jobs < 0 else jobs
        failures = asyncio.run(Run(plan, run_dir, kept, digests, silence).all(waiting, jobs))
        if failures:
            raise NotebookFailed("\n".join(failures))
        return conclude(plan, run_dir, kept)


def forecasts(plan: Plan, waiting: Collection[str]) -> Iterator[str]:
    """How long notebooks will train: a line each, for those whose model the profile chooses."""
    for stem in waiting:
        parameters = plan.notebooks[stem]
        if "preset" not in parameters or not plan.trains[stem]:
            continue
        from lart_mini.lart.duration import forecast  # imports torch
        from lart_mini.lart.recipe import Recipe

        known = {field.name for field in fields(Recipe)}
        recipe = Recipe(**{name: value for name, value in parameters.items() if name in known})
        for trained in plan.trains[stem]:
            models = 1 if trained == "control" else parameters.get("seeds", 1)
            each = forecast(recipe, "pretrain" if trained == "pretrain" else "finetune")
            yield f"will   {stem}  {trained}, {models} model(s), each {each}"


class Run:
    """Notebooks running side by side: who may start, and what stands when one has ended."""

    def __init__(
        self, plan: Plan, run_dir: Path, kept: Kept, digests: Mapping[str, str], silence: int
    ) -> None:
        self.plan, self.run_dir, self.kept = plan, run_dir, kept
        self.digests, self.silence = digests, silence
        self.failures: dict[str, str] = {}  # notebook → one line
        self.reported = False  # will all have run, so that there is a report?
        self.clock = time.monotonic()

    async def all(self, waiting: list[str], jobs: int) -> list[str]:
        """Run these notebooks, `jobs` at a time; give a line for each that did not run to its end."""
        waiting, self.reported = list(waiting), {*waiting, *self.kept.notebooks} >= {*self.plan.notebooks}
        running: dict[asyncio.Task, str] = {}
        with progress(total=sum(map(self.cells, waiting)), desc="cells") as bar:
            while waiting or running:
                self.give_up(waiting)
                starting = self.ready(waiting, list(running.values()))[: jobs - len(running)]
                # The cores are shared among those that run now. One for which all are waiting that wait
                # for any has every core; so has the last one.
                every = os.cpu_count() or 1
                share = max(1, every // max(1, len(running) + len(starting)))
                waiting = [stem for stem in waiting if stem not in starting]
                waits = [self.before(other) for other in waiting if self.before(other)]
                for stem in starting:
                    awaited = all(stem in before for before in waits) if waits else not waiting
                    cores = every if awaited else share
                    running[asyncio.create_task(self.one(stem, cores, bar.update))] = stem
                if running:
                    ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        del running[task]
                        task.result()
        return [self.failures[stem] for stem in sorted(self.failures)]

    def ready(self, waiting: list[str], running: list[str]) -> list[str]:
        """Those for which nothing is still to come; first the one with which the longest chain begins."""
        to_come = {*waiting, *running}
        ready = [stem for stem in waiting if not to_come & self.before(stem)]
        chains = {stem: self.chain(stem, waiting) for stem in ready}
        return sorted(ready, key=lambda stem: (-chains[stem], stem))

    def chain(self, stem: str, waiting: Collection[str]) -> int:
        """Seconds that a notebook takes, and then, one after the other, those that wait for it."""
        last = [self.chain(other, waiting) for other in waiting if stem in self.before(other)]
        return self.plan.takes[stem] + max(last, default=0)

    def before(self, stem: str) -> set[str]:
        """All that should have run before a notebook."""
        names = (*self.plan.needs[stem], *self.plan.after[stem])
        return set(names).union(*(self.before(name) for name in names))

    def give_up(self, waiting: list[str]) -> None:
        """Take those from `waiting` that need one that failed, or one given up itself."""
        for stem in list(waiting):
            failed = [need for need in self.plan.needs[stem] if need in self.failures]
            if failed:
                waiting.remove(stem)
                self.failures[stem] = f"{stem}.ipynb: not run, it needs {', '.join(failed)}"

    async def one(self, stem: str, cores: int, cell_done: Callable[[], object]) -> None:
        """Run a notebook and keep what it found, or the line that says why it failed."""
        # Imported here, since notebooks import this package, and what runs them takes seconds to import.
        from lart_mini.runs.kernel import run_notebook
        from lart_mini.runs.report import notebook_body

        tell(f"start  {stem}")
        began = time.monotonic()
        notebook, parameters = self.plan.folder / f"{stem}.ipynb", self.plan.notebooks[stem]
        try:
            await run_notebook(
                notebook,
                self.run_dir,
                parameters,
                self.plan.threads,
                cores,
                silence=self.silence,
                cell_done=cell_done,
            )
        except NotebookFailed as failure:
            self.failures[stem] = str(failure)
            tell(f"FAILED {failure}")
            return
        seconds = round(time.monotonic() - began, 1)
        own = {name: part for name, part in read_parts(self.run_dir).items() if part["notebook"] == stem}
        self.kept.notebooks[stem] = Ran(self.digests[stem], seconds, list(own))
        self.kept.seconds += time.monotonic() - self.clock
        self.clock = time.monotonic()
        self.kept.write(self.run_dir)
        tell(f"done   {stem}  {seconds:.1f} s")
        for line in filter(None, (part["headline"] for part in own.values())):
            tell(f"       {line}")
        if self.reported:
            with suppress(Exception):  # seconds of work for the report; what it cannot draw, it says itself
                await asyncio.to_thread(notebook_body, self.run_dir / notebook.name)

    def cells(self, stem: str) -> int:
        """Code cells of a notebook, the given parameters counted as one."""
        content = read_notebook(self.plan.folder / f"{stem}.ipynb")
        return 1 + sum(cell.cell_type == "code" for cell in content.cells)


def tell(line: str) -> None:
    """Print a line at once, above the bar if there is one."""
    tqdm.write(line)
    sys.stdout.flush()


def conclude(plan: Plan, run_dir: Path, kept: Kept) -> dict[str, Any]:
    """The results so far; results.json and the report are written once all notebooks of the plan have run.

    Raises BadInput when they have, and a required part was not recorded.
    """
    from lart_mini.runs.report import write_report

    parts = read_parts(run_dir)
    results = {
        "profile": plan.name,
        "seconds": round(kept.seconds, 1),
        "notebook_seconds": {
            stem: kept.notebooks[stem].seconds for stem in plan.notebooks if stem in kept.notebooks
        },
        **{name: part["values"] for name, part in parts.items()},
        "shown_as": {name: {key: part[key] for key in SHOWN_AS} for name, part in parts.items()},
        "commit": commit(plan.folder),
        "versions": versions(),
    }
    if len(kept.notebooks) < len(plan.notebooks):
        return results
    for name in REQUIRED_PARTS:
        if name not in parts:
            raise BadInput(
                "results.json", name, "recorded by a notebook", f"only {', '.join(parts) or 'nothing'}"
            )
    with atomic_path(run_dir / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    write_report(results, [run_dir / f"{stem}.ipynb" for stem in plan.notebooks], run_dir / "report.html")
    return results


SHOWN_AS = ("title", "percent", "shown")  # of a part, kept in results.json for the report


def commit(folder: Path) -> str | None:
    """The commit the notebooks stand on, "-dirty" added where the tree differs from it.

    None without git, and for notebooks of an installed kit inside somebody else's repository.
    """

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        top = Path(git("rev-parse", "--show-toplevel"))
        if top not in (folder.resolve(), folder.resolve().parent):
            return None
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def summary(results: Mapping[str, Any]) -> str:
    """Notebooks with their seconds, and the head results where they are there, as lines of text."""
    width = max(map(len, results["notebook_seconds"]), default=0) + 2
    lines = [f"{stem:{width}s}{seconds:7.1f} s" for stem, seconds in results["notebook_seconds"].items()]
    lines += [f"{'all, side by side':{width}s}{results['seconds']:7.1f} s", ""]
    if "ladder" in results:
        own = [rung for rung in results["ladder"] if not rung.get("paper")]  # the paper's is of other data
        width = max((len(rung["name"]) for rung in own), default=0) + 2
        lines += [f"{rung['name']:{width}s}{percent(rung['mAP']):>9s} mAP" for rung in own]
        lines.append("")
    if "validation" in results:
        found = results["validation"]
        shares = [f"{key} {percent(found[key])}" for key in ("PM", "OM", "PI") if found.get(key)]
        lines.append(f"validation mAP {percent(found['mAP'])}: {', '.join(shares)}")
    return "\n".join(lines)
