"""What stands for the names, calls and arrays of a pickle while it is read. Nothing here can be called by a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from scorer.errors import Unscorable
from shared.contract.domain import Reason

from . import allowlist, parsed
from .parsed import Blueprint

WRAPPER = "joblib.NumpyArrayWrapper"  # announces an array in joblib's files
_DTYPE = "numpy.dtype"
_LONGEST_STATE = 12  # of an array or a type of arrays


@dataclass(frozen=True, slots=True)
class Global:
    """What the file gets for a name: nothing that could be called."""

    name: str


@dataclass(slots=True)
class Pending:
    """An array or a type of arrays that was announced; BUILD will say what it is."""

    name: str
    args: tuple[Any, ...]
    memo: int = -1  # where the file will look for it again


def _globals() -> dict[tuple[str, str], Global]:
    """Every name on the allow-list, where it is and where older versions had it."""
    named = {
        *allowlist.CLASSES,
        *allowlist.FUNCTIONS,
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("_codecs", "encode"),
        ("__builtin__", "bytes"),
    }
    known = {(module, name): Global(f"{module}.{name}") for module, name in named}
    for old, new in allowlist.MOVED.items():
        known |= {(old, name): known[module, name] for module, name in named if module == new}
    return known | {("joblib.numpy_pickle", "NumpyArrayWrapper"): Global(WRAPPER)}


_GLOBALS = _globals()


def named(module: Any, name: Any) -> Global:
    """What the file gets for a global that it names. Raises Unscorable, ValueError."""
    try:
        return _GLOBALS[_text(module), _text(name)]
    except KeyError:
        said = f"{module}.{name}"[:200]
        raise Unscorable(Reason.UNTRUSTED_MODEL, f"the pickle names {said}, which is not on the allow-list") from None


def charge(steps: Iterator[None], count: int) -> None:
    """Count as *count* steps what a single opcode makes of long things that the file may name again and again."""
    next(islice(steps, count, count), None)


def _text(value: Any) -> str:
    """The value, which is text. Anything else is not even hashed or shown: the file would decide how long it takes."""
    if type(value) is not str:
        raise ValueError("expected text, got something else")
    return value


def call(named: Any, args: Any, steps: Iterator[None]) -> Any:
    """What stands for a call, or for a new object."""
    if type(named) is not Global or type(args) is not tuple:
        raise ValueError("a call of something that is no class and no function")
    match named.name:
        case "numpy.dtype" | "numpy._core.multiarray._reconstruct" | "joblib.NumpyArrayWrapper":
            return Pending(named.name, args)
        case "numpy._core.numeric._frombuffer":
            content, kind, shape, order = args
            return parsed.array(content, kind, shape, order)
        case "numpy._core.multiarray.scalar":
            kind, content = args
            if kind.kind not in "biuf":
                raise ValueError(f"expected a number, got one of {kind.kind!r}")
            return parsed.array(content, kind, (), "C").item()
        case "_codecs.encode":  # how protocol 2 spells bytes
            text = _text(args[0])
            charge(steps, len(text) // 64)
            return text.encode("latin-1")
        case "__builtin__.bytes":
            return b""
        case "numpy.ndarray":
            raise ValueError("a call of numpy.ndarray itself")
    return Blueprint(named.name, {"__args__": args})


def built(pending: Any, state: Any, steps: Iterator[None]) -> Any:
    """The type or the array that was announced."""
    if type(pending) is not Pending or type(state) is not tuple or len(state) > _LONGEST_STATE:
        raise ValueError("a state for something that takes none")
    if pending.name == _DTYPE:
        _, order, inner, names, fields, size, *_ = state
        if inner is not None:
            raise ValueError("expected items that are numbers, got items that are arrays")
        if not names:
            return parsed.dtype(_text(pending.args[0]), _text(order))
        charge(steps, 50)
        return parsed.record([_text(name) for name in names[: parsed.FIELDS + 1]], fields, size)
    _, shape, kind, fortran, content = state
    if kind.hasobject:
        if type(content) is not list:
            raise ValueError("expected the objects of an array as a list")
        return content
    return parsed.array(content, kind, shape, "F" if fortran else "C")
