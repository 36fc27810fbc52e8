"""Two consumers of one capsule in all schedules, and the scheduler that makes them."""

from __future__ import annotations

import threading
from math import comb

import pytest

from capsule_model import Interpreter
from dlpack_model.consumer import CONSUMERS
from dlpack_model.exchange import Exchange
from dlpack_model.interleave import STYLES, explore, importing, main, splitter
from dlpack_model.schedule import Stuck, Task, Watched, point

PLAIN = STYLES["rename-only"].task


def _calls(count: int) -> Task:
    """Return a task of so many calls that change nothing."""

    def task(ex: Exchange, capsule: int) -> None:
        for _ in range(count):
            ex.py.PyCapsule_GetContext(capsule)

    return task


@pytest.mark.parametrize(("mine", "others"), [(1, 1), (2, 2), (3, 3), (1, 4)])
def test_every_schedule_is_run_once(mine: int, others: int) -> None:
    """Calls of two threads can be put in so many orders, and no order comes twice."""
    seen: set[tuple[str, ...]] = set()

    def telling(count: int, name: str) -> Task:
        def task(ex: Exchange, capsule: int) -> None:
            for _ in range(count):
                ex.py.PyCapsule_GetContext(capsule)
                order.append(name)
            if len(order) == mine + others:
                seen.add(tuple(order))
                order.clear()

        return task

    order: list[str] = []
    explored = explore(telling(mine, "A"), telling(others, "B"), gil=False)
    assert explored.schedules == comb(mine + others, mine) == len(seen)
    # Neither consumes the capsule, whose destructor then deletes.
    assert explored.safe == explored.schedules


def test_interruptions_can_be_bounded() -> None:
    """Without any, each thread runs to its end; with one, the first can be left once at each of its calls."""
    counts = [explore(_calls(3), gil=False, most_switches=most).schedules for most in (0, 1, 2, 99)]
    assert counts[0] == 2
    assert counts == sorted(set(counts))
    assert counts[-1] == comb(6, 3)


def test_with_the_gil_a_consumer_that_calls_no_python_is_safe() -> None:
    """Between the pointer and the new name no other thread runs: the second consumer refuses."""
    for name in ("rename-only", "rename-first", "clears-destructor", "internal-capsule"):
        explored = explore(STYLES[name].task, gil=True)
        assert (explored.schedules, explored.safe, dict(explored.broken)) == (2, 2, {}), name


def test_with_the_gil_python_code_is_where_threads_change() -> None:
    """Python code, or the GIL let go, before the new name lets the other consume as well; behind it, it does not."""
    twice = explore(STYLES["rename-last, calls Python"].task, gil=True)
    assert twice.broken["deleter-called-twice"] == twice.schedules - twice.safe > 0
    assert "A: Python code, in from_dlpack" in twice.shortest["deleter-called-twice"].lines
    assert explore(STYLES["rename-first, calls Python"].task, gil=True).harm == []
    assert explore(STYLES["releases the GIL"].task, gil=True).harm == ["use-after-deleter"]


def test_free_threaded_two_renaming_consumers_delete_twice() -> None:
    """Of all schedules, the shortest that deletes twice has two switches, and each thread sees the old name."""
    explored = explore(PLAIN, gil=False)
    assert explored.schedules == explored.safe + explored.broken["deleter-called-twice"]
    assert explored.broken["deleter-called-twice"] > explored.schedules // 4
    shortest = explored.shortest["deleter-called-twice"]
    assert shortest.switches == 2
    valid = [line for line in shortest.lines if "IsValid" in line]
    assert valid == [f'{thread}: PyCapsule_IsValid(capsule, "dltensor_versioned") = 1' for thread in "AB"]
    assert shortest.lines[-1] == "A: Py_DECREF(rename-only's view)"
    assert len(shortest.lines) == 12


def test_free_threaded_only_two_styles_do_no_harm() -> None:
    """Who keeps the capsule as the owner, and who holds a critical section, is safe; all others are not."""
    harmless = {name for name, style in STYLES.items() if not explore(style.task, gil=False, most_switches=2).harm}
    assert harmless == {"keeps-capsule", "critical section"}


def test_a_splitter_never_deletes_twice_and_may_leak() -> None:
    """What reads and writes of a capsule can do: at most one consumer gets the tensor, and sometimes nobody."""
    explored = explore(splitter, gil=False)
    assert set(explored.broken) == {"no-owner", "leak"}
    assert 0 < explored.safe < explored.schedules
    assert explored.shortest["leak"].switches == 2
    assert explore(splitter, gil=True).safe == 2


def test_a_critical_section_helps_nobody_alone() -> None:
    """One consumer that holds it is not safe from another that does not."""
    both = explore(STYLES["critical section"].task, gil=False, most_switches=3)
    assert both.safe == both.schedules
    mixed = explore(STYLES["critical section"].task, PLAIN, gil=False, most_switches=2)
    assert "deleter-called-twice" in mixed.harm


def test_each_thread_has_an_error_indicator_of_its_own() -> None:
    """An exception of one thread is not seen by the other, nor by the one that waits for both."""
    seen: list[str | None] = []

    def fails(ex: Exchange, capsule: int) -> None:
        ex.set_error("KeyError", "k")
        point(ex, "lets go of the GIL")
        seen.append(ex.py.PyErr_Occurred())

    def looks(ex: Exchange, capsule: int) -> None:
        seen.append(ex.py.PyErr_Occurred())

    for gil in (True, False):
        seen.clear()
        assert explore(fails, looks, gil=gil).harm == []
        assert {None, "KeyError"} == set(seen)
        assert seen.count(None) == seen.count("KeyError")


def test_only_a_watched_process_has_points() -> None:
    """The interpreter itself is not changed, and a watched one without a schedule does as it does."""
    assert Interpreter.PyCapsule_IsValid is not Watched.PyCapsule_IsValid
    assert "schedule" not in Interpreter.PyCapsule_IsValid.__code__.co_names
    py = Watched("cpython-3.13")
    name = py.cstring("n")
    capsule = py.PyCapsule_New(0x1000, name, 0)
    assert py.PyCapsule_GetPointer(capsule, name) == 0x1000
    point(Exchange(py), "nothing")


def test_a_task_that_blocks_is_told() -> None:
    """A thread that does not come back is no deadlock of the one that waits for it."""
    release = threading.Event()

    def blocks(ex: Exchange, capsule: int) -> None:
        release.wait()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dlpack_model.schedule.SECONDS", 0.05)
        with pytest.raises(Stuck, match="did not end"):
            explore(blocks, PLAIN, gil=False)
    release.set()


def test_a_task_that_fails_is_told_and_leaves_no_thread() -> None:
    """An exception of Python's own comes through, and all threads have ended by then."""
    before = threading.active_count()

    def fails(ex: Exchange, capsule: int) -> None:
        ex.py.PyCapsule_GetName(capsule)
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"):
        explore(fails, importing(CONSUMERS["rename-only"]), gil=False)
    assert threading.active_count() == before


def test_the_command_prints_what_it_found(capsys: pytest.CaptureFixture[str]) -> None:
    """Figures for each style and build, and the shortest schedule that deletes twice, as lines."""
    assert main(["rename-only", "--build", "gil"]) == 0
    assert capsys.readouterr().out == "rename-only, with the GIL: 2 schedules, 2 without fault; nothing broken\n"
    assert main(["rename-last, calls Python", "--build", "gil"]) == 1
    out = capsys.readouterr().out
    assert "deleter-called-twice in 15 steps with 2 switches:" in out
    assert '    B: PyCapsule_SetName(capsule, "used_dltensor_versioned") = 0\n' in out
    for wrong in (["nobody"], ["--most-switches", "-1"]):
        with pytest.raises(SystemExit) as usage:
            main(wrong)
        assert usage.value.code == 2
