"""onnxruntime-web, out of the npm registry: two files of one version, and nothing that its package would run.

The package is fetched by npm where there is one, otherwise straight from the registry that npm is told of here. Either
way it must be the very archive that is named below, and only the files that a page needs are taken out of it.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from ..errors import RuntimeFailure, UnsafeFile, Usage
from ..files import atomic
from ..files.source import private_folder
from ..inference import cache

PACKAGE = "onnxruntime-web"
VERSION = "1.30.0"
INTEGRITY = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="  # SHA-512
SCRIPT, CODE = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
FILES = (SCRIPT, CODE)
PLACES = ("", "dist", f"node_modules/{PACKAGE}/dist")  # in a folder that the user names
MOST = 128 << 20  # bytes of the archive
TIMEOUT = 300  # seconds to fetch it
WAY_ROUND = (
    f"Install npm, or fetch the package {PACKAGE}@{VERSION} anywhere and name the folder with {' and '.join(FILES)} "
    "as --runtime-folder"
)


def runtime_files(folder: str | os.PathLike[str] | None = None) -> dict[str, Path]:
    """Where the files are, by name: in the user's folder, in the cache, or there after they have been fetched.

    Raises Usage where they cannot be had, UnsafeFile where an archive of another content came.
    """
    if folder is not None:
        for place in PLACES:
            found = {name: Path(folder) / place / name for name in FILES}
            if all(path.is_file() for path in found.values()):
                return found
        raise Usage(
            f"{Path(folder).name or folder} has no {' and '.join(FILES)}",
            hint=f"They are in dist of the npm package {PACKAGE}",
        )
    home = cache.folder() / f"{PACKAGE}-{VERSION}"
    found = {name: home / name for name in FILES}
    if not all(path.is_file() for path in found.values()):
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        with private_folder() as folder:
            archive = fetch(folder)
            for member, path in found.items():
                with atomic(path) as temporary:
                    temporary.write_bytes(_member(archive, member))
    return found


def fetch(folder: Path) -> Path:
    """The package's archive in this folder, proved to be the right one."""
    archive = folder / f"{PACKAGE}-{VERSION}.tgz"
    if npm := shutil.which("npm"):
        command = [
            npm,
            "pack",
            f"{PACKAGE}@{VERSION}",
            "--pack-destination",
            str(folder),
            "--ignore-scripts",
            "--silent",
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, cwd=folder)
        except subprocess.TimeoutExpired:
            raise Usage(f"npm did not fetch {PACKAGE} within {TIMEOUT} s", hint=WAY_ROUND) from None
        if done.returncode or not archive.is_file():
            why = next((line for line in done.stderr.splitlines() if line.strip()), "it says nothing")
            raise Usage(f"npm does not fetch {PACKAGE}", why=why, hint=WAY_ROUND)
    elif address := registry():
        _download(f"{address.rstrip('/')}/{PACKAGE}/-/{archive.name}", archive)
    else:
        raise Usage(
            f"{PACKAGE} is not here", why="there is no npm to fetch it, and no registry is named", hint=WAY_ROUND
        )
    found = hashlib.sha512(archive.read_bytes()).digest()
    if base64.b64encode(found).decode() != INTEGRITY:
        raise UnsafeFile(
            f"{archive.name} is not the archive that was published", why="its SHA-512 is another", hint=WAY_ROUND
        )
    return archive


def registry() -> str | None:
    """The registry that npm's environment variable or the user's .npmrc names."""
    for name in ("npm_config_registry", "NPM_CONFIG_REGISTRY"):
        if given := os.environ.get(name):
            return given
    path = Path(os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc")
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            name, sign, value = map(str.strip, line.partition("="))
            if name == "registry" and sign and value:
                return value.strip("\"'")
    return None


def _download(address: str, path: Path) -> None:
    if not address.startswith(("http://", "https://")):
        raise Usage(
            "npm's registry has no address that is fetched from", why="it is neither http nor https", hint=WAY_ROUND
        )
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT) as answer:
            content = answer.read(MOST + 1)
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise Usage(f"the registry does not give {PACKAGE}", why=str(error), hint=WAY_ROUND) from None
    if len(content) > MOST:
        raise UnsafeFile(f"{path.name} is larger than {MOST >> 20} MB", hint=WAY_ROUND)
    path.write_bytes(content)


def _member(archive: Path, name: str) -> bytes:
    with tarfile.open(archive) as opened:
        file = opened.extractfile(f"package/dist/{name}")
        if file is None:
            raise RuntimeFailure(f"{archive.name} has no {name}")
        return file.read()
