"""Every rule that a library can break has a probe, and the probe notices a library that breaks it."""

from __future__ import annotations

import sys
from pathlib import Path

import broken
import pytest
from broken_described import described

from capsule_model.conform.specification import read_rules
from capsule_model.suites import chapters_of
from dlpack_model.audit.outcome import Audit
from dlpack_model.audit.processes import Ended
from dlpack_model.audit.run import audit, judged_of, plan
from dlpack_model.audit.script import MOST_LINES
from dlpack_model.audit.unprobed import UNPROBED

# Each switch of the broken library, the probe that notices it, and how bad that is: ``choice`` where that is allowed.
NOTICED = [
    ("__dlpack_device__/tuple", "device-tuple", "contract"),
    ("__dlpack__/capsule-name", "capsule-name", "contract"),
    ("DLManagedTensor/right-struct", "struct", "contract"),
    ("dlpack.h/layout", "struct", "contract"),
    ("__dlpack__/name-is-static", "name-static", "contract"),
    ("__dlpack__/capsule-destructor", "destructor-there", "leak"),
    ("capsule-destructor/deletes-while-unconsumed:never", "unconsumed", "leak"),
    ("capsule-destructor/deletes-while-unconsumed:always", "consumed", "double free"),
    ("capsule-destructor/leaves-error-indicator", "foreign-name", "contract"),
    ("DLManagedTensor/deleter-leaves-error-indicator", "deleter-pending-error", "contract"),
    ("DLManagedTensor/deleter-releases-owner", "deleter-releases-memory", "leak"),
    ("DLManagedTensor/deleter-deletes-self", "deleter-frees-struct", "leak"),
    ("DLManagedTensor/deleter-acquires-gil", "deleter-without-gil", "crash"),
    ("DLManagedTensor/deleter-after-finalisation", "deleter-at-exit", "crash"),
    ("DLManagedTensor/one-owner:producer", "two-exports", "double free"),
    ("__dlpack__/max-version-none", "max-version-none", "contract"),
    ("__dlpack__/max-version-enough", "max-version-enough", "style"),
    ("__dlpack__/max-version-old", "max-version-old", "style"),
    ("__dlpack__/max-version-too-old", "max-version-old", "contract"),
    ("__dlpack__/may-return-another-version", "max-version-enough", "choice"),
    ("DLManagedTensorVersioned/flags-default-zero", "flags", "style"),
    ("__dlpack__/copy-true", "copy-true", "contract"),
    ("__dlpack__/copy-false", "copy-false", "contract"),
    ("DLManagedTensorVersioned/is-copied", "copy-true", "contract"),
    ("DLManagedTensorVersioned/read-only", "read-only", "contract"),
    ("__dlpack__/read-only-needs-flags", "read-only-old-struct", "choice"),
    ("DLDataType/native-endianness", "foreign-byte-order", "wrong values"),
    ("DLDataType/code-and-bits", "tensor", "contract"),
    ("DLDataType/sub-byte-bits", "tensor", "contract"),
    ("DLDataType/packed-bits", "element", "wrong values"),
    ("__dlpack__/padded-needs-flags", "padded-old-struct", "contract"),
    ("DLTensor/data-of-nothing", "tensor", "style"),
    ("DLTensor/strides-not-null", "tensor", "contract"),
    ("DLTensor/byte-offset", "element", "wrong values"),
    ("from_dlpack/same-values:producer", "element", "wrong values"),
    ("DLTensor/inside-allocation", "element", "wrong values"),
    ("DLTensor/inside-allocation:dies", "memory-stays", "wrong values"),
    ("DLTensor/ndim", "tensor", "contract"),
    ("DLTensor/shape", "tensor", "contract"),
    ("DLTensor/shape-not-negative", "tensor", "contract"),
    ("DLTensor/data", "tensor", "contract"),
    ("DLTensor/size-in-64-bits", "tensor", "contract"),
    ("__dlpack__/stream-cpu", "stream", "contract"),
    ("__dlpack__/dl-device", "device-other", "contract"),
    ("__dlpack__/device-unsupported", "device-other", "contract"),
    ("__dlpack__/buffer-error", "foreign-byte-order", "style"),
    ("__dlpack__/unknown-keyword", "unknown-keyword", "contract"),
    ("__dlpack__/error-with-null", "device-other", "contract"),
    ("from_dlpack/needs-the-methods", "no-methods", "contract"),
    ("from_dlpack/type-error-retry", "older-producer", "style"),
    ("from_dlpack/propagates", "exceptions", "contract"),
    ("from_dlpack/error-with-null", "refusal", "contract"),
    ("from_dlpack/name-decides", "old-struct", "contract"),
    ("from_dlpack/refuses-other-names", "other-names", "contract"),
    ("from_dlpack/consumed-once", "same-capsule-twice", "double free"),
    ("from_dlpack/verifies-version", "other-version", "contract"),
    ("from_dlpack/nothing-past-flags", "past-flags", "crash"),
    ("from_dlpack/renames", "ownership", "contract"),
    ("DLManagedTensor/one-owner:consumer", "life", "double free"),
    ("from_dlpack/deletes-on-error", "refusal", "leak"),
    ("DLManagedTensor/deleter-once", "life", "double free"),
    ("DLManagedTensor/deleter-is-called", "life", "leak"),
    ("DLManagedTensor/deleter-may-be-null", "null-deleter", "crash"),
    ("DLManagedTensor/no-use-after-deleter", "ownership", "double free"),
    ("from_dlpack/may-clear-destructor", "destructor-cleared", "choice"),
    ("from_dlpack/copy-true", "copy-true-of-older", "contract"),
    ("from_dlpack/copy-false", "copy-false-import", "contract"),
    ("from_dlpack/device", "wrong-device", "contract"),
    ("from_dlpack/blocked-copy", "blocked-copy", "style"),
    ("from_dlpack/unsupported-device", "unsupported-device", "style"),
    ("DLDevice/device-type", "unknown-device", "contract"),
    ("from_dlpack/read-only-kept", "read-only-kept", "contract"),
    ("from_dlpack/read-only-ignored", "read-only-taken", "style"),
    ("from_dlpack/unknown-dtype", "unknown-type", "contract"),
    ("DLTensor/byte-offset:consumer", "layout", "wrong values"),
    ("from_dlpack/same-values", "layout", "wrong values"),
    ("DLTensor/zero-dimensional", "layout", "crash"),
    ("DLTensor/strides-not-null:consumer", "layout", "crash"),
    ("DLTensor/data-of-nothing:consumer", "layout", "crash"),
    ("from_dlpack/passes-stream", "keywords", "contract"),
    ("DLDataType/packed-bits:consumer", "type", "wrong values"),
    ("DLPackExchangeAPI/on-the-type", "table", "contract"),
    ("DLPackExchangeAPI/absent", "table", "choice"),
    ("DLPackExchangeAPI/capsule-name", "table", "contract"),
    ("DLPackExchangeAPI/static", "table-static", "contract"),
    ("DLPackExchangeAPI/layout", "table-layout", "contract"),
    ("DLPackExchangeAPI/functions-not-null", "table-layout", "contract"),
    ("DLPackExchangeAPI/header-major", "other-table", "crash"),
    ("DLPackExchangeAPI/prev-api", "older-table", "choice"),
    ("DLPackExchangeAPI/error-with-failure", "table-import-fails", "contract"),
    ("managed_tensor_allocator/prototype", "table-allocate", "crash"),
    ("managed_tensor_allocator/set-error", "table-allocate-fails", "contract"),
    ("managed_tensor_from_py_object_no_sync/owned", "table-export", "wrong values"),
    ("managed_tensor_to_py_object_no_sync/steals", "table-import", "leak"),
    ("managed_tensor_to_py_object_no_sync/failure-keeps", "table-import-fails", "choice"),
    ("dltensor_from_py_object_no_sync/may-be-null", "table-borrow", "choice"),
    ("dltensor_from_py_object_no_sync/borrows", "table-borrow", "contract"),
    ("current_work_stream/cpu-null", "table-stream", "style"),
]
# These export a hundred thousand times, or megabytes.
SLOW = ("deleter-frees-struct",)


def audited(*switches: str, probe: str) -> Audit:
    """Put one probe to the broken library, with some of its switches on."""
    return audit(described(*switches), sys.executable, chosen=lambda one: one.id == probe)


def test_every_rule_is_probed_or_says_why_not() -> None:
    """No rule of the chapters is forgotten: a switch breaks it, or a reason says why nobody is asked about it."""
    rules = {rule.id for rule in read_rules(chapters_of("dlpack"))}
    broken_rules = set(broken.SWITCHES.values())
    assert broken_rules | set(UNPROBED) == rules
    assert not broken_rules & set(UNPROBED)
    assert {switch for switch, _, _ in NOTICED} == set(broken.SWITCHES)


def test_library_that_keeps_the_rules_is_clean() -> None:
    """A library that keeps every rule has no finding, nothing unconfirmed, and nothing that could not be asked."""
    whole = audit(described(), sys.executable, chosen=lambda one: one.id not in SLOW)
    assert [result for result in whole.results if result.verdict not in ("kept", "choice")] == []
    assert whole.findings == ()
    assert whole.count()["kept"] > 180
    assert whole.roles == ("producer", "consumer", "exchange API")


@pytest.mark.parametrize(("switch", "probe", "severity"), NOTICED, ids=[switch for switch, _, _ in NOTICED])
def test_probe_notices_a_library_that_breaks_its_rule(switch: str, probe: str, severity: str) -> None:
    """The rule is named, with its severity, and its script shows it; a choice is told, not blamed."""
    rule = broken.SWITCHES[switch]
    seen = audited(switch, probe=probe)
    if severity == "choice":
        before = {(result.case, result.seen) for result in audited(probe=probe).results}
        told = [result for result in seen.results if result.verdict == "choice" and result.rule == rule]
        assert [result for result in told if (result.case, result.seen) not in before]
        assert seen.findings == ()
        return
    (found,) = [finding for finding in seen.findings if (finding.rule, finding.severity) == (rule, severity)]
    assert found.script.count("\n") <= MOST_LINES
    assert found.shown.startswith("the process" if severity == "crash" else f"{severity}:")
    assert found.id.startswith(f"broken-{probe}")


@pytest.mark.parametrize("probe", ["device-tuple", "tensor", "life", "table"])
def test_probe_needs_its_switch(probe: str) -> None:
    """The same probe finds nothing where the switch is off, so that it is the switch that it notices."""
    assert audited(probe=probe).findings == ()


@pytest.mark.parametrize(
    ("case", "rule"),
    [("CUDA (old)", "from_dlpack/unsupported-device"), ("many dimensions (old)", "from_dlpack/deletes-on-error")],
)
def test_death_is_put_to_the_rule_of_its_case(case: str, rule: str) -> None:
    """A process that dies of a device is told by the rule of devices, and one that dies of anything else is not."""
    asked, _ = plan(described(), lambda one: one.id == "refusal")
    (one,) = [one for one in asked if one.case.label == case]
    assert judged_of(one, Ended(died="SIGSEGV"), 1).rule == rule


def test_hang_is_not_told_as_what_a_death_means() -> None:
    """What a death tells of the GIL is not told of a process that only does not end."""
    asked, _ = plan(described(), lambda one: one.id == "gil-at-deleter")
    assert "without the GIL" in judged_of(asked[0], Ended(died="SIGSEGV"), 1).seen
    assert "without the GIL" not in judged_of(asked[0], Ended(late=True), 1).seen


def test_broken_library_is_where_the_tests_are() -> None:
    """The switches are those of the library beside this file, and not of another one called the same."""
    assert Path(broken.__file__).parent == Path(__file__).parent / "broken"
