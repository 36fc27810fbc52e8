"""Show things to people: results side by side, and pictures of a simulated process and of what it does."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from capsule_model.show.pictures.picture import Picture
    from capsule_model.show.pictures.recording import Recording
    from capsule_model.show.pictures.vectors import timeline

__all__ = ["Picture", "Recording", "timeline"]

# Imported when they are asked for: results need none of it.
_HOMES = {"Picture": "picture", "Recording": "recording", "timeline": "vectors"}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.pictures.{_HOMES[name]}"), name)
