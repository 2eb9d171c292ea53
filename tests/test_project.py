"""environment.yml, pyproject.toml and constraints.txt say the same."""

from __future__ import annotations

import re
import tomllib

import yaml
from notebook_kit import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def constraints() -> dict[str, str]:
    """Pinned version by name, from constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.split("#")[0].strip() for line in lines)
    return {canonicalize_name(name): version for name, version in (pin.split("==") for pin in pins if pin)}


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_every_dependency_is_pinned_within_its_range() -> None:
    pins, metadata = constraints(), project()
    wanted = [*metadata["dependencies"], *metadata["optional-dependencies"]["test"]]
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
    by_file = any(line.split()[:1] == ["-c"] or "constraints.txt" in line for line in pip)
    names = {canonicalize_name(name) for name, _ in pairs}
    wanted = {canonicalize_name(Requirement(line).name) for line in project()["dependencies"]}
    assert by_file or wanted <= names, f"environment.yml lacks {sorted(wanted - names)}"
