"""UPS on folds of takes: four tasks by one model or one each, with and without routes, beside baselines.

    python benchmarks/ups_tasks.py --folds 0 --systems baselines,shared     what is asked, run after run
    python benchmarks/ups_tasks.py --runs benchmarks/ups_runs --json FILE   what has run there, as a table
    python benchmarks/ups_tasks.py --rotations 2 --runs runs/try --folds 0  tries it

Each run is kept in a file of its own in `--runs`, and a training that is stopped goes on from its last state:
the same command again does only what is missing. 2,000 rotations of the four tasks take 20 to 35 minutes of
one core without routes and an hour with them, on a GPU some minutes. Folds as `lart-mini folds` shows them.
"""

from __future__ import annotations

import argparse
import gzip
import json
import re
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from joblib import Parallel, delayed
from scipy.special import softmax

from lart_mini.ups import (
    CLASSES,
    RATIOS,
    TASKS,
    UPS,
    Judged,
    Recipe,
    ResidualMLP,
    RouteLog,
    Trained,
    UPSConfig,
    Vocabulary,
    Windows,
    action_names,
    draws_of,
    finetuned,
    fit_linear,
    fit_majority,
    fit_mean_pose,
    fit_network,
    fit_ridge,
    interval,
    judge,
    judge_model,
    load_ups,
    load_vocabulary,
    load_windows,
    new_model,
    pooled,
    random_routes,
    routes_by_hand,
    save_ups,
    scored_views,
    separate,
    squared_loss,
    through_bins,
    train,
)

Found = tuple[dict[str, UPS], Any]  # models by task, and where routes led
Answered = dict[str, dict[int, dict[int, Any]]]  # system → seed → fold → question → what was answered

FOLDS = 4
LIST = re.compile(r"\[([^\[\]{}]*)\]")  # is written in one line
QUESTIONS = {task: (task, 1.0) for task in ("lifting", "action2d", "action3d")}
QUESTIONS |= {f"early {ratio:.0%}": ("early", ratio) for ratio in RATIOS}
SCORES = {"lifting": ("mpjpe", "p_mpjpe", "heading", "mean_mpjpe", "malformed")}
ACTION_SCORES = ("top1", "recall", "malformed")
PAIRS = (
    ("shared", "ridge, window"), ("shared", "residual MLP"), ("shared", "linear"), ("shared", "separate"),
    ("lifting alone", "ridge, window"), ("lifting alone", "residual MLP"), ("shared", "lifting alone"),
    ("separate", "ridge, window"), ("separate", "residual MLP"), ("separate", "linear"),
    ("fine-tuned", "shared"), ("fine-tuned", "shared, on a CPU"),
    ("routed", "shared"), ("routed", "random routes"), ("routed", "routes by hand"),
    ("routes by hand", "shared"), ("routes by hand", "residual MLP"), ("shared", "random words"),
    ("shared", "half the steps"), ("twice the steps", "shared"), ("shared", "one layer"),
    ("five layers", "shared"), ("five layers", "residual MLP"), ("five blocks", "routed"),
    ("five blocks", "shared"), ("twice the steps", "residual MLP"), ("lifting alone", "long residual MLP"),
    ("shared", "long residual MLP"), ("one layer", "residual MLP"), ("one layer", "lifting alone"),
    ("one layer twice as long", "one layer"), ("one layer twice as long", "shared"),
    ("one layer twice as long", "residual MLP"), ("one layer twice as long", "lifting alone"),
    ("one layer twice as long", "ridge, window"), ("one layer twice as long", "linear"),
    ("one layer twice as long", "long residual MLP"), ("shared", "separate four times the steps"),
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--systems", default="", help="of " + ", ".join((*METHODS, *SYSTEMS)))
    parser.add_argument("--folds", default="0,1,2,3")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--rotations", type=int, default=2000)
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side, one thread each")
    parser.add_argument("--runs", type=Path, default=Path("runs/ups_tasks"))
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    names, folds, seeds = (text.split(",") for text in (options.systems, options.folds, options.seeds))
    asked = [(name, int(fold), int(seed)) for seed in seeds for fold in folds for name in filter(None, names)]
    # What is trained further needs what it begins with.
    for wanted in ([one for one in asked if (one[0] == "fine-tuned") == later] for later in (False, True)):
        Parallel(options.jobs)(delayed(keep)(options.runs, options.rotations, *one) for one in wanted)
    told = table(options.runs, list(map(int, options.folds.split(","))))
    text = LIST.sub(lambda found: f"[{' '.join(found[1].split())}]", json.dumps(told, indent=1))
    print(text)
    if options.json:
        options.json.write_text(text + "\n")


# ----------------------------------------------------------------------------------------------- what is run


def keep(runs: Path, rotations: int, name: str, fold: int, seed: int) -> None:
    """Run a system and write what it answered, if the folder `runs` lacks it."""
    path = runs / f"{name.replace(' ', '_')}-fold{fold}-seed{seed}"
    if not path.with_suffix(".json.gz").exists():
        torch.set_num_threads(1)
        found = run(name, fold, Recipe(rotations=rotations, seed=seed), path)
        path.with_suffix(".json.gz").write_bytes(gzip.compress(json.dumps(found).encode(), mtime=0))
        print(path, flush=True)


def words(embedding: str = "minilm") -> Vocabulary:
    return load_vocabulary(action_names(CLASSES), embedding=embedding)


def one_model(
    learnt: Windows, recipe: Recipe, path: Path, embedding: str = "minilm", times: float = 1, **changes: Any
) -> Found:
    """One model of four tasks, kept as `path`.safetensors, and where it led its tasks while it learnt.

    `times` as many steps as are asked for: to see whether they are enough.
    """
    recipe = replace(recipe, rotations=max(1, round(times * recipe.rotations)))
    vocabulary = words(embedding)
    model = new_model(UPSConfig.mini(vocabulary, **changes), vocabulary, recipe.seed)
    log, weights, state = (
        RouteLog(model, every=25),
        path.with_suffix(".safetensors"),
        path.with_suffix(".state"),
    )
    train(model, vocabulary, learnt, recipe, watch=log, state=state, log=path.with_suffix(".csv"))
    save_ups(weights, model, vocabulary)
    state.unlink()
    routed = model.config.blocks > 1 and model.config.routes is None
    sure = [np.round(softmax(score, axis=-1).max(axis=-1), 2).tolist() for score in log.scores]
    routes = {"steps": log.steps, "routes": log.routes, "sure": sure} if routed else None
    return dict.fromkeys(TASKS, model), routes


def of_two(
    learnt: Windows, recipe: Recipe, path: Path, routes: Callable[[UPSConfig, int], tuple[int, ...]]
) -> Found:
    """One model of two blocks a layer whose routes are given, or drawn from the run's seed."""
    given = routes(UPSConfig.mini(words(), blocks=2), recipe.seed)
    return one_model(learnt, recipe, path, blocks=2, routes=given)


def apart(
    learnt: Windows, recipe: Recipe, path: Path, tasks: tuple[str, ...] = TASKS, equal: str = "task"
) -> Found:
    """UPS_separate: a model for each of these tasks, with as many steps of it, or of all, as the one took."""
    config, folder = UPSConfig.mini(words()), path.with_suffix(".models")
    found = separate(config, words(), learnt, replace(recipe, tasks=tasks), equal, run_dir=folder)
    return found.models, None


def further(learnt: Windows, recipe: Recipe, path: Path) -> Found:
    """The one model, `shared` of the same folder, trained on for each task alone: a quarter as many steps."""
    weights = path.with_name(path.name.replace("fine-tuned", "shared")).with_suffix(".safetensors")
    model, _, _ = load_ups(weights, words())
    start = Trained(dict.fromkeys(TASKS, model), dict.fromkeys(TASKS, recipe.rotations), ())
    return finetuned(start, words(), learnt, recipe, max(1, recipe.rotations // 4)).models, None


SYSTEMS: dict[str, Callable[..., Found]] = {
    "shared": one_model,
    "fine-tuned": further,
    "routed": partial(one_model, blocks=2),
    "random routes": partial(of_two, routes=random_routes),
    "routes by hand": partial(of_two, routes=lambda config, seed: routes_by_hand(config)),
    "separate": apart,
    "separate four times the steps": partial(apart, equal="all"),
    "lifting alone": partial(apart, tasks=("lifting",)),  # for whom an hour a fold is too long
    "random words": partial(one_model, embedding="random"),
    "half the steps": partial(one_model, times=1 / 2),
    "twice the steps": partial(one_model, times=2),
    "one layer": partial(one_model, encoder_layers=1),
    "one layer twice as long": partial(one_model, encoder_layers=1, times=2),  # takes the time of `shared`
    "five layers": partial(one_model, encoder_layers=5),
    "five blocks": partial(one_model, blocks=5),
}


def run(name: str, fold: int, recipe: Recipe, path: Path) -> dict[str, Any]:
    """What was answered to each window of a fold that is held out, and at what cost."""
    windows, began = load_windows((fold, FOLDS)), time.process_time()
    learnt, held_out = windows["train"], windows["val"]
    asked = {told: scored_views(task, held_out, ratio) for told, (task, ratio) in QUESTIONS.items()}
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    about = {"fold": fold, "seed": recipe.seed, "rotations": recipe.rotations, "device": device}
    if name in METHODS:
        answered = {
            system: {told: kept(judge(asked[told], method(asked[told]))) for told, method in methods.items()}
            for system, methods in METHODS[name](learnt, recipe).items()
        }
        return about | {"answered": answered, "cpu_seconds": round(time.process_time() - began)}
    models, routes = SYSTEMS[name](learnt, recipe, path)
    vocabulary = words("random" if name == "random words" else "minilm")
    about |= {"cpu_seconds": round(time.process_time() - began), "routes": routes}
    answered = {
        told: kept(judge_model(models[task], vocabulary, asked[told]))
        for told, (task, _) in QUESTIONS.items()
        if task in models
    }
    return about | {"answered": {name: answered}}


def baselines(learnt: Windows, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Methods by name and question."""
    lifting: dict[str, Any] = {
        "mean pose": fit_mean_pose(learnt),
        "ridge, one frame": fit_ridge(learnt, "one"),
    }
    lifting |= {"ridge, window": fit_ridge(learnt), "the truth in bins": through_bins(words())}
    lifting["residual MLP"] = fit_network(ResidualMLP(), squared_loss, learnt, words(), recipe)
    asked = {told: given for told, given in QUESTIONS.items() if told != "lifting"}
    linear = {told: fit_linear(task, learnt, ratio) for told, (task, ratio) in asked.items()}
    most = dict.fromkeys(asked, fit_majority(learnt))
    return {"most frequent class": most, "linear": linear} | {k: {"lifting": v} for k, v in lifting.items()}


def long_mlp(learnt: Windows, recipe: Recipe) -> dict[str, dict[str, Any]]:
    """The residual MLP as wide as published, with as many steps as the one model takes of all four tasks."""
    torch.manual_seed(recipe.seed)
    long, model = replace(recipe, rotations=recipe.steps), ResidualMLP(width=1024)
    method = fit_network(model, squared_loss, learnt, words(), long)
    return {"long residual MLP": {"lifting": method}}


METHODS: dict[str, Callable[..., dict[str, dict[str, Any]]]] = {
    "baselines": baselines,
    "long residual MLP": long_mlp,
}


# -------------------------------------------------------------------------------------------- what is kept


def kept(judged: Judged) -> dict[str, Any]:
    """As JSON: tenths of millimetres are enough."""
    values = {name: np.round(value, 2).tolist() for name, value in judged.values.items()}
    return {"values": values, "label": judged.label.tolist(), "take": judged.take.tolist()}


def read(told: dict[str, Any]) -> Judged:
    """The way back."""
    values = {name: np.array(value, float) for name, value in told["values"].items()}
    return Judged(values, np.array(told["label"]), np.array(told["take"]))


def runs_of(folder: Path, folds: list[int]) -> list[dict[str, Any]]:
    """What is kept of these folds' runs."""
    paths = sorted(folder.glob("*-fold*-seed*.json.gz"))
    runs = [json.loads(gzip.decompress(path.read_bytes())) for path in paths]
    return [one for one in runs if one["fold"] in folds]


def by_system(runs: list[dict[str, Any]]) -> Answered:
    """What was answered in them."""
    found: Answered = {}
    for one in runs:
        for name, answered in one["answered"].items():
            found.setdefault(name, {}).setdefault(one["seed"], {})[one["fold"]] = answered
    return found


def table(folder: Path, folds: list[int]) -> dict[str, Any]:
    """Scores on these folds with 95 % intervals over takes and seeds; differences on those that both have."""
    runs = runs_of(folder, folds)
    found = by_system(runs)
    systems = {name: scores(by_seed) for name, by_seed in found.items()}
    pairs = {f"{one} - {other}": (one, other) for one, other in PAIRS if one in found and other in found}
    trained = {f"{next(iter(one['answered']))}, fold {one['fold']}, seed {one['seed']}": one for one in runs}
    return {
        "rotations": sorted({one["rotations"] for one in runs}),
        "systems": {name: told for name, told in systems.items() if told},
        "differences": {told: scores(found[one], found[other]) for told, (one, other) in pairs.items()},
        "routes": {name: written(one["routes"]) for name, one in trained.items() if one.get("routes")},
        "cpu_seconds": {name: one["cpu_seconds"] for name, one in trained.items()},
        "device": {name: one.get("device", "unknown") for name, one in trained.items()},
    }


def written(routes: dict[str, Any]) -> dict[str, Any]:
    """Each step's blocks as one word: task by task, layer by layer.

    As one word, too, how sure these are to be drawn, two digits of percent each; runs before had not kept it.
    """
    told = {"steps": routes["steps"], "routes": ["".join(map(str, chain(*one))) for one in routes["routes"]]}
    if "sure" in routes:
        percent = [[min(round(100 * share), 99) for share in chain(*one)] for one in routes["sure"]]
        told["sure"] = ["".join(f"{share:02d}" for share in one) for one in percent]
    return told


def scores(
    by_seed: dict[int, dict[int, Any]], other: dict[int, dict[int, Any]] | None = None
) -> dict[str, Any]:
    """Folds, seeds, and each score as [value, low, high]; less `other`'s on the folds that both have."""
    rest = other or by_seed
    folds = set.intersection(*(set(own) for own in (*by_seed.values(), *rest.values())))
    told: dict[str, Any] = {"folds": sorted(folds), "seeds": sorted(by_seed)}
    for question in QUESTIONS:
        if not all(question in own[fold] for own in (*by_seed.values(), *rest.values()) for fold in folds):
            continue
        own, less = ([pooled([read(one[k][question]) for k in sorted(folds)]) for one in each.values()]
                     for each in (by_seed, rest))  # fmt: skip
        draws = draws_of(own[0])
        for score in SCORES.get(question, ACTION_SCORES):
            if {score, "right" if score in ("top1", "recall") else score} & (
                set(own[0].values) & set(less[0].values)
            ):
                one = interval(own, score, draws, less if other else ())
                told[f"{question}: {score}"] = [round(x, 1) for x in (one.value, one.low, one.high)]
    return told


if __name__ == "__main__":
    main()
