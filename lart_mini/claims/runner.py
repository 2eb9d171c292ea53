"""Experiments run side by side, each kept in a small file: the same command goes on where it stopped.

OUT/runs/<digest>.npz   the scores of one run, with its parameters, its data, commit and seconds
OUT/runs.parquet        a row a run, without the scores
"""

from __future__ import annotations

import hashlib
import json
import time
import warnings
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from joblib import Parallel, delayed, parallel_config

from lart_mini.appearance.trunk import one_thread
from lart_mini.claims.experiment import Experiment, Scores, run
from lart_mini.claims.fold_data import Fold
from lart_mini.claims.skeletons import versions
from lart_mini.data.mini_ava import MiniAva, linked
from lart_mini.data.rendered import rendered
from lart_mini.files import BadInput, atomic_path, locked, process_count, workplace, write_npz
from lart_mini.progress import progress
from lart_mini.reading.arrays import open_npz
from lart_mini.reading.text import parse_json
from lart_mini.runs.reproduce import commit

DEFAULTS = asdict(Experiment())


def changed(experiment: Experiment) -> dict[str, Any]:
    """The experiment's fields that are not at their defaults."""
    return {name: value for name, value in asdict(experiment).items() if value != DEFAULTS[name]}


@dataclass(frozen=True)
class Kept:
    """Where the run of an experiment is kept."""

    experiment: Experiment
    data: str  # folder of its data set, whose name carries a digest of what it depends on; and `versions`
    path: Path

    @classmethod
    def of(cls, experiment: Experiment, data: str, out: Path) -> Kept:
        """In the folder `out`, under a digest of the data and of the fields that differ from their defaults.

        So a field that Experiment gets later, with a default, leaves kept runs where they are. A default that
        is changed later gives a file's name to another experiment: the file tells every value that it was
        made with, so it is refused then, not taken for the other's; do not change defaults. What a SkeleTR
        reads has versions of its own, which are told with the data once they are raised.
        """
        data += versions(experiment.skeletr) if experiment.model == "SkeleTR" else ""
        told = json.dumps([changed(experiment), data], sort_keys=True)
        return cls(experiment, data, out / "runs" / f"{hashlib.sha256(told.encode()).hexdigest()[:16]}.npz")

    def scores(self) -> Scores:
        """(variants, N, 60). Raises BadInput for a damaged file or another's, FileNotFoundError for none."""
        with open_npz(self.path, "the scores of a run") as archive:
            self._check(archive)
            return archive.read("scores", (len(self.experiment.variants()), None, 60), "f")

    def about(self) -> dict[str, Any]:
        """All that is known of the run but its scores."""
        with open_npz(self.path, "the scores of a run") as archive:
            return self._check(archive)

    def _check(self, archive: Any) -> dict[str, Any]:
        found = parse_json(str(archive.read("about", (), "U")), self.path, "about")
        wanted = asdict(self.experiment) | {"data": self.data}
        # A field that the file does not tell is younger than the file, and was at its default.
        if not isinstance(found, dict) or {key: (DEFAULTS | found).get(key) for key in wanted} != wanted:
            raise BadInput(
                self.path, "about", "the experiment that the file's name is a digest of", "another"
            )
        return found


@one_thread()
def made(kept: Kept, commit_now: str | None) -> tuple[Path, dict[str, np.ndarray]]:
    """Run the experiment: its file, and what that is to hold."""
    began = time.perf_counter()
    scores, steps = run(kept.experiment)
    about = asdict(kept.experiment) | {"data": kept.data, "commit": commit_now, "steps_taken": steps}
    about |= {"boxes": scores.shape[1], "seconds": round(time.perf_counter() - began, 1)}
    return kept.path, {"scores": scores, "about": np.array(json.dumps(about))}


def workers(backend: str | None) -> AbstractContextManager[Any]:
    """Where joblib's work is done: as the caller's own `joblib.parallel_config` says (by default in processes
    here; Ray's after `ray.util.joblib.register_ray()`), or by the Dask scheduler of `dask=ADDRESS`.

    A cluster's machines compose their own data. Raises BadInput for another backend, where `distributed` is
    not installed, and where no scheduler answers.
    """
    if backend is None:
        return nullcontext()
    try:
        return parallel_config("dask", scheduler_host=address_of(backend))
    except (ImportError, OSError, ValueError) as error:  # joblib says in words what is missing
        raise BadInput(
            "--backend", "scheduler", "one that answers, and distributed installed", error
        ) from None


def address_of(backend: str) -> str:
    """A `dask=ADDRESS` scheduler's address. Raises BadInput for what is none."""
    name, _, address = backend.partition("=")
    if name != "dask" or not address:
        raise BadInput("--backend", "backend", "dask=ADDRESS of a scheduler", backend)
    return address


def run_all(
    experiments: Sequence[Experiment], out: Path, jobs: int = -1, backend: str | None = None
) -> dict[Experiment, Kept]:
    """Every experiment's run; those that `out` does not have are run side by side, one thread each.

    `backend` as in `workers`. Raises BadInput for a folder that another process works in, and as `mini_ava`
    and `workers` do.
    """
    jobs = process_count(jobs)
    if backend is not None:
        address_of(backend)
    names = _compose(experiments, jobs)
    kept = {one: Kept.of(one, names[one.data()], out) for one in experiments}
    with locked(out, "ablation"):
        # What takes longest first, a data set at a time: a process keeps the fold that it has read.
        missing = [one for one in kept.values() if not one.path.exists()]
        missing.sort(key=lambda one: (one.data, -work(one.experiment)))
        now = commit(workplace())
        with workers(backend), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "A worker stopped")  # joblib renews a process that has grown
            tasks = (delayed(made)(one, now) for one in missing)
            done = Parallel(jobs, return_as="generator_unordered")(tasks)
            for path, arrays in progress(done, total=len(missing), desc="experiments"):
                write_npz(path, arrays, compress=True)
        with atomic_path(out / "runs.parquet") as temporary:
            _runs(out).write_parquet(temporary)
    return kept


def _runs(out: Path) -> pl.DataFrame:
    """What is known of every run in a folder, whatever command made it; what is damaged is left out."""
    found = []
    for path in sorted((out / "runs").glob("*.npz")):
        with suppress(BadInput), open_npz(path, "the scores of a run") as archive:
            about = parse_json(str(archive.read("about", (), "U")), path, "about")
            found += [{"run": path.stem} | DEFAULTS | about] if isinstance(about, dict) else []
    return pl.DataFrame(found, infer_schema_length=None)


def commits(kept: Iterable[Kept]) -> list[str]:
    """Those that the runs were made at; `unknown` where there was no git."""
    return sorted({one.about()["commit"] or "unknown" for one in kept})


def work(experiment: Experiment) -> float:
    """About how long a run takes, in steps of eight tracklets of ground truth."""
    if experiment.model == "SkeleTR":
        return 12.0 * experiment.steps
    if experiment.model != "LART":
        return 0.0
    return experiment.steps + 1.5 * experiment.pretrain_steps


def _compose(experiments: Sequence[Experiment], jobs: int) -> dict[Fold, str]:
    """Names of the data sets' folders; what the cache does not hold is composed, each fold's scenes once."""
    folds = dict.fromkeys(one.data() for one in experiments)
    trackers: dict[Fold, set[str]] = {}
    for fold in folds:
        trackers.setdefault(replace(fold, tracker=""), set()).add(fold.tracker)
    names: dict[Fold, str] = {}
    for fold, wanted in trackers.items():
        where: Any = {"jobs": jobs, "fold": (fold.fold, fold.folds)}
        if fold.rendered:
            made: dict[str, MiniAva] = {
                one: rendered(fold.size, fold.data_seed, tracker=one, **where) for one in sorted(wanted)
            }
        else:
            made = linked(fold.size, fold.data_seed, trackers=sorted(wanted), **where)
        names |= {replace(fold, tracker=tracker): data.path.name for tracker, data in made.items()}
    return names
