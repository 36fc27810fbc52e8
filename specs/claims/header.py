"""What stands in dlpack.h, where a library brings it along."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from capi import Skip

PLACES = {"tvm_ffi": "include/dlpack/dlpack.h", "torch": "include/ATen/dlpack.h"}


def _header() -> tuple[str, str]:
    """Return the newest interface's header without comments, and what it says of its version."""
    for library, place in PLACES.items():
        spec = importlib.util.find_spec(library)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            file = Path(folder) / place
            if file.is_file():
                text = file.read_text("utf-8")
                numbers = re.findall(r"#define DLPACK_(?:MAJOR|MINOR)_VERSION (\d+)", text)
                return re.sub(r"/\*.*?\*/|//[^\n]*", "", text, flags=re.S), ".".join(numbers)
    raise Skip(f"no library that brings dlpack.h is installed: {', '.join(PLACES)}")


def exporter_returns_a_pointer() -> tuple[bool, str]:
    """Tell whether the exchange API's functions return the tensor."""
    text, version = _header()
    found = re.findall(r"typedef (\w+ ?\**) ?\(\*DLPackManagedTensor(?:Allocator|FromPyObjectNoSync)\)", text)
    if not found:
        raise Skip(f"dlpack.h {version} has no exchange API")
    return any("*" in kind for kind in found), f"dlpack.h {version}: {', '.join(kind.strip() for kind in found)}"


def ten_devices() -> tuple[bool, str]:
    """Tell whether there are ten types of devices."""
    text, version = _header()
    body = text[text.index("kDLCPU") : text.index("} DLDeviceType")]
    found = re.findall(r"\bkDL\w+ = ", body)
    return len(found) == 10, f"dlpack.h {version}: {len(found)} device types"
