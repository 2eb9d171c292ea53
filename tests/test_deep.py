"""Sixteen layers normed after each half learn from the paper preset's starts, and not from PyTorch's."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lart_mini.data.mini_ava import MiniAva
from lart_mini.lart.config import DEEP_STARTS, PRESETS, LARTConfig, StageConfig
from lart_mini.lart.model import LART, keep_variance, mlp, token_likeness
from lart_mini.lart.recipe import (
    class_shares,
    masked_bce,
    new_model,
    parameter_groups,
    start_head,
    training_set,
)
from lart_mini.lart.tokens import stats_of
from lart_mini.tracklets.store import Store

SIXTEEN = {"depth": 16, "width": 64, "pose_width": 64, "people": 3, "frames": 16}


def fitted(data: MiniAva, seed: int, **starts: str) -> tuple[LART, float]:
    """A model after 60 steps on one batch of 8, and the mean of the last 20 losses."""
    tracklets = data.tracklets("ava-train")
    config = LARTConfig(**SIXTEEN, **starts)
    settings = StageConfig.pretrain(mask_ratio=0.0, seed=seed)
    dataset = training_set(tracklets, stats_of(tracklets), config, "finetune", settings)
    torch.manual_seed(seed)
    model = LART(config).train()
    start_head(model, dataset)
    batch = dataset.batch([dataset.draw(i % len(dataset)) for i in range(8)])
    optimizer = torch.optim.AdamW(parameter_groups(model, settings), betas=settings.betas)
    losses = []
    for step in range(60):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1, (step + 1) / 10) * group["scale"]
        loss = masked_bce(model(batch), batch)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(float(loss.detach()))
    return model, float(np.mean(losses[-20:]))


def test_sixteen_layers_fit_a_batch(tiny: MiniAva) -> None:
    assert fitted(tiny, 0, **DEEP_STARTS)[1] < 0.025


def test_the_paper_preset_has_the_starts_and_no_other() -> None:
    chosen = {name: getattr(LARTConfig.paper(), name) for name in DEEP_STARTS}
    assert chosen == DEEP_STARTS
    for config in (LARTConfig(), LARTConfig.mini(), LARTConfig.released()):
        assert {getattr(config, name) for name in DEEP_STARTS} == {"torch", "rare"}


def test_starts_are_no_layers() -> None:
    plain, deep = LART(LARTConfig(**SIXTEEN)), LART(LARTConfig(**SIXTEEN, **DEEP_STARTS))
    assert [(n, p.shape) for n, p in plain.named_parameters()] == [
        (n, p.shape) for n, p in deep.named_parameters()
    ]


def test_encoders_keep_the_variance() -> None:
    torch.manual_seed(0)
    encoder = mlp(229, 64, 64, 64)
    x = torch.randn(4000, 229)
    assert encoder(x).std() < 0.2
    keep_variance(encoder)
    assert 0.8 < encoder(x).std() < 1.25


def test_branches_start_smaller_by_depth() -> None:
    torch.manual_seed(0)
    plain = LART(LARTConfig(**SIXTEEN))
    torch.manual_seed(0)
    scaled = LART(LARTConfig(**SIXTEEN, branch_start="by depth"))
    for a, b in zip(plain.blocks, scaled.blocks, strict=True):
        torch.testing.assert_close(b.attention.out.weight, a.attention.out.weight / 32**0.5)
        torch.testing.assert_close(b.mlp[-1].weight, a.mlp[-1].weight / 32**0.5)
        torch.testing.assert_close(b.mlp[0].weight, a.mlp[0].weight)


def test_head_starts_at_the_class_shares(tiny: MiniAva) -> None:
    tracklets = tiny.tracklets("ava-train")
    config = LARTConfig.mini(frames=128)
    settings = StageConfig.pretrain(mask_ratio=0.0)
    dataset = training_set(tracklets, stats_of(tracklets), config, "finetune", settings)
    whole = dataset.batch([dataset.draw(i) for i in range(len(dataset))])
    weight = whole.label_weight[..., None]
    mean = (whole.labels * weight).sum(dim=(0, 1, 2)) / weight.sum()
    torch.testing.assert_close(class_shares(dataset), mean)
    model = LART(LARTConfig(**SIXTEEN, head_start="class shares"))
    model.start_head(mean)
    share = model.head.bias.detach().sigmoid()
    torch.testing.assert_close(share, mean.clamp(1e-3, 1 - 1e-3))
    bias = LART(config).head.bias.detach()
    assert (bias == bias[0]).all() and float(bias[0]) == pytest.approx(-4.6)


def test_a_new_model_for_a_store_starts_its_head_as_its_preset_says(
    whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(whole)
    monkeypatch.setitem(PRESETS, "deep", partial(LARTConfig, **SIXTEEN, **DEEP_STARTS))
    model, stats = new_model(store, "deep", True, 0)
    settings = StageConfig.pretrain()
    shares = class_shares(training_set(store, stats, model.config, "pretrain", settings))
    torch.testing.assert_close(model.head.bias.detach().sigmoid(), shares.clamp(1e-3, 1 - 1e-3))
    for name in ("mini", "released"):
        bias = new_model(store, name, True, 0)[0].head.bias.detach()
        torch.testing.assert_close(bias, torch.full_like(bias, -4.6))


@given(st.integers(0, 2**32 - 1), st.integers(2, 6))
def test_token_likeness_is_the_mean_cosine(seed: int, count: int) -> None:
    draws = np.random.default_rng(seed)
    x = torch.from_numpy(draws.normal(size=(3, 2, 7, 5))).float()
    real = torch.zeros(2, 7, dtype=torch.bool)
    real[:, :count] = True
    mean = torch.zeros(3)
    for layer in range(3):
        for sample in range(2):
            for i in range(count):
                for j in range(count):
                    if i != j:
                        a, b = x[layer, sample, i], x[layer, sample, j]
                        mean[layer] += torch.dot(a, b) / (a.norm() * b.norm()) / (count * (count - 1)) / 2
    torch.testing.assert_close(token_likeness(x, real), mean, atol=1e-5, rtol=1e-4)
