"""Results as Markdown: tables that hold, links that lead somewhere, and foreign texts that do nothing."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token
from result_samples import HOSTILE, LINK, compared, declared, failed, hostile, lacking, passed, result

from capsule_model.show.comparison import KINDS
from capsule_model.show.markdown import markdown


def parsed(text: str) -> list[Token]:
    """Return the tokens of `text` as GitHub reads it: with tables, and HTML where there is some."""
    return MarkdownIt("gfm-like", {"linkify": False}).parse(text)


def inline(tokens: list[Token]) -> list[Token]:
    """Return what is inside paragraphs, headings and cells, one after the other."""
    return [child for token in tokens if token.type == "inline" for child in token.children or ()]


def anchors(tokens: list[Token]) -> list[str]:
    """Return the anchors of all headings, as GitHub makes them of their texts."""
    found: list[str] = []
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            shown = "".join(child.content for child in token.children or ())
            slug = re.sub(r"[^\w\- ]", "", shown.strip().lower()).replace(" ", "-")
            count, unique = 0, slug
            while unique in found:
                count += 1
                unique = f"{slug}-{count}"
            found.append(unique)
    return found


def links(tokens: list[Token]) -> list[str]:
    """Return where the links lead."""
    return [str(token.attrs["href"]) for token in inline(tokens) if token.type == "link_open"]


def tables(text: str) -> list[list[list[str]]]:
    """Return the tables by row and cell, split at the pipes that are not escaped."""
    found: list[list[list[str]]] = []
    inside = False
    for line in text.splitlines():
        row = line.startswith("|")
        if row:
            if not inside:
                found.append([])
            found[-1].append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        inside = row
    return found


def test_cells_and_notes(tmp_path: Path) -> None:
    """A cell shows mark and number of each kind, and leads to the notes with reason, source and vectors."""
    text = markdown(
        compared(
            tmp_path,
            cp313=result(passed("capsule.one.a"), passed("capsule.one.b"), passed("capsule.two.a")),
            pypy39=result(
                passed("capsule.one.a"),
                declared("capsule.one.b", "by-design", "`Py_DECREF` waits", LINK),
                failed("capsule.two.a", detail="why"),
                lacking("capsule.two.b", "layout"),
                about={"name": "pypy", "version": "7.3", "absent": {"layout": "no structs"}},
            ),
        )
    )
    rows = [row for table in tables(text) for row in table]
    assert ["one", "[✓ 2](#cp313)", "[✓ 1 ≈ 1](#pypy39-one)"] in rows
    assert ["two", "[✓ 1](#cp313)", "[✗ 1 ○ 1](#pypy39-two)"] in rows
    assert ["**all**", "[✓ 3](#cp313)", "[✓ 1 ✗ 1 ≈ 1 ○ 1](#pypy39)"] in rows
    first = "[pypy39](#pypy39)", "pypy 7.3", "cpython-3.13", "3 of 4 (75 %)", "1 of 4"
    assert [*first, "○ 1", "≈ 1", "0", "0", "✗ 1"] in rows
    notes = text[text.index("### pypy39") :]
    assert f"**by design** (1 vector): `Py_DECREF` waits ([example.org/why#here]({LINK}))<br>`capsule.one.b`" in notes
    assert "lacks layout: no structs<br>`capsule.two.b`" in notes
    assert "  - `capsule.two.a` failed: `why`\n    - step 0: return: expected `p1`, model `p1`, seen `p2`" in notes


def test_begins_with_what_it_is(tmp_path: Path) -> None:
    """The page begins with a title, what it is, the command that makes it again, and what the marks mean."""
    text = markdown(compared(tmp_path, b=result(passed("c.a.a")), a=result(passed("c.a.a"))))
    start = text[: text.index("## Summary")]
    assert start.startswith("# Results\n\nWhat 2 implementations of the capsule API made of the vectors")
    assert "\n    capsule-model report b.json a.json --markdown README.md\n" in start
    for kind in KINDS.values():
        assert f"| {kind.mark} | {kind.long} | {kind.meaning} |" in start


def test_suspects(tmp_path: Path) -> None:
    """What failed everywhere stands above the chapters, and is marked there and in the notes."""
    bad = result(passed("c.one.a"), failed("c.two.a"))
    text = markdown(compared(tmp_path, a=bad, b=bad))
    assert "| `c.two.a` | [a](#a-two) failed, [b](#b-two) failed |" in text
    assert "| two [suspect](#suspect) | [✗ 1](#a-two) | [✗ 1](#b-two) |" in text
    assert "`c.two.a` (suspect) failed" in text
    assert text.index("## Summary") < text.index("## Suspect") < text.index("## Chapters")
    assert "## Suspect" not in markdown(compared(tmp_path, a=bad))


@pytest.mark.parametrize(("columns", "widths"), [(1, [1]), (8, [8]), (9, [5, 4]), (19, [7, 6, 6])])
def test_many_columns_stand_in_several_tables(tmp_path: Path, columns: int, widths: list[int]) -> None:
    """More columns than fit on a page are shown in tables of about the same width, in their order."""
    names = [f"n{index}" for index in range(columns)]
    text = markdown(compared(tmp_path, **{name: result(passed("c.a.a")) for name in names}))
    matrices = [table for table in tables(text) if table[0][0] == "chapter"]
    assert [len(table[0]) - 1 for table in matrices] == widths
    assert [cell for table in matrices for cell in table[0][1:]] == [f"[{name}](#{name})" for name in names]


def test_every_link_leads_somewhere(tmp_path: Path) -> None:
    """Links inside the page lead to its headings, also where names differ by case, dots, or look like chapters."""
    sample = result(passed("c.x.a"), failed("c.y.a"), declared("c.x.b", "crash"))
    names = ["A.b", "a.b", "ab", "ab-x", "AB-x", "notes", "Suspect", "a_b", "ab-1"]
    tokens = parsed(markdown(compared(tmp_path, **dict.fromkeys(names, sample))))
    known = anchors(tokens)
    inside = [link.removeprefix("#") for link in links(tokens) if link.startswith("#")]
    assert len(inside) > 6 * len(names)
    assert set(inside) <= set(known)
    for name in names:
        heading = next(t for b, t in pairwise(tokens) if b.tag == "h3" and t.content == name)
        position = [t for b, t in pairwise(tokens) if b.type == "heading_open"].index(heading)
        assert f"[{name}](#{known[position]})" in markdown(compared(tmp_path, **dict.fromkeys(names, sample)))


def test_same_bytes_for_the_same_results(tmp_path: Path) -> None:
    """The text depends on the results and their order alone, not on where they lie or how the files are laid out."""
    sample = {"b": result(passed("c.x.a"), failed("c.y.a")), "a": result(declared("c.x.a", "differs"), passed("c.z.a"))}
    (tmp_path / "x").mkdir()
    first = markdown(compared(tmp_path, **sample))
    assert markdown(compared(tmp_path / "x", **sample)) == first
    turned = {name: dict(reversed(document.items())) for name, document in sample.items()}
    assert markdown(compared(tmp_path, **turned)) == first
    assert markdown(compared(tmp_path, **dict(reversed(sample.items())))) != first
    assert first.endswith("\n")
    assert not re.search(r"\n\n\n|[ \t]\n", first)


def test_hostile_texts(tmp_path: Path) -> None:
    """Hostile texts make no markup: tables keep their cells, and there is no HTML, no heading and no link of theirs."""
    nice = result(passed("capsule.a.good"), passed("capsule.b.reason"))
    text = markdown(compared(tmp_path, nice=nice, strange=hostile()))
    for table in tables(text):
        assert {len(row) for row in table} == {len(table[0])}
    assert len(tables(text)) == 3
    assert all(character.isprintable() or character == "\n" for character in text)
    tokens = parsed(text)
    html = [token.content for token in [*tokens, *inline(tokens)] if token.type.startswith("html")]
    assert set(html) == {"<br>"}
    headings = [t.content for b, t in pairwise(tokens) if b.type == "heading_open"]
    assert headings == [
        "Results",
        "Summary",
        "Chapters",
        "Notes",
        "nice",
        "strange",
        *(f"strange: {chapter}" for chapter in "abc"),
    ]
    outside = {link for link in links(tokens) if not link.startswith("#")}
    assert outside == {"https://example.org/%28%3Cscript%3E%29%5Bx%5D%7C%60%27%22&copy;"}
    assert not [
        t for t in [*tokens, *inline(tokens)] if t.type in ("image", "em_open", "s_open", "hr", "blockquote_open")
    ]
    shown = "".join(token.content for token in inline(tokens))
    assert HOSTILE[:40] in shown
    assert "_x_ [l](javascript:x)\\n\\n# h \\u202e" in shown
    # GitHub makes links of bare addresses: outside code, theirs are escaped.
    code = "".join(token.content for token in inline(tokens) if token.type == "code_inline")
    assert "http\\://x.example www\\.x.example" in text
    assert text.count("http://x") == code.count("http://x") > 0
    assert text.count("www.x") == code.count("www.x")
    assert len(text) < 100_000


def test_long_lists_are_cut(tmp_path: Path) -> None:
    """Divergences beyond the first ones of a chapter are named and not explained."""
    many = result(passed("c.a.good"), *(failed(f"c.a.v{index}") for index in range(40)))
    text = markdown(compared(tmp_path, a=many))
    assert text.count("step 0: return") == 25
    assert "  - further ones: `c.a.v25`, `c.a.v26`" in text
    assert text.count("`c.a.v") == 40
