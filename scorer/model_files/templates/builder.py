"""Makes a template of a part of a pickle that the reader has read: the same opcodes, run over values with holes.

A hole stands where a value comes from the file of the day. It may become an item of a container, the size or the bytes
of an array, and nothing else: where an opcode would look into it, there is no template. So all that the reader decides
is decided by fixed bytes. Containers of the template are its own; a part that changes one of the file before it has no
template, nor has one whose value holds itself.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import repeat
from operator import length_hint
from types import NoneType
from typing import Any

import numpy as np

from scorer.errors import Unscorable
from scorer.model_files import parsed, pickle_globals
from scorer.model_files.parsed import Global, ObjectArray, ParsedObject
from scorer.model_files.pickle_globals import PendingArray

from .compiler import compile_value, make_shape
from .symbols import FIXED, Hole, Irregular, LateArray, Reference, find_leaf, is_constant
from .template import BYTES, END, FLOAT, FRAME, INTEGER, PADDED, RAW, Built, Part, Template

_BROKEN = (LookupError, RecursionError, TypeError, ValueError, AttributeError, OverflowError, struct.error)
_LONG = 32  # bytes of an array; longer ones are always holes
_STEPS = 2**20  # more than a part has
_FROM_BUFFER, _SCALAR = "numpy._core.numeric._frombuffer", "numpy._core.multiarray.scalar"
_DTYPE = "numpy.dtype"


def build_template(
    data: bytes, part: Part, memo: Mapping[int, Any], holes: AbstractSet[int], *, is_whole: bool = False
) -> Built | None:
    """The template of a part of a file that puts one value on the stack; None where it has none.

    *memo*: what the file has numbered. *holes*: the values that are holes, by their number in the part; those of many
    bytes are in any case. *is_whole*: the part is a whole file, whose own numbers are the same in each.
    """
    machine = _Machine(data, part.start, memo, part.n_memo, holes, is_whole)
    try:
        while machine.position < part.end:
            machine.run_opcode()
        if machine.position != part.end or len(machine.stack) != 1 or machine.outer_stacks:
            return None
        actions = compile_value(machine.stack[0], machine.n_values, machine.own)
    except (Irregular, Unscorable, *_BROKEN):
        return None
    machine.end_part()
    template = Template(tuple(machine.holes), actions, machine.count_steps(), len(machine.own_memo))
    return Built(template, machine.skeleton.digest(), tuple(machine.leaves), machine.references)


@dataclass(slots=True)
class _Machine:
    """The reader's loop over values with holes. *own*: the containers that this part has made, by id."""

    data: bytes
    position: int
    memo: Mapping[int, Any]
    n_memo: int
    hole_numbers: AbstractSet[int]
    is_whole: bool
    stack: list[Any] = field(default_factory=list)
    outer_stacks: list[list[Any]] = field(default_factory=list)
    own_memo: dict[int, Any] = field(default_factory=dict)
    own: dict[int, Any] = field(default_factory=dict)
    contents: dict[int, Any] = field(default_factory=dict)  # of holes
    references: dict[int, Any] = field(default_factory=dict)
    leaves: list[bytes] = field(default_factory=list)
    holes: list[tuple[bytes, int, int, Any, tuple[int, ...]]] = field(default_factory=list)
    fixed: list[bytes] = field(default_factory=list)
    boundaries: set[int] = field(default_factory=set)  # where opcodes begin in the fixed bytes
    skeleton: Any = field(default_factory=hashlib.sha256)
    n_values: int = 0
    n_opcodes: int = 0
    charges: Any = field(default_factory=lambda: repeat(None, _STEPS))

    def count_steps(self) -> int:
        """The steps that the reader counts for this part."""
        return self.n_opcodes + _STEPS - length_hint(self.charges)

    def end_part(self) -> None:
        """End the last fixed bytes."""
        self._close_hole(END, None)

    def _close_hole(self, kind: int, item: Any) -> Hole:
        """End the fixed bytes by a hole of this kind."""
        fixed = b"".join(self.fixed)
        self.holes.append((fixed, len(fixed), kind, item, tuple(sorted(self.boundaries))))
        self.fixed.clear()
        self.boundaries.clear()
        hole = Hole(self.n_values, kind)
        self.n_values += kind not in (END, FRAME)
        return hole

    def run_opcode(self) -> None:
        """Run the opcode at the position."""
        self.n_opcodes += 1
        start = self.position
        self.boundaries.add(sum(map(len, self.fixed)))
        kind, self.position, value = find_leaf(self.data, start)
        if kind == FIXED:
            self.position = start
            self._run_fixed(self.data[self._take(1)])
            return
        self.skeleton.update(b"\xff%c" % kind)
        if kind == FRAME:
            self.fixed.append(self.data[start : start + 1])
            self._close_hole(FRAME, None)
            return
        number = len(self.leaves)
        self.leaves.append(self.data[start : self.position])
        if number not in self.hole_numbers and (kind != BYTES or len(value) <= _LONG):
            self.fixed.append(self.data[start : self.position])
            self.stack.append(value)
            return
        if kind == FLOAT:
            self.fixed.append(self.data[start : start + 1])
        hole = self._close_hole(kind, None)
        self.contents[hole.index] = value
        self.stack.append(hole)

    def _take(self, count: int) -> int:
        """Make the next bytes fixed ones; where they are."""
        start, self.position = self.position, self.position + count
        part = self.data[start : self.position]
        self.fixed.append(part)
        self.skeleton.update(part)
        return start

    def _own(self, container: Any) -> Any:
        self.own[id(container)] = container
        return container

    def _get_own(self, container: Any, *kinds: type) -> Any:
        """A container of this part, which alone may be changed or looked into. Raises Irregular."""
        if type(container) not in kinds or id(container) not in self.own:
            raise Irregular
        return container

    def _run_fixed(self, code: int) -> None:  # noqa: C901, PLR0912, PLR0915  # a case for each opcode, as the reader
        stack = self.stack
        match code:
            case 0x68:
                stack.append(self._get_memo(self.data[self._take(1)]))
            case 0x6A:
                stack.append(self._get_memo(int.from_bytes(self._take_bytes(4), "little")))
            case 0x94:
                # The object that the part before this one has made is not this part's to look at.
                self.own_memo[self.n_memo + len(self.own_memo)] = stack[-1] if stack or self.is_whole else None
            case 0x71:
                self._put_memo(self.data[self._take(1)])
            case 0x72:
                self._put_memo(int.from_bytes(self._take_bytes(4), "little"))
            case 0x28:
                self.outer_stacks.append(stack)
                self.stack = []
            case 0x52 | 0x81:
                args = stack.pop()
                stack[-1] = value = self._call(stack[-1], args)
                if code == 0x52 and type(value) is PendingArray:  # noqa: PLR2004  # REDUCE
                    value.memo = self._find_memo_number()
            case 0x4E | 0x89 | 0x88:
                stack.append({0x4E: None, 0x89: False, 0x88: True}[code])
            case 0x74:
                items, self.stack = tuple(stack), self.outer_stacks.pop()
                self.stack.append(items)
            case 0x29 | 0x85 | 0x86 | 0x87:
                count = {0x29: 0, 0x85: 1, 0x86: 2, 0x87: 3}[code]
                if len(stack) < count:
                    raise Irregular
                items = tuple(stack[len(stack) - count :])
                del stack[len(stack) - count :]
                stack.append(items)
            case 0x7D:
                stack.append(self._own({}))
            case 0x5D:
                stack.append(self._own([]))
            case 0x75:
                items_of_dict, self.stack = stack, self.outer_stacks.pop()
                self._set_items(self.stack[-1], items_of_dict)
            case 0x73:
                items_of_dict = [stack.pop(), stack.pop()][::-1]
                self._set_items(stack[-1], items_of_dict)
            case 0x65:
                more, self.stack = stack, self.outer_stacks.pop()
                self._get_own(self.stack[-1], list).extend(more)
            case 0x61:
                last = stack.pop()
                self._get_own(stack[-1], list).append(last)
            case 0x62:
                self._build()
            case 0x93:
                name = stack.pop()
                stack[-1] = self._find_global(stack[-1], name)
            case 0x63:
                module, name = (str(self._take_line(), "utf-8") for _ in range(2))
                stack.append(self._find_global(module, name))
            case 0x80:
                self._take(1)
            case 0x2E:
                pass
            case 0x30:
                stack.pop()
            case _:
                raise Irregular

    def _take_bytes(self, count: int) -> bytes:
        start = self._take(count)
        return self.data[start : start + count]

    def _take_line(self) -> bytes:
        return self._take_bytes(self.data.index(b"\n", self.position) + 1 - self.position)[:-1]

    def _get_memo(self, number: int) -> Any:
        """What the file numbered: before the part, or in it. Its own numbers must be the same in each part."""
        if number < self.n_memo:
            value = self.memo[number]
            if not is_constant(value):
                return Reference(number)
            self.references[number] = value
            return value
        if not self.is_whole:  # another part has other numbers
            raise Irregular
        return self.own_memo[number]

    def _put_memo(self, number: int) -> None:
        if not self.is_whole or number != len(self.own_memo):
            raise Irregular
        self.own_memo[number] = self.stack[-1]

    def _find_memo_number(self) -> int:
        """The number that the next opcode gives to the top of the stack: the next one; -1 if it gives none."""
        is_memoized = self.data[self.position] in (0x94, 0x71, 0x72)
        return self.n_memo + len(self.own_memo) if is_memoized else -1

    def _find_global(self, module: Any, name: Any) -> Global:
        foreign: list[str] = []
        token = pickle_globals.find_global(module, name, foreign)
        if foreign:
            raise Irregular
        return token

    def _call(self, function: Any, args: Any) -> Any:
        """As `pickle_globals.make_call`."""
        if type(function) is not Global or type(args) is not tuple:
            raise Irregular
        if function.name == _FROM_BUFFER:
            content, kind, shape, order = args
            return self._make_array(content, kind, shape, order)
        if function.name == _SCALAR:
            kind, content = args
            if type(content) is not Hole:
                return pickle_globals.make_call(function, args, self.charges)
            if not isinstance(kind, np.dtype) or kind.kind not in "biufU" or content.kind != BYTES:
                raise Irregular
            parsed.count_bytes(kind, ())
            return LateArray(content, kind, (), "C", is_number=True)
        value = pickle_globals.make_call(function, args, self.charges)
        return self._own(value) if type(value) is ParsedObject else value

    def _make_array(self, content: Any, kind: Any, shape: Any, order: Any) -> Any:
        """As `parsed.make_array`, late where its bytes or its shape are in holes."""
        sizes = shape if type(shape) is tuple else (shape,)
        if not isinstance(kind, np.dtype) or type(order) is not str:
            raise Irregular
        varying = [size for size in sizes if type(size) is Hole]
        if type(content) is not Hole:
            if varying:  # as many bytes for another shape
                raise Irregular
            return parsed.make_array(content, kind, shape, order)
        if content.kind not in (BYTES, RAW, PADDED) or any(hole.kind != INTEGER for hole in varying):
            raise Irregular
        parsed.count_bytes(kind, tuple([0 if type(size) is Hole else size for size in sizes]))
        return LateArray(content, kind, sizes, "F" if order == "F" else "C")

    def _build(self) -> None:
        """As the reader's BUILD."""
        state, target = self.stack.pop(), self.stack[-1]
        if type(target) is ParsedObject:
            self._get_own(target, ParsedObject)
            if type(state) is Reference:  # which may be a dict or not
                raise Irregular
            items = self._get_own(state, dict) if type(state) is dict else {"__state__": state}
            pickle_globals.charge_steps(self.charges, len(items))
            target.state.update(items)
        elif type(target) is not PendingArray:
            raise Irregular
        elif target.name == pickle_globals.WRAPPER:
            self.stack[-1] = self._build_joblib_array(self._get_own(state, dict))
        else:
            self.stack[-1] = self._build_array(target, state)
            if target.memo in self.own_memo:
                self.own_memo[target.memo] = self.stack[-1]

    def _build_array(self, target: PendingArray, state: Any) -> Any:
        """As `pickle_globals.build_array`."""
        if type(state) is not tuple or len(state) > pickle_globals.LONGEST_STATE:
            raise Irregular
        if target.name == _DTYPE:
            for part in state:
                if type(part) in (dict, list):
                    self._get_own(part, dict)
            return pickle_globals.build_array(target, state, self.charges)
        _, shape, kind, fortran, content = state
        if not isinstance(kind, np.dtype) or type(fortran) is not bool:
            raise Irregular
        if not kind.hasobject:
            return self._make_array(content, kind, shape, "F" if fortran else "C")
        if type(shape) is not tuple or not all(type(size) is int for size in shape):
            raise Irregular
        return self._own(ObjectArray(self._get_own(content, list), shape))

    def _build_joblib_array(self, state: dict[Any, Any]) -> Any:
        """As `pickle_reader._read_joblib_array`: the bytes follow in the file."""
        kind, shape, alignment = state["dtype"], state["shape"], state.get("numpy_array_alignment_bytes")
        sizes = shape if type(shape) is tuple else (shape,)
        if not isinstance(kind, np.dtype) or kind.hasobject or type(alignment) not in (int, NoneType):
            raise Irregular
        if any(type(size) is not int and (type(size) is not Hole or size.kind != INTEGER) for size in sizes):
            raise Irregular
        self.skeleton.update(b"\xfe")
        late = self._make_array(
            self._close_hole(RAW if alignment is None else PADDED, (make_shape(sizes), kind.itemsize)),
            kind,
            shape,
            state["order"],
        )
        count = parsed.count_bytes(
            kind, tuple([self.contents[size.index] if type(size) is Hole else size for size in sizes])
        )
        self.position += (0 if alignment is None else 1 + self.data[self.position]) + count
        return late

    def _set_items(self, target: Any, items: list[Any]) -> None:
        """As the reader's SETITEMS."""
        if type(target) is ParsedObject:
            state = self._get_own(target, ParsedObject).state
            if "__items__" not in state:
                state["__items__"] = self._own({})
            target = state["__items__"]
        pickle_globals.set_items(self._get_own(target, dict), items)
