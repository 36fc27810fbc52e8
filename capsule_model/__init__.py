"""An executable specification of PyCapsule: how C pointers travel through Python."""

from capsule_model.interpreter import Interpreter
from capsule_model.memory import NULL
from capsule_model.objects import PyCapsule_Type
from capsule_model.profiles import PROFILES, Profile, profile_named
from capsule_model.structs import Struct, StructView
from capsule_model.undefined import Abort, Kind, NotModelled, UndefinedBehavior

__version__ = "0.1.0"

__all__ = [
    "NULL",
    "PROFILES",
    "Abort",
    "Interpreter",
    "Kind",
    "NotModelled",
    "Profile",
    "PyCapsule_Type",
    "Struct",
    "StructView",
    "UndefinedBehavior",
    "profile_named",
]
