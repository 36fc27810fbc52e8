"""Pictures of memory, capsules, runs and diagnoses: what they say, and that nothing hostile gets into them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from picture_samples import SVG, box_of, by_class, names, taken_apart, texts

from capsule_model import PROFILES, Interpreter, UndefinedBehavior, profile_named
from capsule_model.memory import NULL
from capsule_model.show import Recording, timeline
from capsule_model.show.pictures.safe import cells, cut, quoted, safe, wrapped
from capsule_model.trace.execute import run

ROOT = Path(__file__).resolve().parents[2]


def a_capsule(py: Interpreter, name: bytes = b"mod.attr") -> tuple[int, int, int]:
    """Return a capsule with a destructor, its block, and its name on the heap."""
    box, text = py.malloc(16), py.malloc(len(name) + 1)
    py.write(text, name + b"\0")
    return py.PyCapsule_New(box, text, py.function(lambda op: 0, name="destroy")), box, text


def dangling() -> tuple[Interpreter, int, UndefinedBehavior]:
    """Return a process whose capsule has a name that was freed, the name, and the diagnosis of reading it."""
    py = Interpreter("cpython-3.13")
    cap, _, text = a_capsule(py)
    py.free(text)
    with pytest.raises(UndefinedBehavior) as caught:
        py.PyCapsule_GetPointer(cap, py.cstring("mod.attr"))
    return py, text, caught.value


@pytest.mark.parametrize("profile", PROFILES)
def test_every_word_of_a_capsule_is_shown(profile: str) -> None:
    """Under every profile a capsule's picture has each word of its struct at its offset, drawn and in the terminal."""
    py = Interpreter(profile)
    cap, box, text = a_capsule(py)
    picture = py.picture(cap)
    drawn = texts(taken_apart(picture.svg))
    for number, (field, value) in enumerate(py.capsule_words(cap).items()):
        assert field in drawn
        line = next(line for line in str(picture).splitlines() if f" {field} " in line)
        assert f"+{number * py.profile.word} " in line
        if field in ("pointer", "name", "destructor"):
            assert hex(value) in line
    for words in (hex(box), hex(text), '"mod.attr"', "destroy()", "PyCapsule"):
        assert any(words in line for line in drawn), words


def test_collector_is_shown_where_there_is_one() -> None:
    """A capsule that the collector tracks says so, in profiles that have that, and nothing is said of it in others."""
    py = Interpreter("cpython-3.13")
    cap, _, _ = a_capsule(py)
    assert "not tracked" in str(py.picture(cap))
    visit, clear = py.function(lambda op, visit: 0, "traverse", "look"), py.function(lambda op: 0, "clear", "empty")
    py._PyCapsule_SetTraverse(cap, visit, clear)
    shown = str(py.picture(cap))
    assert "tracked by the GC" in shown
    assert "look()" in shown
    assert "empty()" in shown
    old = Interpreter("cpython-3.11")
    assert "tracked" not in str(old.picture(a_capsule(old)[0]))


def test_dead_block_is_marked_with_its_life() -> None:
    """A freed block is struck and hatched, says when it was born and freed, and the word that points to it is red."""
    py, text, _ = dangling()
    picture = py.memory_picture()
    root = taken_apart(picture.svg)
    assert len(by_class(root, "rect", "dead")) == 1
    assert len(by_class(root, "path", "hatch")) == 1
    assert [element.text for element in by_class(root, "text", "strike")] == ["malloc, 9 bytes"]
    assert any(f"{text:#x} · born at event 2, freed at event 4" in line for line in texts(root))
    assert hex(text) in [element.text for element in by_class(root, "text", "red")]
    assert len(by_class(root, "path", "bad")) == 1
    assert f"✗ malloc, 9 bytes at {text:#x}, born at event 2, freed at event 4" in str(picture)
    assert "9 bytes, DEAD" in str(picture)


def test_each_arrow_ends_at_what_is_pointed_to() -> None:
    """Every arrow's tip touches the edge of a box, and there are as many as words that point to something."""
    py = Interpreter("cpython-3.13")
    cap, box, _ = a_capsule(py)
    py.write(box, cap.to_bytes(8, "little") + box.to_bytes(8, "little"))
    root = taken_apart(py.memory_picture().svg)
    tips = list(root.iter(f"{SVG}polygon"))
    # Pointer, name and destructor; and both words of the block.
    assert len(tips) == 5
    boxes = [box_of(element) for element in by_class(root, "rect", "box")]
    for tip in tips:
        x, y = map(float, (tip.get("points") or "").split()[0].split(","))
        assert any(x in (left, right) and top <= y <= bottom for left, top, right, bottom in boxes), (x, y)


def test_boxes_do_not_overlap_and_nothing_leaves_the_picture() -> None:
    """Of many things with long names, no box lies on another, and no line of text is wider than what it stands in."""
    py = Interpreter("cpython-3.13")
    for number in range(9):
        a_capsule(py, b"n" * (20 * number + 1))
    root = taken_apart(py.memory_picture().svg)
    boxes = [box_of(element) for element in by_class(root, "rect", "box")]
    for place, (left, top, right, bottom) in enumerate(boxes):
        for other in boxes[place + 1 :]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
    width, height = float(root.get("width") or 0), float(root.get("height") or 0)
    for element in root.iter(f"{SVG}text"):
        x, y = float(element.get("x") or 0), float(element.get("y") or 0)
        wide = 7.0 * cells(element.text or "")
        start = x - wide if element.get("text-anchor") == "end" else x
        assert start >= 0
        assert start + wide <= width
        assert y <= height
        inside = [box for box in boxes if box[0] <= x <= box[2] and box[1] <= y <= box[3]]
        assert all(box[0] <= start and start + wide <= box[2] for box in inside), element.text


def test_big_memory_is_cut_and_counted() -> None:
    """Of a thousand capsules a dozen are drawn, and the picture says how many are not."""
    py = Interpreter("cpython-3.13")
    for _ in range(1000):
        a_capsule(py)
    picture = py.memory_picture()
    taken_apart(picture.svg)
    assert "… and 988 more objects" in str(picture)
    assert "… and 988 more objects" in texts(taken_apart(picture.svg))
    assert len(picture.svg) < 60_000


def test_looking_changes_nothing() -> None:
    """Pictures leave counts, events, error and memory as they are, also of what is undefined to touch."""
    py, text, diagnosis = dangling()
    cap = next(iter(py.objects.alive()[-1:])).address
    before = (py.memory.count, py.capsule_words(cap), py.error, len(py.objects.deaths))
    for picture in (py.memory_picture(diagnosis), py.picture(cap), py.picture(text)):
        assert picture.svg
    assert before == (py.memory.count, py.capsule_words(cap), py.error, len(py.objects.deaths))


def test_same_process_gives_the_same_picture() -> None:
    """Committed notebooks do not change: two equal runs give the same document, byte for byte."""
    (one, _, first), (two, _, second) = dangling(), dangling()
    assert one.memory_picture(first).svg == two.memory_picture(second).svg
    assert first._repr_html_() == second._repr_html_()


def test_nothing_at_an_address_is_an_error_in_one_line() -> None:
    """A picture of nothing is refused with the address; so is NULL."""
    py = Interpreter("cpython-3.13")
    for address in (NULL, 0x1234, 1 << 62):
        with pytest.raises(ValueError, match=rf"nothing is at {address:#x}: expected the address of"):
            py.picture(address)


def test_diagnosis_shows_all_that_it_says() -> None:
    """Kind, fact, consequence, where and each line of the history are drawn, in this order, and the end is marked."""
    _, _, diagnosis = dangling()
    root = taken_apart(diagnosis._repr_svg_())
    drawn = texts(root)
    wanted = ["use-after-free", diagnosis.fact, diagnosis.consequence, diagnosis.where, *diagnosis.history]
    places = [drawn.index(words) for words in wanted]
    assert places == sorted(places)
    assert len(by_class(root, "circle", "tip")) == len(diagnosis.history)
    assert len(by_class(root, "circle", "badtip")) == 1
    assert diagnosis._repr_html_().count("<svg") == 1


def test_picture_with_its_diagnosis_marks_the_culprit() -> None:
    """What the diagnosis is about stands out in the memory, and its words stand below."""
    py, text, diagnosis = dangling()
    picture = py.memory_picture(diagnosis, names={text: "name"})
    root = taken_apart(picture.svg)
    # The block, and the frame of the diagnosis.
    assert len(by_class(root, "rect", "loud")) == 2
    assert "name: malloc, 9 bytes" in texts(root)
    assert "use-after-free" in str(picture)


def test_terminal_text_and_notebook_of_an_interpreter() -> None:
    """An interpreter shows its memory as HTML, as SVG and in a terminal; an exception that is pending is in each."""
    py = Interpreter("cpython-3.13")
    assert "nothing was made yet" in py._repr_svg_()
    cap, _, _ = a_capsule(py)
    py.PyCapsule_GetPointer(cap, py.cstring("other"))
    for shown in (str(py), py._repr_svg_(), py._repr_html_()):
        assert "PyCapsule_GetPointer called with incorrect name" in shown
        assert "destroy()" in shown


@settings(max_examples=40, deadline=None)
@given(name=names, label=names)
def test_hostile_names_stay_text(name: bytes, label: bytes) -> None:
    """Whatever a program calls its things, a picture is well formed, has known elements alone, and stays small."""
    raw = name.replace(b"\0", b"")
    text = label.decode("utf-8", "surrogateescape")
    py = Interpreter("cpython-3.13")
    cap = py.PyCapsule_New(py.malloc(8), py.cstring(raw), py.function(lambda op: 0, name=text))
    py.PyErr_SetString("ValueError", text)
    with Recording(py, names={cap: text}) as tape:
        py.PyCapsule_GetPointer(cap, py.cstring(raw + b"x"))
        py.PyErr_SetString("KeyError", text)
        py.PyErr_Clear()
        py.Py_DECREF(cap)
    diagnosis = UndefinedBehavior("wild-pointer", text, text, [text] * 30)
    pictures = [py.memory_picture(diagnosis, names={cap: text}), tape.picture]
    for svg in (*(picture.svg for picture in pictures), diagnosis._repr_svg_()):
        taken_apart(svg)
    for picture in pictures:
        assert all(line.isprintable() for line in str(picture).split("\n"))


def test_texts_are_cut_and_escaped() -> None:
    """Long, wide, bidirectional and undecodable texts come out short, printable, and with their length."""
    assert quoted(b"a" * 10_000) == f'"{"a" * 40}…" (10000 bytes)'
    assert quoted(b'"\xff\n') == '"\\"\\xff\\n"'
    assert safe("a\u202eb\ud800c\u0301") == "a\\u202eb\\ud800c\\u0301"
    assert cut("漢字漢字", 5) == "漢字…"
    assert cells("漢字") == 4
    assert wrapped("one two three", 7) == ["one two", "three"]
    assert wrapped("a" * 10, 4) == ["aaaa", "aaaa", "aa"]
    assert len(wrapped("word " * 1000, 10)) == 12


def test_recording_tells_who_owns_what() -> None:
    """The time line has each call with its result, the destructor's own calls inside, and how ownership moved."""
    py = Interpreter("cpython-3.13")
    text = py.cstring("mod.attr")

    def destroy(op: int) -> None:
        py.free(py.PyCapsule_GetPointer(op, text))

    with Recording(py) as tape:
        box = py.malloc(16)
        cap = py.PyCapsule_New(box, text, py.function(destroy))
        py.Py_INCREF(cap)
        py.PyCapsule_GetPointer(cap, NULL)
        py.PyErr_Clear()
        py.Py_DECREF(cap)
        py.Py_DECREF(cap)
    tape.name(cap, "cap")
    lines = str(tape).splitlines()
    assert lines[1].split("   ")[0] == "malloc(16)"
    assert any("cap 1: program" in line and "block 1 cap.pointer" in line for line in lines)
    assert any(line.startswith("Py_INCREF(cap)") and "[cap 2: program]" in line for line in lines)
    assert any("ValueError: PyCapsule_GetPointer called with incorrect name" in line for line in lines)
    assert any(line.startswith("  destroy(cap)") and "cap 0: being destroyed" in line for line in lines)
    assert any(line.startswith("    free(block 1)") and "dangling: cap.pointer" in line for line in lines)
    assert any(line.startswith("Py_DECREF returns") and "cap freed" in line for line in lines)
    root = taken_apart(tape._repr_svg_())
    assert len(by_class(root, "rect", "dead")) == 1
    assert "2: program" in texts(root)


def test_recording_ends_with_its_block() -> None:
    """After the block, calls are the interpreter's own again, also where undefined behaviour ended it."""
    py = Interpreter("cpython-3.13")
    before = py.function(lambda op: 0)
    cap = py.PyCapsule_New(py.malloc(1), NULL, before)
    tape = Recording(py)
    with tape, pytest.raises(RuntimeError, match="recorded already"), Recording(py):
        pass
    assert not [name for name, value in vars(py).items() if hasattr(value, "__recorded__")]
    with tape:
        py.Py_DECREF(cap)
    with pytest.raises(UndefinedBehavior), tape:
        py.PyCapsule_GetName(cap)
    assert not [name for name, value in vars(py).items() if hasattr(value, "__recorded__")]
    assert py.functions[before].call.__name__ == "<lambda>"
    count = len(tape.tape.moments)
    py.malloc(1)
    assert len(tape.tape.moments) == count
    assert "undefined: use-after-free" in str(tape)
    assert "use-after-free" in texts(taken_apart(tape._repr_svg_()))


def test_long_recording_is_cut_in_its_middle() -> None:
    """Of five hundred calls the first and the last are drawn, and the picture says how many are not."""
    py = Interpreter("cpython-3.13")
    cap, _, _ = a_capsule(py)
    with Recording(py) as tape:
        for _ in range(500):
            py.Py_INCREF(cap)
    assert "… 452 more …" in str(tape)
    assert "… 452 more …" in texts(taken_apart(tape._repr_svg_()))


def vectors_in(file: str) -> dict[str, dict[str, object]]:
    """Return the vectors of a committed file by id."""
    found = json.loads((ROOT / "specs" / "vectors" / file).read_text(encoding="utf-8"))
    return {vector["id"]: vector for vector in found["vectors"]}


def test_time_line_of_a_vector_speaks_its_names() -> None:
    """A vector's run is told with its tokens: its steps as C, those of its destructor inside, and what came of them."""
    vector = vectors_in("capsule/destructor.json")["capsule.destructor.sees-last-fields"]
    picture = timeline(vector, "cpython-3.13")
    lines = str(picture).splitlines()
    assert lines[0] == "capsule.destructor.sees-last-fields"
    assert any(line.startswith('c = PyCapsule_New(p, "a", d)') and "c 1: program" in line for line in lines)
    assert any(line.startswith("  d(c)") for line in lines)
    assert any(line.startswith('    PyCapsule_GetPointer(self, "b")') and "→ q" in line for line in lines)
    assert "c" in texts(taken_apart(picture.svg))


@pytest.mark.parametrize("chapter", ["undefined", "threads", "import", "unraisable"])
def test_every_vector_has_a_time_line(chapter: str) -> None:
    """Runs that end undefined, on threads, or in imports are drawn; the time line ends as the run does."""
    profile = profile_named("cpython-3.13-free-threaded")
    for vector in vectors_in(f"capsule/{chapter}.json").values():
        picture = timeline(vector, profile)
        taken_apart(picture.svg)
        seen = run(vector, profile)
        told = "undefined: " in str(picture)
        assert told == (seen.diagnosis is not None), vector["id"]
        assert seen.diagnosis is None or f"undefined: {seen.diagnosis.kind}" in str(picture)


def test_bad_vector_is_refused_in_one_line() -> None:
    """A vector that makes no sense is a ValueError with its id and step, and no other exception."""
    vector = {"id": "a.b", "steps": [{"op": "PyCapsule_GetName", "args": {"capsule": {"ref": "nobody"}}}]}
    with pytest.raises(ValueError, match=r"^a\.b: step 0: nothing is bound as 'nobody'$"):
        timeline(vector)


def test_pictures_need_the_standard_library_alone() -> None:
    """All pictures are drawn where no site packages exist: as in a browser, where nothing can be installed."""
    code = (
        "import sys; from capsule_model import Interpreter; from capsule_model.show import Recording, timeline\n"
        "py = Interpreter()\n"
        "with Recording(py) as tape: cap = py.PyCapsule_New(py.malloc(1), 0, 0)\n"
        "py._repr_html_(); tape._repr_html_(); py.picture(cap)\n"
        "timeline({'id': 'a', 'steps': [{'op': 'malloc', 'args': {'size': 1}}]})\n"
        "from dlpack_model.examples import examples; examples()\n"
        "print(sorted({'click', 'rich', 'jinja2', 'hypothesis', 'ctypes'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")


def test_model_does_not_load_pictures() -> None:
    """A process that shows nothing imports nothing of them."""
    code = "import sys, capsule_model, dlpack_model; print([m for m in sys.modules if 'pictures' in m or 'xml' in m])"
    ran = subprocess.run(
        [sys.executable, "-S", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert (ran.stdout, ran.stderr) == ("[]\n", "")
