"""Clips of the Action Transformer: what a batch holds, boxes that are found, attention on ID masks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from torch import Tensor

from lart_mini import ava
from lart_mini.action_transformer import attention, recipe
from lart_mini.action_transformer.attention import (
    GROUPS,
    cell_shares,
    groups_of,
    keys_tell,
    looked_at,
    nearest_tells,
    owners,
)
from lart_mini.action_transformer.datasets import (
    ClipDataset,
    KeyClip,
    MapsWatched,
    PicturesWatched,
    Sampling,
    batch_of,
    box_clips,
    key_clips,
    on_map,
    on_picture,
    shaken,
)
from lart_mini.action_transformer.model import ActionTransformer, preset
from lart_mini.action_transformer.proposals import decode, nms
from lart_mini.action_transformer.recipe import ActionRecipe
from lart_mini.appearance.features import Maps
from lart_mini.evaluation.ava_csv import CORNERS
from lart_mini.files import BadInput
from lart_mini.scenes.render import Masks

RNG = np.random.default_rng(0)
FRAMES = np.arange(0, 150, 10)
# Of 108 x 192 pixels: 14 x 24 cells at stride 8, of which the last row is half picture.
MAPS = Maps(FRAMES, RNG.normal(size=(15, 40, 14, 24)).astype(np.float16),
            RNG.normal(size=(15, 112, 7, 12)).astype(np.float16), (108, 192))  # fmt: skip
WATCHED = MapsWatched(MAPS)
BOX = np.array([[0.1, 0.2, 0.3, 1.0], [0.5, 0.0, 0.9, 0.5]], np.float32)


def clip(second: int = 902, people: int = 2, watched: Any = WATCHED) -> KeyClip:
    labels = (RNG.random((people, 60)) > 0.9).astype(np.float32)
    return KeyClip(watched, "v", second, BOX[:people], np.arange(people), labels)


def test_a_clip_is_centred_on_its_key_frame_and_ends_where_the_video_ends() -> None:
    assert Sampling().numbers(902).tolist() == [20, 30, 40, 50, 60, 70, 80, 90]
    assert Sampling(frames=12).numbers(902)[6] == 60 == ava.keyframe(902)
    found = WATCHED.frames(
        Sampling().numbers(904), mirror=False
    )  # from frame 80 on, to 150: there are 15 maps
    assert found.shape == (8, 152, 14, 24)
    torch.testing.assert_close(found[:, :40].numpy(), MAPS.fine[[8, 9, 10, 11, 12, 13, 14, 14]])
    coarse = found[0, 40:]
    assert (coarse[:, ::2, ::2].numpy() == MAPS.coarse[8]).all() and (
        coarse[:, 1::2, 1::2] == coarse[:, ::2, ::2]
    ).all()


def test_boxes_are_of_what_is_watched_which_is_a_little_more_than_the_picture() -> None:
    assert WATCHED.covered == (108 / 112, 1.0)
    np.testing.assert_allclose(on_map(BOX, WATCHED)[:, 3], BOX[:, 3] * 108 / 112)
    np.testing.assert_allclose(on_picture(on_map(BOX, WATCHED), WATCHED), BOX, atol=1e-6)
    assert on_picture(np.ones((1, 4), np.float32), WATCHED).max() == 1


def test_a_batch_has_slots_for_the_fullest_and_draws_only_in_training() -> None:
    clips = [clip(people=1), clip(people=2)]
    made = batch_of(clips, Sampling())
    assert made.present.tolist() == [[True, False], [True, True]]
    assert torch.equal(made.asked, made.box) and made.weight().tolist() == [3, 2]
    chance = [np.random.default_rng(k) for k in range(2)]
    drawn = batch_of(clips, Sampling(mirror=False, shake=0.1), chance)
    assert torch.equal(drawn.box, made.box) and torch.equal(drawn.video, made.video)
    assert (drawn.asked != made.asked)[drawn.present].all()
    assert (drawn.asked[..., 2:] >= drawn.asked[..., :2]).all()


def test_a_mirrored_clip_has_mirrored_boxes() -> None:
    class Always:
        def random(self) -> float:
            return 0.0

        def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
            return np.zeros(shape)

    plain = batch_of([clip()], Sampling())
    mirrored = batch_of([clip()], Sampling(), [Always()])  # type: ignore[list-item]
    torch.testing.assert_close(mirrored.video, plain.video.flip(-1))
    torch.testing.assert_close(mirrored.box[..., 0], 1 - plain.box[..., 2])
    torch.testing.assert_close(mirrored.asked, mirrored.box)
    pictures = PicturesWatched(FRAMES, RNG.integers(0, 256, (15, 4, 6, 3), np.uint8))
    shown = pictures.frames(np.array([0, 14, 200]), mirror=False)
    assert (shown.numpy() == pictures.pictures[[0, 1, 14]].transpose(0, 3, 1, 2)).all()
    assert torch.equal(pictures.frames(np.array([0]), mirror=True), shown[:1].flip(-1))


def test_epochs_differ_and_come_back() -> None:
    dataset = ClipDataset([clip(902), clip(903)], Sampling(), seed=4)
    first = dataset[0].asked
    dataset.set_epoch(1)
    assert not torch.equal(dataset[0].asked, first)
    dataset.set_epoch(0)
    assert torch.equal(dataset[0].asked, first)
    with pytest.raises(BadInput, match="shake"):
        Sampling(shake=2.0)
    for frames in (2, 6, 9):  # the key frame would not be amid the map
        with pytest.raises(BadInput, match="sampling: frames: expected a"):
            Sampling(frames=frames)
    assert shaken(np.array([[0.5, 0.5, 0.5, 0.5]], np.float32), 1.0, np.random.default_rng(0)).tolist() == [
        [0.5] * 4
    ]


def test_key_clips_and_box_clips_are_the_tables() -> None:
    rows = [
        ("v", 902, *BOX[0], 12, 3),
        ("v", 902, *BOX[0], 79, 3),
        ("v", 902, *BOX[1], 12, 1),
        ("v", 903, *BOX[1], 11, 1),
    ]
    table = pl.DataFrame(rows, schema=["video", "second", *CORNERS, "action", "person"], orient="row")
    one, two = key_clips(table, {"v": WATCHED})
    assert one.person.tolist() == [3, 1] and two.second == 903
    named = [{ava.EVALUATED[k] for k in np.flatnonzero(row)} for row in one.labels]
    assert named == [{12, 79}, {12}]
    with pytest.raises(BadInput, match="maps of v"):
        key_clips(table, {})
    mixed = table[[0, 3, 2]].select("video", "second", *CORNERS)
    found = box_clips(mixed, {"v": WATCHED})
    assert [one.person.tolist() for one in found] == [[0, 2], [1]], "rows of the table"
    with pytest.raises(BadInput, match="maps of v"):
        box_clips(mixed, {})


# ---------------------------------------------------------------------------------------------- what is found


@torch.no_grad()
def test_detections_are_boxes_in_the_picture_and_no_two_are_one_person() -> None:
    torch.manual_seed(0)
    network = ActionTransformer(preset("mini", width=8, hidden=8, channels=8, rpn_width=8))
    clips, sampling = [clip(902), clip(903)], Sampling()
    found = recipe.detect(network, clips, sampling, 10)
    assert found.box.min() >= 0 and found.box.max() <= 1 and set(found.clip.tolist()) == {0, 1}
    for number in (0, 1):
        own = torch.from_numpy(found.box[found.clip == number])
        assert 0 < len(own) <= 10
        assert recipe.overlaps(own, own).triu(1).max() <= 0.55, "decoded boxes are cut at the picture's edge"
    table = found.table(clips)
    assert table["score"].min() > recipe.ROWS and set(table["action"]) <= set(ava.EVALUATED)
    assert table.filter(pl.col("second") == 903)["x1"].to_list() == pytest.approx(
        found.box[found.clip == 1, 0].repeat((found.scores[found.clip == 1] > recipe.ROWS).sum(1)).tolist(),
        abs=1e-4,
    )
    with pytest.raises(BadInput, match="scores: expected the 60 classes that AVA evaluates, found 80"):
        replace(found, scores=np.tile(found.scores[:, :1], 80)).table(clips)
    scores = recipe.box_scores(network, clips, sampling)
    assert scores.shape == (4, 60)
    again = recipe.box_scores(network, clips[::-1], sampling, batch_size=1)
    np.testing.assert_allclose(again, scores[[2, 3, 0, 1]], atol=1e-5)
    ranks = recipe.proposal_ranks(network, clips, sampling, 30, threshold=0.1)
    few = recipe.proposal_ranks(network, clips, sampling, 6, threshold=0.1)
    assert ranks.shape == (4,) and (np.minimum(ranks, 6) == few).all() and ranks.min() < 30
    proposed = network.look(batch_of(clips[:1], sampling).video, None, 30).boxes[0]
    over = recipe.overlaps(torch.from_numpy(on_map(BOX, WATCHED)), proposed) >= 0.1
    assert ranks[:2].tolist() == [int(row.nonzero()[0]) if row.any() else 30 for row in over]


@torch.no_grad()
def test_boxes_by_class_are_each_class_s_own() -> None:
    torch.manual_seed(0)
    sizes = {"width": 8, "hidden": 8, "channels": 8, "rpn_width": 8}
    network = ActionTransformer(preset("mini", regression="by class", **sizes))
    network.code.weight.mul_(50)  # boxes that differ by class
    clips, sampling = [clip(902)], Sampling()
    found = recipe.detect(network, clips, sampling, 10)
    assert ((found.scores > 0).sum(1) <= 1).all(), "a box has a score of one class"
    output = network.look(batch_of(clips, sampling).video, None, 10)
    boxes, sure = output.boxes[0], output.logits[0, :, :-1].sigmoid() * output.objectness[0, :, None]
    for column in range(60):
        own = decode(output.code[0, :, column], boxes)
        rows = nms(own, sure[:, column], recipe.SAME, 10)
        mine = found.scores[:, column] > 0
        np.testing.assert_allclose(found.box[mine], on_picture(own[rows].numpy(), WATCHED), atol=1e-5)
        np.testing.assert_allclose(found.scores[mine, column], sure[rows, column].numpy(), rtol=1e-4)
    with pytest.raises(BadInput, match="heads"):
        ActionRecipe(heads=0)
    one = ActionTransformer(ActionRecipe(heads=1, layers=1).config())
    assert one.tx is not None and [len(layer) for layer in one.tx.units] == [1]
    assert recipe.box_scores(one, clips, sampling).shape == (2, 60)
    for way, count in (("shared", 1), ("by class", 60)):
        assert ActionRecipe(regression=way).config().regression == way  # type: ignore[arg-type]
        assert ActionTransformer(preset("mini", regression=way)).code.out_features == 4 * count


# ----------------------------------------------------------------------------------------- attention on masks


def masks() -> Masks:
    """4 x 8 pixels: person 0 left, with a hand and a head; person 1 right; two things."""
    person, joint, thing = (np.full((4, 8), -1, np.int16) for _ in range(3))
    person[:, 0:2], joint[:, 0:2] = 0, 3
    joint[0, 0], joint[1, 0] = 15, 22
    person[:, 6:8], joint[:, 6:8] = 1, 23
    thing[2, 3], thing[3, 3] = 5, 6
    return Masks(person, joint, thing)


def test_groups_are_whose_and_what() -> None:
    found = groups_of(masks(), 0, [5])
    counts = {name: int((found == k).sum()) for k, name in enumerate(GROUPS)}
    assert counts == {
        "body": 6, "hands": 1, "head": 1, "held thing": 1, "other people": 8, "other things": 1,
        "background": 14,
    }  # fmt: skip
    assert (groups_of(masks(), 0, []) == GROUPS.index("held thing")).sum() == 0
    shares = cell_shares(found, (3, 4), 2)  # a row more than the picture: its last row goes on
    np.testing.assert_allclose(shares.sum(0), 1)
    assert shares[GROUPS.index("head"), 0, 0] == 0.25
    np.testing.assert_allclose(shares[:, 2], cell_shares(found[[3, 3]], (1, 4), 2)[:, 0])


@pytest.mark.parametrize("where", ["everywhere", "self", "swapped"])
def test_attention_by_area_is_1_everywhere_and_1_by_the_area_on_oneself(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Looking:
        """A network that looks evenly, at the asker's own cells, or at the other's."""

        device = torch.device("cpu")

        def eval(self) -> None: ...

        def attentions(self, batch: Any) -> list[Tensor]:
            a = torch.zeros(1, 2, 2, 4, 2, 4)
            if where == "everywhere":
                a[:] = 1
            else:
                a[:, :, 0, :, :, 0], a[:, :, 1, :, :, 3] = 1, 1
            a = a.flip(2) if where == "swapped" else a
            return [a / a.sum((3, 4, 5), keepdim=True)] * 3

    things = [SimpleNamespace(actor=None)] * 5 + [SimpleNamespace(actor=0), SimpleNamespace(actor=None)]
    renderer = SimpleNamespace(
        world=SimpleNamespace(things=things, scene=SimpleNamespace(frames=100)),
        size=(4, 8),
        masks=lambda t: masks(),
    )
    data: Any = SimpleNamespace(
        videos=lambda split: pl.DataFrame({"video": ["v"]}), renderer=lambda split, index, size: renderer
    )
    looked = looked_at(Looking(), [clip(), clip(903)], Sampling(), data, "ava-val", (4, 8))  # type: ignore[arg-type]
    assert looked.mass.shape == (4, 3, 2, 7) and looked.area.shape == (4, 7)
    np.testing.assert_allclose(looked.mass.sum(-1), 1, atol=1e-6)
    own, others = {"everywhere": (1, 1), "self": (4, 0), "swapped": (0, 4)}[
        where
    ]  # a quarter of the cells is one's own
    np.testing.assert_allclose(looked.ratio(), own, atol=1e-6)
    np.testing.assert_allclose(looked.ratio(by_others=True), others, atol=1e-6)
    assert attention.OWN == GROUPS[:3]


# ---------------------------------------------------------------------------------------- what keys are alike


def test_owners_cover_half_a_cell_and_upper_is_above_the_pelvis() -> None:
    told = masks()
    told.joint[2:, :2] = 4  # a knee
    person, upper = owners(told, (2, 4), 2)
    assert person.tolist() == [[0, -1, -1, 1], [0, -1, -1, 1]]
    assert upper[person >= 0].tolist() == [True, True, False, True]
    told.person[0, 0] = told.person[1, 0] = told.person[0, 1] = -1
    assert owners(told, (2, 4), 2)[0][0, 0] == -1, "less than half"


def test_nearest_keys_tell_what_they_hold_and_chance_is_counted() -> None:
    rng = np.random.default_rng(0)
    who, when = rng.integers(0, 3, 200), rng.integers(0, 4, 200)
    telling = np.eye(3)[who] + 0.01 * rng.standard_normal((200, 3))
    right, chance = nearest_tells(telling * rng.uniform(1, 9, (200, 1)), who, when).mean(0)
    assert right == 1 and abs(chance - 1 / 3) < 0.05
    right, chance = nearest_tells(rng.standard_normal((200, 8)), who, when).mean(0)
    assert abs(right - chance) < 0.12
    wandering = np.concatenate([np.eye(3)[(who + when) % 3], np.eye(3)[when % 3]], axis=1)
    assert nearest_tells(wandering, who, when % 3)[:, 0].max() == 0, "its own slice is not asked"
    assert nearest_tells(telling, np.zeros(200), when).shape == (0, 2), "nothing to be told apart"
    assert nearest_tells(telling[:0], who[:0], when[:0]).shape == (0, 2), "nobody is on the clip"


@pytest.mark.parametrize("told", ["who", "what", "when"])
def test_keys_that_tell_a_thing_are_right_about_it_alone(told: str) -> None:
    """Two slices, two people, each seen with an upper cell and a lower: keys tell one thing of them."""
    torch.manual_seed(0)
    drawn = masks()
    drawn.joint[2:, :2] = drawn.joint[2:, 6:8] = 4

    class Telling:
        device, config = torch.device("cpu"), SimpleNamespace(layers=1, heads=2)
        location = staticmethod(lambda x: x)

        def eval(self) -> None: ...

        def trunk(self, video: Tensor) -> Tensor:
            return torch.rand(1, 5, 2, 2, 4)

        def keys(self, batch: Any) -> Tensor:
            one = torch.rand(1, 1, 2, 2, 2, 4, 3) / 100
            if told == "who":
                one[..., 0, 0], one[..., 3, 1] = 1, 1
            elif told == "what":
                one[..., 0, :, 0], one[..., 1, :, 1] = 1, 1
            else:
                one[:, :, :, 0, ..., 0], one[:, :, :, 1, ..., 1] = 1, 1
            one[:, :, 1] = 1  # a head that tells nothing
            return one

    renderer = SimpleNamespace(
        world=SimpleNamespace(scene=SimpleNamespace(frames=100)), size=(4, 8), masks=lambda t: drawn
    )
    data: Any = SimpleNamespace(
        videos=lambda split: pl.DataFrame({"video": ["v"]}), renderer=lambda split, index, size: renderer
    )
    found = keys_tell(Telling(), [clip(), clip(903)], Sampling(), data, "ava-val", (4, 8))  # type: ignore[arg-type]
    for asked, row in found.items():
        assert row["chance"] == 0.5 and row["keys"].shape == (1, 2)
        assert row["keys"][0, 1] == pytest.approx(0.5), "the first of all: half of the time right"
        assert (row["keys"][0, 0] == 1) == (asked == told)
