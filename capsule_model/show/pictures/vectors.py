"""The time line of a vector's run on the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capsule_model.conform.words import call_text, error_text, value_text
from capsule_model.profiles import Profile, profile_named
from capsule_model.show.pictures.moments import Call, Tape
from capsule_model.show.pictures.picture import Picture
from capsule_model.show.pictures.timeline import tape_picture
from capsule_model.trace.execute import BadVector, Machine
from capsule_model.trace.extensions import Extension, extensions_of
from capsule_model.undefined import Abort, NotModelled, UndefinedBehavior

__all__ = ["timeline"]


def timeline(vector: Mapping[str, Any], profile: Profile | str = "cpython-3.13") -> Picture:
    """Return the time line of a vector's run under a profile; addresses are called what the vector calls them.

    Raises ``ValueError`` with the step for a vector that makes no sense, or asks what the model does not know.
    """
    machine = _Watched(vector, profile_named(profile) if isinstance(profile, str) else profile, extensions_of(vector))
    try:
        for index, step in enumerate(vector["steps"]):
            machine.step(step, str(index))
        machine.finish()
    except (UndefinedBehavior, Abort):
        # The tape has it.
        pass
    except BadVector as error:
        raise ValueError(f"{vector.get('id', 'the vector')}: step {error.path}: {error.message}") from None
    except (NotModelled, RecursionError) as error:
        words = f"the model does not know {error}" if isinstance(error, NotModelled) else "nested too deep"
        raise ValueError(f"{vector.get('id', 'the vector')}: step {machine.path}: {words}") from None
    machine.tape.names |= machine.tokens.of_address
    return tape_picture(machine.tape, str(vector.get("id", "Who owns what")))


class _Watched(Machine):
    """A machine that puts each step, and each call of a function, on a tape."""

    def __init__(self, vector: Mapping[str, Any], profile: Profile, extensions: Sequence[Extension]) -> None:
        super().__init__(vector, profile, None, extensions)
        self.tape = Tape(self.py)
        self.tape.start = self.tape.look()

    def step(self, step: Mapping[str, Any], path: str) -> dict[str, Any]:
        """Perform one step and return the observation."""
        thread = f"{step['thread']}: " if step.get("thread") else ""
        # A function that runs inside a step is one level deeper, its own steps another.
        self.tape.depth = path.count("/")
        begun = self.tape.begin(Call(thread + call_text(step)))
        try:
            seen = super().step(step, path)
        except UndefinedBehavior as diagnosis:
            self.tape.undefined(begun, diagnosis)
            raise
        except Abort as death:
            self.tape.end(begun, None, f"abort: {death}")
            raise
        error = error_text(seen["error"]) if seen["indicator"] in ("set", "replaced") else ""
        shown = seen.get("return")
        if isinstance(shown, int):
            outcome = str(shown)
        elif "return" in seen:
            outcome = value_text(shown)
        else:
            outcome = None
        self.tape.depth = path.count("/") + 1
        self.tape.end(begun, outcome, error)
        return seen

    def event(self, event: dict[str, Any]) -> None:
        """Put what happens inside a step on the tape."""
        super().event(event)
        if "call" in event:
            words = f"{event['call']}({', '.join(event.get('args', ()))})"
        elif "dlpack" in event:
            about = event.get("of") or event.get("name")
            words = f"{event['dlpack']}" + (f" of {about}" if about else "")
        else:
            error = event["unraisable"]
            words = "unraisable hook called" + (f" with {error['type']}" if error else "")
        if hasattr(self, "tape"):
            self.tape.depth = self.path.count("/") + 1
            self.tape.end(self.tape.begin(Call(words)))
