"""Command lines: options with values that nobody should give, twice, missing, or of another command."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from runner import Case, command
from settings import data, project
from tables import ava_rows, text
from weights import small_model

from lart_mini.lart.tokens import Stats, stats_of
from lart_mini.lart.weights import save_model
from lart_mini.tracklets.npz import save_tracklets
from lart_mini.tracklets.store import Store

# Never more than one process, nor more steps than take a second: these would be right, and long.
COUNTS = (
    "1",
    "0",
    "-1",
    "-2",
    "1.5",
    "nan",
    "x",
    "",
    "9" * 30,
    str(-(2**63)),
    "1e3",
    "١",
    " 1",
    "0x1",
    "1_0",
    "+1",
)
SEEDS = (*COUNTS, str(2**31), str(2**32), str(2**63), str(2**64))
REALS = ("0", "1", "-1", "nan", "inf", "-inf", "1e30", "1e-400", "", "x", "0.5", "1e999", "0x1p3")
WORDS = (
    "",
    "x",
    "paper",
    "both",
    "released",
    "a\nb",
    "\x1b[2J",
    "😀",
    "--",
    "-",
    "y" * 5000,
    "None",
    "../x",
    "auto",
    "cpu,0",
)
PATHS = ("", ".", "none", "none/none", "folder", "file", "file/x", "z" * 300, "z/" * 2100 + "z", "a\nb",
         "ümläut ö", "link",
         "dangling", "$HOME", "~", "{}", "%s", "folder/", "\x1bc", "loop", "empty")  # fmt: skip
TAKES: dict[str, tuple[str, ...]] = {
    "--policy": WORDS,
    "--size": WORDS,
    "--stage": WORDS,
    "--preset": ("small", "", "x", "a\nb"),
    "--profile": WORDS,
    "--only": WORDS,
    "--keyframes": WORDS,
    "--devices": ("1", "0", "-1", "x", "", "auto,", "0,0", "99", "1.5"),
    "--accelerator": ("cpu", "tpu", "", "x", "cuda", "mps", "gpu"),
    "--precision": (*WORDS[:4], "32-true", "16", "bf16-mixed"),
    "--seed": SEEDS,
    "--jobs": COUNTS,
    "--nodes": ("1", "0", "-1", "x", ""),
    "--batch-size": (*COUNTS, "1000000"),
    "--pretrain-epochs": COUNTS[:8],
    "--finetune-epochs": COUNTS[:8],
    "--accumulate": COUNTS,
    "--workers": ("0", "-1", "x", ""),
    "--lr": REALS,
    "--confidence": REALS,
}

SMALL = data.Size(train=2, kinetics=1, val=1, test=1, windows=1)


def fill(shelf: Path) -> None:
    """A small data set as composed, a model, and its statistics."""
    data.SIZES |= dict.fromkeys(data.SIZES, SMALL)
    made = data.mini_ava("smoke", 0, shelf / "cache", jobs=1)
    shutil.copytree(made.path, shelf / "composed")
    members = list(Store(shelf / "store"))
    model = small_model()
    save_model(shelf / "model.safetensors", model, stats_of(members), {})
    save_tracklets([replace(one, appearance=None) for one in members], shelf / "tracklets.npz")
    stats: Stats = stats_of(members)
    stats.save(shelf / "stats.npy")


def composed_from(shelf: Path) -> Any:
    """Stands for composing: the shelf's data set, at once."""

    def compose(*given: Any) -> None:
        (out,) = next(one for one in given if isinstance(one, dict)).values()
        shutil.copytree(shelf / "composed", out, dirs_exist_ok=True)

    return compose


SCORING = "evaluate --groundtruth truth.csv --detections found.csv"
PREDICTING = "predict --checkpoint model.safetensors --out out/ava.csv"
TRAINING = "train --out out --accelerator cpu --devices 1"
LINES = (
    f"{SCORING} --json out/result.json",
    f"{SCORING} --policy slowfast --excluded left.csv",
    "info --size smoke --seed 0",
    "convert source out/store --jobs 1",
    "validate source --jobs 1",
    "validate store",
    f"{PREDICTING} --tracklets store --confidence 0.1",
    f"{PREDICTING} --tracklets tracklets.npz --stats stats.npy",
    f"{PREDICTING} --tracklets source --keyframes all",
    f"{TRAINING} --store store --preset small --stage pretrain --pretrain-epochs 1 --batch-size 4 --lr 0.1",
    f"{TRAINING} --size smoke --preset small --stage pretrain --pretrain-epochs 1 --batch-size 4 --seed 0",
    f"{TRAINING} --store store --start model.safetensors --stage finetune --finetune-epochs 1 --accumulate 1",
    "reproduce --profile tiny --notebooks project/notebooks --out out --only 99 --jobs 1",
)  # that work, but for the last


def spoiled(line: list[str], rng: random.Random) -> list[str]:
    """A value that nobody should give, an option repeated, missing, unknown or cut off."""
    line = list(line)
    options = [i for i, word in enumerate(line) if word.startswith("--")]
    kind = rng.randrange(10)
    if kind < 6 and len(line) > 2:
        at = rng.choice([i for i in range(1, len(line)) if not line[i].startswith("--")] or [1])
        line[at] = rng.choice(TAKES.get(line[at - 1], PATHS))
    elif kind == 6 and options:
        at = rng.choice(options)
        line += [line[at], rng.choice(TAKES.get(line[at], PATHS))]
    elif kind == 7 and len(line) > 1:
        del line[rng.randrange(len(line))]
    elif kind == 8:
        option = rng.choice(
            (
                "--jsn",
                "--pose-only",
                "--fresh",
                "--nodes",
                "--size",
                "--start",
                "--version",
                "-x",
                "--",
                "--seed",
                "--lr",
            )
        )
        line += [option, *([rng.choice(TAKES[option])] if option in TAKES else [])]
    elif line[0] == "train":  # without a value: what is left must not be right, and take minutes
        line = line[: rng.choice((2, 4, 6))]
    else:
        line = line[: rng.randrange(1, len(line) + 1)]
    return line


def commands(rng: random.Random, shelf: Path) -> Case:
    """A command line that works, or one that is spoiled, beside folders, links and files of all kinds."""
    line = rng.choice(LINES).split()
    truth, found = ava_rows(rng)
    for name, rows in (("truth", truth), ("found", found), ("left", [["zzzzzzzzzzz", "0903"]])):
        Path(f"{name}.csv").write_text(text(rows))
    for name in ("store", "source"):
        shutil.copytree(shelf / name, name)
    for name in ("model.safetensors", "tracklets.npz", "stats.npy"):
        shutil.copy(shelf / name, name)
    project(b"threads: 1\nnotebooks: {}\n")
    Path("folder").mkdir()
    Path("folder/inside").write_text("keep me")
    Path("empty").mkdir()
    Path("file").write_text("keep me")
    Path("link").symlink_to("file")
    Path("dangling").symlink_to("nowhere/at/all")
    Path("loop").symlink_to("loop")
    data._compose = composed_from(shelf)
    data.SIZES |= dict.fromkeys(data.SIZES, SMALL)
    os.environ["LART_MINI_CACHE"] = "cache"
    valid = rng.random() < 0.2 and line[0] != "reproduce"
    if not valid:
        for _ in range(rng.choice((1, 1, 2))):
            line = spoiled(line, rng)
    run = command(*line, codes=(0, 1) if line[0] == "evaluate" else (0,), lines=line[0] == "validate")
    kept = ("cache/*", *(("out/[!.]*",) if line[0] in ("train", "reproduce", "convert") else ()))
    outputs = ("*",) if not valid else ("out/*", "cache/*")
    return Case(run, "read" if valid else "either", outputs=outputs, kept=kept)


MAKERS = {"commands": commands}
FILLERS = (fill,)
