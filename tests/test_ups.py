"""UPS's model: cached decoding, a literal version, routes, blindness to the future, sizes, checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import ups as literal
from scipy.stats import chisquare
from torch import Tensor, nn

from lart_mini.course.registry import BLANKS
from lart_mini.files import BadInput
from lart_mini.ups.config import TREES, UPSConfig
from lart_mini.ups.model import UPS, DecoderLayer, PoseBatch, adjacency, sentence_loss
from lart_mini.ups.recipe import load_ups, new_model, random_routes, routes_by_hand, save_ups
from lart_mini.ups.vocabulary import TASKS, Vocabulary, load_vocabulary

WORDS = load_vocabulary(["walk", "sit", "stand"], bins=6)
SMALL = UPSConfig.mini(
    WORDS, frames=5, joint_width=4, width=16, heads=2, frame_heads=2, encoder_layers=2, task_width=8,
    place_width=4, blocks=2, word_dropout=0.0,
)  # fmt: skip


def inputs(seed: int = 0, count: int = 3, frames: int = 5, joints: int = 17) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    kept = torch.randint(1, frames + 1, (count, 1), generator=generator)
    seen = torch.arange(frames)[None] < kept
    return torch.randn(count, frames, joints, 3, generator=generator) * seen[..., None, None], seen


def batch_of(task: str, target: Tensor, seed: int = 0, **sizes: int) -> PoseBatch:
    pose, seen = inputs(seed, len(target), **sizes)
    return PoseBatch(pose, seen, torch.full((len(target),), TASKS.index(task)), target)


def model_of(config: UPSConfig = SMALL, seed: int = 0, words: Vocabulary = WORDS) -> UPS:
    return new_model(config, words, seed).eval()


@pytest.mark.parametrize("memory", ["frames", "joints"])
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("task", TASKS)
def test_cached_decoding_is_teacher_forcing_step_by_step(task: str, told: bool, memory: str) -> None:
    model = model_of(replace(SMALL, told=told, memory=memory))
    pose, seen = inputs()
    answers, stepped = model.decode(pose, seen, task, 52)
    with torch.no_grad():
        forced = model(batch_of(task, answers))
    assert (stepped - forced).abs().max() < 1e-5 * forced.abs().max()
    assert (stepped.argmax(-1) == answers).all()


@pytest.mark.parametrize("memory", ["frames", "joints"])
def test_decoding_equals_the_literal_version(memory: str) -> None:
    model, (pose, seen) = model_of(replace(SMALL, memory=memory)), inputs(1, 2)
    for task in ("lifting", "early"):
        answers, odds = model.decode(pose, seen, task, 9)
        with torch.no_grad():
            slow, slow_odds = literal.decode(model, pose, seen, task, 9)
        assert (odds - slow_odds).abs().max() < 1e-4
        assert (answers == slow).all()


def test_decoding_ends_when_all_have_ended() -> None:
    model, (pose, seen) = model_of(), inputs(0, 4)
    free, _ = model.decode(pose, seen, "early")
    whole, _ = model.decode(pose, seen, "early", 52)
    ended = (whole >= SMALL.words - 3).int()
    first = [int(row.argmax()) if row.any() else 51 for row in ended]
    assert free.shape[1] == max(first) + 1
    assert (free == whole[:, : free.shape[1]]).all()


def test_samples_of_a_batch_do_not_meet() -> None:
    model, (pose, seen) = model_of(), inputs(2, 4)
    together = model.decode(pose, seen, "lifting", 52)[1]
    alone = torch.cat(
        [model.decode(pose[i : i + 1], seen[i : i + 1], "lifting", 52)[1] for i in range(len(pose))]
    )
    assert (together - alone).abs().max() < 1e-4


def test_decoder_layer_is_torchs() -> None:
    torch.manual_seed(0)
    mine = DecoderLayer(replace(SMALL, width=32, heads=4), 32).eval()
    theirs = nn.TransformerDecoderLayer(32, 4, 64, 0.0, "gelu", norm_first=True, batch_first=True).eval()
    with torch.no_grad():
        for own, other in ((mine.own, theirs.self_attn), (mine.cross, theirs.multihead_attn)):
            other.in_proj_weight.copy_(torch.cat([own.query.weight, own.key_value.weight]))
            other.in_proj_bias.copy_(torch.cat([own.query.bias, own.key_value.bias]))
            other.out_proj.load_state_dict(own.out.state_dict())
        theirs.linear1.load_state_dict(mine.mlp[0].state_dict())
        theirs.linear2.load_state_dict(mine.mlp[2].state_dict())
        x, memory = torch.randn(2, 9, 32), torch.randn(2, 7, 32)
        seen = torch.rand(2, 7) < 0.6
        seen[:, 0] = True
        causal = nn.Transformer.generate_square_subsequent_mask(9)
        expected = theirs(x, memory, causal, memory_key_padding_mask=~seen)
        found = mine(x, mine.cross.keys(memory), seen[:, None, None], None)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=10)
@given(st.integers(0, 2**31 - 1), st.integers(1, 4))
def test_what_is_not_observed_changes_nothing(seed: int, kept: int) -> None:
    model, (pose, _) = model_of(), inputs(seed, 2)
    seen = (torch.arange(5) < kept).expand(2, -1)
    shorter = model.decode(pose[:, :kept], seen[:, :kept], "early", 4)[1]  # as if there were no future
    for future in (torch.zeros(pose.shape), 9 * torch.randn(pose.shape)):
        longer = torch.where(seen[..., None, None], pose, future)
        assert (model.decode(longer, seen, "early", 4)[1] - shorter).abs().max() < 1e-4


def test_words_to_come_change_nothing() -> None:
    model = model_of()
    target = torch.randint(0, SMALL.words, (2, 20))
    other = target.clone()
    other[:, 11:] = torch.randint(0, SMALL.words, (2, 9))
    with torch.no_grad():
        one, two = (model(batch_of("lifting", words)) for words in (target, other))
    assert torch.equal(one[:, :12], two[:, :12]) and not torch.equal(one[:, 12:], two[:, 12:])


# --------------------------------------------------------------------------------------------------- routes


def test_routes_are_the_best_scores_and_a_task_uses_its_own_blocks_alone() -> None:
    model, (pose, seen) = model_of(), inputs()
    for number, task in enumerate(TASKS):
        route = literal.route(model, number)
        assert model.encoder.routes()[number] == route
        before = model.decode(pose, seen, task, 3)[1]
        for layer, chosen in enumerate(route):
            for h in range(2):
                changed = model_of()
                with torch.no_grad():
                    changed.encoder.layers[layer][h].mlp[2].weight.mul_(-1)
                moved = not torch.allclose(before, changed.decode(pose, seen, task, 3)[1])
                assert moved == (h == chosen), (task, layer, h)


def test_gumbel_draws_blocks_as_often_as_softmax_says() -> None:
    model = model_of(replace(SMALL, encoder_layers=1, embedding_std=0.5)).train()
    with torch.no_grad():
        model.encoder.layers[0][1] = _Constant()
    pose, seen = inputs(0, 1)
    torch.manual_seed(3)
    share = model.encoder.scores()[1, 0].softmax(-1)[0].item()
    second = sum(bool(model.encoder(pose, seen, 1)[0, 0].abs().max() < 1e-4) for _ in range(600))
    assert chisquare([600 - second, second], [600 * share, 600 * (1 - share)]).pvalue > 1e-3


def test_notebooks_route_is_torchs_with_its_gradient() -> None:
    route = BLANKS["route"].package
    for seed, temperature in ((0, 1.0), (1, 0.5), (2, 3.0)):
        scores = torch.randn(3, generator=torch.Generator().manual_seed(seed), requires_grad=True)
        outputs = torch.arange(12.0).view(3, 4).sin()
        torch.manual_seed(seed)
        gate = nn.functional.gumbel_softmax(scores, temperature, hard=True)
        torch.manual_seed(seed)
        noise = -torch.empty(3).exponential_().log()
        y, slope = route(scores.detach(), noise, temperature, outputs)
        torch.testing.assert_close(y, (gate[:, None] * outputs).sum(0).detach())
        torch.testing.assert_close(slope, torch.autograd.grad((gate[:, None] * outputs).sum(), scores)[0])


def test_notebooks_loop_is_the_packages() -> None:
    loop = BLANKS["write_words"].package
    model, (pose, seen) = model_of(replace(SMALL, blocks=1)).eval(), inputs(4)
    memory, mask = model.memory(pose, seen, 2)
    found = loop(model, memory, mask, model.start[2].expand(3, 1, -1), 7)
    assert torch.equal(found, model.decode(pose, seen, "early", 7)[0])


class _Constant(nn.Module):
    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return torch.ones_like(x)  # normed to zeros


def test_scores_of_all_blocks_learn() -> None:
    model = model_of().train()
    batch = batch_of("action2d", torch.tensor([[0, SMALL.words - 3], [1, SMALL.words - 3]]))
    torch.manual_seed(0)
    sentence_loss(model(batch), batch, batch.weight()).backward()
    gradient = model.encoder.block.grad
    assert gradient is not None and (gradient.abs().amax(-1) > 0).all()
    own = model.encoder.task.grad
    assert own is not None and [bool(row.any()) for row in own] == [False, True, False, False]


def test_fixed_routes_run_one_block_and_stay() -> None:
    by_hand = routes_by_hand(SMALL)
    model = model_of(replace(SMALL, routes=by_hand)).train()
    assert model.encoder.routes() == [[1, 1], [1, 1], [0, 0], [0, 0]]
    batch = batch_of("early", torch.tensor([[0, SMALL.words - 1]]))
    sentence_loss(model(batch), batch, batch.weight()).backward()
    layers = model.encoder.layers
    used = [[any(p.grad is not None for p in block.parameters()) for block in layer] for layer in layers]
    assert used == [[True, False], [True, False]] and model.encoder.task.grad is None
    assert random_routes(SMALL, 0) == random_routes(SMALL, 0) != random_routes(SMALL, 1)
    for seed in range(40):
        drawn = np.reshape(random_routes(SMALL, seed), (4, 2))
        assert set(drawn.ravel()) == {0, 1} and (drawn[:, 0] != drawn[:, 1]).any(), "two whole encoders"
    for changes, count in (({"encoder_layers": 1}, 4), ({"blocks": 1}, 8)):
        assert len(random_routes(replace(SMALL, **changes), 0)) == count


def test_one_block_is_no_routing() -> None:
    one = model_of(replace(SMALL, blocks=1))
    assert one.encoder.routes() == [[0, 0]] * 4
    pose, seen = inputs()
    one.train()
    torch.testing.assert_close(one.encoder(pose, seen, 0), one.encoder(pose, seen, 3))


def test_untold_the_decoder_knows_the_task_by_its_route_alone() -> None:
    pose, seen = inputs()
    told, untold = (model_of(replace(SMALL, blocks=1, told=flag)) for flag in (True, False))
    pairs = [(model, task) for model in (untold, told) for task in ("lifting", "action2d")]
    same = [model.decode(pose, seen, task, 2)[1] for model, task in pairs]
    assert torch.equal(same[0], same[1]) and not torch.allclose(same[2], same[3])


# --------------------------------------------------------------------------------------------- the rest of it


@pytest.mark.parametrize("joints", [17, 18, 25])
def test_graphs_are_trees_and_rows_are_means(joints: int) -> None:
    own, inwards, outwards = adjacency(joints)
    assert torch.equal(own, torch.eye(joints))
    assert inwards.sum() == joints - 1  # every joint but the middle has one neighbour towards it
    assert torch.allclose(outwards.sum(-1), (outwards.sum(-1) > 0).float())
    assert torch.equal(inwards > 0, outwards.T > 0)
    reached, joint = torch.eye(joints), (own + inwards + outwards > 0).float()
    for _ in range(joints):
        reached = (reached @ joint > 0).float()
    assert reached.all()  # connected, with J - 1 edges: a tree
    assert [i for i in range(joints) if not inwards[i].any()] == [
        i for i, parent in enumerate(TREES[joints]) if i == parent
    ]


@pytest.mark.parametrize("joints", [17, 18, 25])
def test_the_papers_model_goes_forward_and_back(joints: int) -> None:
    words = load_vocabulary(["walk", "sit"], 8, "random", width=768)
    config = UPSConfig.paper(words, joints=joints)
    assert (config.encoder_layers, config.decoder_layers, config.blocks, config.task_width) == (3, 3, 2, 256)
    assert config.text_width == config.width == 768 and config.length == 3 * joints + 1
    model = new_model(config, words).train()
    assert sum(p.numel() for p in model.parameters()) > 65e6
    target = torch.from_numpy(words.sentences("lifting", torch.zeros(1, joints, 3).numpy()))
    batch = batch_of("lifting", target, frames=3, joints=joints)
    loss = sentence_loss(model(batch), batch, batch.weight())
    loss.backward()
    assert math.isfinite(loss.item()) and all(
        p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad
    )


def test_loss_is_equation_3() -> None:
    model = model_of()
    target = torch.tensor([[0, 21], [2, 21], [1, 21]])
    batch = batch_of("action3d", target)
    with torch.no_grad():
        odds = model(batch)
        each = [-sum(odds[b, k].log_softmax(-1)[target[b, k]].item() for k in range(2)) / 2 for b in range(3)]
        whole = sentence_loss(odds, batch, batch.weight())
        cut = (slice(0, 2), slice(2, 3))
        parts = [sentence_loss(odds[rows], batch[rows], batch.weight()) for rows in cut]
    assert whole.item() == pytest.approx(sum(each) / 3, rel=1e-5)
    assert sum(part.item() for part in parts) == pytest.approx(whole.item(), rel=1e-5)
    nothing = batch.ignored()
    assert nothing.weight() == 0 and sentence_loss(odds, nothing, nothing.weight()) == 0


def test_odds_are_scale_times_cosine() -> None:
    model, x = model_of(), torch.randn(2, 3, 16)
    with torch.no_grad():
        odds = model.logits(x)
        assert odds.abs().max() <= model.scale.exp() * 1.0001
        model.write[1].weight.mul_(7)
        model.write[1].bias.mul_(7)
        assert torch.allclose(odds, model.logits(x), atol=1e-4)


def test_told_words_are_blanked_in_training_alone() -> None:
    model = model_of(replace(SMALL, word_dropout=1.0, blocks=1))
    one, two = (batch_of("lifting", torch.randint(0, SMALL.words, (2, 52))) for _ in range(2))
    with torch.no_grad():
        assert not torch.allclose(model(one), model(two))
        model.train()
        assert torch.equal(model(one), model(two))  # nothing is told


# --------------------------------------------------------------------------- files, and what is refused


def test_checkpoint_carries_its_vocabulary(tmp_path: Path) -> None:
    model, (pose, seen) = model_of(), inputs()
    save_ups(tmp_path / "a.safetensors", model, WORDS)
    save_ups(tmp_path / "b.safetensors", model, WORDS)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    again, words, _ = load_ups(tmp_path / "a.safetensors")
    assert words.digest == WORDS.digest and words.texts == WORDS.texts
    assert torch.equal(again.decode(pose, seen, "early")[1], model.decode(pose, seen, "early")[1])
    load_ups(tmp_path / "a.safetensors", WORDS)
    for other in (load_vocabulary(WORDS.actions, 6, "random"), load_vocabulary(WORDS.actions[::-1], 6)):
        with pytest.raises(BadInput, match=r"a.safetensors: vocabulary: expected that with digest"):
            load_ups(tmp_path / "a.safetensors", other)


def test_a_checkpoint_of_a_whole_reach_is_read(tmp_path: Path) -> None:
    words = load_vocabulary(WORDS.actions, WORDS.bins, reach=2)
    save_ups(tmp_path / "a.safetensors", model_of(), words)
    assert load_ups(tmp_path / "a.safetensors", words)[1].reach == 2


def test_bad_input() -> None:
    def refused(match: str):
        return pytest.raises(BadInput, match=match)

    model, (pose, seen) = model_of(), inputs()
    with refused(r"ups: task: expected lifting \| action2d \| early \| action3d, found dance"):
        model.decode(pose, seen, "dance")
    with refused(r"ups: pose: expected \(B, up to 5 frames, 17 joints, 3\), found \(3, 5, 16, 3\)"):
        model.decode(pose[:, :, 1:], seen, "early")
    with refused("ups: pose: expected finite coordinates"):
        model.decode(pose * math.nan, seen, "early")
    for words in (0, 60):
        with refused(f"ups: words: expected a whole number from 1 to 52, found {words}"):
            model.decode(pose, seen, "lifting", words)
    with refused("ups: seen: expected an observed frame"):
        model.decode(pose, seen & False, "early")
    with refused("ups: seen: expected booleans"):
        model.decode(pose, seen.float(), "early")
    with refused(r"ups: pose: expected \(B, up to 5 frames"):
        model(batch_of("early", torch.zeros(1, 2, dtype=torch.long), frames=6))
    with refused("ups: vocabulary's text_width: expected 384, found 50"):
        UPS(SMALL, load_vocabulary(WORDS.actions, 6, "glove"))
    with refused("ups: vocabulary's bins: expected 6, found 7"):
        UPS(SMALL, load_vocabulary(WORDS.actions, 7))
    with refused("ups: joints: expected 17"):
        replace(SMALL, joints=16)
    with refused("ups: widths: expected widths that the heads divide"):
        replace(SMALL, heads=3)
    with refused("ups: kernel: expected an odd number"):
        replace(SMALL, kernel=2)
    with refused("ups: routes: expected 8 numbers of blocks below 2"):
        replace(SMALL, routes=(2,) * 8)
    with refused("ups: blocks: expected a whole number"):
        replace(SMALL, blocks=0)
