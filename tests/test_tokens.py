"""Tokens: normalisation, windows aligned by frame number, labels by source, samples as released."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import factories
import numpy as np
import pytest
import torch
from factories import IDENTITY, changed, everywhere, make_tracklet, scene
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import released_dataset as literal

from lart_mini import ava
from lart_mini.files import BadInput
from lart_mini.lart.assembly import assemble, assemble_prepared, prepare
from lart_mini.lart.config import ASSEMBLIES, Assembly, assembly_of
from lart_mini.lart.tokens import TokenBatch, load_stats, random_mask, stats_of
from lart_mini.tracklets.released import read_released
from lart_mini.tracklets.tracklet import Tracklet

JOINTS = Assembly(joints=True)


def test_stats_come_from_detected_frames_and_normalise_them() -> None:
    tracklet = changed(make_tracklet(50), "betas", slice(None), 2.5)
    wild = np.where(tracklet.detected[:, None], tracklet.translation, 1e6).astype(np.float32)
    stats = stats_of([replace(tracklet, translation=wild)])
    normal = stats.normalise(tracklet.vector()[tracklet.detected])
    np.testing.assert_allclose(normal.mean(0), 0, atol=1e-5)
    varying = np.r_[0:216, 226:229]
    np.testing.assert_allclose(normal.std(0)[varying], 1, atol=1e-4)
    assert (stats.std[216:226] == 1).all() and np.abs(normal[:, 216:226]).max() == 0
    with pytest.raises(ValueError, match="no detected frame"):
        stats_of([])


@pytest.mark.parametrize("name", ["stats.npy", "stats"])
def test_stats_round_trip(tmp_path: Path, name: str) -> None:
    stats = stats_of([make_tracklet()])
    stats.save(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    loaded = load_stats(tmp_path / name)
    np.testing.assert_array_equal(stats.mean, loaded.mean)
    np.testing.assert_array_equal(stats.std, loaded.std)


def test_published_stats_leave_the_place_as_it_is(tmp_path: Path) -> None:
    published = np.random.default_rng(0).random((2, 1, 226))
    np.save(tmp_path / "mean_std.npy", published)
    stats = load_stats(tmp_path / "mean_std.npy")
    assert stats.mean.dtype == stats.std.dtype == np.float32
    np.testing.assert_array_equal(stats.mean, np.r_[np.float32(published[0, 0]), 0, 0, 0])
    np.testing.assert_array_equal(stats.std, np.r_[np.float32(published[1, 0]), 1, 1, 1])


def test_other_files_are_no_stats(tmp_path: Path) -> None:
    wrong = [np.zeros((2, 226)), np.zeros((2, 1, 229)), np.full((2, 229), np.nan), np.array("text"),
             np.full((2, 229), -1.0), np.zeros((2, 229), complex)]  # fmt: skip
    for array in wrong:
        np.save(tmp_path / "stats.npy", array)
        expected = r"stats: expected finite numbers, no std below 0, of shape .* or \(2, 1, 226\)"
        with pytest.raises(BadInput, match=expected):
            load_stats(tmp_path / "stats.npy")
    np.save(tmp_path / "stats.npy", np.array([{}]), allow_pickle=True)
    for content in (b"text", b"", (tmp_path / "stats.npy").read_bytes()):
        (tmp_path / "stats.npy").write_bytes(content)
        with pytest.raises(BadInput, match=r"a \.npy array"):
            load_stats(tmp_path / "stats.npy")


def test_the_ego_fills_slot_0_as_it_is() -> None:
    ego = make_tracklet(20, appearance=6)
    batch = assemble(ego, [], frames=8, people=2, stats=IDENTITY, start=5, profile=JOINTS)
    assert [len(batch), *batch.pose.shape] == [1, 1, 2, 8, 229]
    assert batch.present.tolist() == [[True, False]] and batch.masked is None
    window = slice(5, 13)
    np.testing.assert_array_equal(batch.detected[0, 0], ego.detected[window])
    shown = ego.detected[window, None]
    np.testing.assert_array_equal(batch.pose[0, 0], ego.vector()[window] * shown)
    assert ego.appearance is not None and batch.appearance is not None and batch.joints is not None
    np.testing.assert_array_equal(batch.appearance[0, 0], ego.appearance[window] * shown)
    camera = ego.translation / np.array([1, 1, 200], np.float32)
    points = (ego.joints + camera[:, None]).reshape(-1, 135)
    np.testing.assert_allclose(batch.joints[0, 0], points[window] * shown, rtol=1e-6)
    for tensor in batch.tensors().values():
        assert not tensor[0, 1].any()


@given(st.integers(80, 125), st.integers(1, 30), st.integers(0, 19), st.integers(1, 25))
@settings(derandomize=True, max_examples=60)
def test_others_stand_at_the_same_frame_numbers(first: int, length: int, start: int, frames: int) -> None:
    """The rule, literally: slot k holds the other's row of the ego's k-th frame number, if there is one."""
    ego, other = scene([(100, 20), (first, length)])
    batch = assemble(ego, [other], frames=frames, people=2, stats=IDENTITY, start=start)
    seen = False
    for k in range(frames):
        row = np.flatnonzero(other.frame == ego.frame[start + k]) if start + k < len(ego) else []
        if len(row) and other.detected[row[0]]:
            seen = True
            np.testing.assert_array_equal(batch.pose[0, 1, k], other.vector()[row[0]])
            assert batch.detected[0, 1, k]
        else:
            assert not batch.detected[0, 1, k] and not batch.pose[0, 1, k].any()
    assert batch.present.tolist() == [[True, seen]]


def test_others_out_of_the_window_leave_their_slot_to_the_next() -> None:
    ego, away, near, far = scene([(100, 20), (500, 20), (100, 20), (100, 20)])
    batch = assemble(ego, [away, near, far], frames=20, people=2, stats=IDENTITY)
    assert batch.present.all()
    np.testing.assert_array_equal(batch.pose[0, 1], near.vector() * near.detected[:, None])


def test_gaps_in_the_frame_numbers_are_respected() -> None:
    ego, other = scene([(100, 6), (100, 10)])
    ego = replace(ego, frame=np.array([100, 101, 104, 105, 108, 120]))
    other = replace(other, detected=np.ones(10, bool))
    batch = assemble(ego, [other], frames=6, people=2, stats=IDENTITY)
    assert batch.detected[0, 1].tolist() == [True] * 5 + [False]
    np.testing.assert_array_equal(batch.pose[0, 1, :5], other.vector()[[0, 1, 4, 5, 8]])


def test_labels_are_weighed_by_source_and_detection() -> None:
    ego = make_tracklet(20)
    sources = {"any": ego.label_source > 0, "ground truth": ego.label_source == 2}
    for choice, wanted in sources.items():
        batch = assemble(ego, [], frames=20, people=1, stats=IDENTITY, labels=choice)  # type: ignore[arg-type]
        wanted = wanted & ego.detected
        np.testing.assert_array_equal(batch.label_weight[0, 0], wanted)
        columns = np.array(ava.EVALUATED) - 1
        np.testing.assert_array_equal(batch.labels[0, 0], ego.labels[:, columns] * wanted[:, None])
    assert sources["any"].sum() > sources["ground truth"].sum() > 0


def test_what_stands_in_undetected_frames_has_no_effect() -> None:
    ego, other = scene([(100, 20), (95, 20)])
    before = assemble(ego, [other], frames=20, people=2, stats=IDENTITY, profile=JOINTS)
    noisy = []
    for tracklet in (ego, other):
        gap = ~tracklet.detected
        assert gap.any()
        for field in ("pose", "betas", "translation", "joints", "box"):
            tracklet = changed(tracklet, field, gap, 77)
        noisy.append(tracklet)
    after = assemble(noisy[0], noisy[1:], frames=20, people=2, stats=IDENTITY, profile=JOINTS)
    for name, tensor in before.tensors().items():
        assert torch.equal(tensor, after.tensors()[name]), name


def test_a_start_outside_the_ego_is_refused() -> None:
    with pytest.raises(ValueError, match="start 20 is outside an ego of 20 frames"):
        assemble(make_tracklet(20), [], frames=8, people=1, stats=IDENTITY, start=20)


def test_to_moves_every_tensor() -> None:
    batch = assemble(make_tracklet(5), [], frames=5, people=1, stats=IDENTITY).to("meta")
    assert isinstance(batch, TokenBatch) and len(batch.tensors()) == 5
    assert {tensor.device.type for tensor in batch.tensors().values()} == {"meta"}


def read_published(contents: list[dict[str, Any]], folder: Path) -> list[Tracklet]:
    files = [factories.write_published(one, folder, track) for track, one in enumerate(contents)]
    return [read_released(file) for file in files]


spans = st.tuples(st.integers(100, 130), st.integers(2, 30))  # first frame, length


@given(
    seed=st.integers(0, 2**32 - 1), ego=spans, others=st.lists(spans, max_size=3), frames=st.integers(3, 16),
    people=st.integers(1, 4), gaps=st.sampled_from([0.0, 0.3, 0.8]), train=st.booleans(),
    truth_only=st.booleans(),
)  # fmt: skip
@settings(derandomize=True, max_examples=60)
def test_released_samples_equal_the_literal_data_set(
    tmp_path_factory: pytest.TempPathFactory, seed: int, ego: tuple[int, int], others: list[tuple[int, int]],
    frames: int, people: int, gaps: float, train: bool, truth_only: bool,
) -> None:  # fmt: skip
    """Every slot, frame and number, from the files on."""
    rng = np.random.default_rng(seed)
    contents = [factories.published(rng, first, length, gaps) for first, length in (ego, *others)]
    mean_std = rng.uniform(0.1, 2, (2, 1, 226))
    folder = tmp_path_factory.mktemp("files")
    np.save(folder / "mean_std.npy", mean_std)
    expected = literal.sample(
        contents[0], contents[1:], frames=frames, people=people, mean_std=mean_std,
        width=factories.WIDTH, train=train, truth_only=truth_only,
    )  # fmt: skip
    tracklets = read_published(contents, folder)
    # A file without a single appearance vector cannot say how wide they are.
    seen = any(one.appearance is not None for one in tracklets)
    batch = assemble(
        tracklets[0], tracklets[1:], frames=frames, people=people, stats=load_stats(folder / "mean_std.npy"),
        profile=assembly_of("released", train), labels="ground truth" if truth_only else "any",
    )  # fmt: skip
    if not seen:
        assert batch.appearance is None and not expected.pop("appearance").any()
    for name, array in expected.items():
        found = batch.tensors()[name][0].numpy()
        np.testing.assert_allclose(found, array, rtol=1e-5, atol=1e-5, err_msg=name)
    seen_in = expected["detected"].any(axis=1)
    np.testing.assert_array_equal(batch.present[0], seen_in | (np.arange(people) == 0))


SWITCHES = {
    "start": ("random", "first"), "last_frame": ("kept", "dropped"), "spanning": ("kept", "dropped"),
    "slots": ("seen", "drawn"), "undetected": ("zero", "kept"), "joints": (False, True),
}  # fmt: skip
# For each switch a scene in which no other matters: first frame and length of ego and others.
SCENES = {
    "start": [(100, 200)],  # long: a random window hardly begins at its first row
    "last_frame": [(100, 8)],
    "spanning": [(100, 9), (90, 30)],
    "slots": [(100, 9), (300, 9), (100, 9)],
    "undetected": [(100, 9)],
    "joints": [(100, 9)],
}


@pytest.mark.parametrize("switch", SCENES)
@pytest.mark.parametrize("profile", ["paper", "released"])
def test_each_switch_changes_its_own_scene_and_no_other(switch: str, profile: Any) -> None:
    ego, *others = [everywhere(one) for one in scene(SCENES[switch])]
    if switch == "undetected":
        ego = changed(ego, "detected", 4, False)

    def tensors(assembly: Assembly) -> dict[str, torch.Tensor]:
        torch.manual_seed(0)
        made = assemble(ego, others, frames=8, people=2, stats=IDENTITY, profile=assembly).tensors()
        if switch != "joints":
            made.pop("joints", None)
        return made

    base = assembly_of(profile)
    before = tensors(base)
    assert SWITCHES.keys() == vars(base).keys()
    for name, values in SWITCHES.items():
        other = values[getattr(base, name) == values[0]]
        after = tensors(replace(base, **{name: other}))
        same = before.keys() == after.keys() and all(torch.equal(before[k], after[k]) for k in before)
        # How many rows a random window may begin at depends on whether the last one counts.
        if (switch, name) != ("start", "last_frame"):
            assert same == (name != switch), name


def test_what_each_switch_does() -> None:
    ego, away, near = [everywhere(one) for one in scene([(100, 9), (300, 9), (95, 30)])]
    ego = changed(ego, "detected", 4, False)

    def made(people: int = 3, **switches: Any) -> TokenBatch:
        profile = Assembly(**switches)
        return assemble(ego, [away, near], frames=12, people=people, stats=IDENTITY, profile=profile)

    assert made().detected[0, :2, 8].all() and not made(last_frame="dropped").detected[0, :, 8].any()
    assert made().present.tolist() == [[True, True, False]]
    assert made(slots="drawn").present.tolist() == [[True, False, True]]
    assert not made(people=2, slots="drawn").detected[0, 1].any()
    assert made(spanning="dropped").present.tolist() == [[True, False, False]]
    assert not made().pose[0, 0, 4].any()
    np.testing.assert_array_equal(made(undetected="kept").pose[0, 0, 4], ego.vector()[4])
    assert made(undetected="kept").label_weight[0, 0, 4] == 0
    assert made().joints is None and made(joints=True).joints is not None


def test_others_that_only_begin_or_end_outside_the_window_are_no_spanning_ones() -> None:
    ego, *others = [everywhere(one) for one in scene([(100, 9), (100, 20), (90, 19), (99, 11)])]
    batch = assemble(ego, others, frames=9, people=4, stats=IDENTITY, profile=Assembly(spanning="dropped"))
    assert batch.present.tolist() == [[True, True, True, False]]  # 99 to 109 spans 100 to 108


def test_a_start_is_drawn_by_the_papers_profile_and_given_to_either() -> None:
    ego = everywhere(make_tracklet(30))

    def start(profile: Any = "paper", frames: int = 8, **given: int) -> int:
        batch = assemble(ego, [], frames=frames, people=1, stats=IDENTITY, profile=profile, **given)
        return int(np.flatnonzero((ego.vector() == batch.pose[0, 0, 0].numpy()).all(axis=1))[0])

    torch.manual_seed(0)
    drawn = [start() for _ in range(200)]
    torch.manual_seed(0)
    assert drawn == [start() for _ in range(200)]
    assert set(drawn) == set(range(23))
    shorter = {start(Assembly(last_frame="dropped")) for _ in range(300)}
    assert shorter == set(range(22))
    assert start("released") == 0
    assert [start(profile, start=7) for profile in ("paper", "released")] == [7, 7]
    state = torch.get_rng_state()
    assert start(frames=30) == 0 and torch.equal(torch.get_rng_state(), state)  # nothing to draw


def test_profiles_and_switches_with_typos_are_refused() -> None:
    assert assembly_of("released", train=True) == replace(ASSEMBLIES["released"], last_frame="dropped")
    assert assembly_of("paper", train=True) == assembly_of("paper") == Assembly()
    own = Assembly(slots="drawn")
    assert assembly_of(own, train=True) is own
    with pytest.raises(BadInput, match=r"^samples: profile: expected paper \| released, found realesed$"):
        assembly_of("realesed")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"^samples: start: expected random \| first, found frist$"):
        Assembly(start="frist")  # type: ignore[arg-type]


def test_appearance_is_kept_once_and_made_dense_again() -> None:
    people = [replace(make_tracklet(28, seed, track=seed, appearance=6)) for seed in range(3)]
    people[1] = replace(people[1], appearance=None)
    for assembly in (Assembly(), Assembly(undetected="kept")):
        ready = [prepare(one, IDENTITY, width=6, assembly=assembly) for one in people]
        batch = assemble_prepared(ready[0], ready[1:], frames=12, people=4, assembly=assembly, start=5)
        assert batch.appearance is not None and batch.appearance_index is not None
        assert batch.appearance.shape == (1, 4, 3, 6)  # rows 5 to 16 hold three vectors of seven frames each
        assert not batch.appearance[0, [1, 3]].any() and (batch.appearance_index[0, [1, 3]] == -1).all()
        dense = batch.dense()
        assert dense.appearance is not None and dense.appearance_index is None and dense.dense() is dense
        for slot in (0, 2):
            rows = people[slot].appearance
            assert rows is not None
            kept = people[slot].detected[5:17, None] | (assembly.undetected == "kept")
            np.testing.assert_array_equal(dense.appearance[0, slot], rows[5:17] * kept)
        whole = assemble(
            people[0], people[1:], frames=12, people=4, stats=IDENTITY, profile=assembly, start=5
        )
        assert all(torch.equal(t, dense.tensors()[name]) for name, t in whole.tensors().items())


def test_appearance_of_two_widths_is_refused_by_the_tracklets_name() -> None:
    ego, other = make_tracklet(20, appearance=6), make_tracklet(20, track=4, appearance=5)
    with pytest.raises(BadInput, match=rf"{other.name}: appearance: expected width 6 .*, found width 5"):
        assemble(ego, [other], frames=20, people=2, stats=IDENTITY)


def test_an_ego_may_lose_its_only_frame() -> None:
    batch = assemble(
        make_tracklet(1), [make_tracklet(5, track=4)], frames=4, people=2, stats=IDENTITY,
        profile=assembly_of("released", train=True),
    )  # fmt: skip
    assert not batch.detected.any() and batch.present.tolist() == [[True, False]]


@given(st.integers(0, 10), st.floats(0, 1))
@settings(derandomize=True, max_examples=30)
def test_random_mask_hides_its_share_of_detections_only(seed: int, ratio: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    detected = torch.rand(3, 2, 9, generator=generator) < 0.6
    masked = random_mask(detected, ratio, generator)
    assert not (masked & ~detected).any()
    assert masked.sum(dim=(1, 2)).tolist() == [int(ratio * n) for n in detected.sum(dim=(1, 2)).tolist()]
