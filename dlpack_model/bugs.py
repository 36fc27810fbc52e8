"""Ten bugs of the lifecycle that libraries have had, each as a party of the exchange that has it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from dlpack_model.consumer import Consumer
from dlpack_model.producer import Producer
from dlpack_model.violations import Broken, Violation

__all__ = ["BUGS", "Bug"]


@dataclass(frozen=True)
class Bug:
    """One bug: what is done wrong, where it was seen, who does it, and the rules by which it is found.

    A side on which nobody is named is that of all who keep the rules.
    """

    name: str
    about: str
    issues: tuple[str, ...] = ()
    producers: tuple[Producer, ...] = ()
    consumers: tuple[Consumer, ...] = ()
    found_by: frozenset[tuple[Broken, str]] = frozenset()

    def explains(self, found: BaseException) -> bool:
        """Tell whether a diagnosis is one by which this bug is found."""
        return isinstance(found, Violation) and (found.kind, found.rule) in self.found_by


P, C = Producer("a producer"), Consumer("a faulty consumer")

BUGS: dict[str, Bug] = {
    bug.name: bug
    for bug in (
        Bug(
            "late-rename",
            "The consumer looks at the tensor after it took it over, fails, and has not renamed the capsule by then.",
            ("pytorch#56789",),
            consumers=(replace(C, checks="after", most_ndim=1),),
            found_by=frozenset(
                {
                    (Broken.DELETER_TWICE, "DLManagedTensor/deleter-once"),
                    (Broken.CONSUMED_TWICE, "from_dlpack/consumed-once"),
                    (Broken.USE_AFTER_DELETER, "DLManagedTensor/no-use-after-deleter"),
                }
            ),
        ),
        Bug(
            "double-consume",
            "The consumer does not look at the capsule's name, and takes one that was consumed.",
            consumers=(replace(C, ignores_names=True),),
            found_by=frozenset(
                {
                    (Broken.CONSUMED_TWICE, "from_dlpack/consumed-once"),
                    (Broken.USE_AFTER_DELETER, "DLManagedTensor/no-use-after-deleter"),
                }
            ),
        ),
        Bug(
            "deleter-before-use-ends",
            "The consumer calls the deleter at once, and goes on using the memory.",
            consumers=(replace(C, deletes_early=True),),
            found_by=frozenset(
                {
                    (Broken.USE_AFTER_DELETER, "DLManagedTensor/no-use-after-deleter"),
                    (Broken.DELETER_TWICE, "DLManagedTensor/deleter-once"),
                    (Broken.TWO_OWNERS, "DLManagedTensor/one-owner"),
                }
            ),
        ),
        Bug(
            "null-deleter-called",
            "The consumer calls the deleter without asking whether there is one.",
            ("pytorch#43166",),
            producers=(P, replace(P, name="static", deleter="null")),
            consumers=(replace(C, calls_null_deleter=True),),
            found_by=frozenset({(Broken.NULL_DELETER, "DLManagedTensor/deleter-may-be-null")}),
        ),
        Bug(
            "versioned-parsed-as-legacy",
            "The consumer reads the struct of a versioned capsule as the old one.",
            ("cutlass#3359",),
            consumers=(replace(C, parses_as_legacy=True),),
            found_by=frozenset({(Broken.WRONG_STRUCT, "DLManagedTensor/right-struct")}),
        ),
        Bug(
            "byte-offset-ignored",
            "The consumer takes the data pointer for the address of the first element.",
            ("pytorch#117273", "pytorch#168193"),
            producers=(P, replace(P, name="byte offset", byte_offset=True)),
            consumers=(replace(C, ignores_byte_offset=True),),
            found_by=frozenset(
                {
                    (Broken.WRONG_VALUES, "from_dlpack/same-values"),
                    (Broken.MALFORMED, "DLTensor/inside-allocation"),
                }
            ),
        ),
        Bug(
            "error-clobbered",
            "The capsule's destructor asks for the pointer whatever the name, and leaves the exception of a failure.",
            ("pytorch#84056", "jax#31271"),
            producers=(replace(P, name="a faulty producer", destructor="get-pointer-alone"),),
            found_by=frozenset(
                {
                    (Broken.ERROR_LOST, "capsule-destructor/leaves-error-indicator"),
                    (Broken.ERROR_LEFT, "capsule-destructor/leaves-error-indicator"),
                }
            ),
        ),
        Bug(
            "forgotten-deleter",
            "The consumer takes the tensor over and never calls its deleter.",
            ("pytorch#9261", "cupy#1445"),
            consumers=(replace(C, forgets_deleter=True),),
            found_by=frozenset({(Broken.NO_OWNER, "DLManagedTensor/deleter-is-called")}),
        ),
        Bug(
            "flag-lost",
            "The consumer forgets that the elements are read-only.",
            consumers=(replace(C, loses_read_only=True),),
            found_by=frozenset({(Broken.CONTRACT, "from_dlpack/read-only-kept")}),
        ),
        Bug(
            "copy-not-marked",
            "The producer copies as it was asked to, and does not say so in the flags.",
            producers=(replace(P, name="a faulty producer", marks_copies=False),),
            found_by=frozenset({(Broken.CONTRACT, "DLManagedTensorVersioned/is-copied")}),
        ),
    )
}
