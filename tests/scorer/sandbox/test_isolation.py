"""What a child cannot do. Most deeds here are tried in real children."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib
import json
import os
import platform
import resource
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from scorer.predictions.outcome import ModelOutcome
from scorer.readings.device_readings import Readings
from scorer.sandbox import seccomp
from scorer.sandbox.isolation import FILES
from scorer.sandbox.pool import WorkerPool
from scorer.storage.blob_store import Content
from shared.contract.domain import Model
from tests.sandboxed import needs_sandbox
from tests.scorer.sandbox import misdeeds
from tests.scorer.sandbox.misdeeds import item

LIBC = ctypes.CDLL(None, use_errno=True)
HOME = Path.home()
SECRET = "AccountKey=geheim"
# On x86_64, and on aarch64.
CALLS = {
    "accept": (43, 202), "accept4": (288, 242), "bind": (49, 200), "bpf": (321, 280), "clone3": (435, 435),
    "connect": (42, 203), "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "io_uring_setup": (425, 425),
    "keyctl": (250, 219), "listen": (50, 201), "memfd_create": (319, 279), "mount": (165, 40), "open_by_handle_at":
    (304, 265), "perf_event_open": (298, 241), "pidfd_getfd": (438, 438), "pidfd_open": (434, 434), "prctl": (157, 167),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "ptrace": (101, 117), "recvfrom": (45, 207),
    "recvmsg": (47, 212), "sendmsg": (46, 211), "sendto": (44, 206), "setns": (308, 268), "setsid": (112, 157),
    "shmget": (29, 194), "unshare": (272, 97), "userfaultfd": (323, 282), "execveat": (322, 281), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "pidfd_send_signal": (424, 424), "seccomp": (317, 277), "chroot": (161, 51),
}  # fmt: skip


def call(name: str) -> None:
    """A raw call of the system; its arguments make no sense, and it is refused before anyone looks at them."""
    number = CALLS[name][platform.machine() == seccomp.AARCH64]
    if LIBC.syscall(ctypes.c_long(number), 0, 0, 0, 0, 0, 0) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def own_signals_to(pid: int) -> None:
    """Have the kernel kill another process when something is written to a pipe of ours."""
    fcntl.fcntl(3, fcntl.F_SETOWN, pid)


def open_many() -> None:
    ends: list[int] = []
    try:
        ends.extend(os.open(os.__file__, os.O_RDONLY) for _ in range(100))
    finally:
        for end in ends:
            os.close(end)


# What each needs beside a name stands in the model's file: the node's process id, and a file that is there. Signal 0
# is refused like any other, and does no harm on the day on which the sandbox is broken.
DEEDS: dict[str, Callable[[int, str], object]] = {
    "an IPv4 socket": lambda *_: socket.socket(socket.AF_INET),
    "an IPv6 socket": lambda *_: socket.socket(socket.AF_INET6),
    "a datagram socket": lambda *_: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "a Unix socket": lambda *_: socket.socket(socket.AF_UNIX),
    "a netlink socket": lambda *_: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "a vsock socket": lambda *_: socket.socket(socket.AF_VSOCK),
    "a packet socket": lambda *_: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "a pair of sockets": lambda *_: socket.socketpair(),
    "the node's environment": lambda node, _: Path(f"/proc/{node}/environ").read_bytes(),
    "the node's memory": lambda node, _: Path(f"/proc/{node}/mem").read_bytes(),
    "the node's command line": lambda node, _: Path(f"/proc/{node}/cmdline").read_bytes(),
    "its own environment": lambda *_: Path("/proc/self/environ").read_bytes(),
    "the list of processes": lambda *_: list(Path("/proc").iterdir()),
    "a file that it knows": lambda _, file: Path(file).read_bytes(),
    "the home directory": lambda *_: list(HOME.iterdir()),
    "the list of users": lambda *_: Path("/etc/passwd").read_bytes(),
    "the project's settings": lambda *_: list(Path(misdeeds.__file__).parents[3].iterdir()),
    "to write a file": lambda _, file: Path(file).write_bytes(b""),
    "to write a new file": lambda _, file: Path(f"{file}.new").write_bytes(b""),
    "to write into memory shared with others": lambda *_: Path("/dev/shm/fleetscore-test").write_bytes(b""),
    "to truncate a file": lambda _, file: os.truncate(file, 0),
    "to remove a file": lambda _, file: Path(file).unlink(),
    "to rename a file": lambda _, file: Path(file).rename(f"{file}.new"),
    "to change a file's mode": lambda _, file: Path(file).chmod(0o777),
    "to change a file's time": lambda _, file: os.utime(file, (0, 0)),
    "to make a folder": lambda _, file: Path(f"{file}.folder").mkdir(),
    "to make a link": lambda _, file: Path(f"{file}.link").symlink_to(file),
    "a signal to the node": lambda node, _: os.kill(node, 0),
    "a signal to everybody": lambda *_: os.kill(-1, 0),
    "a signal to its group": lambda *_: os.kill(0, 0),
    "to have the node killed": lambda node, _: own_signals_to(node),
    "to fork": lambda *_: os.fork(),
    "to become a shell": lambda *_: os.execv("/bin/sh", ["sh", "-c", "true"]),
    "to start a shell": lambda *_: os.posix_spawn("/bin/sh", ["sh", "-c", "true"], {}),
    "to run a command": lambda *_: subprocess.run(["/bin/true"], check=True),
    "more files than it may have": lambda *_: open_many(),
    "a limit of the node's": lambda node, _: resource.prlimit(node, resource.RLIMIT_CORE),
    "a core dump": lambda *_: resource.setrlimit(resource.RLIMIT_CORE, (1, 1)),
    **{f"the call {name}": lambda *_, name=name: call(name) for name in CALLS},
}


def is_open(end: int) -> bool:
    """Whether this process has such a file."""
    try:
        os.fstat(end)
    except OSError:
        return False
    return True


def scoring(model: Model, content: Content, _: Readings) -> ModelOutcome:
    """Do what the device is called, in the child."""
    if model.device == "open-files":
        return misdeeds.say(model, sum(is_open(end) for end in range(FILES)))
    if content.data:
        node, file = json.loads(content.data)
        DEEDS[model.device](node, file)
    elif model.device == "secrets":
        assert not any(SECRET in f"{name}{value}" for name, value in os.environ.items())
    elif model.device == "import":
        importlib.import_module("wave")
        importlib.import_module("sklearn.manifold._barnes_hut_tsne")  # in native code
    elif model.device == "thread":
        thread = threading.Thread(target=np.ones(10).sum)
        thread.start()
        thread.join()
    return misdeeds.say(model, os.getpid())


@pytest.fixture(scope="module")
def children() -> Iterator[WorkerPool]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STORAGE", SECRET)
        patch.setenv("OPENBLAS_NUM_THREADS", "7")
        with WorkerPool(1, timeout=20.0, scoring=scoring) as one:
            one.start_workers()
            yield one


@needs_sandbox
def test_this_system_offers_all_that_a_sandbox_is_made_of(children: WorkerPool) -> None:
    (one,) = children.score_items([item("first")])

    assert one.result.reason is None
    assert children.warnings == ()


@needs_sandbox
@pytest.mark.parametrize("deed", sorted(DEEDS))
def test_a_child_is_refused(deed: str, children: WorkerPool, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"kept")

    (one,) = children.score_items([item(deed, json.dumps([os.getpid(), str(file)]).encode())])

    refused = ("PermissionError: ", "OSError: [Errno 38] ", "ValueError: not allowed to raise", "OSError: [Errno 24] ")
    assert one.result.reason == "estimator_error", one
    assert one.result.message.startswith(refused)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert file.read_bytes() == b"kept"


@pytest.mark.parametrize("need", ["secrets", "import", "thread"])
def test_a_child_has_what_scoring_needs_and_no_secret(need: str, children: WorkerPool) -> None:
    (one,) = children.score_items([item(need)])

    assert (one.result.reason, one.result.message) == (None, "")


@needs_sandbox
def test_keeper_and_child_were_never_given_a_secret_and_the_child_has_no_privilege(children: WorkerPool) -> None:
    (one,) = children.score_items([item("pid")])
    assert one.predictions
    child = int(one.predictions.score[0])
    keeper = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    root = children._processes[0].pid

    for process in (keeper, root):
        environment = Path(f"/proc/{process}/environ").read_text()
        assert "PYTHONPATH" in environment
        assert "OPENBLAS_NUM_THREADS=1" in environment
        assert "STORAGE" not in environment
    status = dict(line.split(":\t") for line in Path(f"/proc/{child}/status").read_text().splitlines())
    assert {name: status[name] for name in ("CapPrm", "CapEff", "CapInh", "NoNewPrivs", "Seccomp", "Threads")} == {
        "CapPrm": "0" * 16,
        "CapEff": "0" * 16,
        "CapInh": "0" * 16,
        "NoNewPrivs": "1",
        "Seccomp": "2",
        "Threads": "1",
    }
    (counted,) = children.score_items([item("open-files")])  # of such a process only root may list them from outside
    assert counted.predictions
    assert int(counted.predictions.score[0]) == 5  # nothing, three times; orders, replies


POOR = """
import errno, json, platform, sys
from scorer.sandbox import isolation
def none(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
{poverty}
print(json.dumps(isolation.enter_sandbox(2**30)))
"""
PRIVILEGED, READS, CALLS_ALL, IGNORED = (
    "models were scored as privileged as the node",
    "models were scored able to read files of the node (Landlock)",
    "models were scored able to open sockets and to start processes (seccomp)",
    "models were scored able to open sockets: the kernel accepted the seccomp filter and ignores it",
)


@needs_sandbox
@pytest.mark.parametrize(
    ("poverty", "sentences"),
    [
        ("", []),
        ("isolation._call_landlock = none", [f"{READS}: OSError: [Errno 38] Function not implemented"]),
        (
            "platform.machine = lambda: 'riscv64'",
            [f"{PRIVILEGED}: KeyError: 'riscv64'", f"{CALLS_ALL}: KeyError: 'riscv64'"],
        ),
        ("isolation._filter_calls = lambda: None", [IGNORED]),
        ("sys.platform = 'plan9'", ["models were scored without a sandbox, which plan9 does not offer"]),
    ],
)
def test_what_a_system_does_not_offer_is_said(poverty: str, sentences: list[str]) -> None:
    program = POOR.format(poverty=poverty)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert json.loads(done.stdout) == sentences


@needs_sandbox
def test_the_node_hears_what_the_sandbox_lacks_once() -> None:
    from tests.scorer.sandbox import (
        poor,  # not above: the keepers of the other tests import this module, and they are not poor
    )

    with WorkerPool(2, scoring=poor.scoring) as two:
        ended = list(two.score_items(map(item, "abcd")))

        assert two.warnings == (f"{READS}: OSError: [Errno 38] Function not implemented",)
    assert [one.result.reason for one in ended] == [None] * 4


ALLOW, KILL, EPERM, ENOSYS = "allow", "kill", "EPERM", "ENOSYS"
ARCHES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003}


def filtered(machine: str, arch: str, number: int, *arguments: int) -> str:
    """What the filter for *machine* and process 77 does with a call: the kernel's interpreter, as far as we need it."""
    data = struct.pack("=IIQ6Q", number, ARCHES[arch], 0, *arguments, *[0] * (6 - len(arguments)))
    code = list(struct.iter_unpack("=HBBI", seccomp.build_program(machine, 77)))
    accumulator = at = 0
    while True:
        operation, true, false, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, constant)
            case 0x54:
                accumulator &= constant
            case 0x15:
                at += true if accumulator == constant else false
            case 0x35:
                at += true if accumulator >= constant else false
            case 0x06:
                errors = {0x50000 | errno.EPERM: EPERM, 0x50000 | errno.ENOSYS: ENOSYS}
                return {0x7FFF0000: ALLOW, 0x80000000: KILL, **errors}[constant]


@pytest.mark.parametrize(
    ("machine", "arch", "call", "result"),
    [
        ("x86_64", "x86_64", (0,), ALLOW),  # read
        ("x86_64", "x86_64", (41, 2, 1), EPERM),  # socket
        ("x86_64", "x86_64", (53,), EPERM),  # socketpair
        ("x86_64", "x86_64", (57,), EPERM),  # fork
        ("x86_64", "x86_64", (58,), EPERM),  # vfork
        ("x86_64", "x86_64", (59,), EPERM),  # execve
        ("x86_64", "x86_64", (2,), EPERM),  # open; openat is watched
        ("x86_64", "x86_64", (56, 0x3D0F00), ALLOW),  # clone, as for a thread
        ("x86_64", "x86_64", (56, 0x1200011), EPERM),  # clone, as for a process
        ("x86_64", "x86_64", (56, 0x3D0F00 | 0x10000000), EPERM),  # a thread in a user namespace of its own
        ("x86_64", "x86_64", (62, 77, 9), ALLOW),  # kill itself
        ("x86_64", "x86_64", (62, 78, 9), EPERM),
        ("x86_64", "x86_64", (62, 2**64 - 1, 9), EPERM),  # all
        ("x86_64", "x86_64", (234, 77, 78, 9), ALLOW),  # tgkill
        ("x86_64", "x86_64", (234, 78, 78, 9), EPERM),
        ("x86_64", "x86_64", (257, 0, 0, 0o2000000), ALLOW),  # openat to read
        ("x86_64", "x86_64", (257, 0, 0, 0o2000001), EPERM),
        ("x86_64", "x86_64", (257, 0, 0, 0o2), EPERM),
        ("x86_64", "x86_64", (257, 0, 0, 0o100), EPERM),
        ("x86_64", "x86_64", (72, 3, 3), ALLOW),  # F_GETFL
        ("x86_64", "x86_64", (72, 3, 8), EPERM),  # F_SETOWN
        ("x86_64", "x86_64", (72, 3, 10), EPERM),  # F_SETSIG
        ("x86_64", "x86_64", (302, 0), ALLOW),  # prlimit64 of itself
        ("x86_64", "x86_64", (302, 78), EPERM),
        ("x86_64", "x86_64", (157,), EPERM),  # prctl
        ("x86_64", "x86_64", (425,), ENOSYS),  # io_uring_setup
        ("x86_64", "x86_64", (435,), ENOSYS),  # clone3
        ("x86_64", "x86_64", (437,), ENOSYS),  # openat2
        ("x86_64", "x86_64", (0x40000000 | 41,), ENOSYS),  # socket by its x32 number
        ("x86_64", "x86_64", (0x40000000,), ENOSYS),
        ("x86_64", "i386", (359,), KILL),  # socket by its 32-bit number
        ("x86_64", "aarch64", (63,), KILL),
        ("aarch64", "aarch64", (63,), ALLOW),  # read
        ("aarch64", "aarch64", (198,), EPERM),  # socket
        ("aarch64", "aarch64", (199,), EPERM),  # socketpair
        ("aarch64", "aarch64", (220, 0x3D0F00), ALLOW),  # clone, as for a thread
        ("aarch64", "aarch64", (220, 17), EPERM),
        ("aarch64", "aarch64", (221,), EPERM),  # execve
        ("aarch64", "aarch64", (129, 77), ALLOW),  # kill itself
        ("aarch64", "aarch64", (129, 78), EPERM),
        ("aarch64", "aarch64", (56, 0, 0, 0), ALLOW),  # openat to read
        ("aarch64", "aarch64", (56, 0, 0, 1), EPERM),
        ("aarch64", "aarch64", (41,), EPERM),  # pivot_root
        ("aarch64", "x86_64", (0,), KILL),
    ],
)
def test_the_filter_decides(machine: str, arch: str, call: tuple[int, ...], result: str) -> None:
    assert filtered(machine, arch, *call) == result


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_call_that_is_not_on_the_list_is_refused(machine: str) -> None:
    column = ("x86_64", "aarch64").index(machine)
    allowed = {numbers[column] for numbers in seccomp.ALLOWED.values()}

    for number in range(600):
        result = filtered(machine, machine, number)
        assert result == ENOSYS if number >= 424 else result in ((ALLOW, EPERM) if number in allowed else (EPERM,))
    assert not allowed & {numbers[column] for numbers in CALLS.values()}
