"""Results as one HTML page: whole, readable, linked, and safe whatever an adapter printed."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from html.parser import HTMLParser
from pathlib import Path

from result_samples import LINK, compared, declared, failed, hostile, lacking, passed, result

from capsule_model.show.html import html

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "br"}


class Page(HTMLParser):
    """A page taken apart: elements with their attributes, cells by row, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.styles = ""
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and where a table, a row or a cell begins."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """See that elements end in order."""
        while self.open and self.open[-1] in ("p", "li") and tag not in ("p", "li"):
            raise AssertionError(f"{self.open[-1]} is left open at {self.getpos()}")
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        """Collect text, that of cells and styles apart."""
        if "style" in self.open:
            self.styles += data
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.tables[-1][-1][-1] += data + " "

    def values(self, name: str) -> list[str]:
        """Return the values of the attribute `name`."""
        return [value or "" for _, attributes in self.elements for key, value in attributes.items() if key == name]


def page_of(tmp_path: Path, **results: object) -> Page:
    """Return the page of `results`, taken apart."""
    page = Page(html(compared(tmp_path, **results)))
    assert page.open == []
    return page


MIXED = {
    "cp313": result(passed("capsule.one.a"), passed("capsule.one.b"), passed("capsule.two.a")),
    "pypy39": result(
        passed("capsule.one.a"),
        declared("capsule.one.b", "by-design", "`Py_DECREF` waits", LINK),
        failed("capsule.two.a", detail="why it failed"),
        lacking("capsule.two.b", "layout"),
        {"id": "capsule.three.a", "outcome": "undefined", "rules": []},
        about={"name": "pypy", "version": "7.3", "absent": {"layout": "no structs"}},
    ),
}


def cells(page: Page, table: int) -> dict[str, list[str]]:
    """Return the cells of each row of a table by its heading, without needless space."""
    rows = [[" ".join(cell.split()) for cell in row] for row in page.tables[table]]
    return {row[0]: row[1:] for row in rows}


def test_summary_and_chapters(tmp_path: Path) -> None:
    """Rule coverage stands on top; a cell says in marks and words what became of its vectors."""
    page = page_of(tmp_path, **MIXED)
    summary, chapters = cells(page, 0), cells(page, 1)
    assert summary["pypy39 pypy 7.3 cpython-3.13"] == ["3 of 4 75 %", "1 of 4", "○ 1", "≈ 1", "0", "0", "✗ 1"]
    assert chapters["chapter"] == ["cp313 sample 1.0 cpython-3.13", "pypy39 pypy 7.3 cpython-3.13"]
    assert chapters["one"] == ["✓ 2", "✓ 1 ≈ 1 by design"]
    assert chapters["two"] == ["✓ 1", "✗ 1 unexpected ○ 1 unsupported"]
    assert chapters["three"] == ["-", "·"]
    assert chapters["all"] == ["✓ 3", "✓ 1 ✗ 1 unexpected ≈ 1 by design ○ 1 unsupported"]
    classes = [attributes["class"] for tag, attributes in page.elements if tag == "td" and "title" in attributes]
    assert classes == ["passed", "by-design", "quiet", "quiet", "passed", "unexpected", "passed", "unexpected"]


def test_links_lead_somewhere(tmp_path: Path) -> None:
    """Every cell with vectors leads to notes that exist, and ids occur once."""
    bad = result(passed("c.one.a"), failed("c.two.a"))
    page = page_of(tmp_path, **MIXED, **{"a-one": bad, "A-one": bad, "a": bad})
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    inside = [link[1:] for link in page.values("href") if link.startswith("#")]
    assert set(inside) <= set(ids)
    assert {"pypy39:capsule.one", "pypy39:capsule.two", "cp313", "a:c.two"} <= set(inside)


def test_notes(tmp_path: Path) -> None:
    """The notes give class, reason, source and vectors; of what nobody declared, each side's words."""
    page = page_of(tmp_path, **MIXED)
    text = " ".join(page.text.split())
    assert "≈ by design, 1 vector: Py_DECREF waits (example.org/why#here) capsule.one.b" in text
    assert "○ unsupported, 1 vector lacks layout: no structs capsule.two.b" in text
    assert "capsule.two.a failed: why it failed step 0: returnexpectedp1modelp1seenp2" in text
    assert "1 vector ending in undefined behaviour, which only the model ran" in text
    assert ("a", {"href": LINK, "rel": "noopener noreferrer"}) in page.elements


def test_suspects(tmp_path: Path) -> None:
    """What failed everywhere is listed, and marked in the chapters and in the notes."""
    bad = result(passed("c.one.a"), failed("c.two.a"))
    page = page_of(tmp_path, a=bad, b=bad)
    text = " ".join(page.text.split())
    assert "c.two.a: a failed, b failed" in text
    assert "two suspect" in cells(page, 1)
    assert "c.two.a (suspect) failed" in text
    assert "_suspect" not in page_of(tmp_path, a=bad).values("id")


def test_other_vectors_are_marked(tmp_path: Path) -> None:
    """A column of other vectors says so in its heading, and the page above the tables."""
    good = result(passed("c.one.a"))
    other = result(passed("c.one.a"), specification={"version": "0", "vectors": "f" * 16})
    page = page_of(tmp_path, a=good, b=good, c=other)
    assert "c sample 1.0 cpython-3.13 other vectors" in cells(page, 1)["chapter"]
    assert "Their figures do not compare." in page.text


def test_self_contained(tmp_path: Path) -> None:
    """The page loads nothing, runs nothing, forbids both, and fits the width of a phone."""
    page = page_of(tmp_path, **MIXED)
    policies = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in page.elements
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "svg"}
    assert "src" not in {key for _, attributes in page.elements for key in attributes}
    assert not re.search(r"url\(|@import|expression", page.styles)
    assert "prefers-color-scheme: dark" in page.styles
    wide = [attributes for tag, attributes in page.elements if attributes.get("class") == "wide"]
    assert len(wide) == len(page.tables) == 2


def test_hostile_texts(tmp_path: Path) -> None:
    """Hostile texts are shown, cut, and do nothing: no element, attribute or link comes from them."""
    known = page_of(tmp_path, **MIXED)
    comparison = compared(tmp_path, nice=MIXED["cp313"], strange=hostile())
    text = html(comparison)
    page = Page(text)
    assert page.open == []
    allowed = {tag for tag, _ in known.elements}
    assert {tag for tag, _ in page.elements} <= allowed
    attributes = {key for _, found in page.elements for key in found}
    assert attributes <= {key for _, found in known.elements for key in found}
    assert not [key for key in attributes if key.startswith("on")]
    outside = {link for link in page.values("href") if not link.startswith("#")}
    assert outside == {"https://example.org/(<script>)[x]|`'\"&copy;"}
    assert text.count("</style>") == 1
    assert "<script" not in text
    assert "</style><script>alert(1)</script> \"'><img src=x onerror=alert(1)>" in page.text
    assert "# h \\u202e" in page.text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text) < 150_000


def test_long_lists_are_cut(tmp_path: Path) -> None:
    """Divergences beyond the first ones of a chapter are named and not explained."""
    many = result(passed("c.a.good"), *(failed(f"c.a.v{index}") for index in range(40)))
    page = page_of(tmp_path, a=many)
    assert page.text.count("step 0: return") == 25
    assert all(f"c.a.v{index}" in page.text for index in range(40))


def test_wheel_carries_the_template(tmp_path: Path) -> None:
    """The template is no Python file, and travels with the package all the same."""
    code = f"import hatchling.build as b; print(b.build_wheel({str(tmp_path)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(tmp_path / done.stdout.split()[-1]) as archive:
        assert "capsule_model/show/report.html.jinja" in archive.namelist()
