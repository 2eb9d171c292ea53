"""The Video Action Transformer: equal to sums written out, who changes whom, sizes of the paper, losses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference import action_transformer as reference
from torch import Tensor
from torch.nn import functional as F

from lart_mini.action_transformer import recipe
from lart_mini.action_transformer.datasets import ClipDataset, KeyClip, PicturesWatched, Sampling
from lart_mini.action_transformer.model import (
    PRESETS,
    ActionTransformer,
    ActionTransformerConfig,
    ClipBatch,
    I3DHead,
    Location,
    TxHead,
    preset,
    roi_pool,
)
from lart_mini.action_transformer.proposals import (
    anchor_boxes,
    decode,
    encode,
    matched,
    nms,
    overlaps,
    propose,
    rpn_loss,
)
from lart_mini.action_transformer.recipe import ActionRecipe, loss, targets
from lart_mini.action_transformer.trunk import I3D
from lart_mini.files import BadInput
from lart_mini.training.batches import Batches
from lart_mini.training.config import TrainConfig

SMALL = ActionTransformerConfig(
    given=6, channels=8, cells=(2, 4, 6), location=3, kept=2, width=8, hidden=12, rpn_width=8, classes=5
)


def model(seed: int = 0, **changes: object) -> ActionTransformer:
    """In eval mode, all numbers moved from where they start: biases at one value would hide a mistake."""
    torch.manual_seed(seed)
    made = ActionTransformer(replace(SMALL, **changes))  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return made.eval()


def boxes_of(*shape: int, seed: int = 0) -> Tensor:
    """Boxes (…,4) inside the picture, none without area."""
    corners = torch.rand(*shape, 2, 2, generator=torch.Generator().manual_seed(seed))
    low, high = corners.amin(-2) * 0.8, corners.amax(-2) * 0.8 + 0.2
    return torch.cat([low, high], dim=-1)


def batch(clips: int = 2, slots: int = 3, seed: int = 0) -> ClipBatch:
    generator = torch.Generator().manual_seed(seed)
    present = torch.ones(clips, slots, dtype=torch.bool)
    present[0, slots - 1] = False
    box = boxes_of(clips, slots, seed=seed)
    return ClipBatch(
        video=torch.randn(clips, 4, 6, 4, 6, generator=generator),
        box=box,
        present=present,
        asked=(box + 0.02).clamp(0, 1),
        labels=(torch.rand(clips, slots, 5, generator=generator) > 0.5).float(),
    )


def weights_of(module: torch.nn.Module) -> reference.Weights:
    return {name: x.double().numpy() for name, x in module.state_dict().items()}


# ----------------------------------------------------------------------------------- equal to what is written


def test_roi_pool_is_the_loop() -> None:
    x, boxes = torch.randn(2, 3, 5, 7), boxes_of(2, 4)
    boxes[0, 0] = torch.tensor([0.9, 0.9, 1.0, 1.0])  # its samples reach the edge
    found = roi_pool(x, boxes)
    for clip in range(2):
        for number in range(4):
            literal = reference.roi_pool(x[clip].double().numpy(), boxes[clip, number].double().numpy())
            np.testing.assert_allclose(found[clip, number].numpy(), literal, atol=1e-5)


def test_location_is_the_loop() -> None:
    place = Location(3, (2, 4, 6))
    x = torch.randn(1, 2, 3, 4, 5)  # longer and narrower than in training
    literal = reference.placed(x[0].double().numpy(), weights_of(place), (2, 4, 6))
    with torch.no_grad():
        np.testing.assert_allclose(place(x)[0].numpy(), literal, atol=1e-5)


@torch.no_grad()
def test_tx_head_is_the_loop() -> None:
    head = model().tx
    assert isinstance(head, TxHead)
    x, boxes = torch.randn(2, 14, 2, 4, 6), boxes_of(2, 2)
    found, maps = head(x, boxes)
    for clip in range(2):
        for number in range(2):
            own = x[clip].double().numpy(), boxes[clip, number].double().numpy()
            np.testing.assert_allclose(
                found[clip, number].numpy(), reference.tx_head(*own, weights_of(head), 3, 2), atol=2e-5
            )
    assert len(maps) == 3 and maps[0].shape == (2, 2, 2, 2, 4, 6)
    for one in maps:
        torch.testing.assert_close(one.sum((3, 4, 5)), torch.ones(2, 2, 2))
    assert maps[-1].std() > 1e-3, "not an even share everywhere"


@torch.no_grad()
def test_low_query_is_a_mean() -> None:
    query = model(query="low").tx.query  # type: ignore[union-attr]
    pooled = torch.randn(1, 2, 14, 7, 7)
    torch.testing.assert_close(query(pooled), query.linear(pooled.mean((3, 4))))


def test_overlaps_nms_codes_and_anchors_are_the_loops() -> None:
    boxes, others = boxes_of(40), boxes_of(30, seed=1)
    literal = [[reference.overlap(a, b) for b in others.numpy()] for a in boxes.numpy()]
    np.testing.assert_allclose(overlaps(boxes, others).numpy(), literal, atol=1e-6)
    empty = torch.zeros(1, 4)
    assert overlaps(empty, empty) == 0
    scores = torch.rand(40, generator=torch.Generator().manual_seed(2)).round(decimals=1)  # ties
    for threshold, most in ((0.3, 40), (0.5, 40), (0.7, 5), (0.0, 40), (1.0, 40)):
        own = reference.nms(boxes.double().numpy(), scores.numpy(), threshold, most)
        assert nms(boxes, scores, threshold, most).tolist() == own
    for box, anchor in zip(boxes[:30], others, strict=True):
        np.testing.assert_allclose(
            encode(box, anchor).numpy(), reference.encode(box.numpy(), anchor.numpy()), rtol=1e-3, atol=1e-4
        )
    torch.testing.assert_close(decode(encode(boxes[:30], others), others), boxes[:30], atol=1e-5, rtol=1e-4)
    shapes = [(0.2, 0.4), (0.1, 0.9)]
    np.testing.assert_allclose(
        anchor_boxes((2, 3), torch.tensor(shapes)).numpy(), reference.anchors((2, 3), shapes), atol=1e-6
    )


def test_nms_is_opencv_s() -> None:
    """Another's code. torchvision, whose box coder gave the same as ours once (0.22.1, differences below
    2e-14), cannot be installed beside this torch."""
    cv2 = pytest.importorskip("cv2")
    for seed in range(3):
        boxes = boxes_of(200, seed=seed)
        scores = torch.rand(200, generator=torch.Generator().manual_seed(seed))
        xywh = torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).double().numpy()
        theirs = cv2.dnn.NMSBoxes(xywh, scores.numpy(), 0.0, 0.5)
        assert nms(boxes, scores, 0.5, 200).tolist() == np.asarray(theirs).reshape(-1).tolist()


# ------------------------------------------------------------------------------------------------ invariances


@pytest.mark.parametrize("head", ["Tx", "I3D", "Tx+I3D"])
@torch.no_grad()
def test_an_order_of_clips_or_boxes_means_nothing(head: str) -> None:
    network, given = model(head=head), batch(3)
    before = network(given)
    for order in (torch.tensor([2, 0, 1]),):
        clips = ClipBatch(**{name: x[order] for name, x in given.tensors().items()})
        torch.testing.assert_close(network(clips).logits, before.logits[order], atol=1e-5, rtol=1e-4)
        slots = replace(given, asked=given.asked[:, order], box=given.box[:, order])
        after = network(replace(slots, present=given.present[:, order]))
        torch.testing.assert_close(after.logits, before.logits[:, order], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(after.code, before.code[:, order], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_nobody_is_changed_by_who_else_is_asked_about() -> None:
    network, given = model(), batch(slots=3)
    alone = ClipBatch(**{n: x if n == "video" else x[:, :1] for n, x in given.tensors().items()})
    torch.testing.assert_close(network(alone).logits, network(given).logits[:, :1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_whoever_no_key_finds_changes_nothing_and_a_tube_sees_no_context() -> None:
    network = model(location=0)
    head, x = network.tx, torch.randn(1, 8, 2, 4, 6).abs()
    assert head is not None
    box = torch.tensor([[[0.0, 0.0, 0.4, 0.4]]])
    x[:, 7] = 0  # a channel that says "nobody is to look here"
    for layer in head.units:
        for unit in layer:
            unit.key.weight[:, 7] = 0
    other = x.clone()
    other[:, :7, :, 3, 5] += 5  # somebody else, far from the box
    seen = [head(one, box)[0] for one in (x, other)]
    assert not torch.allclose(seen[0], seen[1], atol=1e-3), "context is looked at"
    found = []
    for one in (x, other):
        hidden = one.clone()
        hidden[:, 7, :, 3, 5] = 1
        cells, query = hidden.flatten(2).transpose(1, 2), head.query(roi_pool(one[:, :, 1], box))
        for layer in head.units:
            outs = []
            for unit in layer:
                unit.key.weight[:, 7] = -1e4 * unit.query(query)[0, 0]  # the query's opposite
                own, a = unit(query, cells)
                assert a.unflatten(-1, (2, 4, 6))[0, 0, :, 3, 5].max() < 1e-6
                outs.append(own)
            query = torch.cat(outs, dim=-1)
        found.append(query)
    torch.testing.assert_close(found[0], found[1])
    tube = model(head="I3D").i3d
    assert isinstance(tube, I3DHead)
    torch.testing.assert_close(tube(x, box), tube(other, box))


@torch.no_grad()
def test_the_key_frame_is_the_slice_that_is_proposed_on_and_pooled() -> None:
    network, given = model(), batch()
    x = network.trunk(given.video)
    assert x.shape == (2, 8, 2, 4, 6)
    regions = network.rpn(x[:, :, 1])
    torch.testing.assert_close(network(given).regions.objectness, regions.objectness)
    # Norms aside, what the slice has heard of lies evenly about frame T // 2, in longer clips, too.
    for place, layer in enumerate(network.trunk.layers):
        if isinstance(layer, torch.nn.GroupNorm):
            network.trunk.layers[place] = torch.nn.Identity()
    for frames in (8, 12):
        video = torch.randn(1, frames, 6, 4, 6)
        heard = []
        for frame in range(frames):
            other = video.clone()
            other[:, frame] += 1
            was, now = (network.trunk(one)[:, :, frames // 4] for one in (video, other))
            heard.append(not torch.equal(was, now))
        middle = frames // 2
        assert heard == [abs(frame - middle) <= 1 for frame in range(frames)]


# ----------------------------------------------------------------------------------------- sizes of the paper


def parameters(module: torch.nn.Module | None) -> int:
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def test_the_paper_says_2_3_million_fewer() -> None:
    """LowRes against the I3D head (4.2): with our choices where it is silent, what it says comes out."""
    with torch.device("meta"):
        tx, i3d = (ActionTransformer(preset("paper", head=head, query="low")) for head in ("Tx", "I3D"))
    assert round((parameters(i3d) - parameters(tx)) / 1e6, 1) == 2.3
    assert tx.trunk.channels == 832
    units = tx.tx.units[1][0]  # type: ignore[union-attr]
    assert parameters(units.key) == (832 + 128) * 128 and units.key is not tx.tx.units[1][1].key  # type: ignore[union-attr]


def test_full_width_forward_and_backward_on_few_frames() -> None:
    torch.manual_seed(0)
    network = ActionTransformer(preset("paper", head="Tx+I3D", proposals=3)).train()
    frames = torch.randint(0, 256, (1, 8, 3, 64, 64), dtype=torch.uint8)
    given = ClipBatch(frames, boxes_of(1, 2), torch.ones(1, 2).bool(), boxes_of(1, 2), torch.zeros(1, 2, 80))
    output = network(given)
    assert output.logits.shape == (1, 5, 81) and output.code.shape == (1, 5, 1, 4)
    loss(output, given).backward()
    missing = [name for name, p in network.named_parameters() if p.grad is None]
    assert not missing and all(p.grad.isfinite().all() for p in network.parameters())  # type: ignore[union-attr]
    assert not any(m.training for m in network.modules() if isinstance(m, torch.nn.BatchNorm3d)), (
        "fixed (3.5)"
    )


@pytest.mark.parametrize("frames, side", [(16, 64), (8, 72)])
@torch.no_grad()
def test_i3d_divides_time_by_4_and_space_by_16(frames: int, side: int) -> None:
    trunk = I3D(0.125, "group").eval()
    found = trunk(torch.zeros(1, frames, 3, side, side, dtype=torch.uint8))
    assert found.shape == (1, trunk.channels, frames // 4, -(-side // 16), -(-side // 16))


def test_what_no_network_can_have_is_refused() -> None:
    for changes in (
        {"head": "LSTM"},
        {"regression": "by person"},
        {"classes": 0},
        {"proposals": -1},
        {"dropout": 1.0},
    ):
        with pytest.raises(BadInput):
            replace(SMALL, **changes)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="preset"):
        preset("huge")
    with pytest.raises(BadInput, match="attends"):
        model(head="I3D").attentions(batch())
    assert set(PRESETS) == {"mini", "tiny-I3D", "paper"}
    with pytest.raises(BadInput, match="epochs"):
        ActionRecipe(epochs=-1)
    for name in ("tiny-I3D", "paper"):
        with pytest.raises(BadInput, match="preset: expected one that reads a frozen network's maps"):
            ActionRecipe(preset=name)


# -------------------------------------------------------------------------------------------------- proposals


def test_matched_says_who_nobody_and_undecided() -> None:
    people = torch.tensor([[0.0, 0.0, 0.4, 0.4], [0.6, 0.6, 0.7, 0.7]])
    anchors = torch.tensor(
        [
            [0.0, 0.0, 0.4, 0.38],  # the first's
            [0.0, 0.0, 0.4, 0.2],  # half of it: undecided
            [0.9, 0.9, 1.0, 1.0],  # nobody's
            [0.55, 0.55, 0.75, 0.75],  # a quarter, but the second's best
        ]
    )
    assert overlaps(anchors[3:], people[1:]).item() == pytest.approx(0.25)
    assert matched(anchors, people).tolist() == [0, -2, -1, 1]
    assert matched(anchors, people[:0]).tolist() == [-1] * 4


def test_rpn_learns_from_people_alone_and_proposals_are_the_best() -> None:
    network, given = model(), batch()
    regions = network(given).regions
    torch.manual_seed(0)
    one = rpn_loss(regions, given.box, given.present, samples=16)
    junk = given.box.clone()
    junk[0, 2] = torch.tensor([0.1, 0.1, 0.9, 0.9])  # in a slot where nobody is
    torch.manual_seed(0)
    torch.testing.assert_close(rpn_loss(regions, junk, given.present, samples=16), one)
    boxes, sure = propose(regions, 4, 0.7)
    assert boxes.shape == (2, 4, 4) and (sure.diff(dim=1) <= 0).all()
    assert sure[:, 0].tolist() == pytest.approx(regions.objectness.sigmoid().amax(1).tolist())
    assert (overlaps(boxes[0], boxes[0]).triu(1) <= 0.7).all()
    few = regions._replace(
        objectness=regions.objectness[:, :2], code=regions.code[:, :2], anchors=regions.anchors[:2]
    )
    boxes, sure = propose(few, 4, 0.7)
    assert (sure[:, 2:] == 0).all() and (boxes[:, 2:] == 0).all()


# ----------------------------------------------------------------------------------------------------- losses


def test_loss_is_a_mean_over_people_and_adds_up_over_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network, given = model(), batch(4)
    with torch.no_grad():
        output = network(given)
        logits, code = output.logits[given.present], output.code[given.present][:, 0]
        known = F.pad(given.labels[given.present], (0, 1))  # type: ignore[index]
        classes = F.binary_cross_entropy_with_logits(logits, known, reduction="sum")
        wanted = encode(given.box[given.present], given.asked[given.present])
        own = (classes + F.smooth_l1_loss(code, wanted, reduction="sum")) / given.present.sum()
        torch.manual_seed(0)
        regions = rpn_loss(output.regions, given.box, given.present).mean()
        torch.manual_seed(0)
        torch.testing.assert_close(loss(output, given), own + recipe.RPN_WEIGHT * regions)
        assert loss(output, given.ignored()).item() == 0
        monkeypatch.setattr(recipe, "RPN_WEIGHT", 0)  # whose anchors are drawn anew
        for proposals in (0, 3):
            network = model(proposals=proposals).train()
            for module in network.modules():
                if isinstance(module, torch.nn.Dropout):
                    module.p = 0.0
            parts = [loss(network(part), part, given.weight()) for part in (given[:1], given[1:])]
            torch.testing.assert_close(torch.stack(parts).sum(), loss(network(given), given))


@torch.no_grad()
def test_boxes_by_class_are_learnt_by_those_who_do_it() -> None:
    """Table 5's other way: of 4·C outputs, those of the classes that a person shows, in the mean."""
    network, given = model(regression="by class"), batch(4)
    output = network(given)
    assert output.code.shape == (4, 3, 5, 4) and given.labels is not None
    alike = replace(given, labels=torch.zeros_like(given.labels))
    alike.labels[..., 2] = 1  # type: ignore[index]
    for one in (given, alike):
        total = 0.0
        for clip, slot in one.present.nonzero().tolist():
            wanted = encode(one.box[clip, slot], one.asked[clip, slot])
            apart = F.smooth_l1_loss(output.code[clip, slot], wanted.expand(5, 4), reduction="none").sum(-1)
            mine = one.labels[clip, slot] > 0  # type: ignore[index]
            total += float(apart[mine].mean()) if mine.any() else 0.0
        parts = []
        for code in (output.code, encode(one.box, one.asked)[:, :, None].expand_as(output.code)):
            torch.manual_seed(0)
            parts.append(float(loss(output._replace(code=code), one)))  # the second has none for boxes
        assert parts[0] - parts[1] == pytest.approx(total / int(one.present.sum()), rel=1e-4)


def test_targets_of_proposals() -> None:
    network, given = model(proposals=2), batch()
    output = network.train()(given)
    assert output.boxes.shape == (2, 5, 4)
    boxes = output.boxes.clone()
    boxes[0, 3], boxes[0, 4] = given.box[0, 1], given.box[0, 2]  # of whom nothing is known: the slot is empty
    boxes[1, 3] = torch.tensor([0.0, 0.0, 0.01, 0.01])
    assert overlaps(boxes[0, 4:], given.box[0, :2]).max() < 0.5
    who, there = targets(output._replace(boxes=boxes), given)
    assert who[0].tolist() == [0, 1, 2, 1, -1] and who[1, 3] == -1
    assert not there[0, 2], "nobody is in that slot"
    nobody = given.ignored()
    assert not targets(output, nobody)[1].any()
    assert network.eval()(given).boxes.shape == (2, 2, 4), "at test nobody tells where people are"


def films(classes: int = 60) -> ClipDataset:
    """Three clips of two people in noise."""
    rng = np.random.default_rng(0)
    watched = PicturesWatched(np.arange(0, 90, 10), rng.integers(0, 256, (9, 32, 48, 3), np.uint8))
    people = boxes_of(2).numpy(), np.array([0, 1]), rng.integers(0, 2, (2, classes)).astype(np.float32)
    return ClipDataset([KeyClip(watched, "v", 902, *people) for _ in range(3)], Sampling(frames=4), seed=1)


def test_each_process_trains_on_its_share_and_labels_are_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    shares: list[tuple[int, int]] = []

    def fit(network: object, batches: Batches, *_: object, **__: object) -> None:
        shares.append((batches.sampler.rank, batches.sampler.world))

    monkeypatch.setattr(recipe, "fit", fit)
    config = TrainConfig(epochs=1, batch_size=3, record=False)
    network = ActionTransformer(replace(SMALL, classes=60))
    recipe.train(network, films(), config, fabric=SimpleNamespace(global_rank=1, world_size=3))
    recipe.train(network, films(), config)
    assert shares == [(1, 3), (0, 1)]
    with pytest.raises(BadInput, match="labels: expected 80 classes, as the model has, found 60"):
        recipe.train(ActionTransformer(replace(SMALL, classes=80)), films(), config)


@pytest.mark.parametrize("classes", [60, 80])
def test_training_is_repeated_bit_by_bit(tmp_path: Path, classes: int) -> None:
    dataset = films(classes)
    sizes = {"scale": 0.05, "cells": (1, 2, 3), "width": 8, "hidden": 8, "proposals": 2}
    small = preset("tiny-I3D", classes=classes, **sizes)
    config = TrainConfig(epochs=2, batch_size=2, lr=1e-2, warmup_epochs=0, record=False)

    def learnt(**kept: object) -> list[Tensor]:
        torch.manual_seed(3)
        network = ActionTransformer(small)
        before = [p.clone() for p in network.parameters()]
        history = recipe.train(network, dataset, config, progress=False, **kept)
        assert len(history.loss) == 4 and all(np.isfinite(history.loss))
        assert not all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
        return list(network.parameters())

    first = learnt()
    again = learnt(state=tmp_path / "a.state")
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
