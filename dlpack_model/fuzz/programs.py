"""Make programs of the exchange that keep its rules, a step at a time, as vectors have them.

One generator serves a seeded random source and Hypothesis: it asks a ``Choices`` for everything it decides. It looks at
the model that has run the steps before, and never writes a step that breaks a rule where the parties keep theirs.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from capsule_model import NULL
from capsule_model.fuzz.programs import Choices
from capsule_model.trace.execute import Machine
from dlpack_model.arguments import shown
from dlpack_model.arrays import Array
from dlpack_model.dtypes import NAMED, dtype_named
from dlpack_model.exchange import NAMES, Exchange, Record
from dlpack_model.exchange_api import CALLER
from dlpack_model.fuzz.behaved import CONSUMERS_IN_WORDS, PRODUCERS_IN_WORDS
from dlpack_model.fuzz.elements import count_of, strides_of, value_of
from dlpack_model.vectors import exchange_of

__all__ = ["Programs", "Step", "giving_back"]

Step = dict[str, Any]

# Of arrays, capsules and tensors, how many a program holds at once.
MOST = 6
SHAPES = ((3,), (2, 3), (), (1,), (0,), (2, 2, 2), (5, 0), (1, 4))
LAYOUTS = ("rows", "rows", "columns", "reversed", "gaps")
DEVICES = ((1, 0), (1, 0), (1, 0), (2, 0), (2, 1), (10, 0), (13, 0))
# Four of the smallest power of two are longer than a word of a vector.
DTYPES = ("int32", *sorted(set(NAMED) - {"int32", "float8_e8m0fnux4"}))
VERSIONS = (None, [1, 3], [1, 0], [0, 8], [2, 0], [1, 9])
STREAMS = {2: (None, 1, 2, 7, -1, 0, -2), 13: (None, 1, 2, 7, -1, 0), 10: (None, 0, 7, -1, 1, 2)}
# The stream on which elements are still being computed.
WORKING = 5
FOREIGN = ("tensor", "used_tensor", "dltensor2", "dltensor_versioned2")
EXCEPTIONS = ("KeyError", "ValueError", "KeyboardInterrupt")

# Who copies reads the elements at once, which they must be ready for.
_COPYING = ("copies-itself", "copies-misaligned")

_KINDS = (
    ("make", 2),
    ("take_in", 4),
    ("take_in_as", 2),
    ("export", 3),
    ("export_as", 2),
    ("consume", 5),
    ("drop_capsule", 3),
    ("drop", 2),
    ("read", 3),
    ("write", 3),
    ("fields", 1),
    ("name", 2),
    ("count", 2),
    ("copied_name", 1),
    ("foreign_name", 1),
    ("ask_device", 1),
    ("work", 1),
    ("own", 1),
    ("delete", 2),
    ("give_in", 1),
)
# The operations that a kind of step cannot do without, besides those that every implementation of the suite has.
_NEEDS = {
    "work": {"dlpack.work_on"},
    "write": {"dlpack.set"},
    "fields": {"dlpack.fields"},
    "own": {"dlpack.api", "managed_tensor_from_py_object_no_sync", "dlpack.call_deleter"},
    "give_in": {"managed_tensor_to_py_object_no_sync"},
}


def _can(kind: str, ops: Collection[str] | None) -> bool:
    return ops is None or _NEEDS.get(kind, set()) <= set(ops)


def giving_back(machine: Machine) -> list[Step]:
    """Return steps that give back the arrays, capsules and tensors that a program owns: none after its interpreter."""
    ex = exchange_of(machine)
    if ex.finalised:
        return []
    steps: list[Step] = []
    for token, address in machine.tokens.address.items():
        record = ex.records.get(address)
        if record is not None and any(claim == (CALLER, address) for claim in record.claims):
            steps.append({"op": "dlpack.call_deleter", "args": {"tensor": {"ref": token}}})
        if address in ex.arrays or address in ex.by_capsule:
            count = machine.owned.get(address, 0)
            steps += [{"op": "Py_DECREF", "args": {"op": {"ref": token}}} for _ in range(count)]
    return steps


class Programs:
    """Write one program, a step at a time, next to the machine that has run the steps before.

    ``arrays``, ``capsules`` and ``tensors`` are the tokens of what the program owns. The machine has to be one whose
    exchange is the model's own. ``ops`` are the operations that may be used (None: all).
    """

    def __init__(self, choices: Choices, ops: Collection[str] | None = None) -> None:
        self.choices = choices
        self.kinds = [f"_{kind}" for kind, weight in _KINDS if _can(kind, ops) for _ in range(weight)]
        self.without_gil = ops is None or {"PyEval_SaveThread", "PyEval_RestoreThread"} <= set(ops)
        self.finalises = ops is None or "Py_FinalizeEx" in ops
        self.arrays: list[str] = []
        self.capsules: list[str] = []
        self.tensors: list[str] = []
        self.tables: dict[str, str] = {}
        self.refused: dict[str, int] = {}
        self.waiting: list[Step] = []
        self.bound = 0

    def next_step(self, machine: Machine) -> Step:
        """Return a step that keeps the rules where the machine stands."""
        if self.waiting:
            return self.waiting.pop(0)
        ex = exchange_of(machine)
        self._forget(machine)
        step: Step | None = getattr(self, self.choices.pick(self.kinds))(machine, ex)
        # Where the kind that was chosen makes no sense, there is always room for an array, or an array to drop.
        step = step or self._make(machine, ex) or self._drop(machine, ex)
        assert step is not None
        return step

    def closing_steps(self, machine: Machine) -> list[Step]:
        """Return what is waiting, and steps that read everything; a few programs end the interpreter and delete then.

        What is still owned after them is given back by ``giving_back``.
        """
        waiting, self.waiting = self.waiting, []
        if waiting:
            return waiting
        ex = exchange_of(machine)
        self._forget(machine)
        steps: list[Step] = [
            {"op": "dlpack.values", "args": {"array": {"ref": token}}} for token in self._settled(machine, ex)
        ]
        return steps + self.finalising_steps() if self.choices.often(0.3) else steps

    def finalising_steps(self) -> list[Step]:
        """Return steps that end the interpreter and then call the deleters of tensors that the program owns, if any."""
        if not self.tensors or not self.finalises:
            return []
        deletes: list[Step] = [{"op": "dlpack.call_deleter", "args": {"tensor": {"ref": t}}} for t in self.tensors]
        self.tensors = []
        return [{"op": "Py_FinalizeEx", "args": {}}, *deletes]

    def _forget(self, machine: Machine) -> None:
        """Keep the tokens of what came of the steps so far, and is still owned."""
        address, owned = machine.tokens.address, machine.owned
        self.arrays = [token for token in self.arrays if owned.get(address.get(token, NULL), 0) > 0]
        self.capsules = [token for token in self.capsules if owned.get(address.get(token, NULL), 0) > 0]
        self.tensors = [token for token in self.tensors if address.get(token, NULL) != NULL]

    # What there is

    def _array_of(self, machine: Machine, ex: Exchange, token: str) -> Array:
        return ex.arrays[machine.tokens.address[token]]

    def _record(self, machine: Machine, ex: Exchange, token: str) -> Record:
        return ex.by_capsule[machine.tokens.address[token]]

    def _settled(self, machine: Machine, ex: Exchange) -> list[str]:
        return [token for token in self.arrays if _ready(self._array_of(machine, ex, token))]

    def _unconsumed(self, machine: Machine, ex: Exchange) -> list[str]:
        """Return the capsules that nobody has consumed."""
        found = []
        for token in self.capsules:
            address = machine.tokens.address[token]
            if ex.name_of(address) == ex.by_capsule[address].names.unused:
                found.append(token)
        return found

    def _streamed(self, machine: Machine, ex: Exchange, token: str) -> bool:
        array = self._array_of(machine, ex, token)
        return array.record is None and array.layout.device[0] in STREAMS and array.made_on is None

    def _tabled(self, machine: Machine, ex: Exchange, token: str) -> bool:
        """Tell whether an array's library has, or can have, a table of functions that the array is for."""
        array = self._array_of(machine, ex, token)
        # A struct that is shared has one owner among several that the book cannot tell apart.
        return array.record is None and array.made_on is None and not array.producer.shares

    def _fresh(self, prefix: str) -> str:
        self.bound += 1
        return f"{prefix}{self.bound}"

    def _pending(self, step: Step) -> Step:
        """Let something die now and then with an exception on its way to somebody."""
        if self.choices.often(0.2):
            step["pending"] = {"type": self.choices.pick(EXCEPTIONS), "text": "k"}
        return step

    # Steps

    def _new(self, token: str) -> Step:
        """Write an array: whose, of what, and how it lies."""
        pick, often = self.choices.pick, self.choices.often
        kind = dtype_named(pick(DTYPES))
        shape = pick(SHAPES)
        described = pick(PRODUCERS_IN_WORDS)
        quirks = list(described.get("quirks", ()))
        args: Step = {"dtype": kind.name, "shape": list(shape), **described}
        count = count_of(shape)
        if often(0.5):
            start = pick(range(1, 65_536, 97))
            args["values"] = [shown(value_of(kind, start + 7 * index)) for index in range(count)]
        # NULL strides stand for rows; a producer that leaves them out has nothing else.
        layout = "rows" if "null-strides" in quirks else pick(LAYOUTS)
        if layout != "rows":
            args["strides"] = list(strides_of(shape, layout))
        offset = pick((0, 8, 3, 16))
        if offset:
            args["offset"] = offset
        device = pick(DEVICES)
        if device != DEVICES[0]:
            args["device"] = list(device)
        if often(0.25):
            args["read_only"] = 1
        if kind.bits % 8 and often(0.4):
            quirks.append("padded")
        if kind.bits > 8 and often(0.06):
            quirks.append("non-native")
        # A library has one way to do things, and a table of its own.
        args["producer"] = _library(described)
        if quirks:
            args["quirks"] = quirks
        return {"op": "dlpack.array", "args": args, "bind": token}

    def _make(self, machine: Machine, ex: Exchange) -> Step | None:
        if len(self.arrays) >= MOST:
            return None
        token = self._fresh("x")
        self.arrays.append(token)
        step = self._new(token)
        streamed = tuple(step["args"].get("device", ()))[:1] in ((2,), (13,))
        if streamed and "_work" in self.kinds and self.choices.often(0.5):
            self.waiting.append({"op": "dlpack.work_on", "args": {"array": {"ref": token}, "stream": WORKING}})
        return step

    def _consumer(self, ready: bool) -> Step:
        """Return the words of a consumer; where the elements are not ready, of one that does not look at them."""
        words = self.choices.pick(CONSUMERS_IN_WORDS)
        if not ready and any(quirk in _COPYING for quirk in words.get("quirks", ())):
            return dict(CONSUMERS_IN_WORDS[0])
        return dict(words)

    def _take_in(self, machine: Machine, ex: Exchange) -> Step | None:
        """Import an array, or a view of one, as another library does."""
        able = self._settled(machine, ex)
        if not able or len(self.arrays) >= MOST:
            return None
        token, source = self._fresh("y"), self.choices.pick(able)
        self.arrays.append(token)
        return {"op": "from_dlpack", "args": {"x": {"ref": source}, **self._consumer(True)}, "bind": token}

    def _take_in_as(self, machine: Machine, ex: Exchange) -> Step | None:
        """Import an array with wishes: on a device, as a copy, or without one."""
        step = self._take_in(machine, ex)
        if step is None:
            return None
        known = self._array_of(machine, ex, step["args"]["x"]["ref"]).producer.keywords
        if "legacy-only" in step["args"].get("quirks", ()) and "copy" not in known:
            # Who never asks again cannot ask for what the producer does not know.
            return step
        device = self.choices.pick((None, (1, 0), (2, 0), (2, 1)))
        copy = self.choices.pick((None, 0, 1))
        if device is not None:
            step["args"]["device"] = list(device)
        if copy is not None or self.choices.often(0.2):
            step["args"]["copy"] = copy
        return step

    def _export(self, machine: Machine, ex: Exchange) -> Step | None:
        """Call ``__dlpack__`` oneself and keep the capsule."""
        able = self._settled(machine, ex)
        if not able or len(self.capsules) >= MOST:
            return None
        token, source = self._fresh("c"), self.choices.pick(able)
        self.capsules.append(token)
        args: Step = {"self": {"ref": source}}
        # Whoever speaks version 2 alone has nothing for others.
        newer = self._array_of(machine, ex, source).producer.version[0] == 2
        version = self.choices.pick(([2, 0], [1, 3]) if newer else ([1, 3], None, [1, 3]))
        if version is not None:
            args["max_version"] = version
        return {"op": "__dlpack__", "args": args, "bind": token}

    def _export_as(self, machine: Machine, ex: Exchange) -> Step | None:
        """Call ``__dlpack__`` with any of its keywords."""
        step = self._export(machine, ex)
        if step is None:
            return None
        pick, args = self.choices.pick, step["args"]
        args["max_version"] = pick(VERSIONS)
        if pick((False, True)):
            args["copy"] = pick((None, 0, 1))
        array = self._array_of(machine, ex, args["self"]["ref"])
        device = array.layout.device
        if pick((False, True)):
            # Another device of the same type is another device.
            wanted = pick((device, (device[0], 1 - device[1]) if device[0] == 2 else (2, 1), (1, 0), (2, 0), (10, 0)))
            args["dl_device"] = list(wanted)
            device = wanted
        if pick((False, True)):
            args["stream"] = pick(STREAMS.get(device[0], (None, None, None, 1, 0, -1)))
        return step

    def _consume(self, machine: Machine, ex: Exchange) -> Step | None:
        """Hand a capsule to a consumer; one that was consumed must be refused, and twice is enough to see it."""
        offers = [token for token in self.capsules if self.refused.get(token, 0) < 2]
        if not offers or len(self.arrays) >= MOST:
            return None
        token = self.choices.pick(offers)
        record = self._record(machine, ex, token)
        made = self._fresh("y")
        self.arrays.append(made)
        args: Step = {"x": {"ref": token}, **self._consumer(_done(record.array))}
        args["quirks"] = [*args.get("quirks", ()), "takes-capsules"]
        if _done(record.array) and self.choices.often(0.15):
            # A copy that was made before stays one.
            args["copy"] = self.choices.pick((1, 1 if record.copied else 0))
        self.refused[token] = self.refused.get(token, 0) + 1
        return {"op": "from_dlpack", "args": args, "bind": made}

    def _drop_capsule(self, machine: Machine, ex: Exchange) -> Step | None:
        if not self.capsules:
            return None
        return self._pending({"op": "Py_DECREF", "args": {"op": {"ref": self.choices.pick(self.capsules)}}})

    def _drop(self, machine: Machine, ex: Exchange) -> Step | None:
        if not self.arrays:
            return None
        return self._pending({"op": "Py_DECREF", "args": {"op": {"ref": self.choices.pick(self.arrays)}}})

    def _read(self, machine: Machine, ex: Exchange) -> Step | None:
        able = self._settled(machine, ex)
        return {"op": "dlpack.values", "args": {"array": {"ref": self.choices.pick(able)}}} if able else None

    def _write(self, machine: Machine, ex: Exchange) -> Step | None:
        """Write an element through one of the arrays that share the memory, and read through another."""
        settled = self._settled(machine, ex)
        open_to_all = [token for token in settled if _writable(self._array_of(machine, ex, token))]
        if not open_to_all:
            return None
        token = self.choices.pick(open_to_all)
        layout = self._array_of(machine, ex, token).layout
        index = [self.choices.pick(range(length)) for length in layout.shape]
        value = shown(value_of(layout.dtype, self.choices.pick(range(1, 65_536, 97))))
        self.waiting.append({"op": "dlpack.values", "args": {"array": {"ref": self.choices.pick(settled)}}})
        return {"op": "dlpack.set", "args": {"array": {"ref": token}, "index": index, "value": value}}

    def _fields(self, machine: Machine, ex: Exchange) -> Step | None:
        alive = [token for token in self.capsules if not self._record(machine, ex, token).deleted]
        return {"op": "dlpack.fields", "args": {"capsule": {"ref": self.choices.pick(alive)}}} if alive else None

    def _name(self, machine: Machine, ex: Exchange) -> Step | None:
        """Ask a capsule for its name, or whether it has one."""
        if not self.capsules:
            return None
        capsule = {"ref": self.choices.pick(self.capsules)}
        if self.choices.often(0.5):
            return {"op": "PyCapsule_GetName", "args": {"capsule": capsule}}
        names = [
            name.decode() for versioned in (True, False) for name in (NAMES[versioned].unused, NAMES[versioned].used)
        ]
        return {"op": "PyCapsule_IsValid", "args": {"capsule": capsule, "name": {"cstr": self.choices.pick(names)}}}

    def _count(self, machine: Machine, ex: Exchange) -> Step | None:
        objects = [*self.capsules, *self.arrays]
        return {"op": "Py_REFCNT", "args": {"ob": {"ref": self.choices.pick(objects)}}} if objects else None

    def _copied_name(self, machine: Machine, ex: Exchange) -> Step | None:
        """Give a capsule the same name at another address: names are compared by their text."""
        able = self._unconsumed(machine, ex)
        if not able:
            return None
        token = self.choices.pick(able)
        name = self._record(machine, ex, token).names.unused.decode()
        return {"op": "PyCapsule_SetName", "args": {"capsule": {"ref": token}, "name": {"cstr": name}}}

    def _foreign_name(self, machine: Machine, ex: Exchange) -> Step | None:
        """Give a capsule a name that is nobody's: its tensor must be one that nobody needs to delete."""
        able = [token for token in self._unconsumed(machine, ex) if _may_be_lost(self._record(machine, ex, token))]
        if not able:
            return None
        capsule = {"ref": self.choices.pick(able)}
        return {"op": "PyCapsule_SetName", "args": {"capsule": capsule, "name": {"cstr": self.choices.pick(FOREIGN)}}}

    def _ask_device(self, machine: Machine, ex: Exchange) -> Step | None:
        if not self.arrays:
            return None
        return {"op": "__dlpack_device__", "args": {"self": {"ref": self.choices.pick(self.arrays)}}}

    def _work(self, machine: Machine, ex: Exchange) -> Step | None:
        """Have a stream compute the elements of an array that nobody views yet."""
        able = [token for token in self._settled(machine, ex) if self._streamed(machine, ex, token)]
        if not able:
            return None
        return {"op": "dlpack.work_on", "args": {"array": {"ref": self.choices.pick(able)}, "stream": WORKING}}

    def _own(self, machine: Machine, ex: Exchange) -> Step | None:
        """Export without a capsule, through the table of functions: the program owns the tensor."""
        able = [token for token in self.arrays if self._tabled(machine, ex, token)]
        if not able or len(self.tensors) >= MOST:
            return None
        source = self.choices.pick(able)
        library = self._array_of(machine, ex, source).producer.name
        tensor = self._fresh("p")
        self.tensors.append(tensor)
        table = self.tables.get(library)
        if table is None:
            table = self.tables[library] = self._fresh("t")
            steps = [{"op": "dlpack.api", "args": {"array": {"ref": source}}, "bind": table}]
        else:
            steps = []
        args = {"api": {"ref": table}, "py_object": {"ref": source}}
        steps.append({"op": "managed_tensor_from_py_object_no_sync", "args": args, "bind": tensor})
        self.waiting += steps[1:]
        return steps[0]

    def _delete(self, machine: Machine, ex: Exchange) -> Step | None:
        """Call the deleter of a tensor that the program owns, with an exception pending, or without the GIL."""
        if not self.tensors:
            return None
        token = self.choices.pick(self.tensors)
        self.tensors.remove(token)
        step: Step = {"op": "dlpack.call_deleter", "args": {"tensor": {"ref": token}}}
        if self.without_gil and self.choices.often(0.3):
            self.waiting += [step, {"op": "PyEval_RestoreThread", "args": {}}]
            return {"op": "PyEval_SaveThread", "args": {}}
        return self._pending(step)

    def _give_in(self, machine: Machine, ex: Exchange) -> Step | None:
        """Make an array of a tensor that the program owns, through a table; it is stolen, unless that fails."""
        able = [token for token in self.tensors if self._fits(machine, ex, token)]
        # Who leaves strides out has rows alone, and cannot view what lies otherwise.
        tables = [table for library, table in self.tables.items() if library not in _ROWS_ALONE]
        if not able or not tables or len(self.arrays) >= MOST:
            return None
        token, made = self.choices.pick(able), self._fresh("y")
        self.tensors.remove(token)
        self.arrays.append(made)
        args = {"api": {"ref": self.choices.pick(tables)}, "tensor": {"ref": token}}
        return {"op": "managed_tensor_to_py_object_no_sync", "args": args, "bind": made}

    def _fits(self, machine: Machine, ex: Exchange, token: str) -> bool:
        """Tell whether the import of a tensor will not fail: whoever fails has taken nothing."""
        return ex.records[machine.tokens.address[token]].array.producer.version[0] == 1


def _library(described: Step) -> str:
    """Return the name of the library that is so described."""
    return f"library{PRODUCERS_IN_WORDS.index(described)}"


_ROWS_ALONE = {_library(words) for words in PRODUCERS_IN_WORDS if "null-strides" in words.get("quirks", ())}


def _may_be_lost(record: Record) -> bool:
    """Tell whether nobody minds when a capsule is lost, nor the exception that is pending when it dies."""
    return not record.has_deleter and record.array.producer.destructor in ("save-error", "return-early")


def _done(array: Array) -> bool:
    """Tell whether the elements of an array are no longer being computed, as far as its views know."""
    return array.made_on is None or array.made_on in array.ready


def _ready(array: Array) -> bool:
    """Tell whether the elements can be read through an array."""
    return array.record is None or array.copied or _done(array.record.array)


def _writable(array: Array) -> bool:
    """Tell whether nobody from whom the elements come has them read-only, heard of or not."""
    if array.layout.size == 0 or array.read_only:
        return False
    return array.record is None or _writable(array.record.array)
