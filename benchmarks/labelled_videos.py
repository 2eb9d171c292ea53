"""Videos with one label each: does attention between people tell more than single people do? Top-1, in folds.

    python benchmarks/labelled_videos.py group --json benchmarks/group_activity.json
    python benchmarks/labelled_videos.py video --folds 4 --json runs/video_level.json
    python benchmarks/labelled_videos.py video --size smoke --epochs 2 --seeds 1       tries it

Who moves how is captured, who stands where is composed, nobody reacts to anybody. Small SkeleTRs (widths 12,
12, 48; sequences of 8 frames, every fourth) learn with AdamW, half of the scenes mirrored; on the video level
also LARTs with the class token before the blocks, and after them as in the released code. Linear models read
the truth of all actors. Labels are shuffled for a control. With `--folds` every fold of takes is held out
once, and their videos are judged together. With `--runs` each training's answers are kept there, so that
several processes (`--only`) may share the work, and what is stopped goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lart_mini.baselines import blind_features, fit_multinomial, pairwise_features
from lart_mini.data import LabelledVideos, group_activity, video_level
from lart_mini.evaluation import accuracy, draw_takes
from lart_mini.lart import StageConfig, VideoDataset, VideoLART, stats_of, train_on_videos
from lart_mini.lart import preset as lart_preset
from lart_mini.lart import video_scores as lart_scores
from lart_mini.skeletr import Sampling, preset, sgd, task_scores

TASKS = {"group": group_activity, "video": video_level}
GCN, AVERAGE, MIX = "GCN alone", "average pooling", "Mix Pooling"
SKELETRS = {GCN: (0, ("1x1",)), AVERAGE: (2, ("1x1",)), MIX: (2, ("1x1", "Tx1", "1xP"))}
BEFORE, AFTER = "LART, class token before the blocks", "LART, class token after them"
BLIND, PAIRWISE, CONTROL = "blind linear", "pairwise linear, the truth", "Mix Pooling, shuffled labels"
PAIRS = [(AVERAGE, GCN), (MIX, GCN), (MIX, AVERAGE), (MIX, BLIND), (BEFORE, AFTER), (BEFORE, MIX)]
Guess = Callable[[LabelledVideos, np.ndarray, int], np.ndarray]  # data, labels to learn, seed -> classes (N,)


def skeletr_guess(task: str, name: str, epochs: int, data: LabelledVideos, labels, seed: int) -> np.ndarray:
    """Classes that a small SkeleTR names."""
    depth, pooling = SKELETRS[name]
    sampling = Sampling(frames=8, step=4, most=9, mirror=True)
    sizes: dict[str, Any] = {"widths": (12, 12, 48), "strides": (1, 2, 2), "depth": depth, "pooling": pooling}
    config = preset("mini", classes=0, **{f"{task}_classes": len(data.classes)}, **sizes)
    training = sgd(
        optimizer="AdamW", lr=1e-3, epochs=epochs, batch_size=32, clip=1.0, drops=(0.6, 0.85), seed=seed
    )
    return task_scores(data, labels, task, config, sampling, training).argmax(axis=1)


def lart_guess(where: str, epochs: int, data: LabelledVideos, labels, seed: int) -> np.ndarray:
    """Classes that a small LART names."""
    learnt = data.tracklets("train")
    stats = stats_of([one for video in learnt for one in video])
    config = replace(lart_preset("small"), classes=len(data.classes), frames=128)
    stage = StageConfig(epochs=epochs, batch_size=16, lr=1e-3, mask_ratio=0.1, seed=seed)
    torch.manual_seed(seed)
    model = VideoLART(config, where)
    make = partial(VideoDataset, stats=stats, config=config)
    training = make(learnt, labels, train=True, seed=seed, mask_ratio=stage.mask_ratio)
    train_on_videos(model, training, stage, False)
    return lart_scores(model, make(data.tracklets("val"), data.labels("val"), train=False)).argmax(axis=1)


def linear_guess(read: Callable, data: LabelledVideos, labels, seed: int) -> np.ndarray:
    """Classes that a linear model names; without a seed."""
    return (
        fit_multinomial(read(data.actors("train")), labels, len(data.classes))
        .scores(read(data.actors("val")))
        .argmax(axis=1)
    )


def systems(task: str, epochs: int) -> dict[str, Guess]:
    """Of a task all that is compared."""
    found: dict[str, Guess] = {
        BLIND: partial(linear_guess, blind_features),
        PAIRWISE: partial(linear_guess, pairwise_features),
    }
    found |= {name: partial(skeletr_guess, task, name, epochs) for name in SKELETRS}
    if task == "video":
        del found[PAIRWISE]
        found |= {BEFORE: partial(lart_guess, "before", epochs), AFTER: partial(lart_guess, "after", epochs)}

    def shuffled(data: LabelledVideos, labels, seed: int) -> np.ndarray:
        return found[MIX](data, np.random.default_rng(seed).permutation(labels), seed)

    return found | {CONTROL: shuffled}


def answered(guess: Guess, data: LabelledVideos, seed: int, path: Path | None) -> np.ndarray:
    """The classes that a system names; where `path` holds them from before, those."""
    if path is not None and path.exists():
        return np.array(json.loads(path.read_text()))
    found = guess(data, data.labels("train"), seed)
    if path is not None:
        path.write_text(json.dumps(found.tolist()))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("--size", default="laptop")
    parser.add_argument("--folds", type=int, default=0, help="0: the single split")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--only", nargs="+", metavar="SYSTEM", help="by the names that are printed")
    parser.add_argument("--runs", type=Path, help="where each training's answers are kept")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.runs:
        options.runs.mkdir(parents=True, exist_ok=True)
    folds = [(k, options.folds) for k in range(options.folds)] or [None]
    sets = [TASKS[options.task](options.size, fold=fold) for fold in folds]
    print(sets[0].title)
    truth = np.concatenate([one.labels("val") for one in sets])
    takes = [own for number, one in enumerate(sets) for own in named(one.resampled("val"), number, one.mixed)]
    draws, found, classes = draw_takes(takes), {}, len(sets[0].classes)
    compared = systems(options.task, options.epochs)
    for name in compared if options.only is None else options.only:
        guess = compared[name]
        began, seeds = time.process_time(), range(options.seeds)
        files = options.runs and f"{options.task}-{options.size}-{options.folds}-{options.epochs}-{name}"
        guesses = np.stack(
            [
                np.concatenate(
                    [
                        answered(guess, one, seed, files and options.runs / f"{files}-{fold}-{seed}.json")
                        for fold, one in enumerate(sets)
                    ]
                )
                for seed in seeds
            ]
        )
        found[name] = accuracy(truth, guesses, takes, classes, draws)
        print(f"{name:48s} {told(found[name].estimate())} {time.process_time() - began:6.0f} s", flush=True)
    rows = {name: one.estimate() for name, one in found.items()}
    pairs = [(one, other) for one, other in PAIRS if one in found and other in found]
    rows |= {f"{one} - {other}": found[one].minus(found[other]) for one, other in pairs}
    for one, other in pairs:
        print(f"{one} - {other}:  {told(rows[f'{one} - {other}'])}")
    if options.json:
        about = {name: getattr(options, name) for name in ("size", "folds", "epochs", "seeds")}
        about |= {"scenes": len(truth), "classes": classes}
        percent = {name: [round(100 * x, 1) for x in (e.value, e.low, e.high)] for name, e in rows.items()}
        options.json.write_text(json.dumps(about | {"top-1, %": percent}, indent=1) + "\n")


def named(takes: list[tuple[str, ...]], fold: int, mixed: bool) -> list[tuple[str, ...]]:
    """What is resampled, under names of its own: folds number their units alike, a take is in one alone."""
    return [tuple(f"fold {fold}, {own}" for own in one) for one in takes] if mixed else takes


def told(one: Any) -> str:
    """An estimate in percent."""
    return f"{100 * one.value:6.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})"


if __name__ == "__main__":
    main()
