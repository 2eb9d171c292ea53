"""The training loop: what each parameter gets, what the loss looks at, and that all chance is in the seed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from lart_mini import train
from lart_mini.mini_ava import MiniAva
from lart_mini.model import LART, LARTConfig
from lart_mini.tokens import TokenBatch, TrackletDataset, stats_of
from lart_mini.train import TrainConfig, fit, masked_bce, parameter_groups, schedule

SMALL = LARTConfig(people=2, frames=16, width=32, depth=2, heads=2, pose_width=24)
SHORT = TrainConfig(epochs=2, batch_size=4, warmup_epochs=0.5)


@pytest.fixture(scope="module")
def handful(tiny: MiniAva) -> TrackletDataset:
    """Six labelled tracklets."""
    members = [t for t in tiny.tracklets("ava-train") if (t.label_source[t.detected] == 2).mean() > 0.9][:6]
    assert len(members) == 6
    stats = stats_of(members)
    return TrackletDataset(members, frames=16, people=2, stats=stats, train=True, labels="ground truth")


def small(seed: int = 0, **changes: object) -> LART:
    torch.manual_seed(seed)
    return LART(replace(SMALL, **changes))  # type: ignore[arg-type]


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in model.parameters()])


# -------------------------------------------------------------------------------------------------- optimiser


def test_every_parameter_is_in_one_group_with_its_layers_rate() -> None:
    model = small()
    groups = parameter_groups(model, TrainConfig(layer_decay=0.9, weight_decay=0.05))
    names = {id(p): name for name, p in model.named_parameters()}
    count = Counter(names[id(p)] for group in groups for p in group["params"])
    assert set(count) == set(names.values()) and set(count.values()) == {1}
    below_head = {"head.": 0, "blocks.1.": 1, "blocks.0.": 2}
    below_head |= {"pose_encoder.": 3, "project.": 3, "mask_token": 3}
    for group in groups:
        for parameter in group["params"]:
            name = names[id(parameter)]
            (distance,) = [d for prefix, d in below_head.items() if name.startswith(prefix)]
            assert group["scale"] == pytest.approx(0.9**distance), name
            matrix = name.endswith("weight") and "norm" not in name
            assert group["weight_decay"] == (0.05 if matrix else 0.0), name


def test_without_layer_decay_all_rates_are_equal() -> None:
    assert {group["scale"] for group in parameter_groups(small(), TrainConfig())} == {1.0}


def test_schedule_rises_in_a_line_and_falls_as_half_a_cosine() -> None:
    factors = [schedule(step, 100, 20) for step in range(100)]
    np.testing.assert_allclose(factors[:20], np.arange(1, 21) / 20)
    np.testing.assert_allclose(factors[20:], 0.5 * (1 + np.cos(np.pi * np.arange(80) / 80)))
    assert factors[20] == 1 and factors[60] == pytest.approx(0.5) and 0 < factors[-1] < 1e-3
    assert schedule(0, 10, 0) == 1 and schedule(0, 1, 1) == 1


def test_table_7() -> None:
    pretrain, finetune = TrainConfig.pretrain(), TrainConfig.finetune()
    for config in (pretrain, finetune):
        assert (config.betas, config.weight_decay) == ((0.9, 0.95), 0.05)
    assert (pretrain.epochs, pretrain.warmup_epochs, pretrain.lr) == (30, 5, 1e-3)
    assert (pretrain.mask_ratio, pretrain.drop_path, pretrain.layer_decay) == (0.4, 0.0, 1.0)
    assert (finetune.mask_ratio, finetune.drop_path, finetune.layer_decay) == (0.0, 0.1, 0.9)
    assert TrainConfig.finetune(layer_decay=0.5).layer_decay == 0.5
    with pytest.raises(TypeError):
        TrainConfig.pretrain(epoch=3)


# ------------------------------------------------------------------------------------------------------- loss


def batch_and_logits() -> tuple[TokenBatch, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (2, 2, 5)
    detected = torch.rand(shape, generator=generator) < 0.7
    batch = TokenBatch(
        pose=torch.zeros(*shape, 229),
        present=torch.ones(2, 2, dtype=torch.bool),
        detected=detected,
        labels=torch.rand(*shape, 3, generator=generator),
        label_weight=(torch.rand(shape, generator=generator) < 0.6).float(),
    )
    return batch, torch.randn(*shape, 3, generator=generator)


def test_loss_is_the_mean_over_detected_and_labelled_tokens() -> None:
    batch, logits = batch_and_logits()
    terms = []
    for index in np.ndindex(2, 2, 5):
        if batch.detected[index] and batch.label_weight[index]:
            chance, wanted = logits[index].sigmoid().tolist(), batch.labels[index].tolist()
            each = [-y * math.log(p) - (1 - y) * math.log(1 - p) for p, y in zip(chance, wanted, strict=True)]
            terms.append(sum(each) / 3)
    assert 3 < len(terms) < 15
    assert masked_bce(logits, batch).item() == pytest.approx(sum(terms) / len(terms), rel=1e-5)


def test_loss_ignores_undetected_and_unlabelled_tokens_but_not_masked_ones() -> None:
    batch, logits = batch_and_logits()
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(masked_bce(logits, batch), logits)
    counts = batch.detected & (batch.label_weight > 0)
    assert torch.equal(gradient.abs().sum(-1) > 0, counts)
    masked = batch.with_mask(batch.detected)
    assert torch.equal(masked_bce(logits, masked), masked_bce(logits, batch))


def test_loss_of_nothing_is_zero() -> None:
    batch, logits = batch_and_logits()
    assert masked_bce(logits, replace(batch, label_weight=torch.zeros(2, 2, 5))) == 0


# -------------------------------------------------------------------------------------------------------- fit


def test_equal_seeds_give_equal_weights_to_the_bit(handful: TrackletDataset) -> None:
    results = []
    for seed in (0, 0, 1):
        model = small(0, dropout=0.2)
        history = fit(model, handful, replace(SHORT, seed=seed, drop_path=0.2), progress=False)
        results.append((weights(model), history))
    assert torch.equal(results[0][0], results[1][0]) and results[0][1].loss == results[1][1].loss
    assert not torch.equal(results[0][0], results[2][0])


def test_history_tells_the_rates_of_the_schedule(handful: TrackletDataset) -> None:
    model = small()
    history = fit(model, handful, replace(SHORT, epochs=3, lr=2e-3, warmup_epochs=1), progress=False)
    assert history.steps_per_epoch == 2 and len(history.loss) == len(history.lr) == 6
    np.testing.assert_allclose(history.lr, [2e-3 * schedule(step, 6, 2) for step in range(6)])
    assert history.seconds > 0 and history.tokens_per_second > 0
    assert not model.training


def test_a_handful_of_tracklets_can_be_learnt_by_heart(handful: TrackletDataset) -> None:
    model = small(dropout=0.0)
    config = TrainConfig.finetune(epochs=200, batch_size=6, lr=3e-3, warmup_epochs=20, drop_path=0.0)
    history = fit(model, handful, config, progress=False)
    assert np.mean(history.loss[-5:]) < 0.1 * np.mean(history.loss[:3])


def test_drop_path_is_set_for_the_stage(handful: TrackletDataset) -> None:
    model = small()
    fit(model, handful, replace(SHORT, epochs=1, drop_path=0.3), progress=False)
    assert [block.drop_path for block in model.blocks] == [0.3, 0.3]


def test_average_moves_by_the_rest_of_its_decay() -> None:
    mean, new = nn.Linear(3, 2), nn.Linear(3, 2)
    wanted = {name: 0.8 * value + 0.2 * new.state_dict()[name] for name, value in mean.state_dict().items()}
    train._average(mean, new, 0.8)
    for name, value in mean.state_dict().items():
        torch.testing.assert_close(value, wanted[name])


def test_fit_ends_with_the_average_of_its_weights(
    handful: TrackletDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[torch.Tensor] = []
    step = train._step

    def recorded(fabric, model, *rest):  # type: ignore[no-untyped-def]
        loss = step(fabric, model, *rest)
        passed.append(weights(model))
        return loss

    monkeypatch.setattr(train, "_step", recorded)
    plain, averaged = small(), small()
    average = weights(averaged)
    fit(plain, handful, replace(SHORT, ema=0.0), progress=False)
    torch.testing.assert_close(weights(plain), passed[-1])
    passed.clear()
    fit(averaged, handful, replace(SHORT, ema=0.25), progress=False)
    for number, now in enumerate(passed, start=1):
        decay = min(0.25, number / (number + 10))
        average = decay * average + (1 - decay) * now
    torch.testing.assert_close(weights(averaged), average)
    assert not torch.equal(weights(averaged), weights(plain))
