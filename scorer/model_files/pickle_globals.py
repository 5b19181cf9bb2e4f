"""Tokens for the globals, calls and arrays of a pickle while it is read. A file can call none of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from . import allowlist, parsed
from .parsed import Global, ObjectArray, ParsedObject

WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"  # announces an array in joblib's files
_DTYPE = "numpy.dtype"
_LONGEST_STATE = 12  # of an array or a type of arrays


@dataclass(slots=True)
class PendingArray:
    """An array or a type of arrays that was announced; BUILD will describe it."""

    name: str
    args: tuple[Any, ...]
    memo: int = -1  # the memo number under which the file finds it again


def _list_globals() -> dict[tuple[str, str], Global]:
    """Every name of the allow-list, under its module's name of today and of older versions."""
    table = {tuple(name.rsplit(".", 1)): Global(name) for name in allowlist.USES}
    old_names = [
        ((old, name), token)
        for old, new in allowlist.MOVED.items()
        for (module, name), token in table.items()
        if module == new
    ]
    return {(module, name): token for (module, name), token in [*table.items(), *old_names]}


_GLOBALS = _list_globals()


def find_global(module: Any, name: Any, foreign: list[str]) -> Global:
    """The token that a file gets for a name. One of a known library that is not on the list is added to *foreign* too.

    Raises Unscorable, ValueError.
    """
    token = _GLOBALS.get((_check_text(module), _check_text(name)))
    if token is not None:
        return token
    full_name = f"{module}.{name}"[:200]
    if not allowlist.is_foreign(module, name):
        raise Unscorable(Reason.UNTRUSTED_MODEL, f"the pickle names {full_name}, which is not on the allow-list")
    foreign.append(full_name)
    return Global(full_name)


def charge_steps(steps: Iterator[None], count: int) -> None:
    """Count *count* steps for one opcode whose time depends on long values that a file may use again and again."""
    next(islice(steps, count, count), None)


def _check_text(value: Any) -> str:
    """The value if it is text. Anything else is neither hashed nor shown: the file would decide how long that takes."""
    if type(value) is not str:
        raise ValueError("expected text, got something else")
    return value


def make_call(function: Any, args: Any, steps: Iterator[None]) -> Any:  # noqa: C901  # a case for each call
    """The token for the result of a call, or for a new object."""
    if type(function) is not Global or type(args) is not tuple:
        raise ValueError("expected a call of a class or a function")
    match function.name:
        case "numpy.dtype" | "numpy._core.multiarray._reconstruct" | "joblib.numpy_pickle.NumpyArrayWrapper":
            return PendingArray(function.name, args)
        case "numpy._core.numeric._frombuffer":
            content, kind, shape, order = args
            return parsed.make_array(content, kind, shape, order)
        case "numpy._core.multiarray.scalar":
            kind, content = args
            if kind.kind not in "biufU":
                raise ValueError(f"expected a number or text, got one of {kind.kind!r}")
            return parsed.make_array(content, kind, (), "C").item()
        case "_codecs.encode":  # the form of bytes in protocol 2
            text = _check_text(args[0])
            charge_steps(steps, len(text) // 64)
            return text.encode("latin-1")
        case "builtins.bytes":
            return b""
        case "numpy._core._ufunc_reconstruct":
            module, name = args
            return find_global(module, name, [])
        case "functools.partial" if args != (Global(allowlist.PARTIAL),):  # the rest of it follows as its state
            raise Unscorable(Reason.UNTRUSTED_MODEL, "the pickle binds arguments to a function not on the allow-list")
        case "numpy.ndarray":
            raise ValueError("a call of numpy.ndarray itself")
    return ParsedObject(function.name, {"__args__": args})


def build_array(announced: Any, state: Any, steps: Iterator[None]) -> Any:
    """The type or the array that was announced, from its state."""
    if type(announced) is not PendingArray or type(state) is not tuple or len(state) > _LONGEST_STATE:
        raise ValueError("a state for an object that takes none")
    if announced.name == _DTYPE:
        _, order, inner, names, fields, size, *_ = state
        if inner is not None:
            raise ValueError("expected items that are numbers, got items that are arrays")
        if not names:
            return parsed.make_dtype(_check_text(announced.args[0]), _check_text(order))
        charge_steps(steps, 50)
        return parsed.make_record_dtype([_check_text(name) for name in names[: parsed.FIELDS + 1]], fields, size)
    _, shape, kind, fortran, content = state
    if kind.hasobject:
        if type(content) is not list:
            raise ValueError("expected the objects of an array as a list")
        return ObjectArray(content, shape)
    return parsed.make_array(content, kind, shape, "F" if fortran else "C")
