"""Does appearance add to pose? Linear heads and LART on rendered scenes, intervals over takes.

    python benchmarks/appearance.py --json benchmarks/appearance.json
    python benchmarks/appearance.py --folds 4 --json benchmarks/appearance_folds.json
    python benchmarks/appearance.py --size smoke --seeds 1 --epochs 2          tries it

Both read the tracker's own tracks, of training takes; what is scored are other takes. `undrawn` are the same
scenes and labels with held things and handled cartons left out of the picture: there the gain must vanish.
How often a thing is held is our choice, and so is the size of the gain. Decays, weights and widths are chosen
on folds of training takes. With `--folds` every fold of takes is held out once, and their boxes are judged
together; LART with both in one vector is asked there by `lart-mini ablate appearance`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import torch
from joblib import Parallel, delayed
from scipy import special  # its functions cannot be sent to another process, it can

from lart_mini import ava
from lart_mini.appearance import (
    fit_projection,
    principal_components,
    rendered_looks,
    with_appearance,
)
from lart_mini.baselines import fit_logistic
from lart_mini.claims import POOLS, centred_scores, named
from lart_mini.data import Rendered, rendered, with_takes
from lart_mini.evaluation import KeyBoxes, Resampled, ava_rows, draw, key_boxes, resample
from lart_mini.lart import (
    LART,
    StageConfig,
    assembly_for,
    box_scores,
    preset,
    samples_of,
    start_head,
    stats_of,
    train,
    training_set,
)
from lart_mini.tracklets import GROUND_TRUTH, Tracklet

Array = np.ndarray
Boxes = tuple[KeyBoxes, pl.DataFrame]  # that are scored, and their ground truth
FOLDS, TRIED = 4, 60  # folds and iterations in which decays, shares and widths are chosen
FRAMES = np.arange(-24, 25, 6)  # about the key frame, that the linear pose reads
POSE = 256  # principal components of it
DECAYS, SHARES = (5e-4, 2e-3, 8e-3), (0.2, 0.4, 0.8, 1.6)
WIDTHS = (32, 96)  # of the appearance vector, in linear heads
WIDTH = 32  # in LART
NOT_IN_LART = ("hands+head", True)
ONE_FRAME = "pose, one frame"  # the same network, with as many steps
FRAMES_OF_LART, BATCH, BATCH_OF_ONE = 64, 8, 64
NEVER = -20.0  # logit of a class that is never shown
SYSTEMS = (("hands", True), ("hands+head", True), ("box", True), ("hands", False))  # pooling, drawn
GROUPS = {"all": ava.EVALUATED, "carry/hold": (17,)} | {
    name: tuple(c.id for c in ava.CLASSES if c.evaluated and c.category == name)
    for name in ("PM", "OM", "PI")
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="laptop")
    parser.add_argument("--folds", type=int, default=0, help="of takes; 0: the single split")
    parser.add_argument("--epochs", type=int, default=8, help="of LART")
    parser.add_argument("--seeds", type=int, default=3, help="of LART")
    parser.add_argument("--only", nargs="+", metavar="ROW", help="of LART alone, beside what --json holds")
    parser.add_argument("--jobs", type=int, default=1, help="folds side by side, one thread each")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    folds = [(k, options.folds) for k in range(options.folds)] or [None]
    parts = Parallel(options.jobs)(delayed(of_fold)(options, fold) for fold in folds)
    scored = Scored([boxes for boxes, *_ in parts])
    if options.only:
        told = json.loads(options.json.read_text())
    else:
        told = {name: getattr(options, name) for name in ("size", "folds", "epochs", "seeds")}
        told |= {"takes": len(scored.draws.takes), "boxes": sum(len(one.table) for one in scored.boxes)}
    for fold, (_, _, chosen) in zip(folds, parts, strict=True):
        told |= {"chosen" if fold is None else f"chosen, fold {fold[0]}": chosen} if chosen else {}
    for title, rows in parts[0][1].items():
        table = {row: scored.resampled([found[title][row] for _, found, _ in parts]) for row in rows}
        told[f"{title}, %"] = told.get(f"{title}, %", {}) | report(table, title)
    if options.json:
        options.json.write_text(json.dumps(told, indent=1) + "\n")


Found = dict[str, dict[str, list[Array]]]  # title → row → scores (N,60) by seed


def of_fold(
    options: argparse.Namespace, fold: tuple[int, int] | None
) -> tuple[Boxes, Found, dict[str, list]]:
    """The boxes of a fold (None: the single split), what is said of them, and what was chosen for it."""
    torch.set_num_threads(1)
    data = rendered(options.size, fold=fold)
    learnt, held_out = Split(data, "ava-train"), Split(data, "ava-val")
    asked = (learnt, held_out, options.epochs, options.seeds)
    if options.only:
        return held_out.judged, {"LART": of_lart(*asked, ["pose", *options.only])}, {}
    heads, chosen = linear(learnt, held_out)
    runs = of_lart(*asked, ["pose"] if fold else list(OF_LART))
    stacked, chosen_stacked = stacked_on_lart(learnt, held_out, runs["pose"], options.epochs)
    found = {"linear": {name: [own] for name, own in heads.items()}, "LART": runs}
    found["stacked on LART"] = {"pose": runs["pose"]} | stacked
    return held_out.judged, found, chosen | chosen_stacked


def label(pooling: str, drawn: bool) -> str:
    """A row's name."""
    return f"pose + {pooling}" + ("" if drawn else ", undrawn")


def report(table: dict[str, Resampled], title: str) -> dict[str, dict]:
    """Print mAP by group of classes, and each difference to pose; all in percent, with intervals."""
    told: dict[str, dict] = {}
    for name, own in table.items():
        rows = {group: own.estimate(classes) for group, classes in GROUPS.items()}
        if name != "pose":
            rows |= {f"{g} - pose": own.minus(table["pose"], classes) for g, classes in GROUPS.items()}
        told[name] = {
            key: [round(100 * x, 1) for x in (one.value, one.low, one.high)] for key, one in rows.items()
        }
        cells = "  ".join(
            f"{key} {v:.1f} ({low:.1f} to {high:.1f})" for key, (v, low, high) in told[name].items()
        )
        print(f"{title}, {name}: {cells}", flush=True)
    return told


class Split:
    """A split's tracks, the boxes at their key frames, whose take each shows, and what is seen of them."""

    def __init__(self, data: Rendered, split: str) -> None:
        self.tracklets: list[Tracklet] = data.tracklets(split)
        self.groundtruth = with_takes(data, split)
        boxes = key_boxes(self.tracklets)
        self.boxes = replace(boxes, table=named(boxes.table, self.groundtruth))
        self.looks = {drawn: rendered_looks(data, split, drawn=drawn, jobs=1) for drawn in (True, False)}
        self.pairs = list(zip(boxes.tracklet.tolist(), boxes.t.tolist(), strict=True))
        self.labels = ava.to_evaluated(np.stack([self.tracklets[i].labels[t] for i, t in self.pairs]))
        told = np.array([self.tracklets[i].label_source[t] == GROUND_TRUTH for i, t in self.pairs])
        self.known = told & self.boxes.table["take"].is_not_null().to_numpy()
        self.pose = np.stack([moving_pose(self.tracklets[i], t) for i, t in self.pairs])

    @property
    def judged(self) -> Boxes:
        """The boxes that are scored, and their ground truth."""
        return self.boxes, self.groundtruth

    def seen(self, pooling: str, drawn: bool) -> Array:
        """Features (N,F) of a pooling at the key boxes."""
        looks = self.looks[drawn]
        at = {pair: n for n, pair in enumerate(zip(looks.tracklet.tolist(), looks.t.tolist(), strict=True))}
        return looks.features(pooling)[[at[pair] for pair in self.pairs]]


class Scored:
    """The boxes of all folds together, whose videos are named apart, and the draws over their takes."""

    def __init__(self, parts: list[Boxes]) -> None:
        apart = [pl.format("{}/{}", pl.lit(fold), pl.col("video")) for fold in range(len(parts))]
        self.truth = pl.concat(
            truth.with_columns(video=own) for own, (_, truth) in zip(apart, parts, strict=True)
        )
        self.boxes = [
            replace(boxes, table=boxes.table.with_columns(video=own))
            for own, (boxes, _) in zip(apart, parts, strict=True)
        ]
        self.draws = draw(self.truth)

    def resampled(self, by_fold: list[list[Array]]) -> Resampled:
        """Scores (N,60) of each fold and seed at its boxes, judged together."""
        tables = [
            pl.concat([ava_rows(*one) for one in zip(self.boxes, of_seed, strict=True)])
            for of_seed in zip(*by_fold, strict=True)
        ]
        return resample(self.truth, tables, self.draws)


def moving_pose(tracklet: Tracklet, t: int) -> Array:
    """Nine frames about t as numbers: rotations, joints about the hips, speeds, and the way gone."""
    rows = np.clip(t + FRAMES, 0, len(tracklet) - 1)
    joints = tracklet.joints[rows, :44] - tracklet.joints[rows, 8:9]
    way = tracklet.translation[rows] - tracklet.translation[t]
    parts = [tracklet.pose[rows][..., :2], 2 * joints, 2 * np.diff(joints, axis=0), way / 2]
    return np.concatenate([part.reshape(-1) for part in parts] + [tracklet.translation[t] / 10])


# -------------------------------------------------------------------------------------------- linear heads


def linear(learnt: Split, held_out: Split) -> tuple[dict[str, Array], dict[str, list]]:
    """Scores (N,60) at the held-out boxes of heads on pose, on appearance, on both; and what was chosen.

    Both in two ways: `joint`, one head on both, and `stacked`, a head on appearance added to what pose says
    of takes that it has not seen. Pose knows by heart most takes that it has seen: jointly, little is left
    there for appearance to learn.
    """
    labels, folds = learnt.labels[learnt.known], folds_of(learnt)
    pose = reduced(learnt, learnt.pose, held_out.pose, POSE)
    best, decay = max((judged(pose[0], labels, folds, one), one) for one in DECAYS)
    said, unseen = logits(*pose, labels, decay), out_of_fold(pose[0], labels, folds, decay)
    found, chosen = {"pose": said}, {"pose": [decay, round(best, 4)]}
    for pooling, drawn in SYSTEMS:
        raw, name = (learnt.seen(pooling, drawn), held_out.seen(pooling, drawn)), label(pooling, drawn)
        parts = {width: reduced(learnt, *raw, width) for width in WIDTHS}
        for row, offset in ((name.removeprefix("pose + "), None), (f"{name}, stacked", unseen)):
            best, width, own = max(
                (judged(part[0], labels, folds, one, offset), width, one)
                for (width, part), one in product(parts.items(), DECAYS)
            )
            own_logits = logits(*parts[width], labels, own, offset)
            found[row] = own_logits if offset is None else said + own_logits
            chosen[row] = [width, own, round(best, 4)]
        joint = {
            (width, share): [
                np.concatenate([one, share * other], axis=1) for one, other in zip(pose, part, strict=True)
            ]
            for (width, part), share in product(parts.items(), SHARES)
        }
        best, width, share = max((judged(both[0], labels, folds, decay), *key) for key, both in joint.items())
        found[f"{name}, joint"] = logits(*joint[width, share], labels, decay)
        chosen[f"{name}, joint"] = [width, share, round(best, 4)]
    return {name: special.expit(own) for name, own in found.items()}, chosen


def reduced(learnt: Split, features: Array, others: Array, width: int) -> tuple[Array, Array]:
    """Principal components, fitted on the boxes learnt from, of those and the others; of few boxes fewer."""
    known = features[learnt.known]
    mean, matrix = principal_components(known, min(width, *known.shape))
    return tuple(((rows - mean) @ matrix).astype(np.float32) for rows in (known, others))


def logits(
    features: Array,
    others: Array,
    labels: Array,
    decay: float,
    offset: Array | None = None,
    iterations: int = 200,
) -> Array:
    """Logits (N,60) of the others, beside `offset`; of classes that are never shown NEVER."""
    shown = labels.any(axis=0)
    given = None if offset is None else offset[:, shown]
    weight, bias = fit_logistic(features.astype(np.float32), labels[:, shown], decay, iterations, given)
    found = np.full((len(others), labels.shape[1]), NEVER, np.float32)
    found[:, shown] = others @ weight + bias
    return found


def folds_of(learnt: Split) -> list[tuple[Array, Array]]:
    """(learnt from, tested) in turn: boxes of a take, and of one actor, are never on both sides."""
    table = learnt.boxes.table.filter(pl.Series(learnt.known))
    takes = sorted(table["take"].drop_nulls().unique())
    number = np.random.default_rng(0).permutation(len(takes)) % FOLDS
    fold = np.array([number[takes.index(take)] if take else -1 for take in table["take"]])
    actor = np.array([f"{video} {person}" for video, person in table.select("video", "person").iter_rows()])
    return [(~np.isin(actor, actor[fold == k]) & (fold != k), fold == k) for k in range(FOLDS)]


def out_of_fold(
    features: Array, labels: Array, folds: list, decay: float, offset: Array | None = None
) -> Array:
    """Logits (N,60) of each box by a head that has seen neither its take nor its actor; offset included."""
    found = np.full(labels.shape, NEVER, np.float32)
    for own, tested in folds:
        given = None if offset is None else offset[own]
        found[tested] = logits(features[own], features[tested], labels[own], decay, given, TRIED)
    return found if offset is None else found + offset


def judged(features: Array, labels: Array, folds: list, decay: float, offset: Array | None = None) -> float:
    """Mean AP, out of fold, of classes with five boxes or more."""
    found = out_of_fold(features, labels, folds, decay, offset)
    common = np.flatnonzero(labels.sum(axis=0) >= 5)
    return float(np.mean([area(found[:, k], labels[:, k]) for k in common]))


def area(scores: Array, labels: Array) -> float:
    """Average precision."""
    hits = labels[np.argsort(-scores, kind="stable")] > 0
    return float((np.cumsum(hits) / np.arange(1, len(hits) + 1))[hits].mean())


# ------------------------------------------------------------------------------------------------------ LART


OF_LART = {"pose": ("", True, FRAMES_OF_LART), ONE_FRAME: ("", True, 1)}  # row -> pooling, drawn, frames
OF_LART |= {label(*one): (*one, FRAMES_OF_LART) for one in SYSTEMS if one != NOT_IN_LART}


def of_lart(
    learnt: Split, held_out: Split, epochs: int, seeds: int, rows: list[str]
) -> dict[str, list[Array]]:
    """Scores (N,60) of each of these rows, seed by seed."""
    return {
        row: [lart(learnt, held_out, *OF_LART[row], epochs, seed) for seed in range(seeds)] for row in rows
    }


def lart(
    learnt: Split, held_out: Split, pooling: str, drawn: bool, frames: int, epochs: int, seed: int
) -> Array:
    """Scores (N,60) at the held-out boxes of a small LART that reads pose, and U of a pooling or none."""
    tracks, others, width = learnt.tracklets, held_out.tracklets, 0
    if pooling:
        project, width = fit_projection(learnt.looks[drawn], pooling, WIDTH), WIDTH
        tracks, others = (
            with_appearance(own.tracklets, own.looks[drawn], project(own.looks[drawn]))
            for own in (learnt, held_out)
        )
    return scored(tracks, others, held_out.boxes, width, epochs, seed, frames)


def scored(
    tracks: list[Tracklet],
    others: list[Tracklet],
    boxes: KeyBoxes,
    width: int,
    epochs: int,
    seed: int,
    frames: int = FRAMES_OF_LART,
) -> Array:
    """Scores (N,60) at others' boxes of a small LART from scratch; `width`: of its appearance vector.

    Of one frame it learns in larger batches, so that it sees no fewer labels a step.
    """
    config = replace(preset("small"), appearance=width, appearance_width=width, frames=frames)
    torch.manual_seed(seed)
    model, stats = LART(config), stats_of(tracks)
    batch = BATCH_OF_ONE if frames == 1 else BATCH
    epochs *= batch // BATCH
    settings = StageConfig.finetune(
        epochs=epochs, warmup_epochs=0.15 * epochs, batch_size=batch, lr=2e-3, seed=seed
    )
    dataset = training_set(tracks, stats, config, "finetune", settings)
    start_head(model, dataset)
    train(model, dataset, settings, progress=False)
    if frames == 1:
        return centred_scores(model, stats, others, boxes)[POOLS.index(1)]
    return box_scores(model, samples_of(others, config, stats, assembly_for(config)), boxes, progress=False)


def stacked_on_lart(
    learnt: Split, held_out: Split, pose: list[Array], epochs: int
) -> tuple[dict[str, list[Array]], dict[str, list]]:
    """Scores by seed of LART on pose and a linear head on appearance beside it, and what was chosen.

    As `linear` stacks: the head learns beside what LART says of takes that it has not seen, so for every
    seed a LART is trained without each fold. `pose`: by seed, scores of the LART that has seen them all.
    """
    labels, folds = learnt.labels[learnt.known], folds_of(learnt)
    of_track = np.array([i for i, _ in learnt.pairs])[learnt.known]
    unseen = [np.full(labels.shape, NEVER, np.float32) for _ in pose]
    for seed, (own, tested) in product(range(len(pose)), folds):
        gone = set(of_track[~own].tolist())  # of the takes that are tested, or of their actors
        tracks = [track for i, track in enumerate(learnt.tracklets) if i not in gone]
        said = scored(tracks, learnt.tracklets, learnt.boxes, 0, epochs, seed)[learnt.known]
        unseen[seed][tested] = logits_of(said[tested])
    found, chosen = {}, {}
    for pooling, drawn in SYSTEMS:
        raw, name = (learnt.seen(pooling, drawn), held_out.seen(pooling, drawn)), label(pooling, drawn)
        parts = {width: reduced(learnt, *raw, width) for width in WIDTHS}
        best, width, decay = max(
            (float(np.mean([judged(part[0], labels, folds, one, offset) for offset in unseen])), width, one)
            for (width, part), one in product(parts.items(), DECAYS)
        )
        chosen[f"{name}, stacked on LART"] = [width, decay, round(best, 4)]
        found[name] = [
            special.expit(logits_of(own) + logits(*parts[width], labels, decay, offset))
            for own, offset in zip(pose, unseen, strict=True)
        ]
    return found, chosen


def logits_of(scores: Array) -> Array:
    """Of scores in 0-1, which rounding may have put at an end."""
    return special.logit(scores.clip(1e-6, 1 - 1e-6))


if __name__ == "__main__":
    main()
