"""Group activities: does attention between people tell what single people cannot? Intervals over troupes.

    python benchmarks/group_activity.py --json benchmarks/group_activity.json
    python benchmarks/group_activity.py --size smoke --epochs 2 --seeds 1       tries it

Who moves how is captured, who stands where is composed, nobody reacts to anybody. Small SkeleTRs (widths 12,
12, 48; sequences of 8 frames, every fourth) learn with AdamW, half of the scenes mirrored; the linear models
read the truth of all actors.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lart_mini.baselines import blind_features, fit_multinomial, pairwise_features
from lart_mini.data import group_activity
from lart_mini.evaluation import accuracy, draw_takes
from lart_mini.skeletr import (
    Sampling,
    SkeletonDataset,
    SkeleTR,
    labelled_clips,
    preset,
    sgd,
    train,
    video_scores,
)

SYSTEMS = {
    "GCN alone": (0, ("1x1",)),
    "average pooling": (2, ("1x1",)),
    "Mix Pooling": (2, ("1x1", "Tx1", "1xP")),
}
PAIRS = [("average pooling", "GCN alone"), ("Mix Pooling", "GCN alone"), ("Mix Pooling", "average pooling"),
         ("Mix Pooling", "blind linear")]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="laptop")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = group_activity(options.size)
    print(data.title)
    truth, takes = data.labels("val"), data.resampled("val")
    guesses: dict[str, np.ndarray] = {}
    for name, read in (("blind linear", blind_features), ("pairwise linear, the truth", pairwise_features)):
        fitted = fit_multinomial(read(data.actors("train")), data.labels("train"), len(data.classes))
        guesses[name] = fitted.scores(read(data.actors("val"))).argmax(axis=1)[None]
    for name, (depth, pooling) in SYSTEMS.items():
        began = time.process_time()
        seeds = [guess(data, depth, pooling, options.epochs, seed) for seed in range(options.seeds)]
        guesses[name] = np.stack(seeds)
        print(f"{name}: {time.process_time() - began:.0f} processor seconds", flush=True)
    draws = draw_takes(takes)
    found = {name: accuracy(truth, own, takes, len(data.classes), draws) for name, own in guesses.items()}
    rows = {name: one.estimate() for name, one in found.items()}
    rows |= {f"{one} - {other}": found[one].minus(found[other]) for one, other in PAIRS}
    for name, one in rows.items():
        print(f"{name:32s} {100 * one.value:6.1f} ({100 * one.low:.1f} to {100 * one.high:.1f})")
    if options.json:
        told = {
            name: [round(100 * x, 1) for x in (one.value, one.low, one.high)] for name, one in rows.items()
        }
        about = {"size": options.size, "epochs": options.epochs, "seeds": options.seeds, "scenes": len(truth)}
        options.json.write_text(json.dumps(about | {"top-1, %": told}, indent=1) + "\n")


def guess(data, depth: int, pooling: tuple[str, ...], epochs: int, seed: int) -> np.ndarray:
    """Classes (N,) that a SkeleTR names for the validation scenes."""
    sampling = Sampling(frames=8, step=4, most=9, mirror=True)
    torch.manual_seed(seed)
    sizes = {"widths": (12, 12, 48), "strides": (1, 2, 2), "depth": depth, "pooling": pooling}
    model = SkeleTR(preset("mini", classes=0, group_classes=len(data.classes), **sizes))
    learnt = labelled_clips(data.skeletons("train"), data.labels("train"), sampling, "group")
    config = sgd(
        optimizer="AdamW", lr=1e-3, epochs=epochs, batch_size=32, clip=1.0, drops=(0.6, 0.85), seed=seed
    )
    train(model, SkeletonDataset(learnt, sampling, seed=seed), config, progress=False)
    plain = replace(sampling, mirror=False)
    held_out = labelled_clips(data.skeletons("val"), data.labels("val"), plain, "group")
    return video_scores(model, held_out, plain, "group").argmax(axis=1)


if __name__ == "__main__":
    main()
