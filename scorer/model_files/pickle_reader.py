"""Reads a pickle without running it: an interpreter of its opcodes that knows no callable at all.

Python's own unpickler calls what a file names, and even with harmless stubs it hashes whatever a file uses as a key:
tuples nested a million deep end the process, tuples that hold each other twice over keep it busy for ever. Here a
name becomes a token, a call becomes a Blueprint, and keys are text or small integers. What older loaders would read
and scikit-learn never writes (text opcodes of protocol 0, sets, references to outside) is an error.

joblib's files are pickles in which the bytes of an array follow the object that announces it; they are read here too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from scorer.errors import Unscorable
from shared.contract.domain import Reason

from . import parsed, pickle_globals
from .parsed import Blueprint

STEPS = 2_000_000  # opcodes of a file: a forest of 100 trees has 20,000; each makes 100 bytes at the most
_SMALL = 2**31  # integers beyond could be chosen to fall into one slot of a dict

_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from
_U64 = struct.Struct("<Q").unpack_from
_F64 = struct.Struct(">d").unpack_from


def read(data: bytes) -> Any:
    """The object of a pickle (protocol 2 to 5) or of an uncompressed joblib file, as inert values.

    Raises Unscorable (UNTRUSTED_MODEL, TOO_LARGE), or LookupError, ValueError and such for a broken file.
    """
    return _read(data, 0, repeat(None, STEPS), nested=False)[0]


def _read(data: bytes, at: int, steps: Iterator[None], *, nested: bool) -> tuple[Any, int]:  # noqa: C901, PLR0912, PLR0915  # one loop, a case for each opcode; the frequent ones first
    """The object of the pickle that begins at *at*, and where it ends."""
    stack: list[Any] = []
    below: list[list[Any]] = []  # the stacks under each mark
    memo: dict[int, Any] = {}
    for _ in steps:
        code = data[at]
        at += 1
        match code:
            case 0x94:  # MEMOIZE
                memo[len(memo)] = stack[-1]
            case 0x71:  # BINPUT
                memo[data[at]] = stack[-1]
                at += 1
            case 0x68:  # BINGET
                stack.append(memo[data[at]])
                at += 1
            case 0x8C:  # SHORT_BINUNICODE
                start = at + 1
                at = start + data[at]
                stack.append(str(data[start:at], "utf-8"))
            case 0x4B:  # BININT1
                stack.append(data[at])
                at += 1
            case 0x58:  # BINUNICODE
                start = at + 4
                at = start + _U32(data, at)[0]
                stack.append(str(data[start:at], "utf-8", "surrogatepass"))
            case 0x85:  # TUPLE1
                stack[-1] = (stack[-1],)
            case 0x28:  # MARK
                below.append(stack)
                stack = []
            case 0x89:  # NEWFALSE
                stack.append(False)
            case 0x52:  # REDUCE
                args = stack.pop()
                stack[-1] = value = pickle_globals.call(stack[-1], args, steps)
                if type(value) is pickle_globals.Pending:
                    value.memo = _put(data, at, memo)
            case 0x62:  # BUILD
                state = stack.pop()
                target = stack[-1]
                if type(target) is Blueprint:
                    _update(target, state, steps)
                elif type(target) is pickle_globals.Pending and target.name == pickle_globals.WRAPPER:
                    stack[-1], at = _joblib_array(data, at, state, steps, nested=nested)
                else:
                    stack[-1] = pickle_globals.built(target, state, steps)
                    if target.memo in memo:
                        memo[target.memo] = stack[-1]
            case 0x87:  # TUPLE3
                last, middle = stack.pop(), stack.pop()
                stack[-1] = (stack[-1], middle, last)
            case 0x74:  # TUPLE
                items = tuple(stack)
                stack = below.pop()
                stack.append(items)
            case 0x86:  # TUPLE2
                last = stack.pop()
                stack[-1] = (stack[-1], last)
            case 0x4E:  # NONE
                stack.append(None)
            case 0x42:  # BINBYTES
                start = at + 4
                at = start + _U32(data, at)[0]
                stack.append(data[start:at])
            case 0x43:  # SHORT_BINBYTES
                start = at + 1
                at = start + data[at]
                stack.append(data[start:at])
            case 0x96 | 0x8E:  # BYTEARRAY8, BINBYTES8
                start = at + 8
                at = start + _U64(data, at)[0]
                stack.append(data[start:at])
            case 0x93:  # STACK_GLOBAL
                name = stack.pop()
                stack[-1] = pickle_globals.named(stack[-1], name)
            case 0x63:  # GLOBAL
                module, name, at = _two_lines(data, at)
                stack.append(pickle_globals.named(module, name))
            case 0x81:  # NEWOBJ
                args = stack.pop()
                stack[-1] = pickle_globals.call(stack[-1], args, steps)
            case 0x88:  # NEWTRUE
                stack.append(True)
            case 0x7D:  # EMPTY_DICT
                stack.append({})
            case 0x5D:  # EMPTY_LIST
                stack.append([])
            case 0x29:  # EMPTY_TUPLE
                stack.append(())
            case 0x75:  # SETITEMS
                items_of_dict, stack = stack, below.pop()
                _set(stack[-1], items_of_dict)
            case 0x73:  # SETITEM
                last, middle = stack.pop(), stack.pop()
                _set(stack[-1], [middle, last])
            case 0x65:  # APPENDS
                more, stack = stack, below.pop()
                _extend(stack[-1], more)
            case 0x61:  # APPEND
                last = stack.pop()
                _extend(stack[-1], [last])
            case 0x47:  # BINFLOAT
                stack.append(_F64(data, at)[0])
                at += 8
            case 0x4A:  # BININT
                stack.append(_I32(data, at)[0])
                at += 4
            case 0x4D:  # BININT2
                stack.append(_U16(data, at)[0])
                at += 2
            case 0x8A:  # LONG1
                start = at + 1
                at = start + data[at]
                stack.append(int.from_bytes(data[start:at], "little", signed=True))
            case 0x72:  # LONG_BINPUT
                memo[_U32(data, at)[0]] = stack[-1]
                at += 4
            case 0x6A:  # LONG_BINGET
                stack.append(memo[_U32(data, at)[0]])
                at += 4
            case 0x95:  # FRAME: how many bytes belong together; of use to streams only
                at += 8
            case 0x80:  # PROTO
                at += 1
            case 0x2E:  # STOP
                return stack.pop(), at
            case 0x30:  # POP
                stack.pop()
            case 0x31:  # POP_MARK
                stack = below.pop()
            case 0x69:  # INST: never read, but what it names is told
                module, name, at = _two_lines(data, at)
                pickle_globals.named(module, name)
                raise ValueError("an opcode that no estimator needs: INST")
            case _:
                raise ValueError(f"an opcode that no estimator needs: 0x{code:02x}")
    raise Unscorable(Reason.TOO_LARGE, f"expected a pickle of at most {STEPS} steps, got more")


def _two_lines(data: bytes, at: int) -> tuple[str, str, int]:
    middle = data.index(b"\n", at)
    end = data.index(b"\n", middle + 1)
    return str(data[at:middle], "utf-8"), str(data[middle + 1 : end], "utf-8"), end + 1


def _put(data: bytes, at: int, memo: dict[int, Any]) -> int:
    """The number under which the file's next opcode remembers the top of the stack; -1 where it does not."""
    match data[at]:
        case 0x94:
            return len(memo)
        case 0x71:
            return data[at + 1]
        case 0x72:
            number: int = _U32(data, at + 1)[0]
            return number
    return -1


def _update(target: Blueprint, state: Any, steps: Iterator[None]) -> None:
    if type(state) is not dict:
        state = {"__state__": state}
    pickle_globals.charge(steps, len(state))
    target.state.update(state)


def _joblib_array(data: bytes, at: int, state: Any, steps: Iterator[None], *, nested: bool) -> tuple[Any, int]:
    """The array that follows in joblib's file, and where it ends."""
    if nested:
        raise ValueError("an array of joblib's inside an array of objects")
    kind = state["dtype"]
    if kind.hasobject:
        return _read(data, at, steps, nested=True)
    if state.get("numpy_array_alignment_bytes") is not None:
        at += 1 + data[at]
    end = at + parsed.length(kind, state["shape"])
    return parsed.array(data[at:end], kind, state["shape"], state["order"]), end


def _set(target: Any, items: list[Any]) -> None:
    """Put keys and values, in turn, into a dict."""
    if type(target) is not dict or len(items) % 2:
        raise ValueError("keys and values for something that is no dict")
    keys = items[::2]
    for key in keys:
        if type(key) is not str and not (isinstance(key, int) and -_SMALL < key < _SMALL):
            raise ValueError(f"expected text or a small number as a key, got a {type(key).__name__}")
    target.update(zip(keys, items[1::2], strict=True))


def _extend(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise ValueError("items for something that is no list")
    target.extend(items)
