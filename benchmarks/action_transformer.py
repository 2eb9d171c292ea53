"""The Video Action Transformer on rendered scenes: heads compared on the same boxes, proposals, attention.

    python benchmarks/action_transformer.py --runs runs/vat --json benchmarks/action_transformer.json
    python benchmarks/action_transformer.py --size smoke --epochs 2 --runs runs/try      tries it

All networks read the same frozen maps (EfficientNet-lite0 at 108 x 192) of the same clips; nothing was chosen
on the validation takes: the linear models' decay is the best of five on halves of the training takes. Each
training is kept in --runs, and a stopped one goes on. With --folds every fold of takes is held out once, and
their boxes are judged together. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import expit
from torch.nn import functional as F

from lart_mini import ava
from lart_mini.action_transformer import (
    GROUPS,
    PICTURE_SIZE,
    ActionRecipe,
    ActionTransformer,
    KeyClip,
    batch_of,
    box_clips,
    box_scores,
    detect,
    key_clips,
    keys_tell,
    longer,
    looked_at,
    overlaps,
    proposal_ranks,
    roi_pool,
    trained,
    watched_maps,
)
from lart_mini.baselines import fit_logistic
from lart_mini.data import Rendered, rendered, with_takes
from lart_mini.evaluation import CORNERS, KeyBoxes, Resampled, ava_rows, draw, evaluate, key_boxes, resample
from lart_mini.progress import progress
from lart_mini.skeletr import SkeletonRecipe
from lart_mini.skeletr import scores as skeleton_scores

OURS = "Action Transformer"
DECAYS = (1e-2, 3e-2, 1e-1, 3e-1, 1.0)
HEADS: dict[str, dict[str, Any]] = {
    "Action Transformer": {},
    "I3D head": {"head": "I3D"},
    "Action Transformer, LowRes": {"query": "low"},
    "Action Transformer, R = 20": {"proposals": 20},
    "Tx classifies, I3D regresses": {"head": "Tx+I3D"},
    "I3D head, R = 20": {"head": "I3D", "proposals": 20},
    "Action Transformer, 1 head, 1 layer": {"heads": 1, "layers": 1},
    "Action Transformer, 6 heads, 1 layer": {"heads": 6, "layers": 1},
    "Action Transformer, no locations": {"location": 0},
    "Action Transformer, no augmentation": {"mirror": False, "shake": 0.0},
    "Action Transformer, R = 20, boxes by class": {"proposals": 20, "regression": "by class"},
}
OWN, OWN_20 = "own 20 boxes", "Action Transformer, R = 20"
SKELETR, BOTH = "SkeleTR, Mix Pooling", "Action Transformer and SkeleTR"
SKELETR_EPOCHS = 60  # as `lart-mini ablate skeletr` at the laptop's size
WEIGHTS = ((2, 1), (1, 1), (1, 2))  # of pixels and of skeletons; the SkeleTR paper's are 2 : 1 (4.3)
GROUP_CLASSES = {"all": ava.EVALUATED} | {
    name: tuple(one.id for one in ava.CLASSES if one.evaluated and one.category == name)
    for name in ("PM", "OM", "PI")
}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="laptop")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--folds", type=int, default=0, help="of takes; 0: the single split")
    parser.add_argument("--only", nargs="*", default=[*HEADS, SKELETR], help="of the networks, by name")
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(ActionRecipe(size=options.size, epochs=options.epochs), options.folds)
    found: dict[str, Any] = {name: getattr(options, name) for name in ("size", "epochs", "seeds", "folds")}
    for name, count in {"clips": "learnt", "val clips": "clips", "val boxes": "own"}.items():
        found[name] = sum(len(getattr(part, count)) for part in bench.parts)
    bench.prior()
    for name, frames in (("linear, key frame", 1), ("linear, the clip", 8)):
        bench.linear(name, frames)
    details: dict[str, Any] = {}
    for name in options.only:
        if name == SKELETR:
            continue
        details[name] = bench.network(name, options.seeds, options.runs)
        print(name, json.dumps(details[name]), flush=True)
    if SKELETR in options.only:
        bench.fused(options.seeds, options.runs)
    report = bench.report()
    if options.json:
        options.json.write_text(json.dumps(found | report | {"networks": details}, indent=1) + "\n")
    for name, row in report["mAP"].items():
        print(
            f"{name:62s}" + "".join(f"{k} {v[0]:5.1f} ({v[1]:.1f} to {v[2]:.1f})  " for k, v in row.items())
        )


class OnPictures(SkeletonRecipe):
    """A SkeleTR of the rendered data: the same scenes and boxes, with the labels that its pictures show."""

    def data(self) -> Rendered:
        """Composed if it is not in the cache."""
        return rendered(self.size, self.data_seed, fold=self.parts())


class Part:
    """The data of one recipe: clips to learn from, and two sets of boxes to score, true and the tracker's.

    `name` stands before its videos' own, where several parts are judged together.
    """

    def __init__(self, recipe: ActionRecipe, name: str) -> None:
        self.recipe, self.name, self.data = recipe, name, recipe.data()
        self.learnt = recipe.clips("ava-train")
        self.labels = np.concatenate([clip.labels for clip in self.learnt])
        self.truth = with_takes(self.data, "ava-val")
        watched = watched_maps(self.data, "ava-val")
        self.clips = key_clips(self.truth, watched)
        self.own = self.truth.unique(["video", "second", "person"], keep="first", maintain_order=True)
        tracked = key_boxes(self.data.tracklets("ava-val")).table
        self.tracked = tracked.with_columns(take=pl.Series(takes_of(tracked, self.own), dtype=pl.String))
        self.asked = box_clips(self.tracked, watched)
        self.order = np.argsort(np.concatenate([clip.person for clip in self.asked]))

    def named(self, table: pl.DataFrame) -> pl.DataFrame:
        """The table with this part's name before its videos'."""
        return table.with_columns(video=pl.lit(self.name) + pl.col("video"))

    def rows(self, which: str, scores: np.ndarray | pl.DataFrame) -> pl.DataFrame:
        """AVA's rows of a set of boxes, with the takes; a network's own boxes come as such rows."""
        if isinstance(scores, pl.DataFrame):
            return self.named(scores)
        table = {"true boxes": self.own, "tracker's boxes": self.tracked}[which]
        table, nothing = table.select("video", "second", *CORNERS, "take"), np.zeros(len(table), np.int64)
        return self.named(ava_rows(KeyBoxes(table, nothing, nothing), scores))

    def of_both(self, told: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Scores of the clips' boxes and of the asked ones, by the set of boxes and in its order."""
        return {"true boxes": told[0], "tracker's boxes": told[1][self.order]}

    def linear(self, frames: int) -> tuple[dict[str, np.ndarray], float]:
        """Scores of logistic regression on means and maxima of the maps in the box, and its decay."""
        learnt = linear_features(self.learnt, self.recipe, frames)
        mean, spread = learnt.mean(0), learnt.std(0) + 1e-6
        learnt = (learnt - mean) / spread
        takes = with_takes(self.data, "ava-train").unique(
            ["video", "second", "person"], keep="first", maintain_order=True
        )
        half = takes["take"].rank("dense").to_numpy() % 2
        losses = []
        for decay in DECAYS:
            losses.append(0.0)
            for part in (0, 1):
                weight, bias = fit_logistic(learnt[half != part], self.labels[half != part], decay)
                logits = torch.from_numpy(learnt[half == part] @ weight + bias)
                losses[-1] += float(
                    F.binary_cross_entropy_with_logits(logits, torch.from_numpy(self.labels[half == part]))
                )
        decay = DECAYS[int(np.argmin(losses))]
        weight, bias = fit_logistic(learnt, self.labels, decay)
        told = []
        for clips in (self.clips, self.asked):
            features = (linear_features(clips, self.recipe, frames) - mean) / spread
            told.append(expit(features @ weight + bias).astype(np.float32))
        return self.of_both(told), decay

    def asked_of(self, model, sampling) -> dict[str, np.ndarray]:
        """A network's scores."""
        return self.of_both([box_scores(model, clips, sampling) for clips in (self.clips, self.asked)])

    def measured(self, model) -> tuple[dict[str, float], pl.DataFrame]:
        """Recall of proposals, detection of people, mAP of what is found in percent, and its rows."""
        told: dict[str, float] = {}
        ranks = proposal_ranks(model, self.clips, self.recipe.sampling(), 64)
        for count in (1, 3, 6, 20, 64):
            told[f"recall at R = {count}"] = round(100 * float((ranks < count).mean()), 1)
        people = self.own.with_columns(action=pl.lit(ava.EVALUATED[0], pl.Int64))
        detected = detect(model, self.clips, self.recipe.sampling(), 20)
        table = detected.table(self.clips)
        told["mAP of detections, R = 20"] = round(100 * evaluate(self.truth, table).mean_ap, 1)
        if model.config.regression == "shared":
            told["AP of people"] = round(100 * person_ap(people, detected, self.clips), 1)
        corners = table.select("video", "second", *CORNERS).unique(maintain_order=True)
        takes = corners.with_columns(take=pl.Series(takes_of(corners, self.own), dtype=pl.String))
        return told, table.join(takes, on=corners.columns, how="left", maintain_order="left")


class Bench:
    """Systems' scores of both sets of boxes of all parts: the single split, or each fold of takes in turn."""

    def __init__(self, recipe: ActionRecipe, folds: int) -> None:
        self.recipe = recipe
        self.parts = [
            Part(replace(recipe, folds=folds, fold=fold), f"fold {fold}: ") for fold in range(folds)
        ] or [Part(recipe, "")]
        self.truth = pl.concat([part.named(part.truth) for part in self.parts])
        self.draws = draw(self.truth)
        self.found: dict[str, dict[str, Resampled]] = {}
        self.scores: dict[str, list[list[dict[str, np.ndarray]]]] = {}  # seed by seed, part by part

    def score(self, name: str, *by_seed: list[dict[str, np.ndarray]]) -> None:
        """A system's scores by the set of boxes, part by part, seed by seed."""
        self.scores[name] = list(by_seed)
        for which in by_seed[0][0]:
            rows = [
                pl.concat([part.rows(which, own[which]) for part, own in zip(self.parts, told, strict=True)])
                for told in by_seed
            ]
            self.found.setdefault(name, {})[which] = resample(self.truth, rows, self.draws)

    def prior(self) -> None:
        """How often each class is shown in training, whatever the box."""
        means = [part.labels.mean(0) for part in self.parts]
        told = [
            {"true boxes": np.tile(mean, (len(part.own), 1))}
            | {"tracker's boxes": np.tile(mean, (len(part.tracked), 1))}
            for part, mean in zip(self.parts, means, strict=True)
        ]
        self.score("class prior", told)

    def linear(self, name: str, frames: int) -> None:
        """Logistic regression on the maps in the box: of the key frame, or the clip."""
        told = [part.linear(frames) for part in self.parts]
        self.score(name, [scores for scores, _ in told])
        print(f"{name}: decay {', '.join(str(decay) for _, decay in told)}", flush=True)

    def network(self, name: str, seeds: int, runs: Path) -> dict[str, Any]:
        """Train it, score it, and measure what only this network has: means over seeds and parts.

        Seconds, clips a second and loss are the last training's.
        """
        by_seed, longer_told, measured, told = [], [], [], {}
        for seed in range(seeds):
            by_seed.append([])
            longer_told.append([])
            for part in self.parts:
                recipe = replace(part.recipe, seed=seed, **HEADS[name])
                began = time.process_time()
                one = trained(recipe, runs, progress=True)
                told |= {
                    "processor seconds": round(time.process_time() - began),
                    "clips a second": one.history.tokens_per_second,
                }
                told["parameters"] = sum(p.numel() for p in one.model.parameters())
                told["loss"] = [
                    round(float(x), 3) for x in np.array(one.history.loss).reshape(recipe.epochs, -1).mean(1)
                ]
                if name == OURS:
                    longer_told[-1].append(part.asked_of(one.model, longer(recipe, 12)))
                own, rows = part.measured(one.model)
                measured.append(own)
                by_seed[-1].append(part.asked_of(one.model, recipe.sampling()) | {OWN: rows})
                if one.model.tx is not None and not seed and part is self.parts[0]:
                    first = attention_table(one.model, part.clips[::4], recipe, part.data)
                    told["attention / area"] = first
                if name == OURS and not seed and part is self.parts[0]:
                    torch.manual_seed(recipe.seed)
                    fresh = ActionTransformer(recipe.config())
                    told["keys tell"] = {
                        who: keys_table(model, part.clips[::2], recipe, part.data)
                        for who, model in (("trained", one.model), ("not trained", fresh))
                    }
        told["by seed"] = measured
        told |= {key: round(float(np.mean([one[key] for one in measured])), 1) for key in measured[0]}
        self.score(name, *by_seed)
        if name == OURS:
            self.score(f"{name}, 12 frames at test", *longer_told)
        return told

    def fused(self, seeds: int, runs: Path) -> None:
        """A SkeleTR that learnt the same scenes, and late fusion with it: both score the tracker's boxes."""
        which, epochs = "tracker's boxes", min(SKELETR_EPOCHS, 2 * self.recipe.epochs)
        told = []
        for seed in range(seeds):
            told.append([])
            for part in self.parts:
                own = part.recipe
                recipe = OnPictures(own.size, folds=own.folds, fold=own.fold, seed=seed, epochs=epochs)
                told[-1].append({which: skeleton_scores(recipe, runs)})
        self.score(SKELETR, *told)
        for ours, theirs in WEIGHTS:
            mean = [
                [
                    {which: (ours * one[which] + theirs * other[which]) / (ours + theirs)}
                    for one, other in zip(*both, strict=True)
                ]
                for both in zip(self.scores[OURS], told, strict=True)
            ]
            self.score(f"{BOTH}, {ours} : {theirs}", *mean)

    def report(self) -> dict[str, Any]:
        """Every system's mAP in percent with its interval, differences to the Action Transformer, classes."""
        mean: dict[str, Any] = {}
        for name, sets in self.found.items():
            for which, one in sets.items():
                groups = {g: one.estimate(c) for g, c in GROUP_CLASSES.items()}
                mean.setdefault(f"{name}, {which}", {g: percent(e) for g, e in groups.items()})
        differences, classes = {}, {}
        for name, sets in self.found.items():
            ap = next(iter(sets.values())).ap[:, 0].mean(0)
            known = zip(ava.EVALUATED, ap.tolist(), strict=True)
            classes[name] = {str(action): round(100 * x, 1) for action, x in known if x == x}
            for which, one in sets.items():
                if name != OURS and OURS in self.found:
                    differences[f"{OURS} - {name}, {which}"] = percent(self.found[OURS][which].minus(one))
                if name.startswith(BOTH):
                    gain = one.minus(self.found[SKELETR][which])
                    differences[f"{name} - {SKELETR}, {which}"] = percent(gain)
        if OWN_20 in self.found:
            for name, sets in self.found.items():
                if "R = 20" in name and name != OWN_20:
                    less = self.found[OWN_20][OWN].minus(sets[OWN])
                    differences[f"{OWN_20} - {name}, {OWN}"] = percent(less)
        return {"mAP": mean, "difference": differences, "AP by class": classes}


def percent(one) -> list[float]:
    """Value, low, high."""
    return [round(100 * x, 1) for x in (one.value, one.low, one.high)]


def linear_features(clips: list[KeyClip], recipe: ActionRecipe, frames: int) -> np.ndarray:
    """Of each box (N,F): mean and maximum of its 7 x 7 cells at the key frame; of the clip besides the mean
    over its frames of both."""
    found = []
    for clip in progress(clips, desc="boxes of maps"):
        batch = batch_of([clip], recipe.sampling())
        maps, many = batch.video[0].float(), batch.asked.expand(len(batch.video[0]), -1, -1)
        pooled = roi_pool(maps, many)  # (T,N,C,7,7)
        both = torch.cat([pooled.mean((3, 4)), pooled.amax((3, 4))], dim=-1)  # (T,N,2·C)
        rows = [both[len(maps) // 2]] + ([both.mean(0)] if frames > 1 else [])
        found.append(torch.cat(rows, dim=-1).numpy())
    return np.concatenate(found)


def takes_of(boxes: pl.DataFrame, people: pl.DataFrame) -> list[str | None]:
    """The take of each box: that of the person whose box overlaps it most, by half or more."""
    known = {key: rows for key, rows in people.group_by("video", "second")}
    found: list[str | None] = []
    for *key, x1, y1, x2, y2 in boxes.select("video", "second", *CORNERS).iter_rows():
        rows = known.get(tuple(key))
        if rows is None:
            found.append(None)
            continue
        shares = overlaps(
            torch.tensor([[x1, y1, x2, y2]]),
            torch.tensor(rows.select(CORNERS).to_numpy(), dtype=torch.float32),
        )[0]
        found.append(rows["take"][int(shares.argmax())] if shares.max() >= 0.5 else None)
    return found


def person_ap(people: pl.DataFrame, detected, clips: list[KeyClip]) -> float:
    """AP at an overlap of 0.5 of all people as one class (4.3), by the objectness of their boxes."""
    own = [clips[number] for number in detected.clip.tolist()]
    columns = {"video": [one.video for one in own], "second": [one.second for one in own]}
    columns |= {name: detected.box[:, k].astype(np.float64) for k, name in enumerate(CORNERS)}
    columns |= {
        "action": np.full(len(own), ava.EVALUATED[0]),
        "score": detected.objectness.astype(np.float64),
    }
    return evaluate(people.select(*people.columns), pl.DataFrame(columns)).per_class[ava.EVALUATED[0]]


def attention_table(model, clips: list[KeyClip], recipe: ActionRecipe, data) -> dict[str, Any]:
    """Attention by area of every group, heads of the last layer averaged; 1 is chance."""
    looked = looked_at(model, clips, recipe.sampling(), data, "ava-val", PICTURE_SIZE, progress=True)
    found = {name: round(float(looked.ratio((name,))[-1].mean()), 2) for name in GROUPS}
    own = looked.ratio()
    found["own person"] = round(float(own[-1].mean()), 2)
    found["own person, asked for somebody else"] = round(float(looked.ratio(by_others=True)[-1].mean()), 2)
    found["own person, by layer and head"] = [[round(float(x), 2) for x in row] for row in own]
    found["area of the own person, %"] = round(100 * float(looked.area[:, :3].sum(1).mean()), 1)
    return found


def keys_table(model, clips: list[KeyClip], recipe: ActionRecipe, data) -> dict[str, Any]:
    """Shares of cells whose nearest key is the same person's, and the same half of a body's; in 0-1."""
    told = keys_tell(model, clips, recipe.sampling(), data, "ava-val", PICTURE_SIZE, progress=True)
    return {ask: {name: x.round(3).tolist() for name, x in row.items()} for ask, row in told.items()}


if __name__ == "__main__":
    main()
