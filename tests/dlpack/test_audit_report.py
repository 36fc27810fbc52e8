"""Audits shown: the numbers and findings a maintainer looks for, links that lead somewhere, texts that do nothing."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from audit_samples import COPY_FALSE, HOSTILE, LINK, audit, finding, hostile, report, result, sample
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.console import Console

from capsule_model.locate import specs
from capsule_model.trace.schema import Validator
from dlpack_model.audit.expected import Known, known_key
from dlpack_model.audit.markup import cell, prose
from dlpack_model.audit.outcome import Pair, Report
from dlpack_model.audit.page_html import as_html
from dlpack_model.audit.page_markdown import as_markdown, write_findings
from dlpack_model.audit.show import show
from dlpack_model.audit.view import in_order

WHY = Known("It is meant, says `dlpack.c`.", LINK)
VOID = {"meta", "br"}


def parsed(text: str) -> list[Token]:
    """Return the tokens of ``text`` as GitHub reads it: with tables, and HTML where there is some."""
    return MarkdownIt("gfm-like", {"linkify": False}).parse(text)


def inline(tokens: list[Token]) -> list[Token]:
    """Return what is inside paragraphs, headings and cells, one after the other."""
    return [child for token in tokens if token.type == "inline" for child in token.children or ()]


def headings(tokens: list[Token]) -> list[str]:
    """Return the texts of the headings."""
    return [
        "".join(child.content for child in token.children or ())
        for before, token in pairwise(tokens)
        if before.type == "heading_open"
    ]


def anchors(file_or_text: str) -> list[str]:
    """Return the anchors of all headings, as GitHub makes them of their texts."""
    found: list[str] = []
    for heading in headings(parsed(file_or_text)):
        slug = unique = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        count = 0
        while unique in found:
            count += 1
            unique = f"{slug}-{count}"
        found.append(unique)
    return found


def links(tokens: list[Token]) -> list[str]:
    """Return where the links lead."""
    return [str(token.attrs["href"]) for token in inline(tokens) if token.type == "link_open"]


def rows(text: str) -> list[list[str]]:
    """Return the rows of all tables by cell, as they are written."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


class Page(HTMLParser):
    """A page taken apart: elements with their attributes, rows of cells, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.styles = ""
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element, and where a row or a cell begins."""
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        """See that elements end in order."""
        assert self.open.pop() == tag, self.getpos()

    def handle_data(self, data: str) -> None:
        """Collect text, that of cells and styles apart."""
        if "style" in self.open:
            self.styles += data
            return
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data

    def values(self, name: str) -> list[str]:
        """Return the values of the attribute ``name``."""
        return [value or "" for _, attributes in self.elements for key, value in attributes.items() if key == name]


def terminal(shown: Report, known: Any = None, width: int = 100) -> str:
    """Return what is printed of a report, without colours."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(shown, known or {}, console)
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def devices_known() -> dict[str, Known]:
    """Return the reasons of the sample's findings about devices."""
    return {known_key(one): WHY for one in sample().findings() if one.probe == "device"}


# What everybody looks for


def test_markdown_has_tables_that_count() -> None:
    """Library, version and Python with the number of each verdict, and findings by severity with links to them."""
    found = rows(as_markdown(sample(), {}))
    assert ["numpy", "2.4.6", "3.11.7", "producer, consumer", "1", "3", "1", "1", "0"] in found
    assert ["jax", "0.10.2", "[1](#crash)", "·", "·", "·", "[1](#contract)", "·"] in found
    assert ["torch", "2.14.0", "·", "[1](#double-free)", "·", "·", "·", "·"] in found


def test_pairs_that_go_wrong_stand_out() -> None:
    """A deleter that ran twice, wrong values and a crash are bold and explained; a refusal is explained."""
    text = as_markdown(sample(), {})
    found = rows(text)
    assert ["numpy", "views ·1", "views ·1", "**copies ·2**"] in found
    assert ["torch", "**views ·1, wrong values**", "**crashes**", "refuses"] in found
    assert ["jax", "views ·1", "·", "·"] in found
    assert "- **torch to numpy**, views: 0 1 2 became 0 2 1\n" in text
    assert "- jax refuses torch: `BufferError`: requires grad\n" in text
    page = Page(as_html(sample(), {}))
    loud = [attributes for tag, attributes in page.elements if tag == "strong"]
    assert len(loud) == 3
    assert ["torch", "views ·1, wrong values", "crashes", "refuses"] in page.rows


def test_a_finding_is_a_diagnosis() -> None:
    """A finding says which rule, with a link, what was seen, in which cases and versions, and which script shows it."""
    text = as_markdown(sample(), {})
    own = text[text.index("#### jax-copy-false") :].partition("\n#")[0]
    rule = "[`from_dlpack/copy-false`](../dlpack/copies-and-devices.md#from_dlpackcopy-false)"
    assert f"- **Rule** {rule} (MUST, consumer): {COPY_FALSE}\n" in own
    seen = "an array in memory of its own, and no exception (cases: int64, float64, complex128)"
    assert f"- **Seen**: {seen}\n" in own
    assert "- **Versions**: jax 0.10.2\n" in own
    assert "[dlpack-jax-copy-false.py](findings/dlpack-jax-copy-false.py)" in own
    shown = terminal(sample())
    for part in (
        "contract: jax-copy-false: jax 0.10.2",
        "rule from_dlpack/copy-false (MUST)",
        "seen: an array in memory",
    ):
        assert part in shown
    assert 'print("shared:", numpy.shares_memory' in shown


def test_the_worst_comes_first() -> None:
    """Severities come from the end of the process down to what is only recommended, in each of the three."""
    order = ["jax-null-deleter", "torch-deleted-twice", "jax-copy-false", "numpy-device"]
    text = as_markdown(sample(), {})
    page = Page(as_html(sample(), {})).text
    for shown, before in ((text, "\n#### "), (page[page.index("Findings\n", 1200) :], ""), (terminal(sample()), ": ")):
        places = [shown.index(f"{before}{name}") for name in order]
        assert places == sorted(places)
    assert headings(parsed(text))[4:] == [
        *("Findings", "crash", order[0], "double free", order[1], "contract", order[2], "style", order[3]),
        *("Unconfirmed", "Choices", "Not looked at", "Rules without a probe"),
    ]


def test_versions_of_a_library_are_one_finding() -> None:
    """What several versions show stands once, with each that says something else, the newest first."""
    text = as_markdown(sample(), {})
    assert text.count("#### numpy-device") == 1
    own = text[text.index("#### numpy-device") :].partition("\n#")[0]
    assert own.index("**Seen** in 2.4.6") < own.index("**Seen** in 1.26.4")
    assert "(cases: 2, 4, 7)" in own
    assert "**Versions**: numpy 1.26.4, 2.4.6\n" in own
    same = report(audit(finding(version="2.4.6")), audit(finding(version="2.10.0"), version="2.10.0"))
    once = as_markdown(same, {})
    assert "- **Seen**: an array" in once
    assert "**Versions**: numpy 2.4.6, 2.10.0\n" in once
    worse = report(audit(finding()), audit(finding(version="2.5", severity="crash"), version="2.5"))
    assert "### crash" in as_markdown(worse, {})
    assert "### contract" not in as_markdown(worse, {})


def test_versions_are_ordered_by_number() -> None:
    """10 comes after 9, a release candidate before its release, and digits without end do not stop anything."""
    ordered = ("0.9.2", "0.10.0rc1", "0.10.0", "0.10.0.1", "9" * 5000)
    assert in_order([*reversed(ordered), "0.10.0"]) == ordered


def test_known_findings_say_why() -> None:
    """What is declared shows reason and link, and its script is not printed again on the terminal."""
    known = devices_known()
    text = as_markdown(sample(), known)
    assert f"- **Known** in 2.4.6: It is meant, says `dlpack.c`. ([example.org/why#here]({LINK}))" in text
    assert ("a", {"href": LINK, "rel": "noopener noreferrer"}) in Page(as_html(sample(), known)).elements
    shown = terminal(sample(), known)
    assert f"known in 1.26.4: It is meant, says `dlpack.c`. ({LINK})" in shown
    assert shown.rstrip().endswith("4 findings, 1 of them declared")
    assert "script:" not in shown[shown.index("style: numpy-device") : shown.index("unconfirmed: torch")]


def test_choices_stand_side_by_side() -> None:
    """A row for a probe, a column for a library; versions that differ are told apart, cases that agree are one."""
    chosen = [
        audit(
            version=version,
            results=[result("strides", "choice", seen, case=case) for case in ("old", "new")]
            + [result("strides", "choice", f"{seen} {version}", case="odd")],
        )
        for version, seen in (("1.26.4", "refused"), ("2.4.6", "taken"))
    ]
    other = audit(library="jax", results=[result("strides", "kept", case="old"), result("strides", "kept", case="new")])
    found = rows(as_markdown(report(*chosen, other), {}))
    rule = "[`from_dlpack/copy-false`](../dlpack/copies-and-devices.md#from_dlpackcopy-false)"
    assert ["`strides`<br>old, new", rule, "1.26.4: refused<br>2.4.6: taken", "kept"] in found
    assert ["`strides`<br>odd", rule, "1.26.4: refused 1.26.4<br>2.4.6: taken 2.4.6", "·"] in found


def test_what_could_not_be_shown_is_told() -> None:
    """What a library does not have is listed with the reason; what nobody could confirm is no finding."""
    text = as_markdown(sample(), {})
    assert ["numpy 2.4.6", "no exchange API", "table"] in rows(text)
    assert "- **torch** 2.14.0: leak: drops-owner: 128 MiB are still there\n" in text
    assert "unconfirmed: torch 2.14.0: leak: drops-owner" in terminal(sample())
    assert "torch-drops-owner" not in text


def test_an_audit_without_findings() -> None:
    """A page of a library that keeps every rule says so; so does the terminal."""
    kept = report(audit(results=[result("copy-false")]))
    assert "## Findings\n\nNone: no rule was seen broken.\n" in as_markdown(kept, {})
    assert "None: no rule was seen broken." in Page(as_html(kept, {})).text
    assert terminal(kept).rstrip().endswith("0 findings")
    assert "## Pairs" not in as_markdown(kept, {})


def test_many_libraries_stand_in_several_tables() -> None:
    """A matrix wider than the page, or than the terminal, goes on below itself, and loses no consumer."""
    names = [f"library{index}" for index in range(20)]
    wide = report(pairs=tuple(Pair(names[0], name, "views", 1, True, "") for name in names))
    tables = [row[1:] for row in rows(as_markdown(wide, {})) if row[0] == "producer"]
    assert [len(table) for table in tables] == [10, 10]
    assert [name for table in tables for name in table] == names
    shown = terminal(wide, width=60)
    assert max(map(len, shown.splitlines())) <= 60
    assert all(name in shown for name in names)


# Links


@pytest.mark.parametrize("shown", [sample(), hostile()], ids=["sample", "hostile"])
def test_links_of_the_page_lead_somewhere(shown: Report) -> None:
    """Links inside the page lead to its headings, those to rules to headings of chapters, those to scripts to files."""
    text = as_markdown(shown, {})
    found = set(links(parsed(text)))
    inside = {link.removeprefix("#") for link in found if link.startswith("#")}
    assert inside <= set(anchors(text))
    assert len(inside) > 3
    results = specs() / "results"
    for target, _, anchor in (link.partition("#") for link in found if link.startswith("../")):
        there = (results / target).resolve()
        assert there.is_file()
        assert not anchor or anchor in anchors(there.read_text("utf-8"))


def test_findings_with_names_alike_have_links_of_their_own() -> None:
    """Ids that make the same anchor, or that of another heading, are told apart."""
    names = ("crash", "a.b", "ab", "findings")
    shown = report(*(audit(finding(name, id=name, severity="crash"), library=name) for name in names))
    text = as_markdown(shown, {})
    known = anchors(text)
    titles = headings(parsed(text))
    for name in names:
        own = len(titles) - 1 - titles[::-1].index(name)
        assert f"[{name}](#{known[own]}) (crash)" in text


def test_links_of_the_html_page_lead_somewhere() -> None:
    """Links inside the page have a target; rules are linked where the caller says where the chapters are."""
    page = Page(as_html(sample(), {}))
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    assert {link[1:] for link in page.values("href")} <= set(ids)
    assert all(link.startswith("#") for link in page.values("href"))
    linked = Page(as_html(sample(), {}, "../dlpack"))
    assert "../dlpack/deleter.md#dlmanagedtensordeleter-may-be-null" in linked.values("href")


# Hostile texts


def test_hostile_texts_in_markdown() -> None:
    """They make no markup: tables keep their cells, and no HTML, heading, picture or link is theirs."""
    text = as_markdown(hostile(), {known_key(hostile().findings()[0]): Known(HOSTILE, "https://e.org/(<a>)[x]|`'\"")})
    assert all(character.isprintable() or character == "\n" for character in text)
    tokens = parsed(text)
    bars = re.findall(r"^\|.*\|$(?:\n\|.*\|$)*", text, re.MULTILINE)
    for table in bars:
        assert len({line.count("|") for line in table.splitlines()}) == 1, table
    html = {token.content for token in [*tokens, *inline(tokens)] if token.type.startswith("html")}
    assert html <= {"<br>"}
    assert not [
        t for t in [*tokens, *inline(tokens)] if t.type in ("image", "em_open", "s_open", "hr", "blockquote_open")
    ]
    outside = {link for link in links(tokens) if not link.startswith(("#", "../dlpack/", "../README.md", "findings/"))}
    assert outside == {"https://e.org/%28%3Ca%3E%29%5Bx%5D%7C%60%27%22"}
    strong = {t.content for b, t in pairwise(inline(tokens)) if b.type == "strong_open"}
    assert not [content for content in strong if "javascript" in content]
    assert len(text) < 60_000
    assert HOSTILE[:30] in "".join(token.content for token in inline(tokens))


@pytest.mark.parametrize(
    ("foreign", "shown"),
    [
        ("`a``<b>`", "a<b>"),
        ("`` `a`", "` a`"),
        ("a\\`b`", "a\\b"),
        ("`a|b` \\| c", "a|b \\| c"),
        ("x_y *z* $1$ ~~t~~ &amp; <i>", "x_y *z* $1$ ~~t~~ &amp; <i>"),
    ],
)
def test_sentences_read_as_they_were_written(foreign: str, shown: str) -> None:
    """In a paragraph and in a cell, code is code, every other mark is itself, and no word is lost."""
    for document in (prose(foreign), f"| a |\n|---|\n| {cell(foreign)} |"):
        *_, last = [token for token in parsed(document) if token.type == "inline"]
        assert "".join(child.content for child in last.children or ()) == shown
        assert {child.type for child in last.children or ()} <= {"text", "text_special", "code_inline"}


def test_hostile_texts_in_html() -> None:
    """They are shown, cut, and do nothing: no element, attribute or link comes from them."""
    plain = Page(as_html(sample(), devices_known()))
    bad = Known(HOSTILE, "javascript:alert(1)")
    text = as_html(hostile(), {known_key(hostile().findings()[0]): bad})
    page = Page(text)
    assert {tag for tag, _ in page.elements} <= {tag for tag, _ in plain.elements}
    assert {key for _, found in page.elements for key in found} <= {key for _, found in plain.elements for key in found}
    assert all(link.startswith("#") for link in page.values("href"))
    assert "<script" not in text
    assert text.count("</style>") == 1
    assert "</style><script>alert(1)</script> \"'><img src=x onerror=alert(1)>" in page.text
    assert all(character.isprintable() or character == "\n" for character in text)
    assert len(text) < 200_000


def test_the_html_page_needs_nothing_else() -> None:
    """It loads nothing, runs nothing, forbids both, has dark colours, and each table scrolls by itself."""
    page = Page(as_html(sample(), {}))
    policies = [a["content"] for _, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"]
    tags = [tag for tag, _ in page.elements]
    assert not set(tags) & {"script", "link", "img", "iframe", "object", "embed", "form", "base", "svg"}
    assert not re.search(r"url\(|@import|expression", page.styles)
    assert "prefers-color-scheme: dark" in page.styles
    assert page.values("class").count("wide") + page.values("class").count("words") == tags.count("table") + 2
    assert tags.count("details") == len(sample().findings()) - 1


def test_hostile_texts_on_the_terminal() -> None:
    """No control character gets through, rich's markup is shown as it is, and what is long is cut."""
    shown = terminal(hostile())
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "[red]r[/red]" in shown
    assert len(shown) < 60_000


# Files


def test_findings_are_written(tmp_path: Path) -> None:
    """Each finding gets its script, to be run, and a page that says what it prints; other files stay."""
    (tmp_path / "other.md").write_text("stays")
    files = write_findings(sample(), tmp_path)
    assert len(files) == 8
    assert sorted(tmp_path.iterdir()) == sorted([*files, tmp_path / "other.md"])
    script = (tmp_path / "dlpack-jax-copy-false.py").read_text()
    assert script == sample().audits[3].findings[1].script
    text = (tmp_path / "dlpack-numpy-device.md").read_text()
    assert "**Seen** in 1.26.4: RuntimeError: Unsupported device (cases: 2, 4)" in text
    assert "```text\nshared: False\n```" in text
    (link,) = {link for link in links(parsed(text)) if link.startswith("..")}
    target, _, anchor = link.partition("#")
    chapter = (specs() / "results" / "findings" / target).resolve()
    assert anchor in anchors(chapter.read_text("utf-8"))


def test_what_a_script_says_stays_in_its_block(tmp_path: Path) -> None:
    """A fence, a heading or a tag that a script prints ends nothing."""
    said = "````\n# heading\n<script>\x1b[0m\n```\n" + "x\n" * 100
    write_findings(report(audit(finding(shown=said))), tmp_path)
    tokens = parsed((tmp_path / "dlpack-numpy-copy-false.md").read_text())
    (block,) = [token for token in tokens if token.type == "fence"]
    assert block.content.startswith("````\n# heading\n<script>\\x1b[0m\n```\nx\n")
    assert block.content.endswith("… and 64 more lines\n")
    assert len(headings(tokens)) == 1
    assert tokens[-1] is block


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ({"id": "../outside"}, "finding ../outside: no name for a file; expected letters, digits"),
        ({"id": "a\nb"}, r"finding a\\nb: no name for a file"),
        ({"id": ""}, "no name for a file"),
        ({"script": "print('\ud800')"}, "half a surrogate pair in the script"),
        ({"library": "jax", "id": "numpy-copy-false"}, "two libraries have it"),
    ],
)
def test_bad_findings_are_not_written(broken: dict[str, Any], message: str, tmp_path: Path) -> None:
    """An id that leads out of the folder, or a script that is no text, is one line, before anything is written."""
    good, bad = finding(severity="crash"), finding(**{"probe": "other"} | broken)
    with pytest.raises(ValueError, match=message) as error:
        write_findings(report(audit(good, bad)), tmp_path)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


# JSON


def validator() -> Validator:
    """Return a validator of the report's format."""
    return Validator(json.loads((specs() / "formats" / "audit.schema.json").read_text()))


def test_a_report_keeps_to_its_format() -> None:
    """What is written keeps to the schema, and is read as it was."""
    text = sample().as_json()
    assert list(validator().faults(json.loads(text), 5)) == []
    assert Report.from_json(text) == sample()
    assert Report.from_json(hostile().as_json()) == hostile()


def test_a_report_refuses_other_keys_and_words() -> None:
    """A key of another name, one too many, or another word for a verdict, a severity or an outcome is refused."""
    whole = validator()
    document = json.loads(sample().as_json())
    first = document["audits"][0]
    parts = {"results": first["results"][0], "findings": first["findings"][0], "pairs": document["pairs"][0]}

    def refused(place: str, part: dict[str, Any]) -> bool:
        changed = document | {"pairs": [part]} if place == "pairs" else document | {"audits": [first | {place: [part]}]}
        return bool(list(whole.faults(changed, 1)))

    for place, part in parts.items():
        assert not refused(place, part)
        assert refused(place, part | {"more": 1})
        for key in part:
            assert refused(place, {(f"{name}s" if name == key else name): value for name, value in part.items()}), key
            assert refused(place, part | {key: [[]]}), key
    for key, value in (("verdict", "good"), ("severity", "bad"), ("severity", None), ("side", "middle")):
        assert refused("results", parts["results"] | {key: value}), key
    assert refused("results", parts["results"] | {"verdict": "kept"})
    assert refused("pairs", parts["pairs"] | {"deleted": -1})
    assert refused("pairs", parts["pairs"] | {"outcome": "view"})
    assert refused("findings", parts["findings"] | {"id": "../outside"})
    for key in document:
        assert list(whole.faults({k: v for k, v in document.items() if k != key}, 1)), key


def test_the_text_of_the_format_names_every_key() -> None:
    """Each key of the schema has its row in the text, and the index has both."""
    text = (specs() / "formats" / "audit.md").read_text()
    schema = json.loads((specs() / "formats" / "audit.schema.json").read_text())
    keys = [*schema["properties"], *(key for one in schema["$defs"].values() for key in one.get("properties", ()))]
    assert [key for key in keys if f"| `{key}`" not in text and f", `{key}`" not in text] == []
    index = (specs() / "formats" / "README.md").read_text()
    for name in ("audit", "audit-expectations"):
        assert f"| 1 | [{name}.md]({name}.md) | [{name}.schema.json]({name}.schema.json) |" in index
