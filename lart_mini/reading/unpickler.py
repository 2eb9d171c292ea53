"""An unpickler that runs nothing: builtin containers, and what a list of names may be made of them.

What a pickle names is never looked up. A name on the list stands as a `Name`, and a call of it goes to the
function of ours beside it; everything else is refused. Each opcode is paid for before it is carried out.
"""

from __future__ import annotations

import io
import pickle
import struct
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import IO, Any, ClassVar

import numpy as np

from lart_mini.reading.budget import Budget

SMALL_READ = 1 << 20  # bytes; for more than this a file makes room before it looks whether they are there
LONGEST_KEY = 16  # entries of a tuple that is a key
LARGEST_PROTOCOL = 5
LARGEST_NUMBER = 2048  # bits

# Bytes that an opcode may make of nothing: a pointer and a small number, or what is said here.
COSTS = [40] * 256
for opcodes, cost in (
    ((pickle.MARK, pickle.LIST, pickle.EMPTY_LIST), 120),
    ((pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3), 100),
    ((pickle.MEMOIZE, pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT), 140),
    ((pickle.DICT, pickle.EMPTY_DICT, pickle.EMPTY_SET, pickle.FROZENSET), 260),
    ((pickle.SETITEM, pickle.SETITEMS, pickle.ADDITEMS, pickle.GLOBAL, pickle.STACK_GLOBAL), 140),
    ((pickle.REDUCE, pickle.NEWOBJ, pickle.NEWOBJ_EX, pickle.OBJ, pickle.INST, pickle.BUILD), 300),
    ((pickle.PERSID, pickle.BINPERSID), 300),
):
    for opcode in opcodes:
        COSTS[opcode[0]] = cost

Maker = Callable[["SafeUnpickler", tuple[Any, ...]], Any]  # called with the arguments that the pickle has
FLAT = {str, int, float, bool, bytes, type(None)}


class Refused(Exception):
    """A pickle asks for something that is not on the list. Its text names it."""


@dataclass(frozen=True)
class Name:
    """Stands where a pickle names a class or function."""

    full: str
    maker: Maker | None  # None: it may be named, not called


@dataclass
class PassedOver:
    """Stands where something was that is no plain data, and of which nothing was made."""

    what: str  # as a person would say it: a torch tensor

    def build(self, unpickler: SafeUnpickler, state: Any) -> Any:
        """Nothing comes of its state."""
        return self


@dataclass
class Record(PassedOver):
    """An object without behaviour: the name of its class, and what the pickle says that it holds."""

    arguments: tuple[Any, ...] = ()
    state: Any = None

    def build(self, unpickler: SafeUnpickler, state: Any) -> Any:
        """Keep the state."""
        self.state = state
        return self


class SafeUnpickler(pickle._Unpickler):
    """Unpickles builtin containers; `names` says which names may stand in the pickle and what a call makes.

    A name "chumpy.*" allows all of that package. The pure-Python unpickler, as joblib itself uses, because
    raw array bytes stand between its opcodes. Raises Refused, TooMuch, EOFError where the stream ends too
    early, and whatever a malformed stream leads to.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = dict(pickle._Unpickler.dispatch)
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(self, stream: IO[bytes], budget: Budget, names: Mapping[str, Maker | None]) -> None:
        super().__init__(stream, encoding="latin1")  # Python 2's bytes
        self.stream, self.budget, self.names = stream, budget, names
        self.skipped = False  # is anything passed over
        at = stream.tell()
        self.end = stream.seek(0, io.SEEK_END)
        stream.seek(at)

    def load(self) -> Any:
        """The object that the stream's next pickle holds."""
        # Frames are read through: the stream has a buffer of its own.
        self.read, self.readline = self.bounded_read, self.stream.readline
        self.metastack: list[Any] = []
        self.stack, self.proto = [], 0
        self.append = self.stack.append
        read, budget, dispatch = self.stream.read, self.budget, self.dispatch
        try:
            while True:
                code = read(1)[0]
                budget.size -= COSTS[code]
                if budget.size < 0:
                    budget.take()
                dispatch[code](self)
        except pickle._Stop as stop:  # type: ignore[attr-defined]
            return stop.value
        except (IndexError, struct.error):
            if self.left() <= 0:
                raise EOFError from None
            raise

    def left(self) -> int:
        """Bytes of the stream that have not been read."""
        return self.end - self.stream.tell()

    def bounded_read(self, size: int) -> bytes:
        """The next bytes; raises EOFError where many are asked for that are not there."""
        if size > SMALL_READ and size > self.left():
            raise EOFError
        return self.stream.read(size)

    def find_class(self, module: str, name: str) -> Any:
        """What stands for a name of the list; raises Refused on any other."""
        if self.proto < 3:  # Python 2's spelling
            module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        for known in (full, f"{module.split('.')[0]}.*"):
            if known in self.names:
                return Name(full, self.names[known])
        raise Refused(full)

    def persistent_load(self, pid: Any) -> Any:
        """Objects kept outside the pickle are refused."""
        raise Refused("an object outside the pickle")

    def get_extension(self, code: int) -> Any:
        """So are names by number."""
        raise Refused("a name by number")

    # ------------------------------------------------------------------------------------- calls and states

    def make(self, callee: Any, arguments: Any) -> Any:
        """What comes of a call."""
        if type(callee) is not Name or callee.maker is None:
            raise Refused(f"a call of {callee.full if type(callee) is Name else type(callee).__name__}")
        if type(arguments) not in (tuple, list):
            raise Refused(f"a call with a {type(arguments).__name__} for arguments")
        return callee.maker(self, tuple(arguments))

    def load_reduce(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = self.make(self.stack[-1], arguments)

    def load_newobj_ex(self) -> None:
        if self.stack.pop():
            raise Refused("a call with named arguments")
        self.load_reduce()

    def _instantiate(self, klass: Any, args: Any) -> None:
        self.append(self.make(klass, args))

    def load_build(self) -> None:
        """Give an object its state, by its kind, so that no state can reach anything else."""
        state, target = self.stack.pop(), self.stack[-1]
        self.stack[-1] = self.build(target, state)

    def build(self, target: Any, state: Any) -> Any:
        """What a state makes of an object."""
        if not hasattr(type(target), "build"):
            raise Refused(f"a state for {type(target).__name__}")
        return target.build(self, state)

    # ------------------------------------------------------------------------------------------- containers

    def flat(self, keys: Iterable[Any]) -> None:
        """Keys are numbers, text, or short tuples of these: hashing deeper ones recurses, or never ends."""
        for key in keys:
            kind = type(key)
            if kind in FLAT or issubclass(kind, np.generic):
                continue
            inner = key if kind is tuple and len(key) <= LONGEST_KEY else (key,)
            if inner is not key or not all(type(one) in FLAT for one in key):
                raise Refused(f"a {kind.__name__} as a key")

    def put(self, target: Any, items: list[Any]) -> None:
        """Keys and values into a dict."""
        if type(target) is not dict:
            raise Refused(f"items for {type(target).__name__}")
        self.flat(items[::2])
        self.budget.take(50 * len(items))
        target.update(zip(items[::2], items[1::2], strict=True))

    def load_setitem(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self.put(self.stack[-1], [key, value])

    def load_setitems(self) -> None:
        items = self.pop_mark()
        self.put(self.stack[-1], items)

    def load_dict(self) -> None:
        items, content = self.pop_mark(), dict[Any, Any]()
        self.put(content, items)
        self.append(content)

    def load_append(self) -> None:
        value = self.stack.pop()
        self.extend([value])

    def load_appends(self) -> None:
        self.extend(self.pop_mark())

    def extend(self, values: list[Any]) -> None:
        """Values to the end of a list."""
        if type(self.stack[-1]) is not list:
            raise Refused(f"entries for {type(self.stack[-1]).__name__}")
        self.stack[-1].extend(values)

    def load_additems(self) -> None:
        items = self.pop_mark()
        if type(self.stack[-1]) is not set:
            raise Refused(f"entries for {type(self.stack[-1]).__name__}")
        self.flat(items)
        self.budget.take(100 * len(items))
        self.stack[-1].update(items)

    def load_frozenset(self) -> None:
        items = self.pop_mark()
        self.flat(items)
        self.budget.take(100 * len(items))
        self.append(frozenset(items))

    # --------------------------------------------------------------------------------- numbers, text, bytes

    def text(self, size: int) -> None:
        """Text of `size` bytes in UTF-8, which may take four times as many."""
        self.budget.take(4 * min(size, self.left()))
        self.append(str(self.read(size), "utf-8", "surrogatepass"))

    def load_short_binunicode(self) -> None:
        self.text(self.read(1)[0])

    def load_binunicode(self) -> None:
        self.text(int.from_bytes(self.read(4), "little"))

    def load_binunicode8(self) -> None:
        self.text(int.from_bytes(self.read(8), "little"))

    def load_bytearray8(self) -> None:
        """As bytes: numpy's own protocol 5 has arrays in such; nothing is made before it is there."""
        size = int.from_bytes(self.read(8), "little")
        if size > self.left():
            raise EOFError
        self.append(self.read(size))

    def load_long4(self) -> None:
        raise Refused(f"a whole number of more than {LARGEST_NUMBER} bits")

    def load_int(self) -> None:
        self.number(super().load_int)  # type: ignore[misc]

    def load_long(self) -> None:
        self.number(super().load_long)  # type: ignore[misc]

    def number(self, load: Callable[[], None]) -> None:
        """A number in text, small enough to be printed."""
        load()
        if self.stack[-1].bit_length() > LARGEST_NUMBER:
            raise Refused(f"a whole number of more than {LARGEST_NUMBER} bits")

    def load_unicode(self) -> None:
        line = self.readline()[:-1]
        self.budget.take(4 * len(line))
        self.append(str(line, "raw-unicode-escape"))

    def load_next_buffer(self) -> None:
        raise Refused("an array outside the pickle (protocol 5, out of band)")

    def load_frame(self) -> None:
        self.read(8)

    def load_proto(self) -> None:
        self.proto = self.read(1)[0]
        if self.proto > LARGEST_PROTOCOL:
            raise Refused(f"protocol {self.proto}")

    for opcode, handler in (
        (pickle.REDUCE, load_reduce), (pickle.NEWOBJ, load_reduce), (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.BUILD, load_build), (pickle.SETITEM, load_setitem), (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict), (pickle.APPEND, load_append), (pickle.APPENDS, load_appends),
        (pickle.ADDITEMS, load_additems), (pickle.FROZENSET, load_frozenset), (pickle.FRAME, load_frame),
        (pickle.SHORT_BINUNICODE, load_short_binunicode), (pickle.BINUNICODE, load_binunicode),
        (pickle.BINUNICODE8, load_binunicode8), (pickle.BYTEARRAY8, load_bytearray8),
        (pickle.LONG4, load_long4), (pickle.INT, load_int), (pickle.LONG, load_long),
        (pickle.UNICODE, load_unicode), (pickle.NEXT_BUFFER, load_next_buffer),
        (pickle.READONLY_BUFFER, load_next_buffer), (pickle.PROTO, load_proto),
    ):  # fmt: skip
        dispatch[opcode[0]] = handler
    del opcode, handler
