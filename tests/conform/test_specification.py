"""Reading chapters, and rewriting their generated lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from capsule_model.conform.specification import Rule, read_rules, with_vectors

CHAPTER = """# New

Prose before the first rule.

### PyCapsule_New/null-pointer

- **Level:** MUST
- **When:** `gc-capsule`, `!refcount-checked`
- **Source:** Objects/capsule.c:58
(3.13.5)

A NULL pointer is refused
with [ValueError](errors.md#value).

A second paragraph explains.

    ### Not/a-rule

- **Vectors:** `capsule.new.null-pointer`, `capsule.new.other`

### A heading in words

```
### PyCapsule_New/in-a-code-block
```

### dealloc/again

- **Level:** UNDEFINED

## Another part

Words that belong to no rule.
"""


@pytest.fixture
def chapter(tmp_path: Path) -> Path:
    """Return a chapter in a folder of its own."""
    file = tmp_path / "new.md"
    file.write_text(CHAPTER)
    return file


def test_rules_are_read(chapter: Path) -> None:
    """Heading, fields over several lines, first paragraph, vectors; nothing of code blocks or other headings."""
    first, second = read_rules(chapter.parent)
    assert first == Rule(
        "PyCapsule_New/null-pointer",
        chapter,
        5,
        "MUST",
        ("gc-capsule", "!refcount-checked"),
        "Objects/capsule.c:58 (3.13.5)",
        "A NULL pointer is refused with ValueError.",
        ("capsule.new.null-pointer", "capsule.new.other"),
    )
    assert (second.id, second.level, second.source, second.sentence, second.vectors) == (
        "dealloc/again",
        "UNDEFINED",
        "",
        "",
        (),
    )


def test_generated_lines_are_rewritten(chapter: Path) -> None:
    """Only the Vectors lines change: sorted ids, one added where there is none, and a second time nothing moves."""
    showing = {"PyCapsule_New/null-pointer": ["b.x", "a.x"], "dealloc/again": []}
    text = with_vectors(chapter, showing)
    expected = CHAPTER.replace("`capsule.new.null-pointer`, `capsule.new.other`", "`a.x`, `b.x`").replace(
        "- **Level:** UNDEFINED\n", "- **Level:** UNDEFINED\n\n- **Vectors:** none\n"
    )
    assert text == expected
    chapter.write_text(text)
    assert with_vectors(chapter, showing) == text
