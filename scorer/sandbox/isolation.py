"""How a worker process restricts itself before its first model. The restrictions cannot be removed again.

rlimits     no core dump, no file to write to, few open files, limits of memory and time as a second line of defence
caps        none, also where the node runs as root
Landlock    may read what Python imports, and nothing else: no home, no /proc, so no other process's environment
seccomp     no system calls for sockets, processes, or signals to others (`seccomp`)

seccomp comes last, since it removes the calls that the others need. Knows nothing of models.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import resource
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from . import seccomp

FILES = 64  # that may be open
CPU = 3600  # seconds of a worker process in all; it is killed after that, and no model is blamed

_LIBC = ctypes.CDLL(None, use_errno=True)
_PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 4, 22, 38
_SECCOMP_MODE_FILTER = 2
_CAPSET = {seccomp.X86_64: 126, seccomp.AARCH64: 91}
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446  # on every architecture
_LANDLOCK_CREATE_RULESET_VERSION = 1
_LANDLOCK_RULE_PATH_BENEATH = 1
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_FS_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # kinds of access to files, by the version of Landlock
_NET_SINCE, _NET = 4, 0b11  # to bind and to connect TCP
_SCOPE_SINCE, _SCOPE = 6, 0b11  # abstract Unix sockets and signals to other processes


def enter_sandbox(memory: int) -> tuple[str, ...]:
    """Give up all rights that scoring does not need; *memory* is how many bytes may be allocated from now on.

    Returns a sentence for each protection that this system does not offer. The process must have one thread.
    """
    _set_limits(memory)
    if sys.platform != "linux":
        return (f"models were scored without a sandbox, which {sys.platform} does not offer",)
    steps: list[tuple[Callable[[], None], str]] = [
        (_drop_privileges, "as privileged as the node"),
        (_hide_files, "able to read files of the node (Landlock)"),
        (_filter_calls, "able to open sockets and to start processes (seccomp)"),
    ]
    problems = []
    for step, otherwise in steps:
        try:
            step()
        except (OSError, KeyError) as error:
            problems.append(f"models were scored {otherwise}: {type(error).__name__}: {error}")
    if not problems and _has_socket():
        problems.append(
            "models were scored able to open sockets: the kernel accepted the seccomp filter and ignores it"
        )
    return tuple(problems)


def _set_limits(memory: int) -> None:
    limits = [
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, FILES),
        (resource.RLIMIT_CPU, CPU),
    ]
    with suppress(OSError):
        used = re.search(r"VmData:\s*(\d+) kB", Path("/proc/self/status").read_text())
        if used:
            limits.append((resource.RLIMIT_DATA, int(used[1]) * 1024 + memory))
    for resource_id, limit in limits:
        hard = resource.getrlimit(resource_id)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource_id, (value, value))


def _drop_privileges() -> None:
    _check_result(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _check_result(_LIBC.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0))
    none = (ctypes.c_uint32 * 6)()
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    _check_result(_LIBC.syscall(ctypes.c_long(_CAPSET[platform.machine()]), header, none))


def _hide_files() -> None:
    """Allow reading the files that Python may import, and no other access to files."""
    version = _call_landlock(_LANDLOCK_CREATE_RULESET, None, 0, _LANDLOCK_CREATE_RULESET_VERSION)
    kinds = max(count for since, count in _FS_RIGHTS.items() if since <= version)
    attributes = struct.pack("=Q", (1 << kinds) - 1)
    if version >= _NET_SINCE:
        attributes += struct.pack("=Q", _NET)
    if version >= _SCOPE_SINCE:
        attributes += struct.pack("=Q", _SCOPE)
    rules = _call_landlock(_LANDLOCK_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path in _list_import_paths():
            with suppress(FileNotFoundError):
                _allow_reading(rules, path)
        _call_landlock(_LANDLOCK_RESTRICT_SELF, rules, 0)
    finally:
        os.close(rules)


def _list_import_paths() -> Iterator[Path]:
    """The folders of Python's modules and of the system libraries that they need. Not all of `sys.path`: see below."""
    for prefix in (sys.prefix, sys.base_prefix, "/", "/usr", "/usr/local"):
        yield Path(prefix, "lib")
        yield Path(prefix, "lib64")
    yield Path("/etc/ld.so.cache")
    for entry in sys.path:  # its other entries may be any folder, such as the one that holds our settings
        if Path(entry).name in ("site-packages", "dist-packages"):
            yield Path(entry)
    package = Path(__file__).parents[1]
    yield package
    yield package.parent / "shared"


def _allow_reading(rules: int, path: Path) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rights = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        _call_landlock(
            _LANDLOCK_ADD_RULE, rules, _LANDLOCK_RULE_PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0
        )
    finally:
        os.close(descriptor)


def _call_landlock(number: int, *arguments: int | bytes | None) -> int:
    typed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return _check_result(_LIBC.syscall(ctypes.c_long(number), *typed))


def _filter_calls() -> None:
    program = seccomp.build_program(platform.machine(), os.getpid())
    code = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))  # struct sock_fprog
    _check_result(_LIBC.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, head, 0, 0))


def _check_result(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def _has_socket() -> bool:
    try:
        socket.socket().close()
    except OSError:
        return False
    return True
