"""Real libraries: what each does with every scenario is what its declared style makes the model do.

``DLPACK_PYTHONS`` may name more Pythons, as a PATH does, that have other libraries than this one.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from dlpack_model.libraries import LIBRARIES, library_for
from dlpack_model.real.compare import Missing, Probe, compare, differences
from dlpack_model.real.observed import Observed
from dlpack_model.real.scenarios import SCENARIOS, Scenario, scenario_named

PAIRS = [
    (library, scenario.id)
    for library in LIBRARIES
    for scenario in SCENARIOS.values()
    if scenario.libraries is None or library in scenario.libraries
]
PYTHONS = [sys.executable, *filter(None, os.environ.get("DLPACK_PYTHONS", "").split(os.pathsep))]


class Probes:
    """The probes of a session: each is started when a library is first asked for, and runs until the session ends."""

    def __init__(self) -> None:
        self.tried: dict[str, tuple[list[Probe], list[str]]] = {}

    def of(self, name: str) -> Probe:
        """Return a probe on a library, or skip with the reason for which there is none."""
        library = LIBRARIES[name]
        if library.module not in self.tried:
            self.tried[library.module] = self.start(library.module)
        probes, reasons = self.tried[library.module]
        for probe in probes:
            if library_for(probe.module, probe.version) is library:
                return probe
        pytest.skip(f"{name} is lacking: {'; '.join(reasons) or f'{probes[0].module} is {probes[0].version}'}")

    def start(self, module: str) -> tuple[list[Probe], list[str]]:
        """Start a probe on each Python that has a library in a version that is declared."""
        probes: list[Probe] = []
        reasons: list[str] = []
        for python in PYTHONS:
            try:
                probe = Probe(module, python)
            except Missing as missing:
                reasons.append(str(missing))
                continue
            try:
                library_for(module, probe.version)
            except ValueError as error:
                reasons.append(str(error))
                probe.stop()
            else:
                probes.append(probe)
        return probes, reasons

    def stop(self) -> None:
        """End all."""
        for probes, _ in self.tried.values():
            for probe in probes:
                probe.stop()


@pytest.fixture(scope="session")
def probes() -> Iterator[Probes]:
    """Return the probes of this session."""
    made = Probes()
    yield made
    made.stop()


@pytest.mark.parametrize(("library", "scenario"), PAIRS)
def test_library_does_what_the_model_says(library: str, scenario: str, probes: Probes) -> None:
    """Every event, name, value and exception of a scenario is the predicted one, watched and not."""
    probe = probes.of(library)
    for watched in (False, True):
        found = compare(scenario_named(scenario), LIBRARIES[library], probe, watched=watched)
        assert found.differences == ()


# What a library does otherwise than the style of this name says, and the scenario that shows it.
DEPARTURES: Mapping[str, tuple[dict[str, Any], str]] = {
    "numpy-1.26": ({"lets_go": "aside"}, "dtype-lanes"),
    "numpy-2": ({"read_only": "honours"}, "struct-legacy"),
    "torch": ({"fails_late": {}}, "device-4"),
    "jax": ({"copy_may_share": False}, "copy-true"),
}


@pytest.mark.parametrize("name", DEPARTURES)
def test_wrong_style_is_noticed(name: str, probes: Probes) -> None:
    """A style with one field changed is told from the library by the scenario that is about it."""
    probe, library = probes.of(name), LIBRARIES[name]
    changed, scenario = DEPARTURES[name]
    wrong = replace(library, consumer=replace(library.consumer, **changed))
    assert compare(scenario_named(scenario), wrong, probe).differences != ()
    assert compare(scenario_named(scenario), library, probe).differences == ()


@pytest.mark.parametrize(
    ("name", "scenario", "rule"),
    [
        ("torch", "device-4", "DLManagedTensor/deleter-once"),
        ("jax", "copy-true", "from_dlpack/copy-true"),
        ("jax", "copy-false-wide", "from_dlpack/copy-false"),
        ("jax", "deleter-null", "DLManagedTensor/deleter-may-be-null"),
        ("numpy-2", "device-2", "from_dlpack/unsupported-device"),
    ],
)
def test_findings_are_still_found(name: str, scenario: str, rule: str, probes: Probes) -> None:
    """A recorded finding is what the library still does, and the model names the rule."""
    found = compare(scenario_named(scenario), LIBRARIES[name], probes.of(name))
    assert (found.differences, rule in found.broken) == ((), True)


def test_a_producer_that_breaks_rules_is_not_held_against_the_library(probes: Probes) -> None:
    """A second delete by the capsule's own destructor is no finding about the library."""
    found = compare(scenario_named("destructor-deletes-always"), LIBRARIES["numpy-2"], probes.of("numpy-2"))
    assert found.broken == ()


@pytest.mark.parametrize("id", SCENARIOS)
def test_scenario_survives_json(id: str) -> None:
    """A scenario is the same after a journey to the probe."""
    scenario = SCENARIOS[id]
    assert Scenario.from_json(scenario.as_json()).as_json() == scenario.as_json()


def test_death_is_a_result() -> None:
    """A library that ends its process where the model says otherwise is a difference, and a death alike is none."""
    alive, dead = Observed().as_json(), Observed(died="SIGSEGV").as_json()
    assert differences(alive, dead) == ('died: model null, seen "SIGSEGV"',)
    assert differences(Observed(died="some other way").as_json(), dead) == ()


def test_missing_library_is_named() -> None:
    """A probe on what is not installed says which extra would install it."""
    with pytest.raises(Missing, match=r"pip install 'capsule-model\[no_such_library\]'"):
        Probe("no_such_library")


def test_version_that_nobody_declared() -> None:
    """A version outside all ranges is refused with the ranges that are known."""
    assert library_for("numpy", "1.26.4").name == "numpy-1.26"
    with pytest.raises(ValueError, match=r"numpy 1\.9\.0: expected 1\.26 to below 2\.0 or 2\.1 to below 2\.5"):
        library_for("numpy", "1.9.0")
