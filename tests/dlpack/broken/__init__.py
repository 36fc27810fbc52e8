"""An array library that exchanges arrays by DLPack as the rules want it, with a switch for each rule to break."""

from __future__ import annotations

from .arrays import Array, arange, asarray, filled
from .consuming import from_dlpack
from .switches import SWITCHES, on, switch
from .table import offer

__all__ = ["SWITCHES", "Array", "arange", "asarray", "filled", "from_dlpack", "on", "switch"]

offer(Array)
