"""The few shapes that every picture is made of, as elements of one SVG document.

Colours come from style sheets, so that one document is legible in light and dark: those of JupyterLab or VS Code where
it stands in their page, else those that the reader's system asks for. Nothing has an ``id``, so that many pictures can
stand in one page, and nothing is fetched or run.
"""

from __future__ import annotations

from xml.etree import ElementTree

from capsule_model.show.pictures.safe import cells, safe

__all__ = ["CHAR", "SMALL", "Canvas", "width_of"]

# The width of a character, in pixels: code at 13 pixels, and what is set small, at 11.5.
CHAR, SMALL = 7.9, 7.0
HATCH = 9
# How wide a picture is shown, in pixels, however wide it is drawn: the width of a cell in a notebook.
WIDEST = 1080

STYLE = """
.cm-pic{--cm-ground:#fff;--cm-ink:#1c2635;--cm-soft:#5a6780;--cm-line:#2459a8;--cm-live:#1b7343;--cm-dead:#b3261e;\
--cm-warn:#8a5300;font-family:ui-monospace,"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:13px}
@media (prefers-color-scheme:dark){.cm-pic{--cm-ground:#12161d;--cm-ink:#e8edf5;--cm-soft:#a7b3c7;--cm-line:#7fb0ff;\
--cm-live:#63d297;--cm-dead:#ff8d84;--cm-warn:#f2b55c}}
.cm-pic .ground{fill:var(--jp-layout-color0,var(--vscode-editor-background,var(--cm-ground)))}
.cm-pic text{fill:var(--jp-content-font-color0,var(--vscode-editor-foreground,var(--cm-ink)));stroke:none;\
white-space:pre}
.cm-pic .soft{fill:var(--jp-content-font-color0,var(--vscode-editor-foreground,var(--cm-ink)));fill-opacity:.7}
.cm-pic .line{fill:none;stroke:var(--jp-brand-color1,var(--cm-line));stroke-width:1.5}
.cm-pic .tip,.cm-pic text.blue{fill:var(--jp-brand-color1,var(--cm-line));stroke:none}
.cm-pic .bad{fill:none;stroke:var(--jp-error-color1,var(--cm-dead));stroke-width:1.7;stroke-dasharray:6 3}
.cm-pic .badtip,.cm-pic text.red{fill:var(--jp-error-color1,var(--cm-dead));stroke:none}
.cm-pic text.green{fill:var(--jp-success-color1,var(--cm-live))}
.cm-pic .rule{fill:none;stroke:var(--jp-content-font-color0,var(--vscode-editor-foreground,var(--cm-soft)));\
stroke-opacity:.28}
.cm-pic .box{fill:var(--jp-content-font-color0,var(--vscode-editor-foreground,var(--cm-ink)));fill-opacity:.045;\
stroke:var(--jp-content-font-color0,var(--vscode-editor-foreground,var(--cm-soft)));stroke-opacity:.6;stroke-width:1.2}
.cm-pic .tint{fill:var(--jp-brand-color1,var(--cm-line));fill-opacity:.13;stroke:none}
.cm-pic .alive{fill:var(--jp-success-color1,var(--cm-live));fill-opacity:.2;\
stroke:var(--jp-success-color1,var(--cm-live));stroke-width:1.2}
.cm-pic .dead{fill:var(--jp-error-color1,var(--cm-dead));fill-opacity:.07;\
stroke:var(--jp-error-color1,var(--cm-dead));stroke-width:1.3;stroke-dasharray:5 3}
.cm-pic .hatch{fill:none;stroke:var(--jp-error-color1,var(--cm-dead));stroke-opacity:.3}
.cm-pic .loud{fill:var(--jp-error-color1,var(--cm-dead));fill-opacity:.14;\
stroke:var(--jp-error-color1,var(--cm-dead));stroke-width:1.6}
.cm-pic .plate{fill:var(--jp-layout-color0,var(--vscode-editor-background,var(--cm-ground)));stroke:none}
.cm-pic .head{font-weight:700}.cm-pic .small{font-size:11.5px}
.cm-pic .title{font-size:15px;font-weight:700}
.cm-pic .strike{text-decoration:line-through}
"""


def width_of(text: str, char: float = CHAR) -> float:
    """Return how many pixels a text is wide; ``char`` is the width of one character."""
    return cells(text) * char


class Canvas:
    """One SVG document that grows as shapes are put on it; coordinates are pixels from its upper left corner."""

    def __init__(self, title: str, description: str) -> None:
        self.title = safe(title, 300)
        self.description = safe(description)
        self.shapes: list[ElementTree.Element] = []
        self.width = 0.0
        self.height = 0.0

    def _add(self, tag: str, kind: str, **attributes: float | str) -> ElementTree.Element:
        shown = {name: value if isinstance(value, str) else number(value) for name, value in attributes.items()}
        element = ElementTree.Element(tag, {"class": kind, **shown})
        self.shapes.append(element)
        return element

    def reach(self, x: float, y: float) -> None:
        """Make the document large enough for a point."""
        self.width = max(self.width, x)
        self.height = max(self.height, y)

    def text(self, x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> None:
        """Write one line, whose base line is at ``y``; ``anchor`` is the end of it that is at ``x``."""
        shown = safe(text)
        more = {} if anchor == "start" else {"text-anchor": anchor}
        element = self._add("text", kind, x=x, y=y, **more)
        element.text = shown
        char = SMALL if "small" in kind else CHAR * 15 / 13 if "title" in kind else CHAR
        wide = width_of(shown, char)
        self.reach(x + {"start": wide, "middle": wide / 2, "end": 0.0}[anchor], y + 5)

    def rect(self, x: float, y: float, width: float, height: float, kind: str, *, rx: float = 4) -> None:
        """Draw a rectangle with rounded corners."""
        self._add("rect", kind, x=x, y=y, width=width, height=height, rx=rx)
        self.reach(x + width, y + height)

    def hatch(self, x: float, y: float, width: float, height: float) -> None:
        """Fill a rectangle with slanted lines, which end at its edges."""
        pieces = []
        place = HATCH
        while place < width + height:
            start = (x + place, y) if place <= width else (x + width, y + place - width)
            end = (x, y + place) if place <= height else (x + place - height, y + height)
            pieces.append(f"M{number(start[0])} {number(start[1])}L{number(end[0])} {number(end[1])}")
            place += HATCH
        self._add("path", "hatch", d="".join(pieces))

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str) -> None:
        """Draw a straight line."""
        self._add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)
        self.reach(max(x1, x2), max(y1, y2))

    def dot(self, x: float, y: float, radius: float, kind: str) -> None:
        """Draw a filled circle."""
        self._add("circle", kind, cx=x, cy=y, r=radius)
        self.reach(x + radius, y + radius)

    def curve(self, points: list[tuple[float, float]], *, bad: bool = False, left: bool = False) -> None:
        """Draw a Bézier curve through start, two handles and end, with a tip at its end that points right or left."""
        (x1, y1), (x2, y2), (x3, y3), (x4, y4) = points
        stop = x4 + 6 if left else x4 - 6
        numbers = [number(value) for value in (x1, y1, x2, y2, x3, y3, stop, y4)]
        path = "M{} {}C{} {} {} {} {} {}".format(*numbers)
        self._add("path", "bad" if bad else "line", d=path)
        self.tip(x4, y4, left=left, bad=bad)
        self.reach(max(x1, x4, (x2 + x3) / 2 if left else 0), max(y1, y4))

    def arrow(self, x1: float, x2: float, y: float, *, bad: bool = False, dashed: bool = False) -> None:
        """Draw a level arrow; a ``dashed`` one is an answer."""
        left = x2 < x1
        element = self._add("line", "bad" if bad else "line", x1=x1, y1=y, x2=x2 + (6 if left else -6), y2=y)
        if dashed:
            element.set("stroke-dasharray", "4 4")
        self.tip(x2, y, left=left, bad=bad)

    def tip(self, x: float, y: float, *, left: bool = False, bad: bool = False) -> None:
        """Draw the tip of an arrow that ends at a point."""
        back = x + 9 if left else x - 9
        points = " ".join(f"{number(a)},{number(b)}" for a, b in ((x, y), (back, y - 4.5), (back, y + 4.5)))
        self._add("polygon", "badtip" if bad else "tip", points=points)
        self.reach(max(x, back), y + 5)

    def svg(self, margin: float = 16) -> str:
        """Return the document."""
        width, height = number(self.width + margin), number(self.height + margin)
        # As an image a picture keeps its size where a notebook's cell is narrower, and would have to be scrolled.
        scale = min(1.0, WIDEST / (self.width + margin))
        root = ElementTree.Element(
            "svg",
            {
                "xmlns": "http://www.w3.org/2000/svg",
                "class": "cm-pic",
                "role": "img",
                "viewBox": f"0 0 {width} {height}",
                "width": number((self.width + margin) * scale),
                "height": number((self.height + margin) * scale),
                "style": "max-width:100%;height:auto",
                "aria-label": self.title,
            },
        )
        ElementTree.SubElement(root, "title").text = self.title
        ElementTree.SubElement(root, "desc").text = self.description
        ElementTree.SubElement(root, "style").text = STYLE.strip()
        ElementTree.SubElement(root, "rect", {"class": "ground", "width": width, "height": height, "rx": "8"})
        root.extend(self.shapes)
        return ElementTree.tostring(root, encoding="unicode")


def number(value: float) -> str:
    """Return a coordinate with at most one decimal, always the same for the same picture."""
    return f"{value:.1f}".removesuffix(".0")
