"""What UPS has to beat on the same views: from the most frequent class to a regression on UPS's own encoder.

Each `fit_…` learns from training windows and gives a `Method`: views in, classes or poses out, for
`scores.judge`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from lart_mini.ups.config import UPSConfig
from lart_mini.ups.model import Encoder, PoseBatch
from lart_mini.ups.recipe import Recipe, to_batch, train
from lart_mini.ups.tasks import MIDDLE, Views, Windows, training_views
from lart_mini.ups.vocabulary import Vocabulary

Method = Callable[[Views], NDArray[Any]]
SAMPLES = 6000  # views that the linear methods learn from


# ---------------------------------------------------------------------------------------------------- actions


def fit_majority(source: Windows) -> Method:
    """Always the class with most training windows."""
    most = int(np.bincount(source.labelled.label).argmax())
    return lambda views: np.full(len(views.take), most)


def fit_linear(
    task: str, source: Windows, ratio: float = 1.0, decay: float = 3e-3, samples: int = 3234, seed: int = 5
) -> Method:
    """Multinomial regression on the flattened window, one for each task and observed ratio.

    To the optimum of mean cross-entropy + `decay`·|weights|² by L-BFGS; classes are drawn as UPS draws them.
    """
    rng = np.random.default_rng(seed)
    drawn = training_views(task, source, rng, samples, ratio=ratio)
    inputs = _flat(drawn)
    mean, spread = inputs.mean(axis=0), inputs.std(axis=0) + 1e-3
    x, y = torch.from_numpy((inputs - mean) / spread), torch.from_numpy(drawn.label)
    weight = torch.zeros(x.shape[1], int(source.label.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=1000, line_search_fn="strong_wolfe")

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight + bias, y) + decay * weight.square().sum()
        loss.backward()
        return loss.item()

    optimizer.step(closure)
    w, b = weight.detach().numpy(), bias.detach().numpy()
    return lambda views: (((_flat(views) - mean) / spread) @ w + b).argmax(axis=1)


def _flat(views: Views, frames: slice | int = slice(None)) -> NDArray[np.float32]:
    """The window, or one frame, in a row; 2D input without its axis of zeros."""
    axes = 2 if views.task in ("lifting", "action2d") else 3
    return views.pose[:, frames, :, :axes].reshape(len(views.pose), -1)


# ---------------------------------------------------------------------------------------------------- lifting


def fit_mean_pose(source: Windows, samples: int = SAMPLES, seed: int = 7) -> Method:
    """Always the mean of training poses in the camera's frame."""
    mean = training_views("lifting", source, np.random.default_rng(seed), samples).goal.mean(axis=0)
    return lambda views: np.broadcast_to(mean, views.goal.shape)


def fit_ridge(
    source: Windows, frames: Literal["one", "all"] = "all", samples: int = SAMPLES, seed: int = 7
) -> Method:
    """Ridge regression from the 2D joints of the middle frame, or of the window, to the pose."""
    chosen, decay = (MIDDLE, 0.1) if frames == "one" else (slice(None), 10.0)
    drawn = training_views("lifting", source, np.random.default_rng(seed), samples)

    def inputs(views: Views) -> NDArray[np.float64]:
        return np.pad(_flat(views, chosen).astype(np.float64), ((0, 0), (0, 1)), constant_values=1)

    x, y = inputs(drawn), drawn.goal.reshape(len(drawn.goal), -1)
    weight = np.linalg.solve(x.T @ x + decay * np.eye(x.shape[1]), x.T @ y)
    return lambda views: _hip_at_origin((inputs(views) @ weight).reshape(views.goal.shape))


def through_bins(vocabulary: Vocabulary) -> Method:
    """The truth put through the vocabulary's bins, whose middles are nearest: the least MPJPE in words."""
    return lambda views: _hip_at_origin(vocabulary.pose_of(vocabulary.pose_words(views.goal)))


class ResidualMLP(nn.Module):
    """Martinez et al. 2017: the 2D joints of one frame through two residual blocks of two layers.

    There 1,024 wide, with a dropout of 0.5.
    """

    def __init__(self, joints: int = 17, width: int = 512) -> None:
        super().__init__()
        self.first = _layer(2 * joints, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(_layer(width, width), _layer(width, width)) for _ in range(2)
        )
        self.last = nn.Linear(width, 3 * joints)

    def forward(self, batch: PoseBatch) -> Tensor:
        x = self.first(batch.pose[:, batch.pose.shape[1] // 2, :, :2].flatten(1))
        for block in self.blocks:
            x = x + block(x)
        return self.last(x).unflatten(1, (-1, 3))


def _layer(inside: int, out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inside, out), nn.BatchNorm1d(out), nn.ReLU(), nn.Dropout(0.25))


class Regressor(nn.Module):
    """UPS's encoder with a linear map to the pose in place of words: what tokens cost is the difference."""

    def __init__(self, config: UPSConfig) -> None:
        super().__init__()
        self.encoder = Encoder(replace(config, blocks=1, routes=None))
        self.out = nn.Linear(config.frames * config.joints * config.joint_width, 3 * config.joints)

    def forward(self, batch: PoseBatch) -> Tensor:
        return self.out(self.encoder(batch.pose, batch.seen, 0).flatten(1)).unflatten(1, (-1, 3))


def squared_loss(found: Tensor, batch: PoseBatch, weight: Tensor) -> Tensor:
    """Mean squared error over coordinates, as Martinez et al. have it."""
    return F.mse_loss(found, batch.goal, reduction="sum") / found[0].numel() / weight.clamp(min=1)


def smooth_loss(found: Tensor, batch: PoseBatch, weight: Tensor) -> Tensor:
    """Absolute error, squared below 5 cm."""
    total = F.smooth_l1_loss(found, batch.goal, reduction="sum", beta=0.05)
    return total / found[0].numel() / weight.clamp(min=1)


def fit_network(
    model: nn.Module, loss: Any, source: Windows, vocabulary: Vocabulary, recipe: Recipe, **how: Any
) -> Method:
    """A lifting network trained as UPS is: the same views, one trainer. `how` as in `recipe.train`."""
    train(model, vocabulary, source, replace(recipe, tasks=("lifting",)), loss=loss, **how)
    model.cpu()  # wherever it learnt

    def method(views: Views) -> NDArray[np.float32]:
        with torch.no_grad():
            batch = to_batch(views, vocabulary)
            found = [model(batch[start : start + 256]).numpy() for start in range(0, len(batch), 256)]
        return _hip_at_origin(np.concatenate(found))

    return method


def _hip_at_origin(pose: NDArray[Any]) -> NDArray[Any]:
    """No method is charged for the hip, which is the origin."""
    pose = np.array(pose)
    pose[:, 0] = 0
    return pose
