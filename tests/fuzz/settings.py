"""Settings and records: YAML profiles, a run's JSON files, the data cache's index."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from mutation import damaged, mutate, plain_odd
from notebook_kit import write_notebook, write_project
from runner import Case, Refused, command

from lart_mini.runs import answers, kept, kernel, report
from lart_mini.runs.plan import Plan, read_plan
from lart_mini.runs.record import read_parts, record, recorded

data = import_module("lart_mini.data.mini_ava")  # by that name the folder gives the function
reproduce = import_module("lart_mini.runs.reproduce")

PROFILE = {
    "threads": 1,
    "notebooks": {"00_first": {"word": "given", "epochs": 2}, "01_second": {"seeds": [0, 1]}},
}


def project(profile: bytes) -> Path:
    """A folder of two notebooks, the second of which needs the first, and a profile."""
    notebooks = write_project(Path("project").absolute())
    Path("project/profiles/tiny.yaml").write_bytes(profile)
    write_notebook(notebooks / "00_first.ipynb", "1", parameters='run_dir = ""\nword = "default"\nepochs = 1')
    write_notebook(
        notebooks / "01_second.ipynb", "1", parameters='run_dir = ""\nseeds = [0]', needs=("00_first",)
    )
    return notebooks


# ------------------------------------------------------------------------------------------------- profiles

YAML = (
    "a: &a [x, x]\nb: &b [*a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n",
    "threads: 1\nnotebooks: &n {00_first: *n}\n",
    "!!python/object/apply:os.mkdir [ran]\n",
    "threads: !!python/name:os.system\nnotebooks: {}\n",
    "threads: 1\nthreads: 2\nnotebooks: {}\n",
    "threads: 1_0\nnotebooks: null\n",
    "? [threads]\n: 1\n",
    "--- 1\n--- 2\n",
    "[" * 3000,
    "threads: 2001-01-01\nnotebooks: {}\n",
    "threads: 1\nnotebooks: {00_first: {word: 2001-01-01}}\n",
    "threads: 1\nnotebooks: {00_first: {word: !!binary aGk=, epochs: !!set {a, b}}}\n",
    "%YAML 9.9\n---\nthreads: 1\n",
    "\ufeffthreads: 1\nnotebooks: {}\n",
    "threads: 1\tx\n\t- y\n",
)  # fmt: skip


def profile(rng: random.Random, shelf: Path) -> Case:
    """A profile's YAML, damaged in its values, its text or its bytes; or notebooks that are none."""
    content = yaml.safe_load(yaml.safe_dump(PROFILE))
    kind, wanted = rng.randrange(8), "either"
    text = yaml.safe_dump(content)
    if kind == 0:
        wanted = "read"
        text = rng.choice(
            (text, text.replace("\n", "\r\n"), "# words\n" + text, json.dumps(content), "\n---\n" + text)
        )
    elif kind < 4:
        for _ in range(rng.choice((1, 1, 2))):
            content = mutate(content, rng, plain_odd)
        text = as_yaml(content)
    elif kind == 4:
        text = rng.choice(YAML)
    name = rng.choice(("tiny", "tiny", "x", "../tiny", "", "a\nb", "y" * 900)) if kind == 5 else "tiny"
    raw = text.encode(errors="surrogatepass")
    notebooks = project(damaged(raw, rng) if kind == 6 else raw)
    if kind == 7:
        damage_notebook(notebooks / rng.choice(("00_first.ipynb", "01_second.ipynb")), rng)

    def sane(plan: Plan) -> None:
        assert list(plan.notebooks) == ["00_first", "01_second"] and plan.threads >= 1
        assert all(isinstance(one, dict) for one in plan.notebooks.values())
        assert kept.notebook_digests(plan, "code").keys() == plan.notebooks.keys()
        if wanted == "read":
            assert plan.notebooks == PROFILE["notebooks"] and plan.needs["01_second"] == ("00_first",)

    return Case(lambda: read_plan(name, notebooks), wanted, sane)  # type: ignore[arg-type]


def as_yaml(content: Any) -> str:
    """As YAML writes it; as JSON, which is YAML too, where it is too deep for that."""
    try:
        return yaml.safe_dump(content)
    except RecursionError:
        return json.dumps(content)


def damage_notebook(path: Path, rng: random.Random) -> None:
    """A notebook's JSON, changed in its values or bytes."""
    raw = path.read_bytes()
    if rng.random() < 0.6:
        raw = json.dumps(mutate(json.loads(raw), rng, plain_odd)).encode()
    else:
        raw = damaged(raw, rng)
    path.write_bytes(raw)


# ------------------------------------------------------------------------------------------------------ runs


def write_parts(run_dir: Path, stem: str) -> None:
    """What a notebook would record."""
    os.environ["LART_MINI_NOTEBOOK"] = stem
    if stem == "00_first":
        counts = {"mAP": 0.5, "PM": 0.6, "OM": None, "PI": 0.4, "frames": 3, "boxes": 4, "classes": 2}
        record(run_dir, "validation", counts, shown=False, headline="half of it")
        record(run_dir, "baselines", {"class prior": 0.1}, shown=False)
        return
    rungs = [
        {"name": "class prior", "mAP": 0.1, "low": 0.05, "high": 0.2},
        {"name": "paper", "mAP": 0.2, "paper": True},
    ]
    record(run_dir, "ladder", rungs, shown=False)
    record(run_dir, "counts", {"share": 0.25, "boxes": 1234}, title="What was counted", percent=["share"])


def stubbed(spoil: Any) -> Any:
    """Stands for the running of a notebook: it records what one does, and `spoil` has its way with that."""

    async def run_notebook(
        notebook: Path, run_dir: Path, parameters: Mapping[str, Any], *_: Any, **more: Any
    ) -> None:
        write_parts(run_dir, notebook.stem)
        spoil(run_dir)
        shutil.copy(notebook, run_dir / notebook.name)

    return run_notebook


def run(rng: random.Random, shelf: Path) -> Case:
    """`reproduce` in a folder where an earlier run has left damaged files, or notebooks record odd things."""
    notebooks, out = project(yaml.safe_dump(PROFILE).encode()), Path("out")
    reproduce.code_digest = kept.code_digest = lambda: "code"  # it reads all of the package
    (out / "parts").mkdir(parents=True)
    for stem in ("00_first", "01_second"):
        write_parts(out, stem)
        shutil.copy(notebooks / f"{stem}.ipynb", out)
    digests = kept.notebook_digests(read_plan("tiny", notebooks), "code")
    ran = {"00_first": kept.Ran(digests["00_first"], 1.5, ["validation", "baselines"])}
    kept.Kept("code", ran, 1.5).write(out)
    kind = rng.randrange(7)
    chosen = rng.choice(("ran.json", "parts/validation.json", "parts/counts.json", "parts/ladder.json"))

    def spoil(run_dir: Path) -> None:
        if kind > 4 and (run_dir / chosen).exists():
            damage_json(run_dir / chosen, rng)

    kernel.run_notebook = stubbed(spoil)
    # Seconds of other libraries, on what no case damages.
    report.notebook_body = answers.answers_page = lambda *_: "<p>a page</p>"
    if 0 < kind < 5:
        damage_json(out / chosen, rng)
    arguments = ["reproduce", "--profile", "tiny", "--notebooks", notebooks, "--out", out, "--jobs", 1]

    def sane(said: str) -> None:
        results = json.loads((out / "results.json").read_text())
        assert (out / "report.html").stat().st_size > 1000 and "cannot" not in said
        if kind < 5:
            assert results["validation"]["mAP"] == 0.5 or chosen == "parts/validation.json"
        if kind == 0:
            assert results["ladder"][0]["mAP"] == 0.1 and len(results["notebook_seconds"]) == 2

    wanted: Any = "read" if kind == 0 else "either"
    return Case(command(*arguments), wanted, sane, ("out/*",), ("out/[!.]*",))


def damage_json(path: Path, rng: random.Random) -> None:
    """A JSON file: another value, other bytes, a folder, or none."""
    kind = rng.random()
    if kind < 0.6:
        content = mutate(json.loads(path.read_text()), rng, plain_odd)
        path.write_text(json.dumps(content), encoding="utf-8")
    elif kind < 0.9:
        path.write_bytes(
            rng.choice(
                (damaged(path.read_bytes(), rng), b"", b"[]", b"null", b"[" * 100_000, b"{}", b"\xff\xfe")
            )
        )
    else:
        path.unlink()
        if kind < 0.95:
            path.mkdir()


def parts(rng: random.Random, shelf: Path) -> Case:
    """What notebooks read of earlier ones in their run's folder."""
    out = Path("out")
    for stem in ("00_first", "01_second"):
        write_parts(out, stem)
    name = rng.choice(("validation", "ladder", "counts"))
    valid = rng.random() < 0.2
    if not valid:
        damage_json(out / "parts" / f"{name}.json", rng)

    def sane(found: Any) -> None:
        if valid:
            assert recorded(out, "validation")["mAP"] == 0.5 and len(read_parts(out)) == 4

    return Case(lambda: recorded(out, name), "read" if valid else "either", sane)


# ----------------------------------------------------------------------------------------------------- cache


def compose_small(*given: Any) -> None:
    """Stands for composing: files of the right names, at once."""
    (out,) = next(one for one in given if isinstance(one, dict)).values()
    for split in data.SPLITS:
        (out / f"{split}.npz").write_bytes(b"tracklets of " + split.encode())
        if split != "kinetics-train":
            (out / f"{split}.csv").write_text(f"rows of {split}\n")
    (out / "videos.json").write_text("[]")


def cached() -> Path:
    """The data set's folder; what the system refuses, the command line says in one line (cli.main)."""
    try:
        return data.mini_ava("smoke", 3, "cache").path
    except OSError as error:
        raise Refused(f"{error.filename}: {error.strerror}") from None


def cache(rng: random.Random, shelf: Path) -> Case:
    """The data cache: its index or a file of it damaged. It is composed again, and whole then."""
    data._compose = compose_small
    made = data.mini_ava("smoke", 3, "cache").path
    whole = {path.name: path.read_bytes() for path in made.iterdir()}
    kind = rng.randrange(9)
    index = made / "sha256.json"
    if kind in (1, 2, 3):
        damage_json(index, rng)
    elif kind == 4:
        victim = rng.choice(sorted(made.iterdir()))
        victim.write_bytes(damaged(victim.read_bytes(), rng))
    elif kind == 5:
        shutil.rmtree(made)
        rng.choice((made.mkdir, made.touch, lambda: made.symlink_to("nowhere")))()
    elif kind == 6:
        victim = rng.choice(sorted(made.iterdir()))
        victim.unlink()
        rng.choice((victim.mkdir, lambda: victim.symlink_to("nowhere"), lambda: None))()
    elif kind == 7:
        content = json.loads(index.read_text())
        content |= {rng.choice(("../x", "/etc/passwd", "extra", "")): rng.choice(("", "0" * 64))}
        index.write_text(json.dumps(content))
    elif kind == 8:
        shutil.rmtree("cache")
        rng.choice((Path("cache").touch, lambda: Path("cache").symlink_to("cache")))()

    def sane(path: Path) -> None:
        found = {one.name: one.read_bytes() for one in path.iterdir() if one.is_file()}
        assert found == whole or kind == 7, "a damaged cache was taken for whole"

    outputs = ("cache/mini_ava-*", "cache/*lock*", "cache/.*lock*")
    wanted: Any = {0: "read", 8: "refused"}.get(kind, "either")
    return Case(cached, wanted, sane, outputs)


MAKERS = {"profile": profile, "run": run, "parts": parts, "cache": cache}
