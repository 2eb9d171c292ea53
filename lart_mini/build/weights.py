"""The trained models that ship: data_samples/weights/, each with a card.

`python -m lart_mini.build weights` trains them anew by one `Recipe`, on the training takes of mini_ava's
single split: byte for byte with the same torch and numpy on one kind of machine.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
from threadpoolctl import threadpool_limits

from lart_mini import ava
from lart_mini.claims.fold_data import named
from lart_mini.data.mini_ava import SIZES, SPLITS, TAKES, VERSION, MiniAva, compose_videos
from lart_mini.data.videos import groundtruth_of
from lart_mini.evaluation.frame_map import FRAME
from lart_mini.evaluation.intervals import Draws, draw, resample
from lart_mini.evaluation.key_boxes import KeyBoxes, at_key_boxes, ava_rows, key_boxes
from lart_mini.files import BadInput, atomic_path, sha256, workplace
from lart_mini.lart.recipe import Recipe, Trained, finetune, labelled, pretrain, scores_of
from lart_mini.lart.weights import save_model
from lart_mini.people.clips import Clip, load_library
from lart_mini.runs.reproduce import commit
from lart_mini.scenes.takes import Segment, segments
from lart_mini.training.devices import choose_fabric

# What notebooks 05 and 06 train in the laptop profile, with seed 0.
RECIPE = Recipe(size="laptop", preset="small", pretrain_epochs=6, finetune_epochs=8, lr=2e-3)
COMMAND = "python -m lart_mini.build weights"
INTERVAL = "95 %, over takes; one seed; the single split"
LEARNT = {
    "pretrained": "the teacher's pseudo labels on ava-train and kinetics-train",
    "finetuned": "the teacher's pseudo labels on ava-train and kinetics-train, then ava-train's ground truth",
}
LIMITS = (
    "Scenes are composed of captured motion, with a simulated detector: of films these weights know nothing.",
    "Not for AVA's numbers: of its 60 classes only those that stand under ava-val are learnt.",
    "A class whose training_takes or held_out_takes is 1 rests on one clip: its AP says little.",
    "Other performers are recognised less well: ava-test.",
    "Trained on the free body; poses of another body, or with other noise, were not tried.",
)
# Sources of the motion in data_samples/motion → whom to name; licences/ has the texts.
CREDITS = {
    "accad": "ACCAD Motion Capture Lab, The Ohio State University: CC BY 3.0, licences/accad.txt",
    "boxing": "assimp's test models: BSD-3-Clause, licences/assimp.txt",
    "cmu": "CMU Graphics Lab Motion Capture Database (NSF EIA-0196217): free to use, licences/cmu.txt",
    "deepmimic": "DeepMimic, Xue Bin Peng et al.; Bullet: zlib and MIT, licences/deepmimic.txt",
    "gazebo": "Open Source Robotics Foundation: Apache-2.0; motion as cmu, licences/gazebo.txt",
}


@dataclass(frozen=True, eq=False)
class Judge:
    """What models are scored on: true boxes with the take of each, the tracker's boxes, draws of takes."""

    split: str
    groundtruth: pl.DataFrame
    boxes: KeyBoxes
    draws: Draws
    takes: dict[str, Counter[int]]  # training_takes, held_out_takes: action → captured takes that show it

    def told(self, trained: Trained, data: MiniAva) -> dict[str, Any]:
        """A model's scores as its card tells them: mAP by category, AP by class with what it rests on."""
        dense = scores_of(trained, data.tracklets(self.split), progress=False)
        rows = ava_rows(self.boxes, at_key_boxes(dense, self.boxes))
        found = resample(self.groundtruth, [rows], self.draws)
        count = Counter(self.groundtruth["action"].to_list())
        scopes = {"mAP": [action for action in ava.EVALUATED if count[action]]}
        for category in ava.CATEGORIES:
            own = [action for action in scopes["mAP"] if ava.CLASSES[action - 1].category == category]
            scopes |= {category: own} if own else {}
        boxes = self.groundtruth.select(*FRAME, "person").n_unique()
        told: dict[str, Any] = {"boxes": boxes, "interval": INTERVAL}
        for scope, actions in scopes.items():
            told[scope] = {key: round(value, 4) for key, value in asdict(found.estimate(actions)).items()}
        told["classes"] = {
            ava.NAMES[action]: {"ap": round(found.estimate([action]).value, 4), "boxes": count[action]}
            | {name: takes[action] for name, takes in self.takes.items()}
            for action in scopes["mAP"]
        }
        return told


def judge(split: str, recipe: Recipe, data: MiniAva) -> Judge:
    """Of ava-val or ava-test. Its videos are composed once more: only folds keep which clip a box shows."""
    size, library = SIZES[recipe.size], load_library()
    learnt, pool = (segments(library, part) for part in ("train", TAKES[split]))
    count = size.val if split == "ava-val" else size.test
    videos = compose_videos(pool, split, count, size.windows, (recipe.data_seed, SPLITS.index(split)))
    shown = {
        (video, second, person): library[clip].take for v in videos for video, second, person, clip in v.clips
    }
    groundtruth = groundtruth_of(videos)
    takes = [shown[key] for key in groundtruth.select(*FRAME, "person").rows()]
    groundtruth = groundtruth.with_columns(take=pl.Series(takes, dtype=pl.String))
    boxes = key_boxes(data.tracklets(split))
    boxes = replace(boxes, table=named(boxes.table, groundtruth))
    rests = {"training_takes": takes_by_action(learnt), "held_out_takes": takes_by_action(pool)}
    return Judge(split, groundtruth, boxes, draw(groundtruth), rests)


def takes_by_action(pool: list[Segment]) -> Counter[int]:
    """Action → captured takes that show it."""
    return Counter(action for _, action in {(s.clip.take, action) for s in pool for action in s.actions})


def write_weights(folder: Path, recipe: Recipe = RECIPE) -> list[dict[str, Any]]:
    """Train the models in one thread on the CPU, and write each with its card. Gives the cards.

    Raises BadInput where LART_MINI_SMPL names another body, whose licence may not let its weights be shared.
    """
    if os.environ.get("LART_MINI_SMPL"):
        found = os.environ["LART_MINI_SMPL"]
        raise BadInput("shipped weights", "LART_MINI_SMPL", "not set: they are of the free body", found)
    now, seconds, cards = commit(workplace()), 0.0, []
    with threadpool_limits(1):  # last bits depend on how many share a product
        data, _, _ = labelled(recipe.size, recipe.data_seed)
        where: Any = {"fabric": choose_fabric("cpu", devices=1), "workers": 0}
        with TemporaryDirectory() as scratch:  # in which the second stage finds the first
            trained = {"pretrained": pretrain(recipe, scratch, **where)}
            trained["finetuned"] = finetune(recipe, scratch, **where)
        judges = [judge(split, recipe, data) for split in ("ava-val", "ava-test")]
        for ending, one in trained.items():
            path = folder / f"{recipe.preset}-{ending}.safetensors"
            made: dict[str, Any] = {"name": path.stem, "learnt": LEARNT[ending], "recipe": asdict(recipe)}
            made["data"] = data_of(data)
            save_model(path, one.model, one.stats, made)
            card = made | {"sha256": sha256(path), "commit": now, "command": COMMAND}
            seconds += one.history.seconds  # of all its stages
            card["seconds"] = round(seconds, 1)
            card |= {by.split: by.told(one, data) for by in judges}
            card |= {"limits": LIMITS, "licence": "Apache-2.0", "motion": credited()}
            with atomic_path(path.with_suffix(".json")) as temporary:
                temporary.write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
            cards.append(card)
    return cards


def data_of(data: MiniAva) -> dict[str, Any]:
    """What was learnt from: the data set's name, its version, and digests of the files of training takes."""
    learnt = {name: sha256(data.path / f"{name}.npz") for name in SPLITS if TAKES[name] == "train"}
    return {"name": data.path.name, "version": VERSION, "sha256": learnt}


def credited(library: dict[str, Clip] | None = None) -> dict[str, str]:
    """Source → whom to name, of the motion in training; of a fold's library, or the single split's."""
    sources = {segment.clip.source for segment in segments(library or load_library(), "train")}
    return {source: CREDITS[source] for source in sorted(sources)}
