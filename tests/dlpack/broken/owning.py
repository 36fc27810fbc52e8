"""The owner of an imported tensor, which calls its deleter when the last array with the elements dies."""

from __future__ import annotations

from typing import Any

from .capi import Deleter
from .exporting import ENDED
from .structs import managed_at
from .switches import on

__all__ = ["Owner"]


class Owner:
    """Nothing at first; the owner of the managed tensor at an address once ``own`` was called."""

    __slots__ = ("__weakref__", "address", "capsule", "versioned")

    def __init__(self, versioned: bool) -> None:
        self.address = 0
        self.versioned = versioned
        self.capsule: Any = None

    def own(self, address: int) -> None:
        """Take the managed tensor over."""
        self.address = address
        if on("DLManagedTensor/no-use-after-deleter"):
            self.let_go()

    def let_go(self) -> None:
        """Call the deleter, unless it is NULL, and own nothing any more."""
        address, self.address = self.address, 0
        if on("DLManagedTensor/deleter-is-called") or not address:
            return
        deleter = managed_at(address, self.versioned).deleter
        if deleter or on("DLManagedTensor/deleter-may-be-null"):
            call = Deleter(deleter or 0)
            call(address)
            if on("DLManagedTensor/deleter-once"):
                call(address)

    def __del__(self, ended: list[bool] = ENDED) -> None:
        # Once the handlers of the exit have run, a deleter may be one that must not be called any more.
        if self.address and not ended:
            self.let_go()
