"""What a page has to know of a run: its moments, what each changed, and the rules, as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from capsule_model.conform.runner import expected_differences
from capsule_model.conform.specification import Rule
from capsule_model.conform.words import value_text
from capsule_model.profiles import Profile
from capsule_model.show.stepper.cards import SECTIONS, Card
from capsule_model.show.stepper.moments import Moment, moments
from capsule_model.trace.wording import clean

__all__ = ["rule_facts", "run_facts"]


def run_facts(vector: Mapping[str, Any], profile: Profile) -> dict[str, Any]:
    """Return a vector's run under a profile: `id`, `title`, `profile`, `sections`, `moments`, `differences`.

    Raises `BadVector` and `TooMuch` as `moments` does.
    """
    seen, result = moments(vector, profile)
    named = [card.section for moment in seen for card in moment.changes.new.values()]
    # What another package shows stands behind the capsules.
    sections = [SECTIONS[0], *dict.fromkeys(name for name in named if name not in SECTIONS), *SECTIONS[1:]]
    differences = [
        f"step {found.path}: {found.key}: expected {value_text(found.expected)}, the model has {value_text(found.seen)}"
        for found in expected_differences(vector, profile, result)
    ]
    return {
        "id": vector["id"],
        "title": clean(vector["title"], 300),
        "profile": profile.name,
        "sections": sections,
        "moments": [_moment(moment, sections) for moment in seen],
        "differences": differences,
    }


def rule_facts(rules: Iterable[Rule]) -> dict[str, dict[str, str]]:
    """Return by id what the page quotes of each rule: `level`, `when`, `source`, `sentence`, `chapter`."""
    return {
        rule.id: {
            "level": rule.level,
            "when": ", ".join(rule.when),
            "source": rule.source,
            "sentence": rule.sentence,
            "chapter": f"{rule.file.parent.name}/{rule.file.name}",
        }
        for rule in rules
    }


def _moment(moment: Moment, sections: list[str]) -> dict[str, Any]:
    """Return a moment without the keys that would say nothing."""
    whole = {
        "at": moment.at,
        "kind": moment.kind,
        "depth": moment.depth,
        "text": moment.text,
        "told": moment.told,
        "error": moment.error,
        "back": moment.back,
        "thread": moment.thread,
        "elsewhere": moment.elsewhere,
        "rules": moment.rules,
        "new": {card_id: _card(card, sections) for card_id, card in moment.changes.new.items()},
        "changed": moment.changes.changed,
        "gone": moment.changes.gone,
    }
    return {key: value for key, value in whole.items() if value not in (None, "", [], {}, 0)}


def _card(card: Card, sections: list[str]) -> list[Any]:
    return [sections.index(card.section), card.label, card.at, card.fields]
