"""UPS learns lifting alone, beside baselines on the same views: MPJPE and P-MPJPE in mm, heading in degrees.

    python benchmarks/ups_lifting.py --json benchmarks/ups_lifting.json
    python benchmarks/ups_lifting.py --steps 20          tries it

1,060 steps of 64 windows, one seed: ten minutes of a core for each model. Judged on the single split's
validation takes, with intervals over takes, and on other performers. There every method fails; so models are
trained beside it whose performers vary more in size, tempo and camera (`VARIED`, set before any was run), and
of each pose that is asked for the nearest that training shows is measured. What tokens cost is told by a
regression on the same encoder, and by the mean over an axis' bins in place of the likeliest.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lart_mini.evaluation import Estimate, p_mpjpe
from lart_mini.ups import (
    CLASSES,
    Filming,
    Judged,
    Recipe,
    Regressor,
    ResidualMLP,
    UPSConfig,
    Views,
    Vocabulary,
    Windows,
    action_names,
    answers,
    draws_of,
    fit_mean_pose,
    fit_network,
    fit_ridge,
    interval,
    judge,
    load_vocabulary,
    load_windows,
    new_model,
    scored_views,
    smooth_loss,
    squared_loss,
    through_bins,
    train,
    training_views,
)

SCORES = ("mpjpe", "p_mpjpe", "heading")
OURS = "UPS"
VARIED: dict[str, dict[str, float]] = {
    "size": {"size": 0.2},
    "tempo": {"slower": 0.3},
    "camera": {"near": 2.5, "far": 9.0, "low": 0.2, "high": 3.0, "aim": 0.3},
}
VARIED["all three"] = VARIED["size"] | VARIED["tempo"] | VARIED["camera"]
# Beside it without words: the same encoder with a linear map to the pose, and no encoder at all.
NETWORKS: dict[str, tuple[Any, Any]] = {
    "regression": (Regressor, smooth_loss),
    "residual MLP": (lambda config: ResidualMLP(), squared_loss),
}
MEAN = "mean of bins"
SHOWN = 8000  # views of training, mirrored or not, among whose poses the nearest is looked for


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=1060)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--varied", nargs="*", default=list(VARIED), choices=list(VARIED), help="models beside"
    )
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    windows, vocabulary = load_windows(), load_vocabulary(action_names(CLASSES))
    learnt = windows["train"]
    recipe = Recipe(tasks=("lifting",), rotations=options.steps, seed=options.seed)
    baselines = {
        "mean pose": fit_mean_pose(learnt),
        "ridge, one frame": fit_ridge(learnt, "one"),
        "ridge, window": fit_ridge(learnt),
        "the truth in bins": through_bins(vocabulary),
    }
    views = {
        split: scored_views("lifting", windows[split], cameras=cameras)
        for split, cameras in (("val", 1), ("test", 4))
    }
    found = {
        split: {name: judge(own, ask(own)) for name, ask in baselines.items()} for split, own in views.items()
    }
    seconds = {}
    for name in (OURS, *options.varied, *NETWORKS):
        began = time.process_time()
        for split, said in lifted(name, learnt, vocabulary, recipe, views).items():
            found[split] |= {title: judge(views[split], pose) for title, pose in said.items()}
        seconds[name] = round(time.process_time() - began)
        print(f"{name}: {options.steps} steps in {seconds[name]} processor seconds", flush=True)
    shown = training_views("lifting", learnt, np.random.default_rng(options.seed), SHOWN).goal
    told: dict = {
        "steps": options.steps,
        "seed": options.seed,
        "varied": VARIED,
        "processor seconds": seconds,
    }
    for split, judged in found.items():
        told[split] = report(split, judged)
        near = nearest(shown, views[split].goal)
        told[split]["nearest training pose, P-MPJPE mm"] = round(float(near.mean()), 1)
        told[split]["by take"] = by_take(judged[OURS], near)
        print(f"nearest training pose: P-MPJPE {near.mean():.1f} mm")
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n")


def lifted(
    name: str, learnt: Windows, vocabulary: Vocabulary, recipe: Recipe, views: dict[str, Views]
) -> dict[str, dict[str, np.ndarray]]:
    """Poses (B, 17, 3) by split and title that a network, trained here, gives; UPS in two readings."""
    config = UPSConfig.mini(vocabulary)
    if name in NETWORKS:
        make, loss = NETWORKS[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            network = make(config)
        method = fit_network(network, loss, learnt, vocabulary, recipe)
        return {split: {name: method(own)} for split, own in views.items()}
    model, title = new_model(config, vocabulary, recipe.seed), OURS
    if name != OURS:
        title += f", {name} varied"
    train(model, vocabulary, learnt, recipe, filming=Filming(**VARIED.get(name, {})))
    both = {split: answers(model, vocabulary, own) for split, own in views.items()}
    return {split: {title: one.pose, f"{title}, {MEAN}": one.mean_pose} for split, one in both.items()}


def report(split: str, found: dict[str, Judged]) -> dict[str, Any]:
    """Scores with intervals over takes; what UPS differs by from ridge, and a varied one from it."""
    told: dict[str, Any] = {"views": len(found[OURS].take), "takes": len(np.unique(found[OURS].take))}
    draws = draws_of(found[OURS])
    print(f"\n{split}, {told['views']} views" + "".join(f"{name:>28s}" for name in SCORES))
    for name, judged in found.items():
        told[name] = {score: rounded(interval([judged], score, draws)) for score in SCORES}
        cells = [f"{v:.1f} ({low:.1f} to {high:.1f})" for v, low, high in told[name].values()]
        print(f"{name:30s}" + "".join(f"{cell:>28s}" for cell in cells))
    pairs = [(OURS, other) for other in ("ridge, window", *NETWORKS, f"{OURS}, {MEAN}")]
    pairs += [(name, OURS) for name in found if name.endswith("varied")]
    for one, other in pairs:
        less = {score: interval([found[one]], score, draws, minus=[found[other]]) for score in SCORES}
        told[f"{one} - {other}"] = {score: rounded(value) for score, value in less.items()}
        print(
            f"{one} - {other}: "
            + "  ".join(f"{s} {v.value:+.1f} ({v.low:+.1f} to {v.high:+.1f})" for s, v in less.items())
        )
    return told


def rounded(one: Estimate) -> list[float]:
    """Value, low, high."""
    return [round(x, 1) for x in (one.value, one.low, one.high)]


def nearest(shown: np.ndarray, goals: np.ndarray) -> np.ndarray:
    """P-MPJPE in mm from each pose asked for (B, 17, 3) to the nearest of those shown, (B,)."""
    return np.array([p_mpjpe(shown, np.broadcast_to(goal, shown.shape)).min() for goal in goals])


def by_take(judged: Judged, near: np.ndarray) -> dict[str, dict[str, float]]:
    """Of each take the mean error of UPS, and how far the nearest training pose is; mm."""
    return {
        str(name): {
            "mpjpe": round(float(judged.values["mpjpe"][judged.take == name].mean()), 1),
            "p_mpjpe": round(float(judged.values["p_mpjpe"][judged.take == name].mean()), 1),
            "nearest": round(float(near[judged.take == name].mean()), 1),
        }
        for name in np.unique(judged.take)
    }


if __name__ == "__main__":
    main()
