"""The system calls that a worker process may make, as a program that the kernel runs before each call (seccomp-BPF).

Pure. An allow-list, so that any other call is refused: no call here reaches another process, a network, or a file to
write to. A refused call gets EPERM; a newer call (number 424 and above, x32's numbers too) gets ENOSYS, so that the C
library falls back to an older call.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Sequence
from dataclasses import dataclass

X86_64, AARCH64 = "x86_64", "aarch64"
_AUDIT_ARCH = {X86_64: 0xC000003E, AARCH64: 0xC00000B7}
_NEWER = 424
_SECCOMP_RET_KILL_PROCESS, _SECCOMP_RET_ERRNO, _SECCOMP_RET_ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data

# Name: its number on x86_64, on aarch64 (asm/unistd_64.h, asm-generic/unistd.h). None: the call does not exist.
ALLOWED: dict[str, tuple[int, int | None]] = {
    # the pipes to the supervisor, and files that are imported
    "read": (0, 63), "write": (1, 64), "close": (3, 57), "lseek": (8, 62), "pread64": (17, 67), "readv": (19, 65),
    "writev": (20, 66), "openat": (257, 56), "fcntl": (72, 25), "getdents64": (217, 61), "getcwd": (79, 17),
    "fstat": (5, 80), "newfstatat": (262, 79), "statx": (332, 291), "stat": (4, None), "lstat": (6, None),
    "access": (21, None), "faccessat": (269, 48), "readlink": (89, None), "readlinkat": (267, 78),
    # memory
    "mmap": (9, 222), "munmap": (11, 215), "mprotect": (10, 226), "mremap": (25, 216), "brk": (12, 214),
    "madvise": (28, 233), "prlimit64": (302, 261),
    # threads of its own, and signals to itself
    "clone": (56, 220), "set_robust_list": (273, 99), "rseq": (334, 293), "futex": (202, 98), "membarrier": (324, 283),
    "sched_yield": (24, 124), "sched_getaffinity": (204, 123), "getcpu": (309, 168), "getpid": (39, 172),
    "gettid": (186, 178), "kill": (62, 129), "tgkill": (234, 131), "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132), "restart_syscall": (219, 128),
    "exit": (60, 93), "exit_group": (231, 94),
    # the time, and ids of process and machine
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165), "uname": (63, 160),
    "sysinfo": (99, 179), "getrandom": (318, 278), "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176),
    "getegid": (108, 177),
}  # fmt: skip
_CLONE_THREAD = 0x00010000
_CLONE_NEW = 0x7E020080  # all namespaces
_TO_WRITE = 0o3 | 0o100 | 0o1000  # O_ACCMODE, O_CREAT, O_TRUNC
_HARMLESS_FCNTL = (0, 1, 2, 3, 1030)  # F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC; F_SETOWN sends signals


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition on one argument of a call: masked by *mask* it must be one of *values*."""

    argument: int
    mask: int
    values: tuple[int, ...]


def build_program(machine: str, pid: int) -> bytes:
    """The filter for process *pid*, as an array of `struct sock_filter`. Raises KeyError for an unknown machine."""
    arch = _AUDIT_ARCH[machine]
    column = list(_AUDIT_ARCH).index(machine)
    all_bits = 0xFFFFFFFF
    conditions = {
        "kill": _Condition(0, all_bits, (pid,)),
        "tgkill": _Condition(0, all_bits, (pid,)),
        "prlimit64": _Condition(0, all_bits, (0,)),  # itself
        "clone": _Condition(0, _CLONE_THREAD | _CLONE_NEW, (_CLONE_THREAD,)),
        "openat": _Condition(2, _TO_WRITE, (0,)),
        "fcntl": _Condition(1, all_bits, _HARMLESS_FCNTL),
    }
    code = [
        (_LOAD, 0, 0, _ARCH),
        (_EQUAL, 1, 0, arch),
        (_RETURN, 0, 0, _SECCOMP_RET_KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER),
        (_AT_LEAST, 0, 1, _NEWER),
        (_RETURN, 0, 0, _SECCOMP_RET_ERRNO | errno.ENOSYS),
    ]
    for name, numbers in ALLOWED.items():
        number = numbers[column]
        if number is not None:
            then = _build_condition(conditions[name]) if name in conditions else [(_RETURN, 0, 0, _SECCOMP_RET_ALLOW)]
            code += [(_EQUAL, 0, len(then), number), *then]
    code.append((_RETURN, 0, 0, _SECCOMP_RET_ERRNO | errno.EPERM))
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)


def _build_condition(condition: _Condition) -> Sequence[tuple[int, int, int, int]]:
    """Allow the call under the condition, else refuse it. Reads 32 bits: the kernel uses no more of these arguments."""
    tests = [((_EQUAL, 0, 1, value), (_RETURN, 0, 0, _SECCOMP_RET_ALLOW)) for value in condition.values]
    return [
        (_LOAD, 0, 0, _ARGUMENTS + 8 * condition.argument),
        (_AND, 0, 0, condition.mask),
        *(instruction for test in tests for instruction in test),
        (_RETURN, 0, 0, _SECCOMP_RET_ERRNO | errno.EPERM),
    ]
