"""What the specification says of other texts' claims, held against the interpreter that runs this."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from capsule_model.claims.command import load_vectors, record, text_of_page
from capsule_model.claims.page import counts, versions
from capsule_model.claims.prove import Judged, Proved, Prover
from capsule_model.claims.read import Claim, Place, Proof, faults, read_claims
from capsule_model.claims.scripts import Shown, run_scripts
from capsule_model.cli import run
from capsule_model.locate import specs

FOLDER = specs() / "claims"
READ = read_claims(FOLDER)
CLAIMS = READ.all()


@pytest.fixture(scope="module")
def vectors() -> tuple[dict[str, Any], dict[str, str]]:
    """Load the vectors once."""
    return load_vectors()


@pytest.fixture(scope="module")
def judged(vectors: tuple[dict[str, Any], dict[str, str]]) -> Iterator[dict[str, Judged]]:
    """Run all proofs once, in a few processes."""
    prover = Prover(None, *vectors)
    try:
        yield {one.claim.id: one for one in prover.judge(CLAIMS)}
    finally:
        prover.stop()


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.proofs], ids=lambda claim: claim.id)
def test_verdict_fits_what_is_seen(claim: Claim, judged: dict[str, Judged]) -> None:
    """Every proof finds what the verdict says; a claim of which nothing can be looked at is skipped with the reason."""
    one = judged[claim.id]
    wrong = [f"{p.proof.name}: expected {p.expected}, {p.shown.saw}" for p in one.proved if p.contradicts]
    assert not wrong, f"{claim.verdict}: {claim.says} But: {'; '.join(wrong)}"
    if one.status == "skipped":
        pytest.skip("; ".join(sorted({p.shown.saw for p in one.proved})))


def test_nothing_is_lacking(vectors: tuple[dict[str, Any], dict[str, str]]) -> None:
    """Every claim has a verdict, a place and a proof that exists, and every document has claims."""
    assert list(faults(READ, vectors[0].keys(), FOLDER)) == []


def test_every_first_document_is_covered() -> None:
    """Each of the five texts has at least fifteen claims, and there are more than a hundred that run."""
    seeds = [document.id for document in READ.documents.values() if document.seed]
    named = {seed: sum(any(p.document == seed for p in claim.where) for claim in CLAIMS) for seed in seeds}
    assert len(named) == 5
    assert min(named.values()) >= 15, named
    assert len([claim for claim in CLAIMS if claim.proofs]) > 100


def test_page_is_up_to_date() -> None:
    """The page is what the claims and the measurements make of it: `capsule-model claims --record` writes it."""
    assert (specs() / "claims.md").read_text("utf-8") == text_of_page(READ)


def test_page_names_every_claim_once() -> None:
    """Every claim has one anchor, and every link to a claim leads to one."""
    page = (specs() / "claims.md").read_text("utf-8")
    anchors = re.findall(r'<a id="([^"]+)">', page)
    assert len(anchors) == len(set(anchors)) == len(CLAIMS) + len(READ.documents)
    assert set(re.findall(r"\]\(#([^)]+)\)", page)) <= set(anchors)


def test_measurements_are_of_claims() -> None:
    """What was measured is about claims that exist and run, and every claim that runs was shown somewhere."""
    measured = json.loads((FOLDER / "measured.json").read_text("utf-8"))["claims"]
    assert set(measured) == {claim.id for claim in CLAIMS if claim.proofs}


def _claim(verdict: str, *proofs: Proof, **other: Any) -> Claim:
    return Claim("a-claim", "It is so.", (Place("bridge", "somewhere"),), verdict, other.get("truth", "So."), proofs)


WRONG_NAME = "capsule.get-pointer.wrong-name"


@pytest.mark.parametrize(
    ("verdict", "predicts", "status"),
    [
        ("true", {"error": {"type": "TypeError"}}, "contradicted"),
        ("true", {"error": {"type": "ValueError"}}, "shown"),
        ("false", {"error": {"type": "TypeError"}}, "shown"),
        ("false", {"error": {"type": "ValueError"}}, "contradicted"),
        ("true since 3.9", {"error": {"type": "ValueError"}}, "shown"),
        ("true until 3.8", {"error": {"type": "ValueError"}}, "contradicted"),
    ],
)
def test_a_wrong_verdict_is_noticed(
    verdict: str, predicts: dict[str, Any], status: str, vectors: tuple[dict[str, Any], dict[str, str]]
) -> None:
    """A verdict that the interpreter does not bear out is contradicted, whichever way it is wrong."""
    prover = Prover(None, *vectors)
    try:
        (one,) = prover.judge([_claim(verdict, Proof(vector=WRONG_NAME, step=1, predicts=predicts))])
    finally:
        prover.stop()
    assert one.status == status


def test_what_is_undefined_is_no_proof_of_being_defined(vectors: tuple[dict[str, Any], dict[str, str]]) -> None:
    """A claim that something is defined does not hold where the model diagnoses it, and holds where it runs."""
    undefined, defined = "capsule.check-exact.null", "capsule.check-exact.valid"
    prover = Prover(None, *vectors)
    try:
        (one,) = prover.judge(
            [_claim("true", *(Proof(vector=name, predicts={"defined": True}) for name in (undefined, defined)))]
        )
    finally:
        prover.stop()
    assert [proved.shown.holds for proved in one.proved] == [False, True]


def test_a_script_that_dies_is_broken_and_hides_no_other(tmp_path: Path) -> None:
    """A proof that ends its process is broken; those before and behind it have their answers."""
    for name in ("prove.py", "capi.py"):
        (tmp_path / name).write_text((FOLDER / name).read_text("utf-8"), "utf-8")
    (tmp_path / "three.py").write_text(
        "import os\n"
        "def first():\n    print('noise')\n    return True, 'one'\n"
        "def second():\n    os._exit(3)\n"
        "def third():\n    return False, 'three'\n"
        "def fourth():\n    raise ValueError('odd')\n",
        "utf-8",
    )
    shown = run_scripts(sys.executable, tmp_path, [f"three.{n}" for n in ("first", "second", "third", "fourth")], 60)
    assert shown["three.first"] == Shown(True, "one")
    assert shown["three.second"].broken
    assert "exit code 3" in shown["three.second"].saw
    assert shown["three.third"] == Shown(False, "three")
    assert shown["three.fourth"] == Shown(None, "ValueError: odd", broken=True)


def test_a_broken_proof_contradicts() -> None:
    """A proof that should have run and did not is no reason to believe a verdict."""
    broken = Proved(Proof(script="a.b"), True, Shown(None, "died of signal 11", broken=True))
    skipped = replace(broken, shown=Shown(None, "numpy is not installed"))
    assert broken.contradicts
    assert not skipped.contradicts
    assert Judged(_claim("true", Proof(script="a.b")), (skipped,)).status == "skipped"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('id = "a-b"\nsays = "x"\nwhere = ["bridge: y"]\nverdict = "true"', "has no proof"),
        ('id = "a-b"\nsays = "x"\nwhere = ["nowhere: y"]\nverdict = "true"', "no document nowhere"),
        ('id = "a-b"\nsays = "x"\nwhere = ["bridge: y"]\nverdict = "maybe"', "verdict maybe"),
        ('id = "a-b"\nsays = "x"\nwhere = ["bridge: y"]\nverdict = "false"', "does not say what is so"),
        ('id = "a-b"\nwhere = ["bridge: y"]\nverdict = "true"', "lacks 'says'"),
        ('id = "a-b"\nsays = "x"\nwhere = ["bridge: y"]\nverdict = "true"\nproof = 1', "unknown key 'proof'"),
        (
            'id = "a-b"\nsays = "x"\nwhere = ["bridge: y"]\nverdict = "true"\nproofs = [{ vector = "capsule.none" }]',
            "no vector capsule.none",
        ),
        (
            'id = "a-b"\nsays = "x"\nwhere = ["bridge: y"]\nverdict = "true"\nproofs = [{ script = "content.none" }]',
            "no function content.none",
        ),
        (
            'id = "a-b"\nsays = "x"\nwhere = ["bridge: y"]\nverdict = "depends"\ntruth = "y"\n'
            f'proofs = [{{ vector = "{WRONG_NAME}", holds = true }}]',
            "do not show both sides",
        ),
        ("id = ", "odd.toml"),
    ],
)
def test_what_is_wrong_with_the_files_is_named(text: str, fault: str, tmp_path: Path) -> None:
    """A claim without a proof, with an unknown document, vector or function, or malformed, is one line each."""
    (tmp_path / "documents.toml").write_text('subjects = ["odd"]\n[[document]]\nid = "bridge"\ntitle = "t"\nurl = ""\n')
    (tmp_path / "odd.toml").write_text(f'title = "Odd"\n[[claim]]\n{text}\n')
    found = list(faults(read_claims(tmp_path), {WRONG_NAME}, tmp_path))
    assert any(fault in line for line in found), found
    assert not any("\n" in line for line in found)


def test_versions_are_shown_as_ranges() -> None:
    """Versions that follow each other are a range; builds stand behind them, then libraries."""
    measured = ["3.9", "3.10", "3.11", "3.13", "3.13t", "numpy 2.4.6", "3.9 debug", "3.11 debug", "3.13t debug"]
    builds = "3.9 to 3.11, 3.13; debug 3.9, 3.11; free-threaded 3.13; free-threaded debug 3.13"
    assert versions(measured) == f"{builds}; numpy 2.4.6"


def test_command_tells_of_one_claim(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command says what is so and what was seen, and writes it as JSON."""
    file = tmp_path / "claims.json"
    assert run(["claims", "wrong-name-is-type-error", "--json", str(file)]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "does not hold" in told
    assert "ValueError" in told
    (claim,) = json.loads(file.read_text("utf-8"))["claims"]
    assert (claim["verdict"], claim["status"]) == ("false", "shown")
    assert claim["proofs"][0]["holds"] is False


@pytest.mark.parametrize("arguments", [["no-such-claim"], ["--json", "/nowhere/at/all.json"]])
def test_command_refuses_bad_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown claim, or a folder that is not there, is one line and exit code 2."""
    assert run(["claims", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_record_takes_back_what_is_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version that bears a claim out is added, and one that no longer does is taken away."""
    (tmp_path / "claims").mkdir()
    monkeypatch.setattr("capsule_model.claims.command.specs", lambda: tmp_path)
    claim = next(claim for claim in CLAIMS if claim.id == "null-matches-any")
    good = Judged(claim, (Proved(claim.proofs[0], False, Shown(False, "seen")),))
    bad = Judged(claim, (Proved(claim.proofs[0], False, Shown(True, "seen")),))
    measured = tmp_path / "claims" / "measured.json"
    record(READ, [good], "3.11")
    record(READ, [good], "3.13")
    assert json.loads(measured.read_text())["claims"] == {claim.id: ["3.11", "3.13"]}
    record(READ, [bad], "3.13")
    assert json.loads(measured.read_text())["claims"] == {claim.id: ["3.11"]}
    skipped = Judged(claim, (Proved(claim.proofs[0], False, Shown(None, "not installed")),))
    record(READ, [skipped], "3.11")
    record(READ, [replace(good, proved=(replace(good.proved[0], shown=Shown(False, "numpy 2.4.6: seen")),))], "3.11")
    assert json.loads(measured.read_text())["claims"] == {claim.id: ["3.11", "numpy 2.4.6"]}
    assert "null-matches-any" in (tmp_path / "claims.md").read_text("utf-8")


def test_counts_take_versions_together() -> None:
    """Verdicts that name versions are counted as one kind."""
    found = counts([_claim("true since 3.11"), _claim("true since 3.13"), _claim("no behaviour")])
    assert found["true since"] == 2
    assert found["no behaviour"] == 1
