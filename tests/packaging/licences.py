"""Writes docs/licences.md: the licence of each package that is installed with the wheel, the image or the app.

    python -m tests.packaging.licences --into docs/licences.md

Read from the metadata of what is installed here; where that has no SPDX expression, from the text of the licence.
"""

from __future__ import annotations

import argparse
import re
from collections import defaultdict
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.utils import canonicalize_name

from tests.packaging import borrowed
from tests.packaging.pins import ROOT, read_extras, read_pins

HEAD = """# Licences

What is installed with fleetscore, which is itself under the [MIT licence](../LICENSE), and under which licence each
package is. Written by `make licences` from the packages' own metadata. A version is given where one is pinned; the
others are what pip chooses.

- **The wheel** holds the code of this repository and nothing else. Installing it brings the packages marked `wheel`.
- **The image** of a node (`scorer/Dockerfile`) holds the packages marked `image`, on `python:3.13-slim`: Python under
  the PSF licence, and Debian packages under the licences in their `/usr/share/doc/*/copyright`.
- **The app** is deployed with the packages marked `app`.
- **The page** at `/` holds the files of `shared/dashboard` and nothing else: nothing in it is from outside.
- Chromium and Azurite are installed into `.local` for tests and the local stack only, and are part of none of these.
- `tests/powerbi/schemas` holds schemas of Power BI's files, published by Microsoft under the MIT licence. They are for
  tests only, and part of none of these.

| Package | Version | Licence | Part of |
|---|---|---|---|
"""
FILES = ("requirements.txt", "scorer/requirements.txt", "scorer/constraints.txt")
TEXTS = (  # a piece of a licence's text, and what it is called
    (r"Mozilla Public License", "MPL-2.0"),
    (r"Apache License", "Apache-2.0"),
    (r"PYTHON SOFTWARE FOUNDATION LICENSE", "PSF-2.0"),
    (r"Redistribution and use in source and binary forms[\s\S]*(Neither|may not be used to endorse)", "BSD-3-Clause"),
    (r"Redistribution and use in source and binary forms", "BSD-2-Clause"),
    (r"Permission is hereby granted, free of\s+charge", "MIT"),
)
EXPRESSION = re.compile(r"[A-Za-z]+-[\w.-]+|MIT|ISC|Zlib|0BSD")  # one licence of SPDX


def main() -> None:
    """Write the document."""
    parser = argparse.ArgumentParser(prog="python -m tests.packaging.licences")
    parser.add_argument("--into", type=Path, required=True, help="the document to write")
    parser.parse_args().into.write_text(write_document())


def write_document() -> str:
    """The whole text."""
    parts, versions = list_parts(), list_versions()
    rows = []
    for name in sorted(set().union(*parts.values())):
        where = ", ".join(part for part, names in parts.items() if name in names)
        rows.append(f"| {name} | {versions[name]} | {find_licence(metadata.distribution(name))} | {where} |\n")
    return HEAD + "".join(rows)


def list_versions() -> dict[str, str]:
    """The version of each package that is pinned; more than one where it depends on the version of Python."""
    versions = defaultdict[str, str](str)
    for name in FILES:
        for pin in read_pins(ROOT / name):
            version, known = str(pin.specifier).removeprefix("=="), versions[canonicalize_name(pin.name)]
            if version not in known.split(" or "):
                versions[canonicalize_name(pin.name)] = f"{known} or {version}" if known else version
    return versions


def list_parts() -> dict[str, set[str]]:
    """For the wheel, the image and the app: the names of all packages that come with it."""
    image = [pin for name in FILES[1:] for pin in read_pins(ROOT / name)]
    return {
        "wheel": set(borrowed.close(read_extras()[""])),
        "image": set(borrowed.close(image)),
        "app": set(borrowed.close(read_pins(ROOT / "requirements.txt"))),
    }


def find_licence(package: metadata.Distribution) -> str:
    """Its SPDX expression, or the one that its licence's text says. Raises LookupError."""
    told = package.metadata
    if expression := told.get("License-Expression"):
        return expression
    if EXPRESSION.fullmatch(told.get("License") or ""):
        return told["License"]
    texts = [
        told.get("License") or "",
        *(path.locate().read_text(errors="replace") for path in _licence_files(package)),
    ]
    for text in texts:
        for pattern, name in TEXTS:
            if re.search(pattern, text):
                return name
    if "License :: OSI Approved :: MIT License" in (told.get_all("Classifier") or []):
        return "MIT"
    raise LookupError(f"{told['Name']}: expected a licence in its metadata or in a file of its own, got neither")


def _licence_files(package: metadata.Distribution) -> Iterator[metadata.PackagePath]:
    for path in package.files or []:
        if re.search(r"\.dist-info/(licenses/)?(LICEN[CS]E|COPYING)[^/]*$", str(path), re.IGNORECASE):
            yield path


if __name__ == "__main__":
    main()
