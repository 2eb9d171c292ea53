"""The trained UPS that ships: data_samples/ups/, with a card.

`python -m lart_mini.build ups` trains it anew, one model of four tasks on the training takes of the first of
four folds (40 minutes of one core): benchmarks/ups_tasks.py's "shared" of that fold.
"""

from __future__ import annotations

import copy
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from lart_mini.build.weights import credited
from lart_mini.data.folds import split_by_fold
from lart_mini.files import atomic_path, sha256, workplace
from lart_mini.people.clips import load_library
from lart_mini.runs.reproduce import commit
from lart_mini.ups.config import UPSConfig
from lart_mini.ups.model import UPS
from lart_mini.ups.recipe import Recipe, load_ups, new_model, save_ups, train
from lart_mini.ups.scores import judge_model, summary
from lart_mini.ups.shipped import NAME
from lart_mini.ups.tasks import CLASSES, load_windows, scored_views
from lart_mini.ups.vocabulary import TASKS, Vocabulary, action_names, load_vocabulary

Card = dict[str, Any]

FOLD = (0, 4)
RECIPE = Recipe(rotations=2000)
COMMAND = "python -m lart_mini.build ups"
LIMITS = (
    "One seed, one fold: whoever compares methods reads benchmarks/ups_tasks.json.",
    "Cameras and the mistakes of 2D and depth sensors are simulated: of films it knows nothing.",
    "All motion is put on one body: people of another size are lifted wrongly.",
    "Half precision: scores differ in the last digit from those of the training.",
)


def train_shipped() -> tuple[UPS, Vocabulary]:
    """The model, trained in one thread on the CPU."""
    vocabulary = load_vocabulary(action_names(CLASSES))
    model = new_model(UPSConfig.mini(vocabulary), vocabulary, RECIPE.seed)
    with threadpool_limits(1):
        train(model, vocabulary, load_windows(FOLD)["train"], RECIPE)
    return model, vocabulary


def write_shipped(folder: Path, model: UPS, vocabulary: Vocabulary, recipe: Recipe = RECIPE) -> Card:
    """Write a model in half precision, and its card, which is given: its scores are of what was written."""
    halved = copy.deepcopy(model).half()
    halved.table = model.table  # whose digest is kept beside
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{NAME}.safetensors"
    save_ups(path, halved, vocabulary)
    written, _, _ = load_ups(path, vocabulary)
    card: Card = {"name": NAME, "learnt": f"the takes of all folds but number {FOLD[0]} of {FOLD[1]}"}
    card |= {"config": asdict(model.config), "recipe": asdict(recipe), "fold": FOLD, "sha256": sha256(path)}
    card |= {"commit": commit(workplace()), "command": COMMAND, "scores": {}}
    with threadpool_limits(1):
        for task in TASKS:
            views = scored_views(task, load_windows(FOLD)["val"])
            found = summary(judge_model(written, vocabulary, views))
            card["scores"][task] = {name: round(value, 1) for name, value in found.items()}
    card |= {"limits": LIMITS, "licence": "Apache-2.0", "words": "MiniLM: Apache-2.0, licences/minilm.txt"}
    card["motion"] = credited(split_by_fold(load_library(), FOLD))
    with atomic_path(path.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return card
