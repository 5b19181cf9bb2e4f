"""Files with the machine code of kernels, and which of them may be loaded.

A file is a line of JSON, which says what the code was made of and for, and the code. It is loaded only where that line
is word for word what this process would write, and where its owner could run code in this process anyway: this user,
root, or the owner of this module. Written beside and renamed, so that no reader sees a half.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import platform
import stat
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from scorer.library_versions import find_version

from .signatures import Kernel
from .target import Target

FORM = 1  # of these files
_SCORER = Path(__file__).parents[2]
_SOURCES = (
    "kernels/numba_*.py",
    "kernels/numba_parts/*.py",
    "kernels/batch.py",
    "kernels/native/signatures.py",
    "families/base.py",
    "families/neighbours.py",
    "families/steps.py",
    "families/trees/ensemble.py",
    "families/trees/packing.py",
)
_LIMIT = 2**26  # bytes of a file; a kernel has a tenth of a megabyte

log = logging.getLogger(__name__)


def list_folders() -> list[Path]:
    """Where files are looked for, in this order; the first that can be written to gets a new one."""
    first = os.environ.get("NUMBA_CACHE_DIR", "")
    folders = [Path(first)] if first else []
    folders.append(Path(__file__).parents[1] / "__pycache__")
    with contextlib.suppress(RuntimeError):  # no home
        folders.append(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fleetscore")
    return folders


def read_code(kernel: Kernel, target: Target) -> bytes | None:
    """The machine code of a kernel, where a file has it that fits and may be trusted."""
    for folder in list_folders():
        path = folder / _name_file(kernel, target)
        try:
            data = _read_trusted(path)
        except FileNotFoundError:
            continue
        except OSError as error:
            log.warning("compiled kernels are not taken from %s: %s", path, error)
            continue
        head, _, code = data.partition(b"\n")
        if head == _write_head(kernel, target, code):
            return code
        log.warning("compiled kernels are not taken from %s: it is damaged, or another's under its name", path)
    return None


def write_code(kernel: Kernel, target: Target, code: bytes) -> None:
    """Keep the machine code for other processes; a warning where no folder can be written to."""
    data = _write_head(kernel, target, code) + b"\n" + code
    problems = []
    for folder in list_folders():
        try:
            _write_whole(folder / _name_file(kernel, target), data)
        except OSError as error:
            problems.append(f"{folder}: {error.strerror}")
        else:
            return
    log.warning("compiled kernels cannot be kept, each process compiles them: %s", "; ".join(problems))


def _read_trusted(path: Path) -> bytes:
    """The content of a regular file that only those have written who may. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise PermissionError("expected a regular file")
        if hasattr(os, "geteuid"):
            owners = {os.geteuid(), 0, Path(__file__).stat().st_uid}
            if status.st_uid not in owners or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
                mode = stat.filemode(status.st_mode)
                raise PermissionError(f"expected a file that no other user has written, got {mode} of {status.st_uid}")
        return file.read(_LIMIT)


def _write_whole(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.urandom(4).hex()}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _write_head(kernel: Kernel, target: Target, code: bytes) -> bytes:
    return json.dumps({**_describe_code(kernel, target), "sha256": hashlib.sha256(code).hexdigest()}).encode()


@cache
def _describe_code(kernel: Kernel, target: Target) -> Mapping[str, object]:
    """What code is made of and for."""
    return {
        "form": FORM,
        "kernel": kernel.name,
        "arguments": " ".join(kernel.list_llvm_types()),
        "sources": digest_sources(),
        "triple": target.triple,
        "cpu": target.cpu,
        "features": target.features,
        **dict(_read_versions()),
    }


def _name_file(kernel: Kernel, target: Target) -> str:
    """One for each processor and version, which may share a folder: else they would replace each other's for ever."""
    description = json.dumps(dict(_describe_code(kernel, target))).encode()
    return f"{kernel.name}-{hashlib.sha256(description).hexdigest()[:16]}.kernel"


def _read_versions() -> Iterator[tuple[str, str]]:
    yield "python", platform.python_version()
    for name in ("numba", "llvmlite"):
        try:
            yield name, find_version(name)
        except ImportError:
            yield name, ""


@cache
def digest_sources() -> str:
    """What the kernels are made of: all sources whose code or numbers are compiled."""
    paths = sorted(path for pattern in _SOURCES for path in _SCORER.glob(pattern))
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()
