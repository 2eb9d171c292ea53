"""How long notebook 08's models are trained: chosen on takes that no figure is of.

    python benchmarks/ablations.py

A third of the *training* takes is held out; videos are composed of the others, and of them, and the 3D
tracker's tracklets and single detections train for longer and longer. The scores say where more epochs stop
helping. Validation is not looked at.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import torch
from joblib import Parallel, delayed

from lart_mini import evaluation, lart, people
from lart_mini.data import SIZES, Size, compose_videos, groundtruth_of
from lart_mini.scenes import Segment, segments
from lart_mini.tracklets import Tracklet

EPOCHS = {
    "3D tracker": (4, 8, 16, 32),
    "3D tracker, labels at key frames": (4, 8, 16, 32),
    "no tracking": (2, 4, 8, 16, 32),
}
SEED = 777  # of the videos


@dataclass(frozen=True)
class Fold:
    """Tracklets of the takes to learn from, of those held out, and the latter's ground truth."""

    learnt: list[Tracklet]
    held_out: list[Tracklet]
    groundtruth: pl.DataFrame


def pools() -> list[list[Segment]]:
    """Training segments of two thirds of the takes, and of the others where the first show their actions."""
    pool = segments(people.load_library(), "train")
    held_out = sorted({segment.clip.take for segment in pool})[::3]
    learnt = [segment for segment in pool if segment.clip.take not in held_out]
    shown = frozenset().union(*(segment.actions for segment in learnt))
    return [learnt, [s for s in pool if s.clip.take in held_out and s.actions <= shown]]


def fold(tracker: str, size: Size, jobs: int) -> Fold:
    """Videos of the two pools, as many as `size` has for training and validation."""
    made = [
        compose_videos(pool, split, count, size.windows, (SEED, number), jobs, tracker)
        for number, (pool, split, count) in enumerate(
            zip(pools(), ("ava-train", "ava-val"), (size.train, size.val), strict=True)
        )
    ]
    learnt, held_out = ([tracklet for video in videos for tracklet in video.tracklets] for videos in made)
    return Fold(learnt, held_out, groundtruth_of(made[1]))


def mean_ap(fold: Fold, epochs: int, seed: int) -> float:
    """mAP in percent on the held-out takes after so many epochs from scratch."""
    torch.set_num_threads(1)
    recipe = lart.Recipe(preset="small", lr=2e-3, finetune_epochs=epochs, seed=seed)
    trained = lart.from_scratch(recipe, fold.learnt, progress=False)
    boxes = evaluation.key_boxes(fold.held_out)
    samples = lart.samples_of(fold.held_out, trained.model.config, trained.stats, "paper")
    scores = lart.box_scores(trained.model, samples, boxes, progress=False)
    return 100 * evaluation.evaluate(fold.groundtruth, evaluation.ava_rows(boxes, scores)).mean_ap


def main() -> None:
    """Print mAP by row and number of epochs: mean, and each seed's."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=sorted(SIZES), default="laptop")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=-1)
    options = parser.parse_args()
    size = SIZES[options.size]
    linked, none = (fold(tracker, size, options.jobs) for tracker in ("lart", "none"))
    key = replace(linked, learnt=lart.key_labels(linked.learnt))
    folds = dict(zip(EPOCHS, (linked, key, none), strict=True))
    tasks = [(row, n, seed) for row, many in EPOCHS.items() for n in many for seed in range(options.seeds)]
    dearest_first = sorted(tasks, key=lambda task: -task[1] * len(folds[task[0]].learnt[0]))
    scores = Parallel(options.jobs)(delayed(mean_ap)(folds[row], *rest) for row, *rest in dearest_first)
    found = dict(zip(dearest_first, scores, strict=True))
    for row, many in EPOCHS.items():
        print(row)
        for n in many:
            values = [found[row, n, seed] for seed in range(options.seeds)]
            print(f"  {n:3d} epochs  {np.mean(values):5.1f}  ({', '.join(f'{v:.1f}' for v in values)})")


if __name__ == "__main__":
    main()
