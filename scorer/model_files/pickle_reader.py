"""Reads a pickle without running it: an interpreter of its opcodes that has no callables.

Python's own unpickler calls the globals that a file names, and even with harmless stubs it hashes whatever a file uses
as a key: tuples nested a million deep end the process, tuples that hold each other twice over keep it busy for ever.
Here a global becomes a token, a call becomes a ParsedObject, and keys are text or small integers. Opcodes that
scikit-learn never writes (text opcodes of protocol 0, sets, external references) are errors.

joblib's files are pickles in which the bytes of an array follow the object that announces it; they are read too.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import repeat
from typing import Any

from scorer.errors import Unscorable
from shared.contract.reasons import Reason

from . import parsed, pickle_globals
from .parsed import ParsedObject

PROTOCOL = 5  # the highest one that exists
STEPS = 2_000_000  # opcodes of a file: a forest of 100 trees has 20,000; each makes at most 100 bytes
_SMALL = 2**31  # larger integers could be chosen to fall into one slot of a dict

_U16 = struct.Struct("<H").unpack_from
_U32 = struct.Struct("<I").unpack_from
_I32 = struct.Struct("<i").unpack_from
_U64 = struct.Struct("<Q").unpack_from
_F64 = struct.Struct(">d").unpack_from


def read_pickle(data: bytes, foreign: list[str]) -> Any:
    """The object of a pickle (protocol 2 to 5) or of an uncompressed joblib file, as inert values.

    Names of known libraries that are not on the allow-list are added to *foreign*.
    Raises Unscorable (UNTRUSTED_MODEL, TOO_LARGE), or LookupError, ValueError and such for a broken file.
    """
    return _read_object(data, 0, repeat(None, STEPS), foreign, nested=False)[0]


def _read_object(  # noqa: C901, PLR0912, PLR0915  # one loop, a case for each opcode; the frequent ones first
    data: bytes, position: int, steps: Iterator[None], foreign: list[str], *, nested: bool
) -> tuple[Any, int]:
    """The object of the pickle that begins at *position*, and where it ends."""
    stack: list[Any] = []
    outer_stacks: list[list[Any]] = []  # the stacks below each mark
    memo: dict[int, Any] = {}
    view = memoryview(data)
    for _ in steps:
        code = data[position]
        position += 1
        match code:
            case 0x68:  # BINGET
                stack.append(memo[data[position]])
                position += 1
            case 0x94:  # MEMOIZE
                memo[len(memo)] = stack[-1]
            case 0x4B:  # BININT1
                stack.append(data[position])
                position += 1
            case 0x71:  # BINPUT
                memo[data[position]] = stack[-1]
                position += 1
            case 0x28:  # MARK
                outer_stacks.append(stack)
                stack = []
            case 0x8C:  # SHORT_BINUNICODE
                start = position + 1
                position = start + data[position]
                stack.append(str(data[start:position], "utf-8"))
            case 0x52:  # REDUCE
                args = stack.pop()
                stack[-1] = value = pickle_globals.make_call(stack[-1], args, steps)
                if type(value) is pickle_globals.PendingArray:
                    value.memo = _find_memo_number(data, position, memo)
            case 0x47:  # BINFLOAT
                stack.append(_F64(data, position)[0])
                position += 8
            case 0x4E:  # NONE
                stack.append(None)
            case 0x74:  # TUPLE
                items = tuple(stack)
                stack = outer_stacks.pop()
                stack.append(items)
            case 0x96 | 0x8E:  # BYTEARRAY8, BINBYTES8
                start = position + 8
                position = start + _U64(data, position)[0]
                stack.append(data[start:position])
            case 0x62:  # BUILD
                state = stack.pop()
                target = stack[-1]
                if type(target) is ParsedObject:
                    _update_state(target, state, steps)
                elif type(target) is pickle_globals.PendingArray and target.name == pickle_globals.WRAPPER:
                    stack[-1], position = _read_joblib_array(data, position, state, steps, foreign, nested=nested)
                else:
                    stack[-1] = pickle_globals.build_array(target, state, steps)
                    if target.memo in memo:
                        memo[target.memo] = stack[-1]
            case 0x87:  # TUPLE3
                last, middle = stack.pop(), stack.pop()
                stack[-1] = (stack[-1], middle, last)
            case 0x85:  # TUPLE1
                stack[-1] = (stack[-1],)
            case 0x7D:  # EMPTY_DICT
                stack.append({})
            case 0x75:  # SETITEMS
                items_of_dict, stack = stack, outer_stacks.pop()
                _set_items(stack[-1], items_of_dict)
            case 0x81:  # NEWOBJ
                args = stack.pop()
                stack[-1] = pickle_globals.make_call(stack[-1], args, steps)
            case 0x29:  # EMPTY_TUPLE
                stack.append(())
            case 0x86:  # TUPLE2
                last = stack.pop()
                stack[-1] = (stack[-1], last)
            case 0x58:  # BINUNICODE
                start = position + 4
                position = start + _U32(data, position)[0]
                stack.append(str(view[start:position], "utf-8", "surrogatepass"))  # may be a booster of megabytes
            case 0x89:  # NEWFALSE
                stack.append(False)
            case 0x42:  # BINBYTES
                start = position + 4
                position = start + _U32(data, position)[0]
                stack.append(data[start:position])
            case 0x43:  # SHORT_BINBYTES
                start = position + 1
                position = start + data[position]
                stack.append(data[start:position])
            case 0x93:  # STACK_GLOBAL
                name = stack.pop()
                stack[-1] = pickle_globals.find_global(stack[-1], name, foreign)
            case 0x63:  # GLOBAL
                module, name, position = _read_two_lines(data, position)
                stack.append(pickle_globals.find_global(module, name, foreign))
            case 0x88:  # NEWTRUE
                stack.append(True)
            case 0x5D:  # EMPTY_LIST
                stack.append([])
            case 0x73:  # SETITEM
                last, middle = stack.pop(), stack.pop()
                _set_items(stack[-1], [middle, last])
            case 0x65:  # APPENDS
                more, stack = stack, outer_stacks.pop()
                _extend_list(stack[-1], more)
            case 0x61:  # APPEND
                last = stack.pop()
                _extend_list(stack[-1], [last])
            case 0x4A:  # BININT
                stack.append(_I32(data, position)[0])
                position += 4
            case 0x4D:  # BININT2
                stack.append(_U16(data, position)[0])
                position += 2
            case 0x8A:  # LONG1
                start = position + 1
                position = start + data[position]
                stack.append(int.from_bytes(data[start:position], "little", signed=True))
            case 0x72:  # LONG_BINPUT
                memo[_U32(data, position)[0]] = stack[-1]
                position += 4
            case 0x6A:  # LONG_BINGET
                stack.append(memo[_U32(data, position)[0]])
                position += 4
            case 0x95:  # FRAME: how many bytes belong together; of use to streams only
                position += 8
            case 0x80:  # PROTO
                if data[position] > PROTOCOL:
                    raise ValueError(f"expected a pickle of protocol 2 to {PROTOCOL}, got {data[position]}")
                position += 1
            case 0x2E:  # STOP
                return stack.pop(), position
            case 0x30:  # POP
                stack.pop()
            case 0x31:  # POP_MARK
                stack = outer_stacks.pop()
            case 0x69:  # INST: not supported, but an untrusted global is named first
                module, name, position = _read_two_lines(data, position)
                pickle_globals.find_global(module, name, foreign)
                raise ValueError("expected opcodes that estimators need, got INST")
            case _:
                raise ValueError(f"expected opcodes that estimators need, got 0x{code:02x}")
    raise Unscorable(Reason.TOO_LARGE, f"expected a pickle of at most {STEPS} steps, got more")


def _read_two_lines(data: bytes, position: int) -> tuple[str, str, int]:
    middle = data.index(b"\n", position)
    end = data.index(b"\n", middle + 1)
    return str(data[position:middle], "utf-8"), str(data[middle + 1 : end], "utf-8"), end + 1


def _find_memo_number(data: bytes, position: int, memo: dict[int, Any]) -> int:
    """The memo number that the file's next opcode gives to the top of the stack; -1 if it gives none."""
    match data[position]:
        case 0x94:
            return len(memo)
        case 0x71:
            return data[position + 1]
        case 0x72:
            number: int = _U32(data, position + 1)[0]
            return number
    return -1


def _update_state(target: ParsedObject, state: Any, steps: Iterator[None]) -> None:
    if type(state) is not dict:
        state = {"__state__": state}
    pickle_globals.charge_steps(steps, len(state))
    target.state.update(state)


def _read_joblib_array(
    data: bytes, position: int, state: Any, steps: Iterator[None], foreign: list[str], *, nested: bool
) -> tuple[Any, int]:
    """The array that follows in joblib's file, and where it ends."""
    if nested:
        raise ValueError("a joblib array inside an array of objects")
    kind = state["dtype"]
    if kind.hasobject:
        array, end = _read_object(data, position, steps, foreign, nested=True)
        return array, end
    if state.get("numpy_array_alignment_bytes") is not None:
        position += 1 + data[position]
    end = position + parsed.count_bytes(kind, state["shape"])
    return parsed.make_array(data[position:end], kind, state["shape"], state["order"]), end


def _set_items(target: Any, items: list[Any]) -> None:
    """Put alternating keys and values into a dict, or into an object of a class of dicts, which keeps them apart."""
    if type(target) is ParsedObject:
        target = target.state.setdefault("__items__", {})
    if type(target) is not dict or len(items) % 2:
        raise ValueError("keys and values for an object that is not a dict")
    keys = items[::2]
    for key in keys:
        is_whole = isinstance(key, int) or (type(key) is float and key.is_integer())  # a class may be 1.0
        if type(key) is not str and not (is_whole and -_SMALL < key < _SMALL):
            raise ValueError(f"expected text or a small number as a key, got a {type(key).__name__}")
    target.update(zip(keys, items[1::2], strict=True))


def _extend_list(target: Any, items: list[Any]) -> None:
    if type(target) is not list:
        raise ValueError("items for an object that is not a list")
    target.extend(items)
