"""UPS learns lifting alone, beside baselines on the same views: MPJPE and P-MPJPE in mm, heading in degrees.

`python benchmarks/ups_lifting.py`: 1,060 steps of 64 windows, one seed: ten minutes of a core. `--steps 20`
tries it.
Judged on the single split's validation takes, with intervals over takes, and on other performers.
"""

from __future__ import annotations

import argparse
import time

import torch

from lart_mini.ups import (
    CLASSES,
    Judged,
    Recipe,
    UPSConfig,
    Views,
    action_names,
    draws_of,
    fit_mean_pose,
    fit_ridge,
    interval,
    judge,
    judge_model,
    load_vocabulary,
    load_windows,
    new_model,
    scored_views,
    summary,
    through_bins,
    train,
)

SCORES = ("mpjpe", "p_mpjpe", "heading")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=1060)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    windows, vocabulary = load_windows(), load_vocabulary(action_names(CLASSES))
    learnt = windows["train"]
    model = new_model(UPSConfig.mini(vocabulary), vocabulary, options.seed)
    began = time.process_time()
    train(model, vocabulary, learnt, Recipe(tasks=("lifting",), rotations=options.steps, seed=options.seed))
    print(f"UPS: {options.steps} steps in {time.process_time() - began:.0f} processor seconds")
    baselines = {
        "mean pose": fit_mean_pose(learnt),
        "ridge, one frame": fit_ridge(learnt, "one"),
        "ridge, window": fit_ridge(learnt),
        "the truth in bins": through_bins(vocabulary),
    }
    for split, cameras in (("val", 1), ("test", 4)):
        views: Views = scored_views("lifting", windows[split], cameras=cameras)
        found: dict[str, Judged] = {name: judge(views, own(views)) for name, own in baselines.items()}
        found["UPS"] = judge_model(model, vocabulary, views)
        print(f"\n{split}, {len(views.pose)} views" + "".join(f"{name:>28s}" for name in SCORES))
        for name, judged in found.items():
            print(f"{name:20s}" + "".join(f"{told(judged, score):>28s}" for score in SCORES))
        draws = draws_of(found["UPS"])
        for score in SCORES:
            less = interval([found["UPS"]], score, draws, minus=[found["ridge, window"]])
            print(f"UPS - ridge, window: {score} {less.value:+.1f} ({less.low:+.1f} to {less.high:+.1f})")
        print(f"UPS, mean of bins: {summary(found['UPS'])['mean_mpjpe']:.1f} mm")


def told(judged: Judged, score: str) -> str:
    """A score with its interval over takes."""
    one = interval([judged], score, draws_of(judged))
    return f"{one.value:.1f} ({one.low:.1f} to {one.high:.1f})"


if __name__ == "__main__":
    main()
