"""What a task's answers are worth: classes counted right, poses in millimetres, one number a window.

Every method, whatever it is, answers the same `Views` and is judged here: intervals over takes are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from lart_mini.evaluation.intervals import Draws, Estimate, draw, estimate
from lart_mini.evaluation.pose_error import heading_error, mpjpe, p_mpjpe
from lart_mini.files import BadInput
from lart_mini.ups.model import UPS
from lart_mini.ups.tasks import SIDES, Views
from lart_mini.ups.vocabulary import Vocabulary

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a model said to B windows, read by its vocabulary."""

    label: NDArray[np.int64]  # (B,) class, -1 where the first word is none; of lifting all -1
    pose: NDArray[
        np.float32
    ]  # (B, J, 3) greedy: in each place the likeliest bin of the axis whose turn it is
    mean_pose: NDArray[np.float32]  # (B, J, 3) the mean over that axis' bins
    malformed: NDArray[np.bool_]  # (B,) sentences that break the task's grammar


def answers(model: UPS, vocabulary: Vocabulary, views: Views, size: int = 256) -> Answers:
    """A model's greedy answers to a task's windows, `size` at a time; the model is left in eval mode."""
    model.eval()
    lifting, joints = views.task == "lifting", model.config.joints
    count = 3 * joints + 1 if lifting else 2
    device = next(model.parameters()).device
    said, odds = [], []
    for start in range(0, len(views.pose), size):
        rows = slice(start, start + size)
        seen, pose = torch.from_numpy(views.seen[rows]), torch.from_numpy(views.pose[rows])
        words, logits = model.decode(pose.to(device), seen.to(device), views.task, count)
        said.append(words.cpu())
        odds.append(logits.float().cpu())
    answered = torch.cat(said).numpy()
    malformed = ~vocabulary.well_formed(answered, views.task, joints)
    label = np.full(len(answered), -1)
    if not lifting:
        label = np.where(answered[:, 0] < len(vocabulary.actions), answered[:, 0], -1)
        nothing = np.zeros((len(answered), joints, 3), np.float32)
        return Answers(label, nothing, nothing, malformed)
    return Answers(label, *poses_of(torch.cat(odds), vocabulary), malformed)


def poses_of(logits: torch.Tensor, vocabulary: Vocabulary) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Log-odds (B, 3·J + 1, V) → poses (B, J, 3): of the likeliest bins, of the mean over an axis' bins.

    The hip, which is the origin, is put there: no bin's middle is 0.
    """
    first, bins = len(vocabulary.actions), vocabulary.bins
    by_axis = logits[:, :-1, first : first + 3 * bins].unflatten(2, (3, bins))  # (B,3J,3,bins)
    turn = torch.arange(by_axis.shape[1]) % 3
    own = by_axis[:, torch.arange(by_axis.shape[1]), turn]  # (B,3J,bins)
    middles = torch.from_numpy(vocabulary.middles)
    found = [middles[own.argmax(-1)], F.softmax(own, dim=-1) @ middles]
    hard, soft = (pose.unflatten(1, (-1, 3)).numpy() for pose in found)
    hard[:, 0] = soft[:, 0] = 0
    return hard, soft


# ---------------------------------------------------------------------------------------------- what is right


@dataclass(frozen=True, eq=False)
class Judged:
    """B judged windows: `right` (0 or 1) of actions; `mpjpe`, `p_mpjpe` (mm), `heading` (°) of lifting.

    P-MPJPE scales poses, too, as those whom the paper follows do; section 5.3 says "a rigid transformation".
    """

    values: dict[str, Floats]  # each (B,)
    label: NDArray[np.int64]  # (B,)
    take: NDArray[np.str_]  # (B,)


def judge(views: Views, found: NDArray) -> Judged:
    """Classes (B,), or poses (B, J, 3) in metres for lifting, against the truth. Raises BadInput."""
    if len(found) != len(views.take):
        raise BadInput("ups", "answers", f"{len(views.take)}, one a window", len(found))
    if views.task != "lifting":
        return Judged({"right": (found == views.label).astype(np.float64)}, views.label, views.take)
    errors = {"mpjpe": mpjpe(found, views.goal), "p_mpjpe": p_mpjpe(found, views.goal)}
    errors["heading"] = heading_error(found, views.goal, SIDES)
    return Judged(errors, views.label, views.take)


def judge_model(model: UPS, vocabulary: Vocabulary, views: Views) -> Judged:
    """A model's answers judged; beside them `malformed` (0 or 1) and lifting's `mean_mpjpe`."""
    said = answers(model, vocabulary, views)
    judged = judge(views, said.pose if views.task == "lifting" else said.label)
    more = {"malformed": said.malformed.astype(np.float64)}
    if views.task == "lifting":
        more["mean_mpjpe"] = mpjpe(said.mean_pose, views.goal)
    return Judged(judged.values | more, judged.label, judged.take)


def pooled(parts: Sequence[Judged]) -> Judged:
    """The windows of several folds as one."""
    values = {name: np.concatenate([part.values[name] for part in parts]) for name in parts[0].values}
    return Judged(values, *(np.concatenate([getattr(p, f) for p in parts]) for f in ("label", "take")))


def summary(judged: Judged) -> dict[str, float]:
    """Means, of the heading the median; `top1`, `recall` (mean over classes) and `malformed` in percent."""
    alike = np.ones((1, len(judged.take)))
    return {name: float(value[0]) for name, value in measured(judged, alike).items()}


def measured(judged: Judged, weights: Floats) -> dict[str, Floats]:
    """The same under each row of weights (W, B) of the windows, (W,) each."""
    found, total = {}, weights.sum(axis=1)
    for name, value in judged.values.items():
        percent = 100.0 if name in ("right", "malformed") else 1.0
        found[{"right": "top1"}.get(name, name)] = percent * (weights @ value) / total
    if "right" in judged.values:
        classes = [weights * (judged.label == label) for label in np.unique(judged.label)]
        with np.errstate(invalid="ignore"):  # a class all of whose takes are drawn with weight 0
            recalls = [own @ judged.values["right"] / own.sum(axis=1) for own in classes]
        found["recall"] = 100 * np.nanmean(recalls, axis=0)
    if "heading" in judged.values:
        order = np.argsort(judged.values["heading"])
        half = (np.cumsum(weights[:, order], axis=1) < total[:, None] / 2).sum(axis=1)
        found["heading"] = judged.values["heading"][order][half.clip(max=len(order) - 1)]
        found["beyond90"] = 100 * weights @ (judged.values["heading"] > 90) / total
    return found


def draws_of(judged: Judged, count: int = 1000, seed: int = 0) -> Draws:
    """Draws of the takes that the windows are from (evaluation.intervals)."""
    return draw(pl.DataFrame({"take": np.unique(judged.take)}), count, seed)


def interval(by_seed: Sequence[Judged], name: str, draws: Draws, minus: Sequence[Judged] = ()) -> Estimate:
    """A score's mean over seeds, 95 % interval over takes and seeds; `minus`: less another system's.

    Raises BadInput for windows of takes that are not drawn.
    """
    own = draws.over_seeds(_under(by_seed, name, draws))
    return estimate(own - draws.over_seeds(_under(minus, name, draws)) if minus else own)


def _under(by_seed: Sequence[Judged], name: str, draws: Draws) -> Floats:
    """A score (S, 1 + R) of each seed under each draw."""
    unknown = np.setdiff1d(np.concatenate([judged.take for judged in by_seed]), draws.takes)
    if len(unknown):
        raise BadInput("ups", "take", f"one of the {len(draws.takes)} that are drawn", unknown[0])
    place = [np.searchsorted(draws.takes, judged.take) for judged in by_seed]
    return np.stack(
        [measured(one, draws.weights[:, at])[name] for one, at in zip(by_seed, place, strict=True)]
    )
