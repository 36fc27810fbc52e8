"""The page to step through, in a real Chromium: keys, what is shown at each step, focus, names, hostile texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from browser import DOWN, END, HOME, LEFT, RIGHT, SHIFT, SPACE, TAB, UP, Browser, started

from capsule_model.cli import run as run_command
from capsule_model.conform.commands import known_names
from capsule_model.conform.explain import profile_for
from capsule_model.conform.words import call_text, error_text, value_text
from capsule_model.suites import vectors_of
from capsule_model.trace.execute import run
from capsule_model.trace.files import Vector, load

# What a reader sees of the present moment, for comparison.
SEEN = """
const text = (id) => document.getElementById(id).textContent;
const cards = [...document.querySelectorAll(".card:not(.gone)")].map((card) => [
  card.querySelector(".label").textContent,
  Object.fromEntries([...card.querySelectorAll("dl > div")].map((row) => [
    row.querySelector("dt").textContent, (row.querySelector("ins") ?? row.querySelector("dd")).textContent])),
]);
return {
  fragment: document.querySelector("[aria-current]").getAttribute("href"),
  error: text("error"), called: text("called"), live: text("live"), position: text("position"),
  told: [...document.querySelectorAll("#told:not([hidden]) li")].map((line) => line.textContent),
  changes: [...document.querySelectorAll("#changes li")].map((line) => line.textContent),
  marked: [...document.querySelectorAll(".card.new, .card.changed, .card.now")].length,
  cards, all: document.querySelector("main").textContent, current: document.querySelectorAll("[aria-current]").length,
};
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return the browser of this module."""
    yield from started()


def longest(suite: str, count: int = 10) -> list[Vector]:
    """Return the vectors of a suite with the most steps, those of their functions included."""

    def steps(vector: Vector) -> int:
        return len(vector["steps"]) + sum(len(one.get("steps", ())) for one in vector.get("functions", {}).values())

    return sorted(load(vectors_of(suite), known_names()).vectors, key=steps, reverse=True)[:count]


def written(folder: Path, *vectors: dict[str, Any]) -> Path:
    """Write vectors and their page; return the page."""
    source, page = folder / "vectors.json", folder / "page.html"
    source.write_text(json.dumps({"format": 1, "vectors": vectors}))
    assert run_command(["explain", str(source), "--html", str(page)]) == 0
    return page


def went(browser: Browser, fragment: str) -> None:
    """Change the page's address, and wait until the page has followed."""
    browser.run("location.hash = arguments[0]", fragment)
    browser.until(f"return document.querySelector('[aria-current]').getAttribute('href') === {json.dumps(fragment)}")


def walked(browser: Browser, key: str) -> list[dict[str, Any]]:
    """Return what is seen at every moment from here on, pressing a key until nothing changes any more."""
    seen = [browser.run(f"window.seen = () => {{ {SEEN} }}; window.log = []; return seen();")]
    browser.run("document.onkeyup = () => log.push(seen());")
    number, count = map(int, seen[0]["position"].split(" of "))
    browser.press(key * (count - number if key == RIGHT else number - 1))
    return seen + list(browser.run("document.onkeyup = null; return log;"))


@pytest.mark.parametrize("suite", ["capsule", "dlpack"])
def test_what_is_shown_is_what_the_model_says(browser: Browser, tmp_path: Path, suite: str) -> None:
    """In the ten longest vectors, each moment shows the model's state, on the way there and on the way back."""
    vectors = longest(suite)
    page = written(tmp_path, *vectors)
    browser.open(page)
    for vector in vectors:
        went(browser, f"#{vector['id']}/start")
        assert browser.run("return document.getElementById('vector').value") == vector["id"]
        there = walked(browser, RIGHT)
        assert there[0]["fragment"] == f"#{vector['id']}/start"
        _compare(vector, there)
        back = walked(browser, LEFT)
        assert [moment["all"] for moment in back] == [moment["all"] for moment in reversed(there)]
        assert [moment["error"] for moment in back] == [moment["error"] for moment in reversed(there)]
    assert browser.heard() == ([], [page.as_uri()])


def _compare(vector: Vector, seen: list[dict[str, Any]]) -> None:
    """Hold what was seen against a run on the model that nobody looked at."""
    plain = run(vector, profile_for(vector, None), states=True)
    ends = {moment["fragment"].partition("step-")[2]: moment for moment in seen}
    for index, (observation, state) in enumerate(zip(plain.steps, plain.states, strict=True)):
        moment = ends[str(index)]
        error = observation["error"]
        wanted = "○ no error" if error is None else f"✗ {error_text({key: error[key] for key in ('type', 'text')})}"
        assert moment["error"] == wanted
        assert call_text(vector["steps"][index]) in moment["called"]
        assert f". Error indicator: {wanted[2:]}. " in moment["live"]
        assert moment["current"] == 1
        if "return" in observation:
            assert f"returns {value_text(observation['return'])}" in moment["told"]
        cards = dict(moment["cards"])
        for token, fields in state.items():
            if "refcnt" in fields:
                assert cards[token]["ob_refcnt"] == str(fields["refcnt"])
                names = ("pointer", "name", "context", "destructor")
                pairs = [(cards[token][name], value_text(fields[name])) for name in names]
                assert all(shown.startswith(word) for shown, word in pairs if "?" not in word)
        assert (moment["marked"] > 0) == (moment["changes"] != ["nothing"])
    if plain.diagnosis is not None:
        assert seen[-1]["told"][0].startswith(f"{plain.diagnosis.kind}: ")
    else:
        assert seen[-1]["told"] == [f"still owned: {', '.join(plain.leaks) or 'nothing'}"]


def new(name: str = "c", text: str = "mod.attr") -> dict[str, Any]:
    """Return a step that makes a capsule."""
    args = {"pointer": {"ptr": "p1"}, "name": {"cstr": text}, "destructor": {"function": "d"}}
    return {"op": "PyCapsule_New", "args": args, "bind": name}


def vector(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return a vector of these steps, with a destructor that leaves an error."""
    leaves = {"op": "PyErr_SetString", "args": {"type": {"cstr": "KeyError"}, "message": {"cstr": "k"}}, "leave": True}
    return {
        "id": "test.page",
        "title": "a page",
        "rules": ["PyCapsule_New/returns-capsule"],
        "functions": {"d": {"kind": "destructor", "steps": [leaves]}},
        "steps": list(steps),
    } | more


DIES = [
    new(),
    {"op": "PyCapsule_SetContext", "args": {"capsule": {"ref": "c"}, "context": {"ptr": "p2"}}},
    {"op": "Py_DECREF", "args": {"op": {"ref": "c"}}},
]


def test_every_way_to_step(browser: Browser, tmp_path: Path) -> None:
    """Arrows, space, Home, End, buttons, slider and the lines of the code lead to moments; the ends are ends."""
    browser.open(written(tmp_path, vector(*DIES)))

    def at() -> str:
        return str(browser.run("return document.querySelector('[aria-current]').getAttribute('href')"))

    assert at() == "#start"
    browser.press(RIGHT)
    assert at() == "#step-0"
    browser.press(SPACE)
    assert at() == "#step-1"
    browser.driver.switch_to.active_element.send_keys(SHIFT, SPACE)
    assert at() == "#step-0"
    browser.press(END)
    assert at() == "#end"
    browser.press(RIGHT)
    assert at() == "#end"
    assert browser.run("return document.getElementById('next').getAttribute('aria-disabled')") == "true"
    browser.press(HOME + LEFT)
    assert at() == "#start"
    for button, place in [("next", "#step-0"), ("last", "#end"), ("back", "#step-2"), ("first", "#start")]:
        browser.run("document.getElementById(arguments[0]).focus()", button)
        browser.press(SPACE)
        assert at() == place
        assert browser.run("return document.activeElement.id") == button
    browser.run("document.getElementById('slider').focus()")
    browser.press(RIGHT + RIGHT)
    assert at() == "#step-1"
    assert "2 of" not in browser.run("return document.getElementById('slider').getAttribute('aria-valuetext')")
    browser.run("document.querySelector('#steps a[href=\"#step-2/d.1/0\"]').click()")
    assert at() == "#step-2/d.1/0"
    browser.press(DOWN + DOWN + UP)
    assert at() == "#step-2/d.1/end"
    assert browser.run("return document.activeElement.getAttribute('href')") == "#step-2/d.1/end"


def test_the_address_names_the_moment(browser: Browser, tmp_path: Path) -> None:
    """A fragment opens its step, loading again stays there, and one that names nothing opens the start."""
    page = written(tmp_path, vector(*DIES))
    browser.open(page, "#step-2/d.1/0")
    assert browser.run(SEEN)["error"] == "✗ KeyError \"'k'\""
    browser.press(LEFT)
    browser.until("return location.hash === '#step-2/d.1'")
    browser.driver.refresh()
    seen = browser.run(SEEN)
    assert (seen["fragment"], seen["called"]) == ("#step-2/d.1", "in step 2: d(c) is called, reference count 0")
    browser.open(page, "#step-99/%zz")
    assert browser.run(SEEN)["position"] == "1 of 9"


def test_what_changed_is_said_and_marked(browser: Browser, tmp_path: Path) -> None:
    """A changed field has its old and its new value in text, a mark that is no colour, and is told to who listens."""
    browser.open(written(tmp_path, vector(*DIES)), "#step-1")
    seen = browser.run(SEEN)
    assert seen["changes"][1] == "c.context: NULL → p2"
    assert "Changed: p2 is new; c.context: NULL → p2" in seen["live"]
    row = "document.querySelector('.card.changed .is-changed')"
    assert browser.run(f"return [...{row}.querySelectorAll('dd > *')].map((one) => one.tagName + one.textContent)") == [
        "DELNULL",
        "INSp2",
    ]
    assert browser.run(f"return getComputedStyle({row}.firstChild, '::before').content") == '"● "'
    assert browser.run("return document.getElementById('live').getAttribute('aria-live')") == "polite"
    went(browser, "#step-2")
    gone = browser.run("return document.querySelector('.card.gone.now .badge').textContent")
    assert gone == "gone at step 2"
    browser.press(RIGHT)
    browser.run("document.querySelector('details summary').click()")
    browser.until("return document.querySelector('details .card.gone .label')?.textContent === 'c'")
    browser.press(LEFT)
    assert browser.run("return document.querySelectorAll('details .card').length") == 0


def test_the_error_indicator_stays_in_view(browser: Browser, tmp_path: Path) -> None:
    """However far the page is scrolled, wide or narrow, the error indicator is on the screen."""
    browser.open(written(tmp_path, vector(*[new(f"c{number}") for number in range(40)])), "#end")
    for width in (1400, 800, 360):
        browser.protocol(
            "Emulation.setDeviceMetricsOverride", width=width, height=700, deviceScaleFactor=1, mobile=False
        )
        browser.run("window.scrollTo(0, 3000)")
        box = "document.getElementById('indicator').getBoundingClientRect()"
        top, bottom = browser.run(f"return [{box}.top, {box}.bottom]")
        assert 0 <= top < bottom <= 700
        assert browser.run("return document.documentElement.scrollWidth") <= width
    browser.protocol("Emulation.clearDeviceMetricsOverride")


def test_rules_are_quoted_and_lead_to_the_book(browser: Browser, tmp_path: Path) -> None:
    """The rules of a moment stand with level, sentence and source; a link leads to the rule, and back to its steps."""
    browser.open(written(tmp_path, vector(*DIES)), "#step-2/d.1")
    rule = browser.run(
        "return document.querySelector('#rules a[href=\"#rule-dealloc/calls-destructor\"]').closest('li').innerText"
    )
    assert "MUST" in rule
    assert "source: Objects/capsule.c" in rule
    browser.run("document.querySelector('#rules a[href=\"#rule-dealloc/calls-destructor\"]').click()")
    browser.until("return document.activeElement.id === 'rule-dealloc/calls-destructor'")
    browser.press(HOME)
    browser.run("document.activeElement.querySelector('a').click()")
    browser.until("return document.querySelector('[aria-current]').getAttribute('href') === '#step-2/d.1'")


def test_by_keyboard_alone(browser: Browser, tmp_path: Path) -> None:
    """Tab goes through all controls in the order of the page, the list of steps is one stop, and out at the end."""
    browser.open(written(tmp_path, vector(*DIES), vector(*DIES, id="test.second")))
    order = []
    for _ in range(60):
        browser.press(TAB)
        order.append(
            browser.run("const a = document.activeElement; return a.id || a.getAttribute('href') || a.tagName")
        )
        if order[-1] == "BODY":
            break
    assert order[:8] == ["#happened", "vector", "first", "back", "next", "last", "slider", "#test.page/start"]
    assert order[-1] == "BODY"
    stops = "return [...document.querySelectorAll('#steps a')].filter((row) => row.tabIndex === 0).length"
    assert browser.run(stops) == 1


def test_every_control_has_a_name(browser: Browser, tmp_path: Path) -> None:
    """What can be used, and every landmark, has a name and a role for a screen reader; headings do not skip a level."""
    browser.open(written(tmp_path, vector(*DIES), vector(*DIES, id="test.second")), "#test.page/step-2")
    nodes = browser.protocol("Accessibility.getFullAXTree")["nodes"]
    named = {
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node.get("ignored")
    }
    controls = ("button", "link", "slider", "combobox", "region", "navigation", "heading", "DisclosureTriangle")
    assert not [role for role, name in named if role in controls and not name]
    for wanted in [
        ("navigation", "Steps"),
        ("region", "Error indicator"),
        ("region", "Code"),
        ("region", "What happened"),
        ("region", "Memory"),
        ("combobox", "Vector"),
        ("slider", "Moment"),
        ("button", "Next"),
    ]:
        assert wanted in named
    assert {"main", "banner", "contentinfo", "status"} <= {role for role, _ in named}
    levels = browser.run("return [...document.querySelectorAll('h1, h2, h3, h4')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_nothing_moves_for_who_does_not_want_it(browser: Browser, tmp_path: Path) -> None:
    """With reduced motion asked for, nothing is animated."""
    browser.protocol("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    browser.open(written(tmp_path, vector(*DIES)))
    still = "getComputedStyle(one).transitionDuration === '0s'"
    moving = f"return [...document.querySelectorAll('*')].filter((one) => !({still})).length"
    assert browser.run(moving) == 0
    browser.protocol("Emulation.setEmulatedMedia", features=[])
    assert browser.run(moving) > 0


HOSTILE = "</script><img src=x onerror=alert(1)><!--\u2028\u202e'\"`${alert(1)}"


def test_hostile_texts_are_texts(browser: Browser, tmp_path: Path) -> None:
    """Names, titles, messages and attributes made to break out of a page are shown and do nothing."""
    modules = {"m<b>": {"loaded": True, "attrs": {"__proto__": {"object": "int"}, HOSTILE: {"object": "str"}}}}
    say = {"type": {"cstr": "ValueError"}, "message": {"cstr": HOSTILE}}
    page = written(
        tmp_path,
        vector(
            new(text=HOSTILE),
            {"op": "PyErr_SetString", "args": say, "note": HOSTILE},
            {"op": "import", "args": {"module": {"cstr": "__proto__"}}},
            *DIES[1:],
            modules=modules,
            title=HOSTILE,
        ),
        vector(*DIES, id="constructor.prototype"),
    )
    browser.open(page, "#test.page/step-1")
    seen = browser.run(SEEN)
    assert "</script><img src=x onerror=alert(1)><!--" in seen["error"]
    assert ".__proto__" in dict(seen["cards"])["m<b>"]
    browser.press(END)
    browser.press(HOME)
    walked(browser, RIGHT)
    assert browser.run("return document.querySelectorAll('script').length") == 2
    assert browser.run("return document.querySelectorAll('img, b:not(#indicator b), iframe, object').length") == 0
    went(browser, "#constructor.prototype/end")
    assert browser.run(SEEN)["told"] == ["still owned: nothing"]
    assert browser.heard() == ([], [page.as_uri()])


def test_a_thousand_steps(browser: Browser, tmp_path: Path) -> None:
    """A page of a thousand steps is under a megabyte, opens at its last, and draws what went when asked."""
    steps: list[dict[str, Any]] = []
    for number in range(250):
        name = f"c{number}"
        steps += [new(name), {"op": "PyCapsule_GetName", "args": {"capsule": {"ref": name}}}]
        wrong = {"capsule": {"ref": name}, "name": {"cstr": "wrong"}}
        steps += [{"op": "PyCapsule_GetPointer", "args": wrong}, {"op": "Py_DECREF", "args": {"op": {"ref": name}}}]
    page = written(tmp_path, vector(*steps, functions={"d": {"kind": "destructor", "max_calls": 1000, "steps": []}}))
    size = page.stat().st_size
    assert len(steps) == 1000
    assert size < 1_000_000
    opened = []
    for fragment in ("", "#step-999"):
        browser.open(page, fragment)
        entry = "performance.getEntriesByType('navigation')[0].loadEventEnd"
        opened.append(browser.run(f"return {entry}"))
    assert browser.run(SEEN)["called"] == "step 999: Py_DECREF(c249) ends"
    buried = "document.querySelectorAll('.card.gone:not(.now)').length"
    assert browser.run(f"return {buried}") == 0
    browser.run("document.querySelector('details summary').click()")
    browser.until(f"return {buried} === 249")
    empty = written(tmp_path, vector(new()))
    browser.open(empty)
    least = browser.run(f"return {entry}")
    print(
        f"1000 steps: {size} bytes; loaded in {opened[0]:.0f} ms, at the end in {opened[1]:.0f} ms; one: {least:.0f} ms"
    )
