"""The trained UPS that ships: whole, small, of today's code, as good as its card says, written alike."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from lart_mini.build import ups_weights
from lart_mini.data.folds import split_by_fold
from lart_mini.files import BadInput, sha256
from lart_mini.people.clips import load_library
from lart_mini.ups import shipped
from lart_mini.ups.config import UPSConfig
from lart_mini.ups.recipe import new_model
from lart_mini.ups.scores import judge_model, summary
from lart_mini.ups.shipped import NAME, SHIPPED, load_shipped
from lart_mini.ups.tasks import CLASSES, Views, load_windows, scored_views
from lart_mini.ups.vocabulary import action_names, load_vocabulary

AGAIN = "train it anew: python -m lart_mini.build ups (then 12 and data_samples/README.md)"
MOST_BYTES = 3_000_000


def test_it_is_small_and_of_todays_model_words_and_recipe() -> None:
    assert sorted(path.name for path in SHIPPED.iterdir()) == [f"{NAME}.json", f"{NAME}.safetensors"]
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < MOST_BYTES
    model, words, card = load_shipped()
    assert words.digest == load_vocabulary(action_names(CLASSES)).digest, AGAIN
    assert model.config == UPSConfig.mini(words) and not model.training, AGAIN
    told = card["recipe"] | {"tasks": tuple(card["recipe"]["tasks"])}
    assert told == asdict(ups_weights.RECIPE) and tuple(card["fold"]) == ups_weights.FOLD, AGAIN


def test_its_card_names_whose_motion_it_learnt_from() -> None:
    library = split_by_fold(load_library(), ups_weights.FOLD)
    sources = {clip.source for clip in library.values() if clip.split == "train"}
    assert set(load_shipped()[2]["motion"]) <= sources and len(sources) > 2


@pytest.mark.parametrize("task", ["lifting", "action3d"])
def test_it_is_as_good_as_its_card_says(task: str) -> None:
    model, words, card = load_shipped()
    views = scored_views(task, load_windows(ups_weights.FOLD)["val"])
    found = summary(judge_model(model, words, views))
    assert found.keys() == card["scores"][task].keys()
    for name, value in card["scores"][task].items():
        assert found[name] == pytest.approx(value, abs=0.5), name


def test_other_weights_than_the_cards_are_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED, tmp_path / "ups"))
    path = folder / f"{NAME}.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\0")
    with pytest.raises(BadInput, match=r"four-tasks.safetensors: sha256: expected \w{64}, as the card says"):
        load_shipped(folder)
    path.unlink()
    with pytest.raises(BadInput, match="found no file"):
        load_shipped(folder)


def test_what_is_written_is_read_and_written_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def few(*given: object) -> Views:
        views = scored_views(*given)  # type: ignore[arg-type]
        rows = {name: value[:4] for name, value in vars(views).items() if name != "task"}
        return replace(views, **rows)

    monkeypatch.setattr(ups_weights, "scored_views", few)
    words = load_vocabulary(action_names(CLASSES), bins=8)
    config = UPSConfig.mini(words, joint_width=4, width=16, encoder_layers=1)
    cards = []
    for folder in ("a", "b"):
        cards.append(ups_weights.write_shipped(tmp_path / folder, new_model(config, words, seed=1), words))
        assert sha256(tmp_path / folder / f"{NAME}.safetensors") == cards[-1]["sha256"]
    assert cards[0] == cards[1]
    model, own, card = shipped.load_shipped(tmp_path / "a")
    assert card == json.loads((tmp_path / "b" / f"{NAME}.json").read_text()) and own.digest == words.digest
    true = new_model(config, words, seed=1).state_dict()
    for name, value in model.state_dict().items():
        np.testing.assert_allclose(value, true[name], rtol=1e-3, atol=1e-6, err_msg=name)
    assert np.array_equal(model.table, words.table)
