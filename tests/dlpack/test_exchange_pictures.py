"""Pictures of an exchange: who asked whom, who owns what, the structs in memory, and arrays with their bytes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from picture_samples import HOSTILE, by_class, taken_apart, texts

from capsule_model import NULL, Interpreter
from capsule_model.show.pictures.sequence import Sequences
from dlpack_model.arrays import new_array
from dlpack_model.consumer import consumer_named, from_dlpack
from dlpack_model.examples import examples, main
from dlpack_model.exchange import Exchange
from dlpack_model.producer import Producer, __dlpack__
from dlpack_model.sequences import told
from dlpack_model.violations import Broken, Violation

ROOT = Path(__file__).resolve().parents[2]


def an_exchange(**options: object) -> tuple[Exchange, int]:
    """Return an exchange with an array of six numbers, its rows in reverse."""
    dl = Exchange(Interpreter("cpython-3.13"), **options)  # type: ignore[arg-type]
    return dl, new_array(dl, Producer("mine"), "int32", (2, 3), strides=(-3, 1), name="x")


def said(sequence: Sequences) -> list[tuple[str, str, str]]:
    """Return who tells whom what."""
    return [(sequence.lanes[m.sender].title, sequence.lanes[m.receiver].title, m.words) for m in sequence.messages]


def test_an_exchange_is_told_from_request_to_deleter() -> None:
    """The diagram has every message of a good exchange in order, and the export has one owner after the other."""
    dl, x = an_exchange()
    dl.py.Py_DECREF(from_dlpack(dl, consumer_named("rename-only"), x))
    sequence = told(dl)
    assert said(sequence) == [
        ("the program", "rename-only", "from_dlpack(x)"),
        ("rename-only", "mine", "__dlpack__(max_version=(1, 3))"),
        ("mine", "capsule 1", 'PyCapsule_New(…, "dltensor_versioned")'),
        ("mine", "rename-only", "capsule 1"),
        ("rename-only", "rename-only", "rename-only's array owns export 1"),
        ("rename-only", "capsule 1", 'PyCapsule_SetName("used_dltensor_versioned")'),
        ("capsule 1", "capsule 1", "destructor runs (specification-example)"),
        ("capsule 1", "capsule 1", "freed"),
        ("rename-only", "the program", "an array of rename-only"),
        ("rename-only", "rename-only", "its array dies"),
        ("rename-only", "mine", "deleter(export 1)"),
        ("mine", "mine", "struct freed, x given back"),
    ]
    owners = [(sequence.lanes[span.lane].title, span.begin, span.end) for span in sequence.spans]
    assert owners == [("capsule 1", 2, 5), ("rename-only", 4, 10)]
    drawn = texts(taken_apart(dl._repr_svg_()))
    assert all(words in drawn for _, _, words in said(sequence))
    assert str(dl).endswith("at the end: nothing is owned")


def test_unconsumed_capsule_calls_the_deleter_itself() -> None:
    """Of a capsule that nobody imports, the diagram says that its destructor called the deleter."""
    dl, x = an_exchange()
    dl.py.Py_DECREF(__dlpack__(dl, dl.arrays[x], {}))
    sequence = told(dl)
    assert ("the program", "mine", "__dlpack__()") in said(sequence)
    assert ("capsule 1", "mine", "deleter(export 1)") in said(sequence)
    assert sequence.spans[0].end is not None
    assert sequence.lanes[sequence.spans[0].lane].end is not None


def test_refusals_are_told_with_their_exceptions() -> None:
    """A producer's refusal reaches the program in red, with type and text; no capsule appears."""
    dl = Exchange(Interpreter("cpython-3.13"))
    y = new_array(dl, Producer("mine"), "int32", (3,), swapped=True, name="y")
    assert from_dlpack(dl, consumer_named("rename-only"), y) == NULL
    sequence = told(dl)
    bad = [message.words for message in sequence.messages if message.bad]
    assert bad == [
        "BufferError: only the native byte order can be exported",
        "NULL, BufferError: only the native byte order can be exported",
    ]
    assert not any(lane.title.startswith("capsule") for lane in sequence.lanes)
    assert len(by_class(taken_apart(dl._repr_svg_()), "polygon", "badtip")) == 2


def test_two_owners_are_seen_side_by_side() -> None:
    """Where a consumer does not rename, capsule and array own the export at once, and the diagnosis stands below."""
    dl, x = an_exchange()
    with pytest.raises(Violation) as caught:
        from_dlpack(dl, consumer_named("never-renames"), x)
    picture = dl.sequence_picture(caught.value)
    assert "at the end: capsule 1 owns export 1, never-renames owns export 1" in str(picture)
    root = taken_apart(picture.svg)
    assert caught.value.rule in texts(root)
    # The legend's, and the two.
    assert len(by_class(root, "rect", "alive")) == 3


def test_second_deleter_is_red() -> None:
    """A deleter that is called twice is told twice, the second time as bad."""
    dl = Exchange(Interpreter("cpython-3.13"), watch=frozenset())
    x = new_array(dl, Producer("mine", deleter="nothing"), "int32", (3,), name="x")
    theirs = from_dlpack(dl, replace(consumer_named("rename-only"), deletes_twice=True), x)
    dl.py.Py_DECREF(theirs)
    assert Broken.DELETER_TWICE in {violation.kind for violation in dl.unwatched}
    bad = [message.words for message in told(dl).messages if message.bad]
    assert bad == ["deleter(export 1), a second time"]


def test_memory_names_the_fields_of_the_struct() -> None:
    """A managed tensor in memory has the header's fields with their values, and arrays have their names."""
    dl, x = an_exchange()
    capsule = __dlpack__(dl, dl.arrays[x], {"max_version": (1, 0)})
    picture = dl.memory_picture()
    lines = str(picture).splitlines()
    for wanted in ("version.major 1", "ndim 2", "dtype.bits 32", "shape[1] 3", "strides[0] -3", "byte_offset 0"):
        assert any(line.split()[1:] == wanted.split() for line in lines), wanted
    assert any("manager_ctx" in line and "→ x: the mine.Array" in line for line in lines)
    drawn = texts(taken_apart(picture.svg))
    assert "export 1: DLManagedTensorVersioned, 112 bytes" in drawn
    assert f"{capsule:#x}" in str(dl.picture(capsule))


def test_array_shows_its_bytes_where_its_elements_lie() -> None:
    """The bytes are those in memory, and each element's place stands where it begins, here with rows in reverse."""
    dl, x = an_exchange()
    picture = dl.picture(x)
    lines = str(picture).splitlines()
    row = next(number for number, line in enumerate(lines) if "03 00 00 00 04 00 00 00" in line)
    assert lines[row + 1].split() == ["3", "4", "5", "0"]
    assert any(line.split() == ["shape", "(2,", "3)"] for line in lines)
    root = taken_apart(picture.svg)
    assert [element.text for element in by_class(root, "text", "blue")] == ["3", "4", "5", "0", "1", "2"]
    assert "(-3, 1) elements" in texts(taken_apart(dl.arrays[x]._repr_svg_()))
    tensor = dl.tensor_at(dl.by_capsule[__dlpack__(dl, dl.arrays[x], {})].address, False)[0]
    assert "byte_offset" in texts(taken_apart(tensor._repr_svg_()))


@pytest.mark.parametrize("shape", [(), (0,), (1000,), (0, 5)])
def test_arrays_of_any_size_are_drawn(shape: tuple[int, ...]) -> None:
    """Empty, scalar and long arrays are drawn; of the long one the picture says how many bytes are left out."""
    dl = Exchange(Interpreter("cpython-3.13"))
    x = new_array(dl, Producer("mine"), "int32", shape, name="x")
    picture = dl.picture(x)
    taken_apart(picture.svg)
    assert ("… and 3872 more bytes" in str(picture)) == (shape == (1000,))


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_parties_stay_text(name: bytes | str) -> None:
    """Libraries, arrays and capsules may be called anything: the pictures stay well formed and small."""
    text = name if isinstance(name, str) else name.decode("utf-8", "surrogateescape")
    raw = name.encode() if isinstance(name, str) else name
    dl = Exchange(Interpreter("cpython-3.13"), watch=frozenset())
    x = new_array(dl, Producer(text, capsule_name=raw, destructor="never-deletes"), "int32", (2,), name=text)
    from_dlpack(dl, replace(consumer_named("rename-only"), name=text), x)
    from_dlpack(dl, replace(consumer_named("rename-only"), name=text, ignores_names=True), x)
    for picture in (dl.sequence_picture(), dl.memory_picture(), dl.picture(x)):
        taken_apart(picture.svg)
        assert all(line.isprintable() for line in str(picture).split("\n"))


def test_long_exchange_is_cut_and_counted() -> None:
    """A thousand imports leave a picture of bounded size that says what it leaves out."""
    dl, x = an_exchange()
    for _ in range(1000):
        dl.py.Py_DECREF(from_dlpack(dl, consumer_named("rename-only"), x))
    picture = dl.sequence_picture()
    root = taken_apart(picture.svg)
    assert any("more messages" in words for words in texts(root))
    assert len(dl.journal) <= 512


def test_committed_pictures_are_those_of_today(tmp_path: Path) -> None:
    """The pictures in specs/pictures are what ``python -m dlpack_model.examples`` writes."""
    assert main([str(tmp_path)]) == 0
    for name in examples():
        committed = ROOT / "specs" / "pictures" / f"{name}.svg"
        assert committed.read_text(encoding="utf-8") == (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        taken_apart(committed.read_text(encoding="utf-8"))


def test_pictures_want_a_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a folder that exists, the command says in one line what it wants, and writes nothing."""
    assert main([]) == 2
    assert main(["/nowhere/at/all"]) == 2
    assert capsys.readouterr().err.count("usage: python -m dlpack_model.examples FOLDER, a folder that exists\n") == 2
