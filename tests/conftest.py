"""What several test files share: motion library, free body, a data set of a few videos, and a store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import torch
from factories import write_source
from golden import TINY
from hypothesis import HealthCheck, settings

from lart_mini.data.mini_ava import SIZES, MiniAva, mini_ava
from lart_mini.people import body, clips
from lart_mini.runs import answers
from lart_mini.tracklets.conversion import Converted, convert

# No property fails because a machine is slow, or busy with something else.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Models of a few thousand weights only lose by threads that wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def library() -> dict[str, clips.Clip]:
    return clips.load_library()


@pytest.fixture(scope="session")
def free_body() -> body.Body:
    return body.load_body(body.FREE_BODY)


@pytest.fixture(scope="session")
def drawn_once() -> Iterator[None]:
    """Reports of runs show the same stored answers: that page, seconds of drawing, is drawn once."""
    draw, pages = answers.answers_page, dict[tuple[str, str], str]()

    def page(table: pl.DataFrame, source: str) -> str:
        key = source, table.write_json()
        if key not in pages:
            pages[key] = draw(table, source)
        return pages[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers, "answers_page", page)
        yield


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> MiniAva:
    """mini_ava of the size TINY, composed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "tiny", TINY)
        return mini_ava("tiny", 0, tmp_path_factory.mktemp("cache"), jobs=1)


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of released files."""
    return write_source(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="session")
def whole(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source's store in parts of two tracklets, never interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    assert convert(source, folder, jobs=1, part_size=2) == Converted(10, 176, {})
    return folder
