"""What scorer/Dockerfile would build, without a daemon: its instructions, read and carried out in a folder.

Knows of the language just what that file uses. The base image is this machine, so what only Debian has is not tried.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "scorer" / "Dockerfile"
SYSTEM = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Instruction:
    """One of a Dockerfile: `COPY`, and what follows it, in one line."""

    word: str
    rest: str


def instructions(text: str = "") -> list[Instruction]:
    """All of them, without comments."""
    lines = [line for line in (text or DOCKERFILE.read_text()).splitlines() if line and not line.startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [Instruction(*line.split(maxsplit=1)) for line in whole]


def copied() -> dict[str, str]:
    """What of the project is copied: file, by where it lies in the image."""
    files = {}
    for step in instructions():
        if step.word == "COPY" and not step.rest.startswith("--"):
            *sources, folder = step.rest.split()
            for source in sources:
                files |= {
                    f"{folder}{path.relative_to(base)}": path.relative_to(ROOT).as_posix()
                    for base, path in _files_below(ROOT / source)
                }
    return files


def _files_below(source: Path) -> Iterator[tuple[Path, Path]]:
    """Each file that a COPY of *source* takes, with the folder that it is copied relative to."""
    if source.is_file():
        yield source.parent, source
    for path in sorted(source.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield source, path


@dataclass(frozen=True, slots=True)
class Image:
    """What was built: `/app` and `/opt/scorer` under *root*, as a user sees them who owns nothing there."""

    root: Path
    environment: Mapping[str, str]

    def run(self, command: str, environment: Mapping[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
        """A job's command line, in *folder*, with nothing in its environment but the image's and the cluster's."""
        unprivileged = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
        return subprocess.run(
            [*unprivileged, "/bin/sh", "-c", command],
            env={**self.environment, **environment},
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


def build(root: Path) -> Image:
    """Carry out the first two stages in *root*; the last one copies what they made, and changes nothing in it."""
    (root / "python").mkdir()
    (root / "tmp").mkdir()
    (root / "python" / "python").symlink_to(Path(sys._base_executable).resolve())
    environment = {"PATH": f"{root}/python:{SYSTEM}"}
    for step in instructions():
        match step.word:
            case "ENV":
                environment |= dict(_assignments(_placed(step.rest, root), environment))
            case "RUN":
                subprocess.run(["/bin/sh", "-ec", _placed(step.rest, root)], env=environment, cwd=root, check=True)
            case "COPY" if not step.rest.startswith("--"):
                *sources, _ = step.rest.split()
                for target, source in copied().items():
                    if any(
                        source == pattern or (pattern.endswith("/") and source.startswith(pattern))
                        for pattern in sources
                    ):
                        Path(_placed(target, root)).parent.mkdir(parents=True, exist_ok=True)
                        shutil.copy2(ROOT / source, _placed(target, root))
    for path in _all(root):
        _as_a_layer_holds_it(path)
    return Image(root, environment)


def _placed(text: str, root: Path) -> str:
    """The same, for paths of the image below *root*."""
    text = re.sub(r"(?<![\w/.])/(app|opt/scorer|tmp)\b", rf"{root}/\1", text)
    # The base interpreter of a Debian has no pip; that of the tests has, and installs for any other.
    text = text.replace("/usr/local/bin/python -m pip", f"{sys.executable} {ROOT}/tests/packaging/borrowed.py")
    return text.replace("/usr/local/bin/python", f"{root}/python/python")


def _assignments(text: str, known: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for word in shlex.split(text):
        name, _, value = word.partition("=")
        yield name, re.sub(r"\$(\w+)", lambda found: known[found[1]], value)


def _all(root: Path) -> Sequence[Path]:
    places = (root / "app", root / "opt")
    return [path for place in places for path in (place, *place.rglob("*")) if not path.is_symlink()]


def _as_a_layer_holds_it(path: Path) -> None:
    """Its time in whole seconds; and for us, who own it, no more rights than it grants to everyone."""
    found = path.stat()
    os.utime(path, (int(found.st_atime), int(found.st_mtime)))
    path.chmod((stat.S_IMODE(found.st_mode) & 0o077) | (found.st_mode & 0o007) << 6)
