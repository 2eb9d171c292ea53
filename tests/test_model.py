"""LART: equal to the literal version, blind to what it must not see, and trainable throughout."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import lart as literal
from reference.dense import DenseLART
from torch import Tensor

from lart_mini.files import BadInput
from lart_mini.lart.assembly import collate
from lart_mini.lart.config import LARTConfig
from lart_mini.lart.model import LART, attention_mask, positional_encoding, roles
from lart_mini.lart.tokens import TokenBatch, random_mask

SMALL = LARTConfig(people=5, frames=6, width=16, depth=2, heads=4, pose_width=12, classes=7, dropout=0.1)


def make_model(config: LARTConfig = SMALL, seed: int = 0) -> LART:
    torch.manual_seed(seed)
    model = LART(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so that no bias and no norm stands at its neutral start
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def make_batch(
    people: tuple[int, ...] = (3, 2), frames: int = 6, seed: int = 0, slots: int = 3
) -> TokenBatch:
    generator = torch.Generator().manual_seed(seed)
    size = (len(people), slots, frames)
    present = torch.arange(slots)[None] < torch.tensor(people)[:, None]
    detected = (torch.rand(size, generator=generator) < 0.7) & present[..., None]
    detected[:, 0, 0] = True
    return TokenBatch(
        pose=torch.randn(*size, 229, generator=generator, dtype=torch.float64),
        present=present,
        detected=detected,
        labels=torch.zeros(*size, 7, dtype=torch.float64),
        label_weight=detected.double(),
    )


def mask_of(batch: TokenBatch, ratio: float = 0.4, seed: int = 0) -> Tensor:
    return random_mask(batch.detected, ratio, torch.Generator().manual_seed(seed))


@torch.no_grad()
def logits_of(model: LART, batch: TokenBatch) -> Tensor:
    return model(batch)


def assert_equal(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


# --- equality with the literal version


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"norm": "pre"},
        {"gaps_attended": False},
        {"pose_width": 16},
        {"pose_hidden": (9,)},
        {"appearance": 5, "appearance_width": 4},
        {"joints_width": 4, "joints_hidden": ()},
        {"encoding_order": "person first"},
        {"encoding_trained": True},
        {"token_order": "time"},
        {"head_width": 3, "qkv_bias": False},
    ],
    ids=str,
)
def test_equals_the_literal_version(training: bool, changes: dict) -> None:
    model = make_model(replace(SMALL, **changes))
    batch = make_batch()
    for name, width in (
        ("appearance", model.config.appearance),
        ("joints", 135 * bool(model.config.joints_width)),
    ):
        if width:
            extra = torch.randn(*batch.detected.shape, width, dtype=torch.float64)
            batch = replace(batch, **{name: extra})
    if training:
        batch = batch.with_mask(mask_of(batch))
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    found, computed = logits_of(model, batch), roles(batch)[0]
    assert (found[~computed] == 0).all() and not computed.all()
    for i in range(len(batch)):
        arrays = {
            name: None if getattr(batch, name) is None else getattr(batch, name)[i].numpy()
            for name in ("pose", "present", "detected", "masked", "joints", "appearance")
        }
        expected = literal.lart(weights, model.config, literal.Sample(**arrays))
        told = computed[i].numpy()
        # The encoding is kept in float32, hence not closer.
        np.testing.assert_allclose(found[i].numpy()[told], expected[told], atol=1e-5)


def test_float32_is_close_to_float64() -> None:
    model, batch = make_model(), make_batch()
    single = replace(batch, pose=batch.pose.float())
    found = logits_of(model, batch)
    torch.testing.assert_close(logits_of(model.float(), single).double(), found, rtol=0, atol=1e-4)


@given(st.integers(1, 4), st.integers(1, 9), st.sampled_from([4, 8, 32]))
@settings(derandomize=True, max_examples=20)
def test_encoding_equals_the_equations(people: int, frames: int, width: int) -> None:
    encoding = positional_encoding(people, frames, width)
    expected = [[literal.position(t, i, width) for t in range(frames)] for i in range(people)]
    np.testing.assert_allclose(encoding.numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("norm", ["post", "pre"])
@pytest.mark.parametrize("training", [True, False])
def test_attention_maps_are_what_forward_mixes_with(training: bool, norm: Literal["post", "pre"]) -> None:
    model, batch = make_model(replace(SMALL, norm=norm)), make_batch()
    batch = batch.with_mask(mask_of(batch)) if training else batch
    maps = model.attention_maps(batch)
    assert maps.shape == (2, 2, 4, 18, 18)
    torch.testing.assert_close(maps.sum(-1), torch.ones(2, 2, 4, 18, dtype=torch.float64))
    allowed = attention_mask(batch)
    assert ((maps > 0) == allowed[None, :, None]).all()
    plan, block = model.plan(batch, every=True), model.blocks[0]
    x = model.tokens(batch, plan)
    x = block.norm1(x) if norm == "pre" else x
    value = block.attention.split(x)[2]
    mixed = block.attention.out((maps[0] @ value).transpose(1, 2).flatten(2))
    torch.testing.assert_close(block.attention(x, plan.mask), mixed)


def test_attention_maps_of_the_released_model_are_uniform_where_nothing_may_be_attended_to() -> None:
    model, batch = make_model(replace(SMALL, undetected="computed")), make_batch()
    batch = batch.with_mask(mask_of(batch))
    maps, plan = model.attention_maps(batch), model.plan(batch)
    nowhere = ~batch.detected.flatten(1)[None, :, None].expand(maps.shape[:-1])
    torch.testing.assert_close(maps[nowhere], torch.full_like(maps[nowhere], 1 / 18))
    x, attention = model.tokens(batch, plan), model.blocks[0].attention
    mixed = attention.out((maps[0] @ attention.split(x)[2]).transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x, plan.mask, plan.uniform), mixed)


def test_attention_maps_follow_the_order_of_the_tokens() -> None:
    batch = make_batch()
    maps = make_model().attention_maps(batch).unflatten(-1, (3, 6)).unflatten(-3, (3, 6))
    other = make_model(replace(SMALL, token_order="time")).attention_maps(batch)
    other = other.unflatten(-1, (6, 3)).unflatten(-3, (6, 3))  # (…, time, person, time, person)
    assert_equal(other.transpose(-1, -2).transpose(-3, -4), maps)


# --- what must not move does not


def test_training_never_sees_undetected_frames() -> None:
    model, batch = make_model(), make_batch()
    batch = batch.with_mask(mask_of(batch))
    noise = torch.where(batch.detected[..., None], 0, torch.randn_like(batch.pose))
    changed = replace(batch, pose=batch.pose + noise)
    assert_equal(logits_of(model, changed)[batch.detected], logits_of(model, batch)[batch.detected])
    # Nor do they weigh on anybody's gradient.
    model.encoding.requires_grad_()
    model(changed)[batch.detected].square().sum().backward()
    gradient = model.encoding.grad
    assert gradient is not None
    nowhere = ~batch.detected.any(dim=0)
    assert nowhere.any() and (gradient[:3][nowhere] == 0).all() and (gradient != 0).any()


def test_training_drops_undetected_frames_altogether() -> None:
    """A frame in which nobody is detected can as well be cut out, if the others keep their encoding."""
    model, batch = make_model(), make_batch()
    detected = batch.detected.clone()
    detected[:, :, 3] = False
    batch = replace(batch, detected=detected).with_mask(mask_of(replace(batch, detected=detected)))
    kept = [0, 1, 2, 4, 5]
    whole = logits_of(model, batch)[:, :, kept]
    cut = replace(batch, **{n: x[:, :, kept] for n, x in batch.tensors().items() if n != "present"})
    model.encoding = model.encoding[:, kept]
    assert_equal(logits_of(model, cut)[cut.detected], whole[cut.detected])


def test_test_semantics_never_sees_content_of_gaps() -> None:
    model, batch = make_model(), make_batch()
    noise = torch.where(batch.detected[..., None], 0, torch.randn_like(batch.pose))
    assert_equal(logits_of(model, replace(batch, pose=batch.pose + noise)), logits_of(model, batch))


def test_content_of_masked_tokens_is_never_seen() -> None:
    model, batch = make_model(), make_batch()
    batch = batch.with_mask(mask_of(batch))
    assert batch.masked is not None and batch.masked.any()
    noise = torch.where(batch.masked[..., None], torch.randn_like(batch.pose), 0)
    assert_equal(logits_of(model, replace(batch, pose=batch.pose + noise)), logits_of(model, batch))


def test_nobody_attends_to_masked_tokens_but_they_attend() -> None:
    model, batch = make_model(), make_batch()
    batch = batch.with_mask(mask_of(batch))
    assert batch.masked is not None
    before = logits_of(model, batch)
    with torch.no_grad():
        model.mask_token += 1
    after = logits_of(model, batch)
    others = batch.detected & ~batch.masked
    assert_equal(after[others], before[others])
    changed = replace(batch, pose=torch.where(others[..., None], batch.pose + 0.1, batch.pose))
    assert (logits_of(model, changed)[batch.masked] - after[batch.masked]).abs().max() > 1e-3


@pytest.mark.parametrize("training", [True, False])
def test_others_permuted_with_their_encoding_change_nothing(training: bool) -> None:
    model, batch = make_model(), make_batch(people=(3, 3))
    batch = batch.with_mask(mask_of(batch)) if training else batch
    before = logits_of(model, batch)
    order = [0, 2, 1]
    swapped = TokenBatch(**{name: x[:, order] for name, x in batch.tensors().items()})
    assert (logits_of(model, swapped) - before[:, order]).abs().max() > 1e-4  # the encoding tells them apart
    model.encoding = model.encoding[order]
    assert_equal(logits_of(model, swapped), before[:, order])


@pytest.mark.parametrize("training", [True, False])
def test_absent_slots_change_nothing(training: bool) -> None:
    model, batch = make_model(), make_batch()
    batch = batch.with_mask(mask_of(batch)) if training else batch
    padded = {
        name: torch.cat([x, torch.zeros_like(x[:, :1]), torch.zeros_like(x[:, :1])], dim=1)
        for name, x in batch.tensors().items()
    }
    before, after = logits_of(model, batch), logits_of(model, TokenBatch(**padded))[:, :3]
    assert_equal(after[batch.present], before[batch.present])


@pytest.mark.parametrize("training", [True, False])
def test_the_company_in_a_batch_does_not_matter(training: bool) -> None:
    model = make_model()
    first, second = make_batch((3,), seed=1), make_batch((2,), seed=2)
    if training:
        first, second = first.with_mask(mask_of(first)), second.with_mask(mask_of(second))
    together = logits_of(model, collate([first, second]))
    for alone, row in ((first, together[0]), (second, together[1])):
        assert_equal(row[alone.present[0]], logits_of(model, alone)[0][alone.present[0]])


# --- masks


def test_attention_mask_by_hand() -> None:
    """One person, four frames: detected, detected and masked, undetected, detected."""
    detected = torch.tensor([[[True, True, False, True]]])
    masked = torch.tensor([[[False, True, True, False]]])
    batch = replace(make_batch((1,), frames=4, slots=1), detected=detected)
    expected = [[1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 1, 0], [1, 0, 0, 1]]
    assert attention_mask(batch.with_mask(masked))[0].int().tolist() == expected
    assert attention_mask(batch)[0].all()
    assert roles(batch, gaps_attended=False)[1].int().tolist() == [[[1, 1, 0, 1]]]


def test_nothing_to_attend_to_is_not_nan() -> None:
    model, batch = make_model(), make_batch()
    batch = batch.with_mask(batch.detected)
    logits = model(batch)
    logits.sum().backward()
    assert logits.isfinite().all()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_random_mask_repeats_with_its_seed_and_reaches_everybody() -> None:
    detected = torch.ones(1, 2, 5, dtype=torch.bool)
    draws = [random_mask(detected, 0.4, torch.Generator().manual_seed(seed)) for seed in range(60)]
    assert torch.equal(draws[7], random_mask(detected, 0.4, torch.Generator().manual_seed(7)))
    share = torch.stack(draws).double().mean(0)
    assert (share > 0.15).all() and (share < 0.65).all()


# --- packing


def dense_logits(model: LART, batch: TokenBatch) -> Tensor:
    """What the model would say with every token computed."""
    plan = model.plan(batch, every=True)
    x = model.tokens(batch, plan)
    for block in model.blocks:
        x = block(x, plan.mask)
    return model.head(x).unflatten(1, batch.detected.shape[1:])


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=4),
    st.sampled_from([None, 0.0, 0.4, 1.0]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.booleans(),
    st.integers(0, 99),
)
@settings(derandomize=True, max_examples=60)
def test_packed_equals_dense(
    people: list[int], ratio: float | None, share: float, gaps_attended: bool, seed: int
) -> None:
    """In logits and gradients, whoever is detected or masked, nobody and everybody too."""
    model = make_model(replace(SMALL, gaps_attended=gaps_attended))
    batch = make_batch(tuple(people), seed=seed)
    detected = torch.rand(batch.detected.shape, generator=torch.Generator().manual_seed(seed)) < share
    batch = replace(batch, detected=detected & batch.present[..., None])
    if ratio is not None:
        batch = batch.with_mask(mask_of(batch, ratio, seed))
    told = roles(batch)[0]
    gradients = []
    for logits in (model(batch), dense_logits(model, batch)):
        assert logits.isfinite().all()
        model.zero_grad()
        (logits * told[..., None]).square().sum().backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(model(batch)[told], dense_logits(model, batch)[told], rtol=0, atol=1e-10)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-7)


@pytest.mark.parametrize("norm", ["post", "pre"])
def test_gradients_equal_those_of_the_literal_training_step(norm: Literal["post", "pre"]) -> None:
    """The yardstick of benchmarks/train_step.py computes every token and writes every mask out."""
    model = make_model(replace(SMALL, norm=norm, appearance=5, appearance_width=4))
    dense = DenseLART(model.config).double().eval()
    dense.load_state_dict(model.state_dict())
    batch = make_batch()
    appearance = torch.randn(2, 3, 6, 5, dtype=torch.float64)
    masked, told = mask_of(batch), batch.detected
    outputs = (
        model(replace(batch, appearance=appearance, masked=masked)),
        dense(batch.pose, batch.detected, masked, appearance),
    )
    torch.testing.assert_close(outputs[0][told], outputs[1][told], rtol=0, atol=1e-5)
    for output in outputs:
        output[told].square().sum().backward()
    theirs = dict(dense.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, theirs[name].grad, rtol=1e-4, atol=1e-4, msg=name)


def test_packing_leaves_out_what_nobody_reads() -> None:
    """Of 2 x 36 tokens: 20 and 9 detected, of which 12 and 5 are not masked."""
    detected, masked = torch.zeros(2, 2, 18, dtype=torch.bool), torch.zeros(2, 2, 18, dtype=torch.bool)
    detected[0, :, 3:13], detected[1, 1, :9] = True, True
    masked[0, 1, 5:13], masked[1, 1, 5:9] = True, True
    batch = replace(make_batch((2, 2), frames=18, slots=2), detected=detected, masked=masked)
    plan = make_model(replace(SMALL, frames=18)).plan(batch)
    assert plan.tokens is not None and plan.real is not None and plan.mask is not None
    assert plan.tokens.shape == (2, 24) and plan.mask.shape == (2, 1, 1, 16)  # multiples of 8
    assert plan.real.sum(1).tolist() == [20, 9] and plan.mask.sum((1, 2, 3)).tolist() == [12, 5]
    assert torch.equal(plan.take(detected.flatten(1)), plan.real)
    visible = plan.take((detected & ~masked).flatten(1))[:, :16]
    assert torch.equal(visible, plan.mask[:, 0, 0])


def test_no_mask_where_it_would_block_nothing() -> None:
    batch = make_batch((3, 3))
    everybody = replace(batch, detected=torch.ones_like(batch.detected))
    assert make_model().plan(everybody).mask is None
    same = replace(batch, detected=torch.ones_like(batch.detected)).with_mask(
        torch.zeros_like(batch.detected)
    )
    same.detected[:, 1, 2:] = False
    plan = make_model().plan(same)
    assert plan.mask is None and plan.tokens is not None and plan.tokens.shape == (2, 14)


# --- training, presets, refusals


def test_gradient_reaches_every_parameter() -> None:
    config = replace(SMALL, appearance=5, appearance_width=4, joints_width=4)
    model, batch = make_model(config).train(), make_batch()
    appearance, joints = (torch.randn(2, 3, 6, width, dtype=torch.float64) for width in (5, 135))
    batch = replace(batch, appearance=appearance, joints=joints).with_mask(mask_of(batch))
    model(batch)[batch.detected].square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and (parameter.grad != 0).any(), name


def test_an_untrained_model_expects_rare_actions() -> None:
    torch.manual_seed(0)
    batch = make_batch()
    chance = logits_of(LART(SMALL).double().eval(), batch)[batch.detected].sigmoid()
    assert 0.003 < float(chance.mean()) < 0.03


def test_drop_path_skips_whole_branches_in_training_only() -> None:
    model, batch = make_model(), make_batch((2,) * 8, seed=3)
    before = logits_of(model, batch)
    model.set_drop_path(0.5)
    assert_equal(logits_of(model, batch), before)
    block = model.blocks[0].train()
    block.dropout.p = 0
    torch.manual_seed(0)
    kept = block.branch(torch.ones(1000, 1, 1))
    assert set(kept.unique().tolist()) == {0.0, 2.0} and 0.9 < float(kept.mean()) < 1.1
    whole = block.branch(torch.ones(50, 6, 3)).flatten(1)
    assert (whole == whole[:, :1]).all(), "a sample's branch is skipped as a whole"


def test_inner_dropout_moves_from_the_encoding_into_the_halves() -> None:
    for inner in (False, True):
        model = make_model(replace(SMALL, dropout=0.5, inner_dropout=inner)).train()
        batch, block = make_batch(), model.blocks[0]
        plan = model.plan(batch)
        x = model.tokens(batch, plan)
        varies = [
            not torch.equal(model.tokens(batch, plan), x),
            not torch.equal(block.attention(x), block.attention(x)),
            not torch.equal(block.mlp(x), block.mlp(x)),
        ]
        assert varies == [not inner, inner, inner]


def test_indexed_appearance_equals_appearance_by_frame() -> None:
    model = make_model(replace(SMALL, appearance=5, appearance_width=4))
    batch = make_batch()
    vectors = torch.randn(2, 3, 2, 5, dtype=torch.float64)
    index = torch.randint(-1, 2, (2, 3, 6))
    zeros = torch.zeros_like(vectors[:, :, :1])
    by_frame = torch.cat([zeros, vectors], 2).gather(2, (index + 1)[..., None].expand(-1, -1, -1, 5))
    expected = logits_of(model, replace(batch, appearance=by_frame))
    assert_equal(logits_of(model, replace(batch, appearance=vectors, appearance_index=index)), expected)


def test_presets() -> None:
    mini = sum(p.numel() for p in LART(LARTConfig.mini()).parameters())
    assert mini == 576_252
    with torch.device("meta"):
        paper = LART(LARTConfig.paper())
        fused = LART(LARTConfig.paper(appearance=1152, appearance_width=256))
    assert sum(p.numel() for p in paper.parameters()) == 50_791_484
    assert sum(p.numel() for p in fused.parameters()) == 51_086_652
    assert len(paper.blocks) == 16 and paper.config.heads == 16 and paper.config.width == 512
    assert LARTConfig.mini(people=2).people == 2
    rare = torch.sigmoid(LART(LARTConfig.mini()).head.bias)
    assert math.isclose(float(rare.detach().mean()), 0.01, rel_tol=0.01)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 30}, "divisible"),
        ({"heads": 3}, "divisible"),
        ({"norm": "both"}, r"norm: expected post \| pre, found both"),
        ({"token_order": "frame"}, r"token_order: expected person \| time"),
        ({"appearance": 5}, "appearance_width"),
    ],
)
def test_configs_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **changes)
    with pytest.raises(TypeError):
        LARTConfig.mini(depht=3)


def test_batches_that_do_not_fit_are_refused() -> None:
    batch = make_batch()
    with pytest.raises(BadInput, match="batch: size: expected at most 2 people in 6 frames, found 3 in 6"):
        make_model(replace(SMALL, people=2))(batch)
    model = make_model(replace(SMALL, appearance=5, appearance_width=4))
    with pytest.raises(BadInput, match="batch: appearance: expected width 5, found none"):
        model(batch)
    with pytest.raises(BadInput, match="batch: appearance: expected width 5, found width 6"):
        model(replace(batch, appearance=torch.zeros(2, 3, 6, 6, dtype=torch.float64)))
    with pytest.raises(BadInput, match="batch: joints: expected width 135, found none"):
        make_model(replace(SMALL, joints_width=4))(batch)
    with pytest.raises(BadInput, match="batch: pose: expected width 229, found width 226"):
        make_model()(replace(batch, pose=batch.pose[..., :226]))
    wide = replace(batch, labels=torch.zeros(2, 3, 6, 81))
    with pytest.raises(BadInput, match="batch: labels: expected width 7, found width 81"):
        make_model()(wide.with_mask(batch.detected))
    make_model()(wide)  # labels are not looked at when predicting
