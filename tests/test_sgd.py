"""SGD in the one loop: Nesterov written out, a rate in stairs, and older trainings left as they were."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import training_job
from training_job import Stopped, fit, stop_at

from lart_mini.files import BadInput
from lart_mini.lart.config import StageConfig
from lart_mini.lart.recipe import masked_bce
from lart_mini.training import loop
from lart_mini.training.config import LATER, TrainConfig, rate_factor

SGD = StageConfig(
    epochs=3,
    batch_size=4,
    optimizer="SGD",
    lr=0.05,
    weight_decay=0.01,
    warmup_steps=3,
    drops=(0.5, 0.8),
    clip=0.5,
)


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def literal(model: torch.nn.Module, config: StageConfig) -> list[float]:
    """b ← μ b + g + λ w; w ← w − η (g + λ w + μ b), without anything of the loop but its order of batches."""
    data = training_job.dataset()
    data.mask_ratio = config.mask_ratio
    sampler = loop.Batches(data, config.batch_size, seed=config.seed)
    per_epoch, losses = len(sampler), []
    momenta: dict[str, torch.Tensor] = {}
    model.train()
    for step, batch in enumerate(sampler.steps(0, config.epochs * per_epoch, torch.device("cpu"))):
        torch.manual_seed(loop._chance(config.seed, step, 0))
        loss = masked_bce(model(batch), batch)
        model.zero_grad()
        loss.backward()
        norm = torch.sqrt(sum((p.grad.double() ** 2).sum() for p in model.parameters() if p.grad is not None))
        shrunk = min(1.0, config.clip / float(norm))
        done = step / (config.epochs * per_epoch)
        rate = config.lr * min(1, (step + 1) / 3) * (1 if done < 0.5 else 0.1 if done < 0.8 else 0.01)
        with torch.no_grad():
            for name, w in model.named_parameters():
                if w.grad is None:
                    continue
                decay = config.weight_decay if w.ndim >= 2 and "token" not in name else 0
                g = w.grad * shrunk + decay * w
                momenta[name] = g.clone() if name not in momenta else config.momentum * momenta[name] + g
                w -= rate * (g + config.momentum * momenta[name])
        losses.append(loss.item())
    return losses


def test_steps_are_nesterovs() -> None:
    expected, found = training_job.model(), training_job.model()
    losses = literal(expected, SGD)
    history = fit(found, training_job.dataset(), SGD)
    assert history.loss == pytest.approx(losses, rel=1e-4)
    torch.testing.assert_close(weights(found), weights(expected), atol=2e-5, rtol=1e-4)
    assert not torch.allclose(weights(found), weights(training_job.model()), atol=1e-3)


def test_the_rate_rises_in_steps_and_falls_in_stairs() -> None:
    config = TrainConfig(epochs=10, warmup_steps=4, drops=(0.7, 0.85), warmup_epochs=9)
    rates = [rate_factor(config, step, 10) for step in range(100)]
    assert rates[:5] == pytest.approx([0.25, 0.5, 0.75, 1, 1])
    assert rates[69:71] == pytest.approx([1, 0.1]) and rates[84:86] == pytest.approx([0.1, 0.01])
    smooth = replace(config, drops=())
    assert rate_factor(smooth, 3, 10) == 1 and rate_factor(smooth, 52, 10) == pytest.approx(0.5)
    assert rate_factor(replace(config, warmup_steps=0, warmup_epochs=0), 0, 10) == 1


@pytest.mark.parametrize("stopped", [1, 7])
def test_stopped_it_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: int
) -> None:
    whole, resumed, data = training_job.model(), training_job.model(), training_job.dataset()
    history = fit(whole, data, SGD)
    with monkeypatch.context() as patch:
        stop_at(patch, stopped)
        with pytest.raises(Stopped):
            fit(training_job.model(), data, SGD, state=tmp_path / "s", save_every=0)
    again = fit(resumed, data, SGD, state=tmp_path / "s")
    assert torch.equal(weights(resumed), weights(whole)) and again.loss == history.loss


def test_the_state_of_the_other_optimizer_is_refused(tmp_path: Path) -> None:
    data = training_job.dataset()
    fit(training_job.model(), data, SGD, state=tmp_path / "s")
    with pytest.raises(BadInput, match=r"s: training\.optimizer|s: training\.(momentum|drops|warmup_steps)"):
        fit(training_job.model(), data, replace(SGD, momentum=0.8), state=tmp_path / "s")
    adam = replace(SGD, optimizer="AdamW")
    with pytest.raises(BadInput):
        fit(training_job.model(), data, adam, state=tmp_path / "s")


def test_a_step_that_would_ruin_the_weights_is_not_taken() -> None:
    model, data = training_job.model(), training_job.dataset()
    with torch.no_grad():
        model.head.bias.fill_(float("inf"))
    before = weights(model)
    with pytest.raises(BadInput, match="finite loss"):
        fit(model, data, SGD)
    assert torch.equal(weights(model), before)


def test_trainings_without_it_are_told_as_before() -> None:
    """What decides a training's name: a field that is as ever must not change it."""
    told = StageConfig().decisive()
    assert not set(LATER) & set(told) and set(LATER) < set(asdict(StageConfig()))
    assert set(LATER) <= set(SGD.decisive()) | {"momentum"}
    assert json.dumps(told) != json.dumps(replace(StageConfig(), drops=(0.5,)).decisive())


@pytest.mark.parametrize(
    "wrong", [{"optimizer": "LAMB"}, {"momentum": 0.0}, {"drops": (1.5,)}, {"warmup_steps": -1}]
)
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(BadInput):
        TrainConfig(**wrong)
