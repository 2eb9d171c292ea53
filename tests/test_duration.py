"""How long a training will take is said before it begins."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lart_mini.data.mini_ava import SIZES
from lart_mini.files import BadInput
from lart_mini.lart import duration
from lart_mini.lart.duration import Forecast, forecast, steps_an_epoch
from lart_mini.lart.recipe import Recipe
from lart_mini.runs.plan import find_notebooks, read_plan
from lart_mini.runs.reproduce import forecasts


def test_steps_grow_with_data_and_epochs_and_shrink_with_the_batch() -> None:
    recipe = Recipe(size="laptop", preset="small", batch_size=8)
    few, many = steps_an_epoch(recipe, "finetune"), steps_an_epoch(recipe, "pretrain")
    videos, windows = SIZES["laptop"].train, SIZES["laptop"].windows
    assert videos * windows * 2 / 8 < few < videos * windows * 3 / 8 and few < many
    assert steps_an_epoch(replace(recipe, batch_size=16), "finetune") == pytest.approx(few / 2, abs=1)
    longer = forecast(replace(recipe, finetune_epochs=20, batch_size=1), "finetune")
    assert longer.steps == 20 * steps_an_epoch(replace(recipe, batch_size=1), "finetune")
    assert longer.seconds == pytest.approx(longer.steps * longer.step_seconds) and longer.step_seconds > 0
    with pytest.raises(BadInput, match=r"size: expected smoke \| laptop \| gpu \| many, found huge$"):
        steps_an_epoch(replace(recipe, size="huge"), "finetune")


def test_it_is_told_in_minutes_or_seconds() -> None:
    assert str(Forecast(1200, 0.05)) == "1,200 steps of 50 ms (measured now), about 60 s"
    assert str(Forecast(12000, 0.05)) == "12,000 steps of 50 ms (measured now), about 10 min"


def test_profiles_of_a_gpu_say_what_they_will_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duration, "step_seconds", lambda recipe: 0.01)
    for profile, models in (("gpu", 1), ("gpu-long", 3)):
        plan = read_plan(profile, find_notebooks())
        lines = list(forecasts(plan, list(plan.notebooks)))
        told = [line.split("  ")[1].split(", each")[0].strip() for line in lines]
        assert [line.split()[1:3] for line in lines] == [
            ["05_pretrain", "pretrain,"], ["06_finetune", "finetune,"], ["06_finetune", "control,"]
        ]  # fmt: skip
        assert [int(line.split(", ")[1].split()[0]) for line in lines] == [models, models, 1], told
        assert not list(forecasts(plan, ["06_finetune", "07_ava_evaluation"][1:])), "07 trains nothing new"
    assert not list(forecasts(read_plan("laptop", find_notebooks()), ["05_pretrain"])), "minutes in any case"
