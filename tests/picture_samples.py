"""What several tests of pictures use: pictures taken apart, what may be in one, and hostile names."""

from __future__ import annotations

import unicodedata
from xml.etree import ElementTree

from hypothesis import strategies as st

SVG = "{http://www.w3.org/2000/svg}"
ATTRIBUTES = {
    "svg": {"class", "role", "viewBox", "width", "height", "style", "aria-label"},
    "title": set(),
    "desc": set(),
    "style": set(),
    "rect": {"class", "x", "y", "width", "height", "rx"},
    "text": {"class", "x", "y", "text-anchor"},
    "line": {"class", "x1", "y1", "x2", "y2", "stroke-dasharray"},
    "circle": {"class", "cx", "cy", "r"},
    "path": {"class", "d"},
    "polygon": {"class", "points"},
}

HOSTILE = [
    b'</svg><script>alert("1")</script>',
    b"\"' onload='x' <b>&amp;&lt;",
    b"\x1b[31mred\x07\x00end",
    "\u202ekcats\u2066\u200bx".encode(),
    b"\xff\xfe\xed\xa0\x80",
    "a" * 10_000 + "tail",
    "e" + "\u0301" * 500,
]
names = st.one_of(
    st.binary(max_size=80),
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.sampled_from([one.encode() if isinstance(one, str) else one for one in HOSTILE]),
)


def taken_apart(svg: str) -> ElementTree.Element:
    """Return the document of a picture, after all that any picture has to be was asserted."""
    assert len(svg) < 400_000
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img"
    assert [child.tag for child in root[:3]] == [f"{SVG}title", f"{SVG}desc", f"{SVG}style"]
    style = root[2].text or ""
    assert "url(" not in style
    assert "@import" not in style
    for element in root.iter():
        kind = element.tag.removeprefix(SVG)
        assert kind in ATTRIBUTES, kind
        assert set(element.attrib) <= ATTRIBUTES[kind], (kind, element.attrib)
        if kind not in ("style", "desc"):
            for text in (element.text or "", *element.attrib.values()):
                misleading = [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Mn", "Me")]
                assert not misleading, text[:80]
    return root


def texts(root: ElementTree.Element) -> list[str]:
    """Return the lines that are written in a picture."""
    return [element.text or "" for element in root.iter(f"{SVG}text")]


def by_class(root: ElementTree.Element, tag: str, kind: str) -> list[ElementTree.Element]:
    """Return the elements of a class."""
    return [element for element in root.iter(SVG + tag) if kind in (element.get("class") or "").split()]


def box_of(element: ElementTree.Element) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a rectangle."""
    x, y, width, height = (float(element.get(name) or 0) for name in ("x", "y", "width", "height"))
    return x, y, x + width, y + height
