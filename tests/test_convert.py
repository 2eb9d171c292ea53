"""Converting: what float16 loses, what is refused, and that no interruption leaves anything half-written."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import joblib
import numpy as np
import polars as pl
import pytest
from factories import (
    WIDTH,
    assert_same,
    content,
    make_tracklet,
    member,
    published,
    write_published,
    write_source,
)

from lart_mini import files
from lart_mini.files import BadInput, locked
from lart_mini.tracklets import conversion
from lart_mini.tracklets.conversion import convert
from lart_mini.tracklets.records import RECORD, pack, unpack
from lart_mini.tracklets.released import read_released, write_released
from lart_mini.tracklets.store import Store

EXACT = ("frame", "translation", "detected", "box", "frame_size", "confidence", "label_source")


def test_a_store_holds_every_tracklet_to_half_precision(source: Path, whole: Path) -> None:
    files = sorted(source.rglob("*.pkl"), key=lambda file: file.name)
    store = Store(whole)
    assert store.index["name"].to_list() == [file.stem for file in files] and len(store) == len(files)
    for file, found in zip(files, store, strict=True):
        before = read_released(file)
        for field in EXACT:
            np.testing.assert_array_equal(getattr(found, field), getattr(before, field), err_msg=field)
        np.testing.assert_array_equal(found.camera_vectors(), before.camera_vectors())
        assert (found.camera is None) == (before.camera is None) and found.depth_unit == before.depth_unit
        for field in ("pose", "betas", "joints", "labels", "appearance"):
            if getattr(before, field) is None:
                assert getattr(found, field) is None
            else:
                half = getattr(before, field).astype(np.float16)
                np.testing.assert_array_equal(getattr(found, field), half, err_msg=field)
    conventions = {(found.depth_unit, found.camera is None) for found in store}
    assert conventions == {(1.0, True), (200.0, True), (1.0, False)}, "the source must have them all"


def test_float16_loses_no_more_than_stated() -> None:
    one = make_tracklet(400, appearance=50)
    rng = np.random.default_rng(1)

    def within(most: float, *shape: int) -> np.ndarray:
        return rng.uniform(-most, most, (400, *shape)).astype(np.float32)

    one = replace(one, pose=within(1, 24, 3, 3), betas=within(8, 10), joints=within(2, 45, 3))
    one = replace(one, labels=np.abs(within(1, 80)), appearance=within(9, 50))
    kept = unpack(pack(one), "file")

    def worst(field: str) -> np.ndarray:
        return np.abs(getattr(kept, field) - getattr(one, field))

    assert 2e-4 < worst("pose").max() <= 2.5e-4 and 2e-4 < worst("labels").max() <= 2.5e-4
    assert 4e-4 < worst("joints").max() <= 5e-4 and 1.5e-3 < worst("betas").max() <= 2e-3
    assert worst("betas")[np.abs(one.betas) < 4].max() <= 1e-3
    assert one.appearance is not None
    assert (worst("appearance") <= np.maximum(np.abs(one.appearance) / 2048, 3e-8)).all()


def test_equal_rows_are_kept_once_and_rows_that_rounding_makes_equal_too() -> None:
    rows = np.repeat(np.array([[1, 2], [1, 2.0001], [0, 0], [3, 4], [1, 2]], np.float32), 2, axis=0)
    one = replace(make_tracklet(10), appearance=rows, labels=np.zeros((10, 80), np.float32))
    packed = pack(one)
    np.testing.assert_array_equal(packed.appearance, [[1, 2], [3, 4]])
    assert packed.records["appearance_index"].tolist() == [0, 0, 0, 0, -1, -1, 1, 1, 0, 0]
    assert packed.labels.shape == (0, 80) and (packed.records["label_index"] == -1).all()
    assert_same(unpack(packed, "file"), unpack(pack(unpack(packed, "file")), "file"))


def test_numbers_that_a_record_cannot_hold_are_refused() -> None:
    one = make_tracklet(appearance=3)
    for field in ("pose", "betas", "joints", "appearance"):
        big = np.full_like(getattr(one, field), 7e4)
        with pytest.raises(BadInput, match=rf"{field}: expected numbers of at most 65504 .*, found 70000"):
            pack(replace(one, **{field: big}))
    with pytest.raises(BadInput, match="frame: expected numbers of 32 bits"):
        pack(replace(one, frame=one.frame + 2**31))


class ListingBackend(joblib.parallel.ThreadingBackend):
    """A backend that, as Ray's, has no results before the last."""

    supports_return_generator = False


def test_jobs_do_not_change_a_byte(source: Path, whole: Path, tmp_path: Path) -> None:
    convert(source, tmp_path / "two", jobs=2, part_size=2)
    assert content(tmp_path / "two") == content(whole)
    joblib.register_parallel_backend("listing", ListingBackend)
    with joblib.parallel_config(backend="listing"):
        convert(source, tmp_path / "pool", jobs=2, part_size=2)
    assert content(tmp_path / "pool") == content(whole)
    # From another working directory, with a relative path: nothing of it is kept.
    before = os.getcwd()
    os.chdir(source.parent)
    try:
        convert(source.name, tmp_path / "relative", jobs=1, part_size=2)
    finally:
        os.chdir(before)
    assert content(tmp_path / "relative") == content(whole)
    assert not any(str(tmp_path).encode() in data for data in content(whole).values())


def spoil(folder: Path) -> dict[str, str]:
    """Put corrupt files into a folder; gives what is to be said of each."""
    good = sorted(folder.rglob("*.pkl"))[0]
    data = good.read_bytes()
    made = published(np.random.default_rng(5), 140, 12)
    nan = made | {"pose_shape": np.where(np.arange(229) == 7, np.nan, made["pose_shape"])}
    wide = made | {"action_label_gt": np.zeros((12, 1, 81))}
    far = made | {"3d_joints": made["3d_joints"] + np.float32(1e5)}
    other = made | {"apperance_dict": {k: np.ones((1, 5), np.float32) for k in made["apperance_dict"]}}
    paths = {}
    for track, (kind, bad) in enumerate({"nan": nan, "wide": wide, "far": far, "other": other}.items(), 20):
        paths[kind] = f"published/{write_published(bad, folder / 'published', track).name}"
    raw = {"short": data[:-100], "text": b"not a pickle", "code": b"cos\nsystem\n(S'touch ran'\ntR."}
    for track, (kind, bytes_) in enumerate(raw.items(), 40):
        paths[kind] = f"ava-train_a_b-cdefghi_000150_{track}_12.pkl"
        (folder / paths[kind]).write_bytes(bytes_)
    paths["name"], paths["twice"] = "notes.pkl", f"zz/{good.name}"
    (folder / "notes.pkl").write_bytes(pickle.dumps([1]))
    (folder / "zz").mkdir()
    (folder / "zz" / good.name).write_bytes(data)
    said = dict.fromkeys(("short", "text"), "expected") | {
        "nan": "finite numbers",
        "wide": "81",
        "far": "at most 65504",
        "other": f"appearance: expected width {WIDTH}",
        "code": "os.system",
        "name": "name: expected",
        "twice": "another name in each folder",
    }
    return {paths[kind]: words for kind, words in said.items()}


def test_corrupt_files_are_listed_and_skipped(tmp_path: Path, whole: Path) -> None:
    source = write_source(tmp_path / "source")
    said = spoil(source)
    converted = convert(source, tmp_path / "store", jobs=1, part_size=3)
    assert converted.refused.keys() == said.keys() and converted.tracklets == 10
    for file, words in said.items():
        assert words in converted.refused[file] and "\n" not in converted.refused[file]
    assert json.loads((tmp_path / "store" / "refused.json").read_text()) == converted.refused
    assert not (tmp_path / "ran").exists() and not Path("ran").exists()
    for a, b in zip(Store(tmp_path / "store"), Store(whole), strict=True):
        assert_same(a, b)
    again = convert(source, tmp_path / "store", jobs=1)
    assert again == converted


def test_without_any_valid_file_there_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(BadInput, match=r"expected tracklet files \*\.pkl, found none"):
        convert(tmp_path / "source", tmp_path / "store")
    with pytest.raises(BadInput, match="a folder of released tracklets, found no folder"):
        convert(tmp_path / "absent", tmp_path / "store")
    assert not (tmp_path / "store").exists()
    (tmp_path / "source" / "ava-train_a_b-cdefghi_000150_0_9.pkl").write_bytes(b"")
    with pytest.raises(BadInput, match="one valid tracklet at least, found 1 refused"):
        convert(tmp_path / "source", tmp_path / "store", jobs=1)
    assert (tmp_path / "store" / "refused.json").exists()
    with pytest.raises(BadInput, match="run convert again"):
        Store(tmp_path / "store")


def test_a_store_is_finished_only_from_the_source_it_was_begun_with(tmp_path: Path) -> None:
    source = write_source(tmp_path / "source")
    convert(source, tmp_path / "store", jobs=1, part_size=4)
    before = content(tmp_path / "store")
    with pytest.raises(BadInput, match=r"plan\.json: source: expected the source and part size"):
        convert(source, tmp_path / "store", jobs=1, part_size=5)
    path = sorted(source.rglob("*.pkl"))[0]
    joblib.dump(joblib.load(path) | {"more": 1}, path)
    with pytest.raises(BadInput, match=r"it was begun with \(10 files\), found others \(10 files\)"):
        convert(source, tmp_path / "store", jobs=1)
    assert content(tmp_path / "store") == before
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("my work")
    with pytest.raises(BadInput, match="found other files"):
        convert(source, tmp_path / "full")


@pytest.mark.parametrize(("files", "size"), [(1, 64), (4096, 64), (5000, 79), (1_500_000, 8192)])
def test_parts_are_neither_many_nor_large(tmp_path: Path, files: int, size: int) -> None:
    assert conversion._plan(tmp_path, {"files": files}, None) == size


KILLED = """
import os, signal, sys
from pathlib import Path
from lart_mini.tracklets import conversion as convert
left = int(sys.argv[3])
def counted(function):
    def call(*arguments, **options):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
# Before each file that is opened, flushed or renamed, and each folder that is made: every step that stays.
os.fsync, os.replace, Path.rename, Path.mkdir = map(counted, (os.fsync, os.replace, Path.rename, Path.mkdir))
convert.GrowingArray.append = counted(convert.GrowingArray.append)
convert.convert(sys.argv[1], sys.argv[2], jobs=1, part_size=2, progress=False)
"""


def test_killed_at_any_moment_a_second_call_finishes(source: Path, whole: Path, tmp_path: Path) -> None:
    moments = (2, 8, 12, 14, 40, 62)
    command = [sys.executable, "-c", KILLED, str(source)]
    jobs = [(n, subprocess.Popen([*command, str(tmp_path / str(n)), str(n)])) for n in moments]
    finished_parts = set()
    for moment, job in jobs:
        assert job.wait() == -9, f"moment {moment} lies behind the end"
        store = tmp_path / str(moment)
        with pytest.raises(BadInput, match="whole" if (store / "plan.json").exists() else "store"):
            Store(store)
        finished_parts.add(len(list(store.glob("parts/part-*"))))
        convert(source, store, jobs=1, part_size=2, progress=False)
        assert content(store) == content(whole), f"moment {moment}"
    assert {0, 5} < finished_parts, "some must be killed before, some between, some after the parts"


def test_what_an_interruption_left_is_swept(source: Path, whole: Path, tmp_path: Path) -> None:
    (tmp_path / "parts" / ".part-00000-0123").mkdir(parents=True)
    (tmp_path / "parts" / ".part-00000-0123" / "frames.npy").write_bytes(b"half")
    (tmp_path / "plan.json").write_bytes((whole / "plan.json").read_bytes())
    (tmp_path / ".index.parquet.abc_1234.parquet").write_bytes(b"half")
    convert(source, tmp_path, jobs=1)
    assert content(tmp_path) == content(whole)


def read_and_sweep(store: Path, left: list[int], file: Path) -> object:
    """Read a file; when none are `left`, sweep the store before."""
    left[0] -= 1
    if left[0] < 0:
        conversion._sweep(store)
    return pack(read_released(file))


def test_a_worker_that_outlives_its_parent_finishes_nothing_once_swept(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a second call sweeps the first one's folder away, no part without arrays comes of it."""
    files = sorted(source.rglob("*.pkl"))[:3]
    for moment in range(3):
        (tmp_path / str(moment) / "parts").mkdir(parents=True)
        folder, left = tmp_path / str(moment) / "parts" / "part-00000", [moment]
        monkeypatch.setattr(conversion, "_read", partial(read_and_sweep, folder.parent.parent, left))
        number, problem = conversion.write_part(0, source, files, folder)
        monkeypatch.undo()
        assert number == 0 and "No such file" in problem and not any(folder.parent.iterdir())


LIMITED = """
import resource, sys
from lart_mini import cli
resource.setrlimit(resource.RLIMIT_FSIZE, (18000, 18000))
cli.main(["convert", sys.argv[1], sys.argv[2], "--jobs", "1"])
"""


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_source(tmp_path / "source")
    small, large, small_again = member(30, 0, 10, 9), member(31, 0, 10, 60), member(32, 0, 10, 9)
    for one in (small, large, small_again):
        write_released(one, source / f"{one.name}.pkl")
    (tmp_path / "limited").mkdir()
    identity = conversion._identity(source, conversion._listing(source)[0])
    conversion._plan(tmp_path / "limited", identity, 1)
    command = [sys.executable, "-c", LIMITED, str(source), str(tmp_path / "limited")]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2 and len(run.stderr.splitlines()) == 1
    assert "writing: expected room and permission" in run.stderr and "File too large" in run.stderr
    left = sorted(path.name for path in (tmp_path / "limited" / "parts").iterdir())
    assert left == ["part-00000"], "the part before the large one stays, nothing half-written does"
    convert(source, tmp_path / "limited", jobs=1)
    convert(source, tmp_path / "free", jobs=1, part_size=1)
    assert content(tmp_path / "limited") == content(tmp_path / "free")


def test_a_part_is_what_a_student_can_load(whole: Path) -> None:
    part = whole / "parts" / "part-00000"
    frames = np.load(part / "frames.npy")
    index = pl.read_parquet(part / "index.parquet")
    assert frames.dtype == RECORD and len(frames) == index["length"].sum()
    assert np.load(part / "labels.npy").shape == (index["label_rows"].sum(), 80)
    numbers = (index["appearance_rows"] * index["appearance_width"]).sum()
    assert np.load(part / "appearance.npy").shape == (numbers,) and numbers > 0


PLANS = ["", "{", "[]", "null", "[" * 10_000, "\x00", "{}", *(
    json.dumps({"part_size": size}) for size in (None, "x", 0, -1, 1.5, True, [2], {})
)]  # fmt: skip


@pytest.mark.parametrize("plan", PLANS)
def test_a_plan_that_is_none_is_one_line(source: Path, whole: Path, tmp_path: Path, plan: str) -> None:
    """Also where all else in it is right."""
    right = json.loads((whole / "plan.json").read_text())
    content = json.dumps(right | json.loads(plan)) if plan.startswith('{"') else plan
    (tmp_path / "plan.json").write_text(content)
    with pytest.raises(BadInput) as refused:
        convert(source, tmp_path, jobs=1, progress=False)
    assert refused.value.file == str(tmp_path / "plan.json") and len(str(refused.value).splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["plan.json"]


def test_two_processes_never_write_one_store(
    source: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.0)
    with locked(tmp_path / "store", "store"), pytest.raises(BadInput) as refused:
        convert(source, tmp_path / "store", jobs=1, progress=False)
    found = f"process {os.getpid()} at work there"
    assert str(refused.value) == f"{tmp_path / 'store'}: store: expected one process at a time, found {found}"
    convert(source, tmp_path / "store", jobs=1, part_size=2, progress=False)
    assert content(tmp_path / "store") == content(whole)
    assert not [path.name for path in (tmp_path / "store").rglob(".*")]


@pytest.mark.parametrize("jobs", [0, -2])
def test_no_process_at_all_is_refused_however_few_the_parts(source: Path, tmp_path: Path, jobs: int) -> None:
    for size in (2, 100):
        with pytest.raises(BadInput, match=r"^--jobs: processes: expected a whole number from 1 on"):
            convert(source, tmp_path / "store", jobs=jobs, part_size=size)
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("damage", ["bytes", "columns"])
def test_a_parts_damaged_list_is_one_line(source: Path, tmp_path: Path, damage: str) -> None:
    convert(source, tmp_path / "store", jobs=1, part_size=2)
    (tmp_path / "store" / "index.parquet").unlink()
    part = sorted((tmp_path / "store" / "parts").iterdir())[0] / "index.parquet"
    if damage == "bytes":
        part.write_bytes(part.read_bytes()[:-40] + b"\0" * 40)
    else:
        pl.read_parquet(part).drop("length").write_parquet(part)
    with pytest.raises(BadInput, match=r"index.parquet: (file|length): expected .*remove its part"):
        convert(source, tmp_path / "store", jobs=1, part_size=2)


def test_names_sizes_and_links_that_are_none_are_listed_and_skipped(tmp_path: Path) -> None:
    good, source = make_tracklet(12), tmp_path / "source"
    write_released(good, source / f"{good.name}.pkl")
    large = joblib.load(source / f"{good.name}.pkl")
    large["frame_size"] = [np.array([3_000_000_000, 3_000_000_000])] * 12
    joblib.dump(large, source / "ava-train_a_b-cdefghi_000150_4_12.pkl")
    whole = (source / f"{good.name}.pkl").read_bytes()
    (source / "ava-train_a_b-cdefghi_000150_99999999999_12.pkl").write_bytes(whole)
    (source / "ava-train_a_b-cdefghi_000150_8_12.pkl").symlink_to(tmp_path / "nowhere")
    with open(os.fsencode(source) + b"/\xff\xfe.pkl", "wb") as file:
        file.write(whole)
    converted = convert(source, tmp_path / "store", jobs=1, progress=False)
    assert converted.tracklets == 1 and len(converted.refused) == 4
    assert all(name.isprintable() and text.isprintable() for name, text in converted.refused.items())
    assert json.loads((tmp_path / "store" / "refused.json").read_text()) == converted.refused
    assert convert(source, tmp_path / "store", jobs=1, progress=False) == converted


@pytest.mark.parametrize("size", [-1, 0, 1.5, True])
def test_a_part_has_a_tracklet_or_more(source: Path, tmp_path: Path, size: int) -> None:
    with pytest.raises(BadInput, match=r"^convert: part_size: expected a whole number from 1 on"):
        convert(source, tmp_path / "store", jobs=1, part_size=size)
    assert os.listdir(tmp_path) == []
