"""Work that is killed at random moments, and asked for again: it must end as if nothing had happened.

`python tests/interrupted` kills composing, converting, training and reproducing 20 times each and says what
came of it; test_interrupted.py does the same with a few kills.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FORK = multiprocessing.get_context("fork")  # this process imports once what all rounds of a work need
MOST_IN_A_ROW = 3  # kills in one folder before it may end

# Each piece of work has a folder of its own; `inputs` is made once for all rounds. What must be the same
# afterwards is told as text: all of a file's bytes, or what is left without times.
Outcome = dict[str, str]


@dataclass(frozen=True)
class Work:
    """Something that can be killed."""

    prepare: Callable[[Path], None]  # makes the inputs
    do: Callable[[Path, Path], None]  # inputs, folder
    outcome: Callable[[Path], Outcome]
    needs: tuple[str, ...]  # modules that take long to import


def files_of(folder: Path) -> Outcome:
    """Every file's bytes, hidden ones too."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): digest(path.read_bytes()) for path in files}


def digest(content: bytes) -> str:
    """Short, for comparing."""
    return hashlib.sha256(content).hexdigest()[:16]


def nothing(_: Path) -> None:
    """For work without inputs."""


# --------------------------------------------------------------------------------------------- the four works


def compose(_: Path, folder: Path) -> None:
    """The smallest data set there is."""
    from lart_mini.data.mini_ava import SIZES, Size, mini_ava

    SIZES["interrupted"] = Size(train=1, kinetics=1, val=1, test=1, windows=1)
    mini_ava("interrupted", 0, folder, jobs=1)


def write_tracklets(inputs: Path) -> None:
    """Ten released files."""
    from factories import write_source

    write_source(inputs / "source")


def convert(inputs: Path, folder: Path) -> None:
    """A store in parts of one tracklet."""
    from lart_mini.tracklets.conversion import convert as run

    run(inputs / "source", folder / "store", jobs=1, part_size=1, progress=False)


def write_store(inputs: Path) -> None:
    """The store to train on."""
    write_tracklets(inputs)
    convert(inputs, inputs)


def train(inputs: Path, folder: Path) -> None:
    """A few epochs of a small model, its state kept after each of them."""
    import torch

    from lart_mini.lart.config import StageConfig
    from lart_mini.lart.recipe import new_model, train_on_store
    from lart_mini.tracklets.store import Store

    torch.set_num_threads(1)
    store = Store(inputs / "store")
    settings = StageConfig.of("pretrain", epochs=5, batch_size=2, warmup_epochs=1)
    start = new_model(store, "small", pose_only=True, seed=0)
    train_on_store("pretrain", store, folder, start, settings, progress=False)


def trained(folder: Path) -> Outcome:
    """Weights, losses and rates; how long it took is no part of it."""
    from safetensors import safe_open

    found: Outcome = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="np") as file:
            history = json.loads(file.metadata()["meta"])["history"]
            found |= {f"{path.name} {name}": digest(file.get_tensor(name).tobytes()) for name in file.keys()}
        found |= {f"{path.name} {key}": str(history[key]) for key in ("loss", "lr")}
    for path in sorted(folder.glob("*.csv")):
        rows = [line.rsplit(",", 1)[0] for line in path.read_text().splitlines()]
        found[path.name] = "\n".join(rows)
    others = {path.name for path in folder.iterdir()} - {name.split(" ")[0] for name in found}
    return found | dict.fromkeys(others, "left over")


def write_notebooks(inputs: Path) -> None:
    """Three notebooks: one that records, one beside it, and one that reads what was recorded."""
    from notebook_kit import RECORDING, write_notebook, write_project

    notebooks = write_project(inputs)
    write_notebook(notebooks / "00_a.ipynb", RECORDING)
    write_notebook(notebooks / "01_b.ipynb", "sum(range(1000))")
    reads = """
from lart_mini.runs import record, recorded
record(run_dir, "again", recorded(run_dir, "counts"))"""
    write_notebook(notebooks / "02_c.ipynb", reads, needs=("00_a",))


def reproduce(inputs: Path, folder: Path) -> None:
    """Run them, two side by side."""
    import contextlib
    import os

    from lart_mini.runs.reproduce import reproduce as run

    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        run("tiny", folder, inputs / "notebooks", jobs=2)


def reproduced(folder: Path) -> Outcome:
    """What results.json has but times; and which other files there are."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    for key in ("seconds", "notebook_seconds"):
        results.pop(key)
    found = {name: str(value) for name, value in results.items()}
    return found | dict.fromkeys(files_of(folder), "there")


WORKS = {
    "compose": Work(nothing, compose, files_of, ("lart_mini.data.mini_ava",)),
    "convert": Work(write_tracklets, convert, files_of, ("factories", "lart_mini.tracklets.conversion")),
    "train": Work(write_store, train, trained, ("factories", "lightning_fabric", "lart_mini.lart.recipe")),
    "reproduce": Work(
        write_notebooks,
        reproduce,
        reproduced,
        ("lart_mini.runs.kernel", "lart_mini.runs.report", "nbconvert", "papermill.parameterize"),
    ),
}

# ---------------------------------------------------------------------------------------------------- killing


@dataclass
class Told:
    """What came of one work."""

    name: str
    seconds: float  # that it takes undisturbed
    kills: int = 0
    ended: int = 0  # rounds, each in a folder of its own
    faults: list[str] | None = None

    def __str__(self) -> str:
        head = f"{self.name:10s} {self.seconds:5.1f} s undisturbed; killed {self.kills} times, "
        same = f"ended {self.ended} times with the same result"
        return head + ("; ".join(self.faults) if self.faults else same)


def kill(name: str, folder: Path, times: int, seed: int) -> Told:
    """Kill one of WORKS `times` times at moments drawn from `seed`, and hold each end against a quiet one."""
    work, chance = WORKS[name], random.Random(f"{name} {seed}")
    inputs, quiet = folder / "inputs", folder / "quiet"
    for path in (inputs, quiet):
        path.mkdir(parents=True)
    for module in work.needs:
        importlib.import_module(module)
    run(work.prepare, inputs)
    began = time.monotonic()
    faults = [] if run(work.do, inputs, quiet) == 0 else ["the quiet run failed"]
    told = Told(name, time.monotonic() - began, faults=faults)
    expected = work.outcome(quiet) if not faults else {}
    while told.kills < times and not faults:
        place = folder / f"round{told.ended}"
        place.mkdir()
        codes = [
            run(work.do, inputs, place, moment=chance.uniform(0, told.seconds))
            for _ in range(min(chance.randint(1, MOST_IN_A_ROW), times - told.kills))
        ]
        told.kills += codes.count(-signal.SIGKILL)
        if 1 in codes or run(work.do, inputs, place) != 0:
            faults.append(f"{place} did not go on")
            break
        found = work.outcome(place)
        different = [key for key in sorted(expected.keys() | found) if expected.get(key) != found.get(key)]
        if different:
            faults.append(f"{place} differs in {', '.join(different)}")
        told.ended += 1
    return told


def run(do: Callable[..., None], *arguments: Path, moment: float | None = None) -> int:
    """Do it in a process of its own; gives its exit code. `moment`: seconds after which it is killed."""
    process = FORK.Process(target=do, args=arguments)
    process.start()
    process.join(moment)
    if process.is_alive():
        process.kill()
    process.join()
    assert process.exitcode in (0, 1, -signal.SIGKILL), process.exitcode
    return process.exitcode
