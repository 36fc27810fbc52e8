"""Profiles: what they are called, what they do differently, and that the model asks for exactly what they declare."""

from __future__ import annotations

import ast
import re
from itertools import pairwise
from pathlib import Path

import pytest

import capsule_model
from capsule_model.profiles import BEHAVIOURS, PROFILES, Build, Profile, differences, profile_named

PACKAGE = Path(capsule_model.__file__).parent
MODEL = sorted(file for file in PACKAGE.glob("*.py") if file.name != "profiles.py")
VERSIONS = [(3, minor) for minor in range(9, 16)]


def test_every_build_has_a_profile() -> None:
    """Versions 3.9 to 3.15, release and debug, free-threaded from 3.13 on, other word sizes and byte orders."""
    names = {f"cpython-3.{minor}{build}" for minor in range(9, 16) for build in ("", "-debug", "-32", "-be")}
    names |= {f"cpython-3.{minor}-free-threaded{build}" for minor in (13, 14, 15) for build in ("", "-debug")}
    assert names == set(PROFILES)
    assert all(profile.name == name for name, profile in PROFILES.items())


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (Build((3, 9)), "cpython-3.9"),
        (Build((3, 13), debug=True, free_threaded=True), "cpython-3.13-free-threaded-debug"),
        (Build((3, 10), word=4), "cpython-3.10-32"),
        (Build((3, 15), debug=True, word=4, order="big"), "cpython-3.15-debug-32-be"),
    ],
)
def test_names_say_how_an_interpreter_was_built(build: Build, name: str) -> None:
    """Version, then free-threaded, debug, word size and byte order, each only where it is not the usual one."""
    assert build.name == name


def test_a_profile_is_found_by_its_name() -> None:
    """The known ones come back; an unknown one is one line that lists them all."""
    assert profile_named("cpython-3.12") is PROFILES["cpython-3.12"]
    with pytest.raises(ValueError, match=r"^unknown profile 'cpython-3\.13 ': expected one of ") as error:
        profile_named("cpython-3.13 ")
    (line,) = str(error.value).splitlines()
    assert line.partition("one of ")[2].split(", ") == sorted(PROFILES)


def test_the_machine_is_part_of_the_profile() -> None:
    """Word size and byte order change the layout, and are one behaviour each."""
    plain, small, big = (PROFILES[f"cpython-3.13{build}"] for build in ("", "-32", "-be"))
    assert (plain.word, plain.order, small.word, big.order) == (8, "little", 4, "big")
    assert [behaviour.name for behaviour in differences(plain, small)] == ["four-byte-words"]
    assert [behaviour.name for behaviour in differences(plain, big)] == ["big-endian"]
    assert (plain.gc_header, small.gc_header, PROFILES["cpython-3.12"].gc_header) == (16, 8, 0)


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_a_behaviour_makes_a_difference(name: str) -> None:
    """It holds in at least one profile and is absent in at least one, and says what it is and where it is written."""
    behaviour = BEHAVIOURS[name]
    assert {name in profile.behaviours for profile in PROFILES.values()} == {True, False}
    assert behaviour.name == name
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", name)
    assert behaviour.sentence.endswith(".")
    assert re.search(r"3\.\d+|observed", behaviour.source)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ("cpython-3.9", "cpython-3.9", []),
        ("cpython-3.14", "cpython-3.15", []),
        (
            "cpython-3.13",
            "cpython-3.13-free-threaded",
            [
                "free-threaded-header",
                "biased-reference-counts",
                "last-reference-waits-for-owner",
                "collector-holds-garbage",
                "modules-wait-for-collector",
                "threads-make-modules-immortal",
            ],
        ),
        (
            "cpython-3.13-free-threaded",
            "cpython-3.14-free-threaded",
            ["last-reference-waits-for-owner", "threads-make-modules-immortal"],
        ),
        ("cpython-3.13", "cpython-3.13-debug", ["dealloc-checks-error", "refcount-checked"]),
        ("cpython-3.11-debug", "cpython-3.11", ["dealloc-checks-error-type", "refcount-checked"]),
    ],
)
def test_differences(left: str, right: str, expected: list[str]) -> None:
    """What two profiles do differently, in the order of declaration, whichever comes first."""
    found = [behaviour.name for behaviour in differences(PROFILES[left], PROFILES[right])]
    assert found == expected
    assert differences(PROFILES[right], PROFILES[left]) == differences(PROFILES[left], PROFILES[right])


@pytest.mark.parametrize("name", BEHAVIOURS)
@pytest.mark.parametrize("base", ["cpython-3.9", "cpython-3.13-free-threaded-debug", "cpython-3.13-32"])
def test_flipped(base: str, name: str) -> None:
    """A flipped profile differs in that behaviour alone, and flipping it again brings the first one back."""
    profile = PROFILES[base]
    flipped = profile.flipped(name)
    assert flipped.behaviours ^ profile.behaviours == {name}
    assert (flipped.word == profile.word) == (name != "four-byte-words")
    assert (flipped.order == profile.order) == (name != "big-endian")
    assert name in flipped.name
    again = flipped.flipped(name)
    assert (again.behaviours, again.fields, again.gc_header) == (profile.behaviours, profile.fields, profile.gc_header)


def test_flipping_the_layout_changes_the_fields() -> None:
    """The behaviours that shape the struct shape it in a flipped profile too."""
    old, new = PROFILES["cpython-3.12"], PROFILES["cpython-3.13"]
    assert old.flipped("gc-capsule").fields == new.fields
    assert new.flipped("gc-capsule").gc_header == old.gc_header
    assert new.flipped("free-threaded-header").fields == PROFILES["cpython-3.13-free-threaded"].fields


def test_behaviours_of_versions_never_come_back() -> None:
    """Along the versions, a behaviour that does not hang on the build appears once or disappears once."""
    for name in BEHAVIOURS:
        for build in ("", "-debug"):
            held = [name in PROFILES[f"cpython-3.{minor}{build}"].behaviours for _, minor in VERSIONS]
            changes = sum(this != following for this, following in pairwise(held))
            # The debug build of 3.11 alone compares types, and later ones compare the exceptions.
            assert changes <= 1 or (name, build, changes) == ("dealloc-checks-error-type", "-debug", 2), name


def _asked(file: Path) -> set[str]:
    """Return the strings that a module looks up among the behaviours."""
    return {
        node.left.value
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Compare)
        and isinstance(node.left, ast.Constant)
        and isinstance(node.left.value, str)
        and any(isinstance(right, ast.Attribute) and right.attr == "behaviours" for right in node.comparators)
    }


def test_the_model_asks_for_what_is_declared() -> None:
    """No behaviour is declared and never asked for, and none is asked for that is not declared."""
    used = set[str]().union(*map(_asked, MODEL))
    in_profiles = {
        name for name in BEHAVIOURS if f'"{name}" in behaviours' in (PACKAGE / "profiles.py").read_text("utf-8")
    }
    assert used - BEHAVIOURS.keys() == set()
    assert BEHAVIOURS.keys() - used - in_profiles == set()
    assert in_profiles == {"free-threaded-header", "gc-capsule", "four-byte-words", "big-endian"}


def test_the_model_never_asks_for_a_version() -> None:
    """What differs is a behaviour with a name: no module but the profiles' compares versions."""
    for file in MODEL:
        if file.name not in ("__main__.py", "cli.py"):
            assert "version" not in {
                node.attr for node in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(node, ast.Attribute)
            }, file.name


def test_profiles_do_not_change() -> None:
    """A profile is a value: it can be a key, and nobody can set its fields."""
    profile = PROFILES["cpython-3.9"]
    assert {profile: 1}[profile] == 1
    with pytest.raises(AttributeError):
        profile.word = 4  # type: ignore[misc]
    assert isinstance(profile, Profile)
