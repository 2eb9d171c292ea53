"""pyproject.toml, constraints.txt and environment.yml agree, imports are declared, and make finds Python."""

from __future__ import annotations

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import polars as pl
import pytest
import yaml
from notebook_kit import NOTEBOOKS, ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from lart_mini.evaluation import read_answers


def constraints() -> dict[str, str]:
    """Pinned version by name, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("#")[0].strip() for line in lines)
    return {canonicalize_name(name): version for name, version in (pin.split("==") for pin in pins if pin)}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(*extras: str) -> set[str]:
    """Names of the main dependencies and of some extras."""
    metadata = project()
    lines = list(metadata["dependencies"])
    for extra in extras:
        lines += metadata["optional-dependencies"][extra]
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_every_dependency_is_pinned_within_its_range() -> None:
    pins, metadata = constraints(), project()
    wanted = [*metadata["dependencies"], *chain.from_iterable(metadata["optional-dependencies"].values())]
    for requirement in map(Requirement, wanted):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"constraints.txt lacks {requirement.name}"
        assert requirement.specifier.contains(version), f"{requirement} does not admit {version}"
    assert pins["torch"] == "2.13.0"


def test_environment_equals_the_constraints() -> None:
    listed = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    conda = [entry for entry in listed if isinstance(entry, str)]
    pip = [line for entry in listed if isinstance(entry, dict) for line in entry["pip"]]
    python = next(entry for entry in conda if entry.startswith("python"))
    assert re.fullmatch(r"python=(3\.\d+)", python).group(1) in project()["requires-python"]
    pins = constraints()
    pairs = [
        re.split("==?", entry) for entry in [*conda, *pip] if "=" in entry and not entry.startswith("python=")
    ]
    for name, version in pairs:
        assert pins.get(canonicalize_name(name)) == version, f"environment.yml: {name} {version}"
    names = {canonicalize_name(name) for name, _ in pairs}
    assert declared("test") == names


def trees(*folders: str) -> dict[str, ast.Module]:
    """Syntax trees of all scripts of some folders, by path; notebooks as one script each."""
    found = {}
    for path in [file for folder in folders for file in sorted((ROOT / folder).rglob("*.py"))]:
        found[path.relative_to(ROOT).as_posix()] = ast.parse(path.read_text(encoding="utf-8"))
    for path in NOTEBOOKS if "notebooks" in folders else []:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        found[path.name] = ast.parse(code)
    return found


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Top names of what a script imports at any depth, and whether through files.optional."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((entry.name.split(".")[0], False) for entry in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0], False
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "optional":
            yield ast.literal_eval(node.args[0]).split(".")[0], True


def test_every_import_is_declared() -> None:
    distributions = packages_distributions()
    tests = [path.relative_to(ROOT / "tests").with_suffix("") for path in (ROOT / "tests").rglob("*.py")]
    own = {"lart_mini", *(part for path in tests for part in path.parts)}  # its modules and their folders
    own |= {path.stem for path in (ROOT / "benchmarks").glob("*.py")}
    extras = set(project()["optional-dependencies"])
    package, rest = trees("lart_mini"), trees("tests", "benchmarks", "notebooks")
    found = [(path, *used, declared()) for path, tree in package.items() for used in imports(tree)]
    found += [(path, *used, declared("test")) for path, tree in rest.items() for used in imports(tree)]
    wrong = set()
    for path, name, optional, known in found:
        if name in sys.stdlib_module_names or name in own:
            continue
        names = {canonicalize_name(each) for each in distributions.get(name, [name])}
        if not names & (declared(*extras) if optional else known):
            wrong.add(f"{path}: {name} is not declared in pyproject.toml")
    assert not wrong, "\n".join(sorted(wrong))


@pytest.mark.skipif(shutil.which("make") is None, reason="without make")
def test_make_takes_the_first_python_that_will_do(tmp_path: Path) -> None:
    def make(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(shutil.which("make")), *arguments, "check", f"VENV={tmp_path}/venv"]
        environment = {"PATH": str(tmp_path)}
        return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)

    def python(name: str, status: int) -> None:
        (tmp_path / name).write_text(f"#!/bin/sh\nexit {status}\n")
        (tmp_path / name).chmod(0o755)

    python("python3", 1)  # too old, or without venv
    refused = make()
    assert refused.returncode == 2 and refused.stdout == ""
    assert refused.stderr.startswith("lart_mini: Python 3.11 or newer with venv: found none of python3.11 ")
    python("python3.13", 0)
    assert f"python3.13 -m venv {tmp_path}/venv" in make("-n").stdout
    python("python3", 0)
    assert f"python3 -m venv {tmp_path}/venv" in make("-n").stdout


RESULTS = ROOT / "docs" / "results.md"  # what was measured
GAIN = r"[−+][\d.]+ \([−+][\d.]+ to [−+][\d.]+\)"  # a difference with its interval
MANY, MIX, CHOSEN = "LART, many frames", "SkeleTR, Mix Pooling", "steps chosen on the other folds"
# Of the ladder: a row's first cell → its system.
LEVELS = {
    "true labels on the tracker's boxes": "true labels on the tracker's boxes",
    "LART on perfect detections": "perfect detections",
    "LART, shuffled training labels (control)": "LART, shuffled labels (control)",
    "class prior": "class prior",
    "linear model of the key frame": "linear model of the key frame",
    "LART, one frame": "LART, one frame",
    "LART, many frames": MANY,
    "LART, many frames, scores of three seeds averaged": "LART, many frames, seeds averaged",
    "LART, pre-trained on pseudo labels, then fine-tuned": "LART, pre-trained, then fine-tuned",
    "the same, scores of three seeds averaged": "LART, pre-trained, seeds averaged",
}
# By question: a row's first cell → its system, than which, and scope.
CLAIMS = {
    "ladder": {
        "many frames − one frame, the same network": (MANY, "LART, one frame", "headline"),
        "many frames − linear model": (MANY, "linear model of the key frame", "headline"),
        "pre-trained − from scratch, before the same fine-tuning":
            ("LART, pre-trained, then fine-tuned", MANY, "headline"),
        "averaging three seeds": ("LART, many frames, seeds averaged", MANY, "headline"),
        "LART on perfect detections, on boxes of their own − on the tracker's":
            ("perfect detections", MANY, "headline"),
        "many frames − shuffled labels": (MANY, "LART, shuffled labels (control)", "headline"),
    },
    "people": {"more people: five over one, all classes": ("n = 5", "n = 1", "all")},
    "tracking": {
        "tracking over single detections": ("3D tracker", "no tracking", "headline"),
        "labels carried along the track over those of key frames alone":
            ("3D tracker", "3D tracker, labels at key frames", "headline"),
    },
    "pose": {
        "3D pose over the same people's 2D keypoints, same model (the paper: over JMRN)":
            ("3D pose", "2D keypoints", "headline"),
        "the same, all classes": ("3D pose", "2D keypoints", "all"),
    },
    "pretraining": {
        "pre-training over as many steps of ground truth in all":
            ("pre-trained, then fine-tuned", "from scratch, as many steps in all", "headline"),
        "many frames over one, after twice the steps":
            ("from scratch, as many steps in all", "one frame, as many steps in all", "headline"),
    },
    "pooling": {"12 frames pooled over 1": ("12 frames", "1 frames", "headline")},
    "hidden": {
        "masks in training, 13 frames about the key frame hidden":
            ("from scratch, tokens masked; 13 hidden", "from scratch, no mask; 13 hidden", "headline"),
        "masks in training, nothing hidden":
            ("from scratch, tokens masked; 0 hidden", "from scratch, no mask; 0 hidden", "headline"),
    },
    "inputs": {
        'the body\'s own numbers (`inputs="body"`) over the person-vector':
            ("body", "person-vector", "headline"),
        "LART over a linear model, both on the body's own numbers":
            ("body", "linear model of the key frame, body", "headline"),
    },
    "scenes": {
        "1,200 scenes composed of the same takes over 60, equal steps":
            ("1,200 scenes", "60 scenes", "headline"),
        "1,200 scenes over the laptop's 120": ("1,200 scenes", "120 scenes", "headline"),
    },
    "skeletr": {
        "attention between sequences: Mix Pooling over the graph network alone, all classes":
            (MIX, "GCN alone", "all"),
        "Mix Pooling over plain averages": (MIX, "SkeleTR, average pooling", "all"),
        "late fusion 2 : 1 with LART over LART (the paper: with pixels)":
            ("LART and SkeleTR, 2 : 1", MANY, "all"),
    },
    "skeletr-steps": {
        "the same after 960 steps, which each fold's three others choose":
            (f"Mix Pooling, {CHOSEN}", f"GCN alone, {CHOSEN}", "all"),
        "960 steps over 480, the graph network alone":
            ("GCN alone, 960 steps", "GCN alone, 480 steps", "all"),
        "960 steps over 480, Mix Pooling": ("Mix Pooling, 960 steps", "Mix Pooling, 480 steps", "all"),
        "1,920 steps over 960, the graph network alone":
            ("GCN alone, 1920 steps", "GCN alone, 960 steps", "all"),
        "1,920 steps over 960, Mix Pooling": ("Mix Pooling, 1920 steps", "Mix Pooling, 960 steps", "all"),
    },
    "skeletr-parts": {
        "Mix Pooling over T × P, at less cost": (MIX, "SkeleTR, T×P", "all"),
        "true identities over boxes that overlap": ("SkeleTR, true identities", MIX, "all"),
        "sequences of one second over two": (MIX, "SkeleTR, sequences of 2 s", "all"),
        "the place embedding": (MIX, "SkeleTR, no place", "all"),
        "mirror and speed": ("SkeleTR, mirror and speed", MIX, "all"),
        "the bone stream beside the joints'": ("SkeleTR, joints and bones", MIX, "all"),
    },
    "skeletr-joint": {
        "joint training: a second task beside (on another machine: below)":
            ("SkeleTR, beside videos", MIX, "all"),
    },
}  # fmt: skip


def test_results_state_what_the_folds_gave() -> None:
    page = RESULTS.read_text(encoding="utf-8").replace("**", "")
    answers = read_answers(ROOT / "benchmarks" / "claims.parquet")
    levels = answers.filter(pl.col("question") == "ladder", pl.col("than").is_null())
    for cell, system in LEVELS.items():
        rows = [levels.filter(system=system, scope=scope).row(0, named=True) for scope in ("headline", "all")]
        told = ["{value:.1f} ({low:.1f}–{high:.1f})".format(**row) for row in rows]
        assert f"| {cell} | {' | '.join(told)} |" in page
    found = {}
    for question, claims in CLAIMS.items():
        for cell, (system, than, scope) in claims.items():
            own = answers.filter(question=question, system=system, than=than, scope=scope)
            row, papers = own.row(0, named=True), own["paper"].drop_nulls()  # one or none
            gain = "{value:+.1f} ({low:+.1f} to {high:+.1f})".format(**row).replace("-", "−")
            found[cell] = "".join(f"{paper:+.1f}" for paper in papers), gain, row["verdict"]
    stated = re.findall(rf"^\| ([^|]+) \|(?: ([−+.\d]*) ?\|)? ({GAIN}) \| ([a-z ]+) \|$", page, re.MULTILINE)
    assert len(stated) == len(found) and {cell: tuple(told) for cell, *told in stated} == found


def test_readme_states_what_stands_in_the_results() -> None:
    """The same numbers with the same intervals, and the same verdicts."""
    readme, page = (path.read_text(encoding="utf-8") for path in (ROOT / "README.md", RESULTS))
    for pattern in (r"[−+]?[\d.]+\*{0,2} \([−+]?[\d.]+(?:–| to )[−+]?[\d.]+\)", rf"\| {GAIN} \| [a-z ]+ \|"):
        stated = re.findall(pattern, readme)
        assert len(stated) >= 9 and [one for one in stated if one not in page] == []


def test_results_state_what_the_laptop_run_recorded() -> None:
    """The text and the ladder, in percent: whoever takes these numbers anew takes the page's anew, too."""
    text = " ".join(RESULTS.read_text(encoding="utf-8").split())
    text = text[text.index("mAP in percent at the size of the laptop profile") :]  # the single split's part
    run = json.loads((ROOT / "benchmarks" / "laptop.json").read_text(encoding="utf-8"))
    apart, baselines, tracking = run["apart"], run["baselines"], run["tracking"]["people cross"]

    def pair(row: str) -> list[float]:
        return [apart[row]["key-frame linear"], apart[row]["LART"]]

    def idf1(tracker: str) -> float:
        return sum(tracking[tracker]["IDF1"]) / len(tracking[tracker]["IDF1"])

    stated = {
        r"Without them it is (\S+) linear against ([\d.]+)": pair("without classes split in time"),
        r"both fall: (\S+) linear, ([\d.]+) LART": pair("external test (other performers)"),
        r"composited videos it is (\S+) against (\S+)\. ": pair("composited videos"),
        r"Each of the three seeds \(([\d.]+), ([\d.]+), ([\d.]+)\)": run["validation"]["seeds"],
        r"IDF1 (\S+) against (\S+) over": [idf1("3D: all terms"), idf1("overlap only")],
        r"\| the ground truth itself \| ([\d.]+)": [baselines["ground_truth"]],
        r"\| true labels on the tracker's boxes \| ([\d.]+)": [baselines["true_labels_on_tracker_boxes"]],
        r"\| LART, shuffled training labels \(control\) \| ([\d.]+)": [baselines["shuffled_labels"]],
        r"\| class prior \| ([\d.]+)": [baselines["class_prior"]],
        r"\| linear model on the key frame \| ([\d.]+)": [baselines["keyframe_linear"]],
        r"\| teacher: one second of one place \| ([\d.]+)": [baselines["teacher"]],
        r"\| LART after pre-training on pseudo labels \| ([\d.]+)": [baselines["lart_pretrained"]],
        r"\| LART after fine-tuning \| \*\*([\d.]+)": [run["validation"]["mAP"]],
    }
    for sentence, values in stated.items():
        found = re.search(sentence, text)
        assert found, f"docs/results.md no longer says: {sentence}"
        assert list(found.groups()) == [f"{100 * value:.1f}" for value in values], sentence


HEADING = "lifting: heading"  # without an interval in the tables
MPJPE = "lifting: mpjpe"
UPS_SCORES = (MPJPE, "lifting: p_mpjpe", HEADING, "action3d: top1", "action2d: top1", "early 20%: top1")


def turned(value: float, low: float, high: float) -> tuple[float, ...]:
    """The difference the other way round."""
    return -value, -high, -low


def rows_of(first_cell: str) -> dict[str, list[list[float]]]:
    """A table of the results, by its first cell: each row's [value, low, high] or [degrees], in order."""
    lines = RESULTS.read_text(encoding="utf-8").replace("−", "-").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    table = lines[start + 2 : lines.index("", start)]
    cells = {line.split(" | ")[0].removeprefix("| "): line for line in table}
    found = {name: re.findall(r"([-+]?[\d.]+)(?: \(([-+]?[\d.]+)(?:–| … )([-+]?[\d.]+)\)|°)", line)
             for name, line in cells.items()}  # fmt: skip
    return {name: [list(map(float, filter(None, one))) for one in values] for name, values in found.items()}


def hold_ups_table(first_cell: str, told: dict, rows: dict[str, dict]) -> None:
    """These rows, and those that both tables have, are the table's: score by score, with their intervals."""
    systems, less = told["systems"], told["differences"]
    simple = "ridge, window", "linear"
    rows |= {
        "one UPS for all, no routes": systems["shared"],
        "ridge of the window; linear models": systems[simple[0]] | systems[simple[1]],
        "residual MLP (Martinez et al. 2017)": systems["residual MLP"],
        "one for all, less ridge; less linear": less[f"shared - {simple[0]}"] | less[f"shared - {simple[1]}"],
    }
    wanted = {
        name: [values[key][: 1 if key == HEADING else 3] for key in UPS_SCORES if key in values]
        for name, values in rows.items()
    }
    assert rows_of(first_cell) == wanted


def test_results_state_what_ups_gave_on_the_first_fold() -> None:
    told = json.loads((ROOT / "benchmarks" / "ups_tasks.json").read_text(encoding="utf-8"))
    systems, less = told["systems"], told["differences"]
    assert systems["shared"]["folds"] == [0]
    rows = {
        "four of them, one a task": systems["separate"],
        "one, routes learnt": systems["routed"],
        "one, routes by hand (2D input apart from 3D)": systems["routes by hand"],
        "one, routes of the one draw (2D actions and early prediction apart)": systems["random routes"],
        "one, random words": systems["random words"],
        "lifting alone, less the MLP": less["separate - residual MLP"],
        "one for all, less four": less["shared - separate"],
        "trained on for each task, less what it began from": less["fine-tuned - shared, on a CPU"],
        "routes learnt, less none": less["routed - shared"],
        "routes by hand, less none": less["routes by hand - shared"],
        "a language model's words, less random ones": less["shared - random words"],
    }
    hold_ups_table("the first fold", told, rows)


def test_results_state_what_ups_gave_in_four_folds() -> None:
    folder = ROOT / "benchmarks"
    told = json.loads((folder / "ups_folds.json").read_text(encoding="utf-8"))
    systems, less = told["systems"], told["differences"]
    script = runpy.run_path(str(folder / "ups_tasks.py"))
    found = script["by_system"](script["runs_of"](folder / "ups_runs", [0, 1, 2, 3]))
    for one, other in (("lifting alone", "residual MLP"), ("shared", "lifting alone")):
        assert script["scores"](found[one], found[other]) == less[f"{one} - {other}"], "of the answers kept"
    assert all(one["folds"] == [0, 1, 2, 3] for one in systems.values())
    page = " ".join(RESULTS.read_text(encoding="utf-8").replace("−", "-").replace("**", "").split())
    long = "one layer twice as long"
    lower = {
        "better than three, by {} ({} to {}) mm": less["shared - one layer"][MPJPE],
        "worse than three by {} ({} to {}) mm": less["five layers - shared"][MPJPE],
        "is then {} ({} to {}) mm better still": turned(*less[f"{long} - one layer"][MPJPE]),
        "is {} ({} to {}) mm below ridge": turned(*less[f"{long} - ridge, window"][MPJPE]),
        "ridge, {} ({} to {}) mm below the residual MLP": turned(*less[f"{long} - residual MLP"][MPJPE]),
        "MLP, {} ({} to {}) mm below lifting alone": turned(*less[f"{long} - lifting alone"][MPJPE]),
        "is {} ({} to {}) mm below that;": less["lifting alone - long residual MLP"][MPJPE],
        "is level with it ({:+}, {} to {})": less[f"{long} - long residual MLP"][MPJPE],
    }
    for sentence, values in lower.items():
        assert sentence.format(*values) in page, sentence
    rows = {
        "the same, one layer in its encoder instead of three": systems["one layer"],
        "one layer, twice the steps": systems["one layer twice as long"],
        "five layers": systems["five layers"],
        "lifting alone, as many steps of it": systems["lifting alone"],
        "one for all, less the MLP": less["shared - residual MLP"],
        "one layer and twice the steps, less the MLP": less[f"{long} - residual MLP"],
        "one layer and twice the steps, less linear": less[f"{long} - linear"],
        "one layer and twice the steps, less three layers": less[f"{long} - shared"],
        "five layers, less three": less["five layers - shared"],
        "the MLP twice as wide, four times the steps": systems["long residual MLP"],
        "lifting alone, less the longer MLP": less["lifting alone - long residual MLP"],
        "lifting alone, less ridge": less["lifting alone - ridge, window"],
        "lifting alone, less the MLP": less["lifting alone - residual MLP"],
        "one for all, less lifting alone": less["shared - lifting alone"],
        "three layers, less one": less["shared - one layer"],
    }
    hold_ups_table("four folds", told, rows)
    for one in ("shared", long):
        lows = [values[1] for key, values in less[f"{one} - linear"].items() if ":" in key]
        assert len(lows) == 14 and min(lows) > 0, "the gate of actions"
        assert systems[one][HEADING][2] < 10 and less[f"{one} - ridge, window"][MPJPE][2] < 0
    assert less[f"{long} - residual MLP"][MPJPE][2] < 0, "the gates of lifting"


def test_results_state_what_watching_a_place_gave() -> None:
    """Numbers of the folds, with their intervals."""
    page = " ".join(RESULTS.read_text(encoding="utf-8").replace("−", "-").split())
    told = json.loads((ROOT / "benchmarks" / "action_transformer_folds.json").read_text(encoding="utf-8"))
    ours = "Action Transformer"
    value, low, high = told["mAP"][f"{ours}, true boxes"]["all"]
    assert f"{value} mAP ({low}–{high}) on true boxes" in page
    for name, sentence in {
        "linear, key frame": "{0} on the key frame (+{1}, {2} to {3})",
        "linear, the clip": "{0} over the clip (+{1}, {2} to {3})",
        "I3D head": "I3D head on the same maps {0} (+{1}, {2} to {3}: **not settled**)",
    }.items():
        level = told["mAP"][f"{name}, true boxes"]["all"][0]
        less = told["difference"][f"{ours} - {name}, true boxes"]
        assert sentence.format(level, *less) in page, name
    recall = told["networks"][ours]["recall at R = 20"]
    assert f"Twenty of its own boxes find {recall:.0f} % of the people" in page
    assert recall > 90, "the gate"


def test_results_state_what_single_runs_gave() -> None:
    """Main figures: groups, videos of one label, lifting on a laptop's budget, pixels on the single split."""
    page = " ".join(RESULTS.read_text(encoding="utf-8").replace("−", "-").replace("**", "").split())
    groups, videos, lifting, pixels = (
        json.loads((ROOT / "benchmarks" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("group_activity", "video_level", "ups_lifting", "action_transformer")
    )
    groups, videos, held, others = groups["top-1, %"], videos["top-1, %"], lifting["val"], lifting["test"]
    less, networks, ours = pixels["difference"], pixels["networks"], "Action Transformer"
    both = f"{ours} and SkeleTR, 2 : 1"
    varied, simple = ("size", "tempo", "camera"), ("UPS", "ridge, window", "residual MLP")
    own = {name: one["attention / area"] for name, one in networks.items() if "attention / area" in one}

    stated = {
        "A graph network alone has {} % ({}–{}), with": groups["GCN alone"],
        "with attention between people {} % ({}–{}), with": groups["average pooling"],
        "with Mix Pooling {} % ({}–{}): attention": groups["Mix Pooling"],
        "attention brings {:+.0f} to": groups["Mix Pooling - GCN alone"],
        "to {:+.0f} points, and Mix Pooling": groups["average pooling - GCN alone"],
        "does not beat plain averages here ({}, {} to {})": groups["Mix Pooling - average pooling"],
        "of single people has {} %": groups["blind linear"],
        "which reads the truth, {} %": groups["pairwise linear, the truth"],
        "through the blocks has {} % ({}–{})": videos["LART, class token before the blocks"],
        "where the released code puts it, {} % ({}–{})": videos["LART, class token after them"],
        "a small SkeleTR {} % ({}–{})": videos["Mix Pooling"],
        "ups_lifting.json)): {:.0f} mm ({:.0f}–{:.0f})": held["UPS"]["mpjpe"],
        "against ridge's {:.0f} ({:.0f}–{:.0f}) and": held["ridge, window"]["mpjpe"],
        "and the MLP's {:.0f} ({:.0f}–{:.0f})": held["residual MLP"]["mpjpe"],
        "Words cost {} mm ({} to {})": held["UPS - regression"]["mpjpe"],
        "of which {} ({} to {}) are lost": held["UPS - UPS, mean of bins"]["mpjpe"],
        "(UPS {:.0f}, ridge {:.0f}, the MLP {:.0f} mm)": [others[name]["mpjpe"][0] for name in simple],
        "({:+}, {:+}, {:+} mm)": [others[f"UPS, {name} varied - UPS"]["mpjpe"][0] for name in varied],
        "action_transformer.json)): {} ({}–{})": pixels["mAP"][f"{ours}, true boxes"]["all"],
        "is not settled there ({:+}, {} to {})": less[f"{ours} - linear, the clip, true boxes"],
        "at its own person {} times": [own[ours]["own person"]],
        "looks there {} times": [own[ours]["own person, asked for somebody else"]],
        "a LowRes query {} times": [own[f"{ours}, LowRes"]["own person"]],
        "one trained on its own boxes {})": [own[f"{ours}, R = 20"]["own person"]],
        "ahead of LowRes ({:+}, {} to {})": less[f"{ours} - {ours}, LowRes, true boxes"],
        "AP of people {:.0f} against {:.0f}": [networks[name]["AP of people"] for name in ("I3D head", ours)],
        "finds people best ({:.0f})": [networks[f"{ours}, R = 20"]["AP of people"]],
        "better ({}, {} to {:+})": turned(*less[f"{ours} - Tx classifies, I3D regresses, true boxes"]),
        "(Table 5) is not settled ({:+}, {} to {})":
            turned(*less[f"{ours}, R = 20 - {ours}, R = 20, boxes by class, own 20 boxes"]),
        "Augmentation brings {} ({} to {})": less[f"{ours} - {ours}, no augmentation, true boxes"],
        "embedding is not settled ({:+}, {} to {})": less[f"{ours} - {ours}, no locations, true boxes"],
        "10's Action Transformer {} points ({} to {};": turned(*less[f"{ours} - {both}, tracker's boxes"]),
        "both are {} ({} to {}) behind": turned(*less[f"{both} - SkeleTR, Mix Pooling, tracker's boxes"]),
    }  # fmt: skip
    for sentence, values in stated.items():
        assert sentence.format(*values) in page, sentence


def test_results_state_what_appearance_adds_in_heads() -> None:
    """The table of gains over pose alone in linear heads and stacked on LART, and the gate."""
    lines = RESULTS.read_text(encoding="utf-8").splitlines()
    told = json.loads((ROOT / "benchmarks" / "appearance_folds.json").read_text(encoding="utf-8"))
    heads, stacked, groups = told["linear, %"], told["stacked on LART, %"], ("carry/hold", "OM", "all")
    rows = {
        "linear heads, one on pose and hands": heads["pose + hands, joint"],
        "linear heads, hands stacked": heads["pose + hands, stacked"],
        "the same, held things left undrawn (control)": heads["pose + hands, undrawn, stacked"],
        "linear heads, the box's RoI (the papers' pooling) stacked": heads["pose + box, stacked"],
        "LART, crops at the hands (ours) stacked": stacked["pose + hands"],
        "LART, held things left undrawn (control)": stacked["pose + hands, undrawn"],
        "LART, the box's RoI (the papers' pooling) stacked": stacked["pose + box"],
    }
    for name, values in rows.items():
        line = next(line for line in lines if line.startswith(f"| {name} |"))
        wanted = [values[f"{group} - pose"] for group in groups]
        cells = [f"{value:+.1f} ({low:+.1f} to {high:+.1f})".replace("-", "−") for value, low, high in wanted]
        assert re.findall(GAIN, line) == cells, name
        if name.startswith("linear heads") and "hands" in name:
            assert min(low for _, low, _ in wanted[:2]) > 0, "the gate"
        if "undrawn" in name:
            assert max(low for _, low, _ in wanted[:2]) < 0, "the control"
    for system in ("hands", "pose"):
        for group in ("carry/hold", "all"):
            assert "{} ({}–{})".format(*heads[system][group]) in " ".join(lines), (system, group)


def test_results_state_what_appearance_adds_in_folds() -> None:
    answers = read_answers(ROOT / "benchmarks" / "claims.parquet").filter(question="appearance")
    undrawn = "pose and hands, held things undrawn (control)"
    rows = {
        "crops at the hands (ours), over pose": ("pose and hands", "pose"),
        "the same with held things left undrawn (control), over pose": (undrawn, "pose"),
        "hands drawn, over undrawn": ("pose and hands", undrawn),
        "the box's RoI (the papers' pooling), over pose": ("pose and box", "pose"),
    }
    page, scopes = RESULTS.read_text(encoding="utf-8"), ("carry/hold (an object)", "OM", "all")
    for name, (system, than) in rows.items():
        own = answers.filter(system=system, than=than)
        told = [own.filter(scope=scope).row(0, named=True) for scope in scopes]
        cells = ["{value:+.1f} ({low:+.1f} to {high:+.1f})".format(**one).replace("-", "−") for one in told]
        assert f"| {name} | {' | '.join(cells)} |" in page
        settled = [one["low"] > 0 for one in told[:2]]  # drawn there is a gain, undrawn there is none
        assert settled == [system == "pose and hands"] * 2, name


FOLDERS = ("benchmarks", "data_samples", "lart_mini")
PAGES = [RESULTS, *ROOT.glob("*.md"), *(ROOT / folder / "README.md" for folder in FOLDERS)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    """To a file of the tree, and to a heading of it."""
    text = page.read_text(encoding="utf-8")
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not link.startswith("http")]
    for path, _, heading in (link.partition("#") for link in links):
        target = page.parent / path if path else page
        assert target.exists(), f"{page.name}: {path}"
        if heading:
            titles = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8").lower(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w\- ]", "", one).replace(" ", "-") for one in titles], heading


def test_every_test_file_is_in_one_part_of_make_test() -> None:
    parts = re.search(r"^PARTS +:= (.+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert parts is not None
    folder = ROOT / "tests"
    found = [path for part in parts[1].split()
             for path in folder.glob(f"test_{part.removeprefix('part-')}[a-z]*.py")]  # fmt: skip
    assert sorted(found) == sorted(folder.glob("test_*.py"))
