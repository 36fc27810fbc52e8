"""How the executor writes down what it sees: addresses as tokens, exceptions, objects, words."""

from __future__ import annotations

from typing import Any

from capsule_model.errors import PyErr, bases_of
from capsule_model.interpreter import Interpreter
from capsule_model.layout import capsule_words
from capsule_model.memory import NULL
from capsule_model.objects import NONE, PyObject, type_name
from capsule_model.profiles import FREE_THREADED_HEADER
from capsule_model.undefined import NotModelled

__all__ = ["Tokens", "error_seen", "object_seen", "string_seen", "words_seen"]


class Tokens:
    """The names of a vector's addresses: bound names, storage, functions, modules, objects.

    A name bound again gets a generation (``x#2``); an address that nobody named is ``?1``, ``?2``, ….
    """

    def __init__(self) -> None:
        self.of_address: dict[int, str] = {}
        self.address: dict[str, int] = {}
        self.sizes: dict[int, int] = {}
        self.times: dict[str, int] = {}
        self.unknown = 0

    def give(self, address: int, token: str, size: int = 0) -> str:
        """Name an address (of ``size`` bytes) and return the token, with its generation from the second on."""
        times = self.times[token] = self.times.get(token, 0) + 1
        shown = token if times == 1 else f"{token}#{times}"
        self.of_address[address] = shown
        self.address[token] = self.address[shown] = address
        if size:
            self.sizes[address] = size
        return shown

    def rename(self, address: int, token: str) -> None:
        """Name an address without counting a generation, as a module is named."""
        self.of_address[address] = token
        self.address[token] = address

    def seen(self, address: int) -> dict[str, Any] | None:
        """Return an address as observations show it: None for NULL, else its token, with an offset inside."""
        if address == NULL:
            return None
        token = self.of_address.get(address)
        if token is not None:
            return {"ref": token}
        for base, size in self.sizes.items():
            if base < address < base + size:
                return {"ref": self.of_address[base], "offset": address - base}
        self.unknown += 1
        self.of_address[address] = f"?{self.unknown}"
        return {"ref": self.of_address[address]}

    def in_text(self, text: str) -> str:
        """Return a text with the addresses of named objects replaced by ``{TOKEN}``."""
        if "0x" in text:
            for address, token in self.of_address.items():
                text = text.replace(f"at {address:#x}>", f"at {{{token}}}>")
        return text


def error_seen(py: Interpreter, tokens: Tokens, error: PyErr | None) -> dict[str, Any] | None:
    """Return an exception as observations show it."""
    if error is None:
        return None
    attributes: dict[str, Any] = dict(error.attributes or {})
    if error.obj != NULL:
        attributes["obj"] = None if error.obj == NONE else object_seen(py, tokens, error.obj, valued=False)
    text = tokens.in_text(str(error))
    return {"type": error.type, "bases": bases_of(error.type), "text": text, "attributes": attributes}


def object_seen(py: Interpreter, tokens: Tokens, address: int, *, valued: bool = True) -> dict[str, Any] | None:
    """Return an object: its token, or else its type, with the value of a str, an int or a bool."""
    if address == NULL:
        return None
    if address in tokens.of_address:
        return {"ref": tokens.of_address[address]}
    struct = py.objects[address]
    kind = type_name(py.objects, address)
    if kind == "unknown":
        raise NotModelled("what that attribute is")
    seen: dict[str, Any] = {"object": "None" if kind == "NoneType" else kind}
    if valued and isinstance(struct, PyObject) and struct.value is not None:
        seen["text"] = tokens.in_text(str(struct.value))
    return seen


def string_seen(py: Interpreter, tokens: Tokens, address: int) -> dict[str, Any] | None:
    """Return a C string: its token, and its bytes where they may be read."""
    seen = tokens.seen(address)
    if seen is None:
        return None
    raw = py.memory.peek_string(address)
    if raw is None:
        return seen
    try:
        return seen | {"cstr": raw.decode()}
    except UnicodeDecodeError:
        return seen | {"hex": raw.hex()}


def words_seen(py: Interpreter, tokens: Tokens, op: int) -> dict[str, Any]:
    """Return the words of a capsule's struct."""
    words: list[Any] = []
    for name, value in capsule_words(py, op).items():
        if name == "ob_refcnt":
            words.append({"refcnt": value})
        elif name == "ob_type":
            words.append({"type": type_name(py.objects, op)})
        elif name in FREE_THREADED_HEADER:
            words.append({"header": name})
        else:
            words.append(tokens.seen(value))
    return {"words": words}
