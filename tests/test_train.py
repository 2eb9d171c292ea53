"""The training loop: what each parameter gets, what the loss looks at, and that all chance is in the seed."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import training as literal
from torch import nn
from training_job import fit

from lart_mini.data.mini_ava import MiniAva
from lart_mini.files import BadInput
from lart_mini.lart.config import LARTConfig, StageConfig
from lart_mini.lart.datasets import TrackletDataset
from lart_mini.lart.model import LART
from lart_mini.lart.recipe import masked_bce, parameter_groups, train
from lart_mini.lart.tokens import TokenBatch, stats_of
from lart_mini.training import loop
from lart_mini.training.config import rate_factor, schedule

SMALL = LARTConfig(people=2, frames=16, width=32, depth=2, heads=2, pose_width=24)
SHORT = StageConfig(epochs=2, batch_size=4, warmup_epochs=0.5)


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
    groups = parameter_groups(model, StageConfig(layer_decay=0.9, weight_decay=0.05))
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
    assert {group["scale"] for group in parameter_groups(small(), StageConfig())} == {1.0}


def test_layer_decay_as_released_reaches_the_encoders_only() -> None:
    model = small(encoding_trained=True)
    config = StageConfig(layer_decay=0.5, layer_decay_as="released", weight_decay=0.1)
    rates, decays = settings(model, config)
    for name, rate in rates.items():
        assert rate == (1.0 if name.startswith(("blocks.", "head.")) else 0.5**3), name
    assert rates == settings(model, replace(config, decayed="all"))[0]
    assert decays["mask_token"] == decays["head.bias"] == decays["blocks.0.norm1.weight"] == 0
    assert decays["encoding"] == decays["head.weight"] == 0.1
    assert set(settings(model, replace(config, decayed="all"))[1].values()) == {0.1}


def test_a_trained_encoding_learns_as_the_encoders_do() -> None:
    rates, _ = settings(small(encoding_trained=True), StageConfig(layer_decay=0.9))
    assert rates["encoding"] == rates["pose_encoder.0.weight"] == pytest.approx(0.9**3)


def settings(model: LART, config: StageConfig) -> tuple[dict[str, float], dict[str, float]]:
    """Scale of the learning rate, and weight decay, by parameter."""
    groups = parameter_groups(model, config)
    by_id = {id(p): (group["scale"], group["weight_decay"]) for group in groups for p in group["params"]}
    pairs = {name: by_id[id(p)] for name, p in model.named_parameters()}
    return {name: pair[0] for name, pair in pairs.items()}, {name: pair[1] for name, pair in pairs.items()}


def test_schedule_rises_in_a_line_and_falls_as_half_a_cosine() -> None:
    factors = [schedule(step, 100, 20) for step in range(100)]
    np.testing.assert_allclose(factors[:20], np.arange(1, 21) / 20)
    np.testing.assert_allclose(factors[20:], 0.5 * (1 + np.cos(np.pi * np.arange(80) / 80)))
    assert factors[20] == 1 and factors[60] == pytest.approx(0.5) and 0 < factors[-1] < 1e-3
    assert schedule(0, 10, 0) == 1 and schedule(0, 1, 1) == 1


def test_schedule_by_epoch_is_the_released_one() -> None:
    config = StageConfig(epochs=30, warmup_epochs=5, schedule_by="epoch")
    factors = np.array([rate_factor(config, step, 4) for step in range(120)]).reshape(30, 4)
    assert (factors == factors[:, :1]).all()
    wanted = [0.2, 0.4, 0.6, 0.8, 1.0]
    wanted += [0.5 * (1 + math.cos(math.pi * (e + 1 - 5) / 25)) for e in range(5, 30)]
    np.testing.assert_allclose(factors[:, 0], wanted)
    assert factors[-1, 0] == pytest.approx(0, abs=1e-12)
    by_step = replace(config, schedule_by="step")
    assert [rate_factor(by_step, s, 4) for s in range(120)] == [schedule(s, 120, 20) for s in range(120)]


def test_released_settings() -> None:
    first, second = StageConfig.released("pretrain"), StageConfig.released("finetune")
    assert (first.batch_size, first.lr, first.mask_ratio, first.layer_decay) == (512, 2e-4, 0.4, 1.0)
    assert (second.batch_size, second.lr, second.mask_ratio, second.layer_decay) == (64, 7e-4, 0.0, 0.95)
    assert (first.decayed, second.decayed) == ("all", "matrices")
    for config in (first, second):
        assert (config.epochs, config.warmup_epochs, config.schedule_by) == (30, 5, "epoch")
        assert (config.loss_scale, config.clip, config.ema, config.drop_path) == (10, 2, 0.9999, 0.4)
        assert not config.ema_warmup
    # The learning rate of pre-training goes with the batch, unless it is given.
    assert StageConfig.released("pretrain", batch_size=64).lr == pytest.approx(2.5e-5)
    assert StageConfig.released("finetune", batch_size=8).lr == 7e-4
    assert StageConfig.released("pretrain", lr=1e-3, ema=0.0) == replace(first, lr=1e-3, ema=0.0)


@pytest.mark.parametrize(
    "changes",
    [{"layer_decay_as": "x"}, {"schedule_by": "day"}, {"decayed": "no"}, {"accumulate": 0}, {"epochs": -1}],
)
def test_settings_that_cannot_be_are_refused(changes: dict) -> None:
    with pytest.raises(BadInput, match=next(iter(changes))):
        StageConfig(**changes)
    with pytest.raises(BadInput, match="stage"):
        StageConfig.of("both")


def test_table_7() -> None:
    pretrain, finetune = StageConfig.pretrain(), StageConfig.finetune()
    for config in (pretrain, finetune):
        assert (config.betas, config.weight_decay) == ((0.9, 0.95), 0.05)
    assert (pretrain.epochs, pretrain.warmup_epochs, pretrain.lr) == (30, 5, 1e-3)
    assert (pretrain.mask_ratio, pretrain.drop_path, pretrain.layer_decay) == (0.4, 0.0, 1.0)
    assert (finetune.mask_ratio, finetune.drop_path, finetune.layer_decay) == (0.0, 0.1, 0.9)
    assert StageConfig.finetune(layer_decay=0.5).layer_decay == 0.5
    with pytest.raises(TypeError):
        StageConfig.pretrain(epoch=3)


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


def test_losses_of_parts_add_up_to_the_whole() -> None:
    batch, logits = batch_and_logits()
    tokens = (batch.label_weight * batch.detected).sum()
    parts = [masked_bce(logits[i : i + 1], batch[i : i + 1], tokens) for i in range(len(batch))]
    assert sum(parts) == pytest.approx(masked_bce(logits, batch).item())


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


SETTINGS = {
    "pretrain": StageConfig.pretrain(epochs=2, batch_size=4, warmup_epochs=1),
    "finetune": StageConfig.finetune(epochs=2, batch_size=4, warmup_epochs=0.5, ema=0.9, seed=3),
    "released, pretrain": StageConfig.released("pretrain", epochs=3, batch_size=4, warmup_epochs=1),
    "released, finetune": StageConfig.released("finetune", epochs=3, batch_size=5, warmup_epochs=1),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_it_is_the_literal_loop_to_the_bit(handful: TrackletDataset, name: str) -> None:
    config, ours, theirs = SETTINGS[name], small(0, dropout=0.2), small(0, dropout=0.2)
    history = fit(ours, handful, config)
    assert history.loss == literal.train(theirs, handful, config)
    assert torch.equal(weights(ours), weights(theirs))


def test_a_data_set_that_masks_otherwise_is_refused(handful: TrackletDataset) -> None:
    handful.mask_ratio = 0.0
    with pytest.raises(BadInput, match=r"mask_ratio of the data set: expected 0\.4"):
        train(small(), handful, SHORT, progress=False)


def test_every_step_and_process_has_its_own_chance(handful: TrackletDataset) -> None:
    drawn = {loop._chance(seed, step, process) for seed in (0, 1) for step in (0, 1) for process in (0, 1)}
    assert len(drawn) == 8 and loop._chance(3, 4, 5) == loop._chance(3, 4, 5)
    # What was drawn before does not matter.
    histories = []
    for before in (0, 7):
        model = small(0, dropout=0.2)
        torch.manual_seed(before)
        histories.append(fit(model, handful, SHORT, progress=False).loss)
    assert histories[0] == histories[1]


def test_history_tells_the_rates_of_the_schedule(handful: TrackletDataset) -> None:
    model = small()
    history = fit(model, handful, replace(SHORT, epochs=3, lr=2e-3, warmup_epochs=1), progress=False)
    assert history.steps_per_epoch == 2 and len(history.loss) == len(history.lr) == 6
    np.testing.assert_allclose(history.lr, [2e-3 * schedule(step, 6, 2) for step in range(6)])
    assert history.seconds > 0 and history.tokens_per_second > 0
    assert not model.training


def test_a_handful_of_tracklets_can_be_learnt_by_heart(handful: TrackletDataset) -> None:
    model = small(dropout=0.0)
    config = StageConfig.finetune(epochs=200, batch_size=6, lr=3e-3, warmup_epochs=20, drop_path=0.0)
    history = fit(model, handful, config, progress=False)
    assert np.mean(history.loss[-5:]) < 0.1 * np.mean(history.loss[:3])


def test_loss_scale_acts_before_clipping(handful: TrackletDataset) -> None:
    config = replace(SHORT, epochs=1, batch_size=6, warmup_epochs=0)
    gradients = []
    for changes in ({"clip": 0.0}, {"clip": 0.0, "loss_scale": 10.0}, {"clip": 0.01, "loss_scale": 10.0}):
        model = small(dropout=0.0)
        history = fit(model, handful, replace(config, **changes), progress=False)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
        assert history.loss == pytest.approx(fit(small(dropout=0.0), handful, config, False).loss)
    torch.testing.assert_close(gradients[1], 10 * gradients[0])
    assert gradients[2].norm() == pytest.approx(0.01, rel=1e-3)


def test_masks_come_with_the_data(handful: TrackletDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[TokenBatch] = []
    place = TrackletDataset.place

    def placed(self: TrackletDataset, *given: Any) -> TokenBatch:
        seen.append(place(self, *given))
        return seen[-1]

    monkeypatch.setattr(TrackletDataset, "place", placed)
    fit(small(), handful, replace(SHORT, epochs=1, mask_ratio=0.5), progress=False)
    assert len(seen) == 2, "as many as steps"
    for batch in seen:
        assert batch.masked is not None
        detected = batch.detected.flatten(1).sum(1)
        assert torch.equal(batch.masked.flatten(1).sum(1), (detected * 0.5).long())


def test_compiled_it_learns_the_same_under_the_same_names(
    handful: TrackletDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Traced as for the compiler, but run by torch itself: minutes less, and no compiler needed.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    plain, compiled = small(depth=1, dropout=0.0), small(depth=1, dropout=0.0)
    config = replace(SHORT, epochs=1, ema=0.5)
    wanted = fit(plain, handful, config, progress=False)
    found = fit(compiled, handful, replace(config, compile=True), False, state=tmp_path / "state")
    assert found.loss == pytest.approx(wanted.loss, rel=1e-5)
    torch.testing.assert_close(weights(compiled), weights(plain), rtol=1e-4, atol=1e-5)
    kept = torch.load(tmp_path / "state", weights_only=True)
    assert kept["model"].keys() == kept["average"].keys() == plain.state_dict().keys()


def test_nothing_to_learn_is_refused(handful: TrackletDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handful, "egos", [])
    with pytest.raises(BadInput, match="something to learn"):
        fit(small(), handful, SHORT, progress=False)


def test_drop_path_is_set_for_the_stage(handful: TrackletDataset) -> None:
    model = small()
    fit(model, handful, replace(SHORT, epochs=1, drop_path=0.3), progress=False)
    assert [block.drop_path for block in model.blocks] == [0.3, 0.3]


def test_average_moves_by_the_rest_of_its_decay() -> None:
    mean, new = nn.Linear(3, 2), nn.Linear(3, 2)
    wanted = {name: 0.8 * value + 0.2 * new.state_dict()[name] for name, value in mean.state_dict().items()}
    loop._average(mean, new, 0.8)
    for name, value in mean.state_dict().items():
        torch.testing.assert_close(value, wanted[name])


def test_fit_ends_with_the_average_of_its_weights(
    handful: TrackletDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed: list[torch.Tensor] = []
    step = loop._step

    def recorded(fabric, model, *rest):  # type: ignore[no-untyped-def]
        loss = step(fabric, model, *rest)
        passed.append(weights(model))
        return loss

    monkeypatch.setattr(loop, "_step", recorded)
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


def test_the_released_average_is_as_long_from_the_first_step_on() -> None:
    config = StageConfig(ema=0.9)
    assert [loop._decay(config, n) for n in (1, 90, 1000)] == [1 / 11, 0.9, 0.9]
    assert [loop._decay(replace(config, ema_warmup=False), n) for n in (1, 1000)] == [0.9, 0.9]
