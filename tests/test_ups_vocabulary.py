"""UPS's vocabulary: texts in the paper's order, poses as sentences and back, and what its file holds."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lart_mini import ava
from lart_mini.build import vocabulary as builder
from lart_mini.files import BadInput, write_npz
from lart_mini.ups.vocabulary import (
    MOST_BINS,
    SHIPPED,
    TASKS,
    Vocabulary,
    action_names,
    load_vocabulary,
    ordinal,
    read_embeddings,
    texts,
)

IDS = (10, 12, 14, 79)


@pytest.fixture(scope="module")
def words() -> Vocabulary:
    return load_vocabulary(action_names(IDS), bins=16)


def literal_words(vocabulary: Vocabulary, pose: np.ndarray) -> list[str]:
    """A pose's sentence, coordinate by coordinate, as section 3.2 says it."""
    said = []
    for joint in pose:
        for axis, name in zip(joint, ("horizontal", "vertical", "depth"), strict=True):
            edges = np.linspace(-vocabulary.reach, vocabulary.reach, vocabulary.bins + 1)
            place = 1 + sum(axis >= edge for edge in edges[1:-1])
            said.append(f"The {ordinal(place)} {name} coordinate")
    return said


def test_order_is_actions_bins_ends(words: Vocabulary) -> None:
    assert len(words) == 4 + 3 * 16 + 3 == len(words.texts)
    assert words.texts[:2] == ("run/jog", "stand")
    assert words.texts[4] == "The 1st horizontal coordinate"
    assert words.texts[4 + 16 + 10] == "The 11th vertical coordinate"
    assert words.texts[4 + 47] == "The 16th depth coordinate"
    ends = [words.texts[words.end(task)] for task in TASKS]
    assert ends == [
        "pose estimation ends here", "action recognition ends here",
        "early action prediction ends here", "action recognition ends here",
    ]  # fmt: skip


def test_ordinals() -> None:
    said = [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 22, 101, 111, 112, 123)]
    assert said == "1st 2nd 3rd 4th 11th 12th 13th 21st 22nd 101st 111th 112th 123rd".split()


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(2, 90), st.floats(0.3, 3))
def test_a_pose_is_its_sentence(seed: int, bins: int, reach: float) -> None:
    vocabulary = load_vocabulary(["a", "b"], bins, "random", reach=reach, width=4)
    pose = np.random.default_rng(seed).uniform(-0.999 * reach, 0.999 * reach, (5, 3))
    written = vocabulary.pose_words(pose)
    assert [vocabulary.texts[word] for word in written] == literal_words(vocabulary, pose)
    assert np.abs(vocabulary.pose_of(written) - pose).max() <= reach / bins * 1.0001
    assert (vocabulary.pose_words(vocabulary.pose_of(written)) == written).all()


def test_beyond_the_reach_is_the_outermost_bin(words: Vocabulary) -> None:
    for beyond in (5, 1e30, np.finfo(np.float32).max):
        far = words.pose_of(words.pose_words(np.array([[[-beyond, beyond, 0]]], np.float32)))
        assert np.allclose(far[0, 0], [-1 + 1 / 16, 1 - 1 / 16, 1 / 16])


def test_what_bins_cost_is_the_mean_distance_to_a_cubes_centre() -> None:
    # Of a cube of side 1: 0.480296, a constant of geometry (half of Robbins' kind of integral).
    pose = np.random.default_rng(1).uniform(-1, 1, (4000, 17, 3))
    for bins in (32, 64):
        vocabulary = load_vocabulary(["walk"], bins, "random", width=3)
        error = np.linalg.norm(vocabulary.pose_of(vocabulary.pose_words(pose)) - pose, axis=-1).mean()
        assert error == pytest.approx(0.480296 * 2 / bins, rel=0.01)


def test_sentences_and_what_is_malformed(words: Vocabulary) -> None:
    pose = np.random.default_rng(0).uniform(-1, 1, (3, 2, 3))
    lifted = words.sentences("lifting", pose)
    assert lifted.shape == (3, 7) and (lifted[:, -1] == words.end("lifting")).all()
    assert words.well_formed(lifted, "lifting", 2).all()
    for at, word in ((0, 0), (0, lifted[0, 1]), (4, words.end("lifting")), (6, words.end("early")), (6, 5)):
        spoilt = lifted.copy()
        spoilt[0, at] = word
        assert words.well_formed(spoilt, "lifting", 2).tolist() == [False, True, True], (at, word)
    assert not words.well_formed(lifted[:, :6], "lifting", 2).any()
    for task in TASKS[1:]:
        said = words.sentences(task, np.array([0, 3]))
        assert words.well_formed(said, task, 2).all()
        assert not words.well_formed(said[:, ::-1], task, 2).any()
    assert not words.well_formed(words.sentences("early", [1]), "action3d", 2).any()


def test_nearest_is_by_cosine(words: Vocabulary) -> None:
    near = words.nearest("run/jog", len(words))
    assert len(near) == len(words) - 1 and near[0][0] == "walk"
    mine = words.table[0] / np.linalg.norm(words.table[0])
    for text, cosine in near:
        other = words.table[words.texts.index(text)]
        assert cosine == pytest.approx(float(mine @ other / np.linalg.norm(other)), abs=1e-5)
    assert [cosine for _, cosine in near] == sorted((cosine for _, cosine in near), reverse=True)


def test_tables_differ_in_what_they_know() -> None:
    raw = load_vocabulary(action_names(IDS), 64, centred=False)
    x, y = slice(4, 68), slice(68, 132)
    assert raw.cosines()[x, x].mean() > 0.7  # texts that differ in one word
    # "The 5th horizontal" is nearer to "the 5th vertical" than to "the 6th horizontal".
    assert raw.cosines()[x, y].diagonal().mean() > raw.cosines()[x, x].diagonal(1).mean()
    assert np.abs(load_vocabulary(action_names(IDS), 64).table.mean(axis=0)).max() < 0.03
    one, same, other = (load_vocabulary(action_names(IDS), 64, "random", seed=seed) for seed in (0, 0, 1))
    assert one.digest == same.digest != other.digest
    assert np.abs(one.cosines() - np.eye(len(one))).max() < 0.3
    assert load_vocabulary(action_names(IDS), 64, "glove").width == 50


def test_the_digest_tells_vocabularies_apart(words: Vocabulary) -> None:
    others = [
        load_vocabulary(action_names(IDS), bins=16, centred=False),
        load_vocabulary(action_names(IDS), bins=16, reach=1.2),
        load_vocabulary(action_names(IDS), bins=17),
        load_vocabulary(action_names(IDS[::-1]), bins=16),
    ]
    assert len({words.digest, *(other.digest for other in others)}) == 5


def test_the_shipped_file(tmp_path: Path) -> None:
    for name, width in (("minilm", 384), ("glove", 50)):
        row, table = read_embeddings(SHIPPED, name)
        assert tuple(row) == texts([ava.NAMES[i] for i in range(1, 81)], MOST_BINS)
        assert table.shape == (len(row), width)
        assert len(np.unique(table, axis=0)) == len(table)  # no two words look alike
    assert np.abs(np.linalg.norm(read_embeddings(SHIPPED, "minilm")[1], axis=1) - 1).max() < 0.01
    readme = (SHIPPED.parent.parent / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(SHIPPED.read_bytes()).hexdigest() in readme and SHIPPED.stat().st_size < 250_000
    for licence in ("minilm.txt", "glove.txt"):
        assert (SHIPPED.parent.parent / "licences" / licence).stat().st_size > 5000


def test_eight_bits_keep_the_cosines() -> None:
    table = np.random.default_rng(0).normal(size=(50, 384)).astype(np.float32)
    whole, scale = builder.packed(table)
    back = whole * scale.astype(np.float32)
    cosine = (back * table).sum(1) / np.linalg.norm(back, axis=1) / np.linalg.norm(table, axis=1)
    assert cosine.min() > 0.9995 and whole.dtype == np.int8


@pytest.mark.skipif("LART_MINI_DOWNLOADS" not in os.environ, reason="needs the registry packages")
def test_build_gives_the_same_bytes(tmp_path: Path) -> None:
    builder.build(tmp_path / "vocabulary.npz", Path(os.environ["LART_MINI_DOWNLOADS"]))
    assert (tmp_path / "vocabulary.npz").read_bytes() == SHIPPED.read_bytes()


def test_a_reach_is_the_same_number_however_it_is_written() -> None:
    whole, broken = (load_vocabulary(["walk"], 4, reach=reach) for reach in (2, 2.0))
    assert whole.digest == broken.digest and isinstance(whole.reach, float)
    with refused("reach: expected a finite number from 0.001"):
        load_vocabulary(["walk"], 4, reach="2")  # type: ignore[arg-type]


def refused(match: str):
    return pytest.raises(BadInput, match=match)


def test_bad_input(words: Vocabulary, tmp_path: Path) -> None:
    with refused(r"ups: task: expected lifting \| action2d"):
        words.end("dancing")
    with refused("embedding of each word, found none of 'knit'"):
        load_vocabulary(["knit"])
    with refused("embedding of each word, found none of 'The 129th horizontal coordinate' and 5 more"):
        load_vocabulary(["walk"], 130)
    with refused("embedding: expected minilm"):
        load_vocabulary(["walk"], embedding="bert")
    for name, least in (("width", 1), ("seed", 0)):
        with refused(f"vocabulary: {name}: expected a whole number from {least} .*, found -3"):
            load_vocabulary(["walk"], 4, "random", **{name: -3})
    with refused("pose: expected finite coordinates"):
        words.pose_words(np.array([[[0, np.nan, 0]]]))
    with refused("words: expected a bin of x"):
        words.pose_of(np.array([0, 1, 2]))
    with refused("class: expected 0 to 3"):
        words.sentences("early", np.array([4]))
    with refused("actions: expected names, none of them twice"):
        load_vocabulary(["walk", "walk"])
    with refused("ids of AVA's 80 classes, found 81"):
        action_names([81])
    with refused("text: expected one of its words, found knit"):
        words.nearest("knit")
    with refused("table: expected 55 rows"):
        Vocabulary(words.actions, 16, words.table[1:])
    with refused("table: expected rows of length 1"):
        Vocabulary(words.actions, 16, np.full_like(words.table, np.nan))
    (tmp_path / "no.npz").write_bytes(b"no archive")
    with refused("no.npz: file: expected an .npz of embedded texts"):
        load_vocabulary(["walk"], path=tmp_path / "no.npz")
    told = {"minilm": np.zeros((3, 2), np.int8), "minilm_scale": np.ones((3, 1))}
    write_npz(tmp_path / "uneven.npz", told | {"texts": np.array("walk\nrun")})
    with refused("uneven.npz: minilm: expected numbers of shape"):
        load_vocabulary(["walk"], path=tmp_path / "uneven.npz")
