"""The operations ``PyO3.…`` of the suite ``layers``: what a step of a vector asks of a Rust extension."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from capsule_model.layers.pyo3 import attach, construct, methods
from capsule_model.layers.pyo3.contents import MAX_ALIGN, Closure, Value
from capsule_model.layers.pyo3.crate import Absent, Crate, DoesNotCompile, Err, Ok, PyResult
from capsule_model.memory import NULL
from capsule_model.trace.expectation import error_code
from capsule_model.trace.observe import error_seen, string_seen
from capsule_model.trace.operations import NOTHING, BadVector, Operation, words_of

if TYPE_CHECKING:
    from capsule_model.errors import PyErr
    from capsule_model.trace.execute import Machine

__all__ = ["OPERATIONS", "crate_of"]

Args = Mapping[str, Any]
MAX_VALUE = 4096
ALIGNMENTS = (1, 2, 4, 8, MAX_ALIGN)


def crate_of(machine: Machine) -> Crate:
    """Return the Rust extension of a vector's process, made when it is first asked for."""
    found = machine.extra.get("pyo3")
    if found is None:
        found = machine.extra["pyo3"] = Crate(machine.py)
    assert isinstance(found, Crate)
    return found


def _operation(perform: Callable[[Machine, Crate, Args, str | None], Any]) -> Operation:
    """Return an operation that shows what does not compile, and what is absent, as results."""

    def operation(machine: Machine, args: Args, bind: str | None) -> Any:
        try:
            return perform(machine, crate_of(machine), args, bind)
        except DoesNotCompile as refused:
            machine.bind(NULL, bind)
            return {"fields": {"compiles": 0, "bound": [refused.bound]}}
        except Absent:
            machine.bind(NULL, bind)
            return {"absent": True}

    return operation


def _failed(machine: Machine, error: PyErr) -> dict[str, Any]:
    """Show an exception that a function returns: its type, and its code if it has one."""
    seen = error_seen(machine.py, machine.tokens, error)
    assert seen is not None
    code = error_code(seen)
    # A text may quote names, which copies of a vector have others of.
    return {"fields": {"Err": [seen["type"]] if code == "unclassified" else [seen["type"], code]}}


def _address(machine: Machine, result: PyResult, bind: str | None) -> Any:
    if isinstance(result, Err):
        machine.bind(NULL, bind)
        return _failed(machine, result.error)
    machine.bind(result.value or NULL, bind)
    return machine.tokens.seen(result.value or NULL)


def _constructor(make: Callable[[Machine, Crate, Args], PyResult]) -> Operation:
    def perform(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
        result = make(machine, rust, args)
        if isinstance(result, Ok) and result.value:
            machine.own(result.value, bind)
            return machine.tokens.seen(result.value)
        return _address(machine, result, bind)

    return _operation(perform)


def _value(machine: Machine, args: Args) -> Value:
    data = machine.raw(args, "value")
    align = args.get("align", 1)
    if len(data) > MAX_VALUE or align not in ALIGNMENTS or len(data) % align:
        expected = f"at most {MAX_VALUE} bytes, and an alignment of {', '.join(map(str, ALIGNMENTS))} that divides them"
        raise BadVector(f"a value of {len(data)} bytes aligned to {align}: expected {expected}", machine.path)
    return Value(data, align, "value-not-send" not in _traits(machine, args))


TRAITS = ("value-not-send", "destructor-not-send", "panics", "drops-context")


def _traits(machine: Machine, args: Args) -> list[Any]:
    traits: list[Any] = args.get("traits") or []
    for trait in traits:
        if trait not in TRAITS:
            raise BadVector(f"no trait {trait!r}: expected one of {', '.join(TRAITS)}", machine.path)
    return traits


def _closure(machine: Machine, args: Args) -> Closure:
    """Return the closure that a step describes; that it is called is an event, by the name of a declared function."""
    declared = args.get("destructor")
    called = declared.get("function") if isinstance(declared, Mapping) else None
    if called is None or called not in machine.tokens.address:
        raise BadVector('destructor must be {"function": …}, one that the vector declares', machine.path)
    traits = _traits(machine, args)

    def body(value: bytes, context: int) -> None:
        seen = machine.tokens.seen(context)
        before = error_seen(machine.py, machine.tokens, machine.py.error)
        # Without letters, since these stand for tokens in copies with other names.
        arguments = [",".join(map(str, value)) or "()", "0" if seen is None else seen["ref"]]
        machine.event({"call": called, "args": arguments, "before": before})
        if "drops-context" in traits:
            machine.py.free(context)
            machine.blocks.discard(context)

    borrows = machine.value(args.get("borrows"), f"#{machine.path}.borrows")
    return Closure(body, "destructor-not-send" not in traits, borrows, "panics" in traits)


def _with_pointer(machine: Machine, rust: Crate, args: Args) -> PyResult:
    return construct.new_with_pointer(rust, *words_of(machine, args, ("pointer", "name")))


def _with_pointer_and_destructor(machine: Machine, rust: Crate, args: Args) -> PyResult:
    return construct.new_with_pointer_and_destructor(rust, *words_of(machine, args, ("pointer", "name", "destructor")))


def _boxing(make: Callable[[Crate, Value, int], PyResult]) -> Operation:
    return _constructor(
        lambda machine, rust, args: make(rust, _value(machine, args), *words_of(machine, args, ("name",)))
    )


def _closing(make: Callable[[Crate, Value, int, Closure], PyResult]) -> Operation:
    def made(machine: Machine, rust: Crate, args: Args) -> PyResult:
        (name,) = words_of(machine, args, ("name",))
        return make(rust, _value(machine, args), name, _closure(machine, args))

    return _constructor(made)


def _asking(function: Callable[..., PyResult], *names: str) -> Operation:
    return _operation(
        lambda machine, rust, args, bind: _address(machine, function(rust, *words_of(machine, args, names)), bind)
    )


def _telling(function: Callable[..., int], *names: str) -> Operation:
    return _operation(lambda machine, rust, args, bind: function(rust, *words_of(machine, args, names)))


def _import(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    align = args.get("align", 1)
    if align not in (*ALIGNMENTS, 32, 64, 128):
        raise BadVector(f"align {align!r}: expected a power of two up to 128", machine.path)
    (path,) = words_of(machine, args, ("name",))
    return _address(machine, methods.import_(rust, path, align), bind)


def _name(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    result = methods.name(rust, *words_of(machine, args, ("capsule",)))
    if isinstance(result, Err):
        return _address(machine, result, bind)
    machine.bind(result.value or NULL, bind)
    return string_seen(machine.py, machine.tokens, result.value or NULL)


def _as_cstr(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    (name,) = words_of(machine, args, ("name",))
    name = methods.as_cstr(rust, name, unsafe=args.get("unsafe", 1) == 1)
    return string_seen(machine.py, machine.tokens, name)


def _cast(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    result = methods.cast(rust, *words_of(machine, args, ("op",)))
    # The text is a matter of PyO3's versions.
    return {"fields": {"Err": [result.error.type]}} if isinstance(result, Err) else _address(machine, result, bind)


def _pointer(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    return _address(machine, Ok(methods.pointer(rust, *words_of(machine, args, ("capsule",)))), bind)


def _reference(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    size = args.get("size")
    if not isinstance(size, int) or not 0 < size <= MAX_VALUE:
        raise BadVector(f"size {size!r}: expected a number from 1 to {MAX_VALUE}", machine.path)
    (capsule,) = words_of(machine, args, ("capsule",))
    return {"hex": methods.reference(rust, capsule, size).hex()}


def _set_context(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    result = methods.set_context(rust, *words_of(machine, args, ("capsule", "context")))
    return _failed(machine, result.error) if isinstance(result, Err) else 0


def _version(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    try:
        rust.use(str(args.get("version")))
    except ValueError as error:
        raise BadVector(str(error), machine.path) from None
    return NOTHING


def _drop(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    (op,) = words_of(machine, args, ("op",))
    machine.count(op, -1)
    attach.drop(rust, op, attached=args.get("attached", 1) == 1)
    return NOTHING


def _attach(machine: Machine, rust: Crate, args: Args, bind: str | None) -> Any:
    attach.attach(rust)
    return NOTHING


OPERATIONS: dict[str, Operation] = {
    "PyO3.version": _operation(_version),
    "PyO3.new_with_value": _boxing(construct.new_with_value),
    "PyO3.new": _boxing(construct.new),
    "PyO3.new_with_value_and_destructor": _closing(construct.new_with_value_and_destructor),
    "PyO3.new_with_destructor": _closing(construct.new_with_destructor),
    "PyO3.new_with_pointer": _constructor(_with_pointer),
    "PyO3.new_with_pointer_and_destructor": _constructor(_with_pointer_and_destructor),
    "PyO3.cast": _operation(_cast),
    "PyO3.import": _operation(_import),
    "PyO3.import_pointer": _asking(methods.import_pointer, "name"),
    "PyO3.set_context": _operation(_set_context),
    "PyO3.context": _asking(methods.context, "capsule"),
    "PyO3.pointer_checked": _asking(methods.pointer_checked, "capsule", "name"),
    "PyO3.is_valid_checked": _telling(methods.is_valid_checked, "capsule", "name"),
    "PyO3.name": _operation(_name),
    "PyO3.as_cstr": _operation(_as_cstr),
    "PyO3.pointer": _operation(_pointer),
    "PyO3.reference": _operation(_reference),
    "PyO3.is_valid": _telling(methods.is_valid, "capsule"),
    "PyO3.drop": _operation(_drop),
    "PyO3.attach": _operation(_attach),
}
