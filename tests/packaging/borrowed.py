"""Give an environment packages that this one has, as pip would install them, without unpacking them again.

    python tests/packaging/borrowed.py PIP_ARGUMENTS

copies what the requirements files among the arguments ask for into the environment of `--python`, and then runs pip
with the same arguments: pip decides whether that is what was asked for, and installs what is missing or other.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from itertools import pairwise
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def close(requirements: Iterable[Requirement]) -> Iterator[str]:
    """The names of these packages and of all that they require here, as far as they are installed."""
    waiting = [(canonicalize_name(one.name), extra) for one in requirements for extra in ("", *one.extras)]
    seen = set(waiting)
    while waiting:
        name, extra = waiting.pop()
        try:
            required = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        if not extra:
            yield name
        for one in map(Requirement, required):
            if one.marker is None or one.marker.evaluate({"extra": extra}):
                more = {(canonicalize_name(one.name), each) for each in ("", *one.extras)} - seen
                seen |= more
                waiting += more


def lend(names: Iterable[str], site: Path) -> None:
    """Copy these packages, with what of them is compiled, into the folder of an environment's packages."""
    for name in names:
        for file in metadata.files(name) or ():
            if ".." in file.parts or file.suffix == ".pyc":
                continue
            found = [Path(str(file.locate()))]
            if file.suffix == ".py":
                found.append(Path(importlib.util.cache_from_source(str(found[0]))))
            for path in filter(Path.exists, found):
                target = site / file.parent / path.relative_to(found[0].parent)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(path, target)


def main(arguments: list[str]) -> int:
    python = Path(arguments[arguments.index("--python") + 1])
    (site,) = python.parent.parent.glob("lib/python*/site-packages")
    files = [Path(each) for option, each in pairwise(arguments) if option == "--requirement"]
    lines = (line.partition("#")[0].strip() for path in files for line in path.read_text().splitlines())
    lend(close(map(Requirement, filter(None, lines))), site)
    return subprocess.run([sys.executable, "-m", "pip", *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
