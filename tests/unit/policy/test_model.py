"""A policy file that does not hold together is refused, with the place named."""

import copy
import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from portal.errors import PolicyError
from portal.policy.model import POLICY_MAX_BYTES, Requirement, Strength, builtin, load

TEXT = (files("portal.policy") / "data" / "policy_v1.json").read_text(encoding="utf-8")
PLAIN: dict[str, Any] = json.loads(TEXT)

AREAS = ("SUP", "PRV", "CFT", "FW", "UPD", "ACC", "TEL", "QA", "RES", "CTR", "CMP", "INC", "EOL")

KNOCK_OUTS = {
    "SUP-01": ((1, 2, 3), "reject"),
    "PRV-01": ((1,), "high_risk"),
    "FW-01": ((1, 2, 3), "high_risk"),
    "FW-02": ((1,), "high_risk"),
    "FW-04": ((1,), "high_risk"),
    "ACC-01": ((1,), "high_risk"),
    "QA-01": ((1, 2, 3), "reject"),
    "RES-01": ((1, 2, 3), "high_risk"),
    "INC-01": ((1, 2, 3), "high_risk"),
}


def control(plain: dict[str, Any], control_id: str) -> dict[str, Any]:
    found: dict[str, Any] = next(item for item in plain["controls"] if item["id"] == control_id)
    return found


def test_the_built_in_policy_has_every_area_and_every_knock_out() -> None:
    policy = builtin()
    assert [area.id for area in policy.areas] == list(AREAS)
    assert {
        item.id: (item.knock_out.tiers, item.knock_out.effect) for item in policy.controls if item.knock_out
    } == KNOCK_OUTS
    weights = {area.id: area.weight for area in policy.areas}
    heaviest = sorted(weights, key=lambda area: -weights[area])[:4]
    assert set(heaviest) == {"FW", "PRV", "ACC", "RES"}


def test_the_built_in_policy_has_the_ids_and_tiers_of_the_catalogue(catalogue: dict[str, str]) -> None:
    for item in builtin().controls:
        assert catalogue[item.id] == "/".join(item.requirement), item.id


def test_the_digest_is_of_the_content_not_of_the_layout() -> None:
    compact = load(json.dumps(PLAIN, separators=(",", ":"), sort_keys=True))
    assert compact.digest == builtin().digest
    assert compact.digest.startswith("sha256:")
    other = copy.deepcopy(PLAIN)
    control(other, "FW-01")["weight"] += 1
    assert load(json.dumps(other)).digest != builtin().digest


def test_best_is_the_best_route_that_exists() -> None:
    policy = builtin()
    assert policy.control("FW-01").best is Strength.VERIFIED
    assert policy.control("FW-04").best is Strength.DOCUMENTED
    assert policy.control("INC-01").best is Strength.CLAIMED
    assert policy.control("FW-04").asked(2) is Requirement.EXPECTED
    with pytest.raises(PolicyError, match="no control 'XX-99'"):
        policy.control("XX-99")


def spoil(change: Callable[[dict[str, Any]], object]) -> str:
    plain = copy.deepcopy(PLAIN)
    change(plain)
    return json.dumps(plain)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.pop("areas"), "the whole: expected the member 'areas', found none"),
        (lambda p: p.update(extra=1), "expected only id, version.*found 'extra'"),
        (lambda p: p.update(digest="x"), "no member 'digest'"),
        (
            lambda p: p["controls"][3].update(weight="5"),
            r'controls\[3\].weight: expected a whole number, found "5"',
        ),
        (lambda p: p["controls"][3].update(weight=True), r"controls\[3\].weight: expected a whole number"),
        (lambda p: p["controls"][3].update(weight=1.5), r"controls\[3\].weight: expected a whole number"),
        (lambda p: p["controls"][3].update(weight=0), "expected a weight of at least 1"),
        (lambda p: p["controls"][3].update(requirement=["R", "R", "X"]), "expected one of R, E, -"),
        (lambda p: p["controls"][3].update(requirement=["R"]), "a requirement for each of three tiers"),
        (lambda p: p["controls"][3].update(requirement=["-", "-", "-"]), "at least one tier"),
        (lambda p: p["controls"].append(p["controls"][0]), r"each id once, found \['SUP-01'\]"),
        (lambda p: p["areas"].append(p["areas"][0]), r"each id once, found \['SUP'\]"),
        (lambda p: p["areas"].append({"id": "XYZ", "title": "Empty", "weight": 1}), r"\['XYZ'\]"),
        (lambda p: control(p, "FW-01").update(area="NO"), "exactly the areas that controls name"),
        (
            lambda p: control(p, "FW-04")["knock_out"].update(tiers=[2]),
            r"FW-04.knock_out: expected tiers in which",
        ),
        (lambda p: control(p, "FW-04")["knock_out"].update(tiers=[4]), "tiers out of 1, 2, 3"),
        (lambda p: control(p, "FW-04")["knock_out"].update(tiers=[]), "tiers out of 1, 2, 3"),
        (
            lambda p: control(p, "FW-04")["knock_out"].update(effect="warn"),
            "expected one of high_risk, reject",
        ),
        (lambda p: control(p, "FW-04").update(minimum="verified"), "expected a minimum up to documented"),
        (lambda p: control(p, "FW-04").update(minimum="none"), "expected a minimum up to"),
        (lambda p: control(p, "FW-04").update(claimed_by=[{}]), "a question or a fact"),
        (
            lambda p: control(p, "FW-04").update(claimed_by=[{"fact": "moon.phase"}]),
            "entity.…, date.… or contact.…",
        ),
        (lambda p: control(p, "FW-04").update(claimed_by=[]), "claimed_by or verified_by"),
        (
            lambda p: control(p, "QA-01")["documented_by"].pop("issued_on"),
            "issued_on and max_age_days together",
        ),
        (
            lambda p: control(p, "PRV-10").update(claimed_by=[{"question": "x"}]),
            "no claimed_by beside waits_for",
        ),
        (lambda p: control(p, "PRV-10").update(verified_by=["Lot serials"]), "check ids such as"),
        (lambda p: control(p, "PRV-10").update(why=""), "a title, why and closes"),
        (lambda p: p["strengths"].update(verified=90), "rising points up to 100"),
        (lambda p: p["strengths"].update(claimed=0), "rising points up to 100"),
        (lambda p: p["caps"].update(required_unmet="approvable"), "a rating below approvable"),
        (lambda p: p["caps"].update(required_unmet="reject"), "reject or worse"),
        (
            lambda p: p["minimums"].update(required="claimed", expected="documented"),
            "required not below expected",
        ),
        (lambda p: p.update(reassess_after_days=0), "at least 1"),
        (lambda p: p.update(areas={}), "areas: expected a list"),
        (lambda p: p.update(strengths=[]), "strengths: expected an object"),
    ],
)
def test_a_policy_that_does_not_hold_is_refused(
    change: Callable[[dict[str, Any]], object], message: str
) -> None:
    with pytest.raises(PolicyError, match=message):
        load(spoil(change))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON"),
        ("[]", "expected an object"),
        ("{", "line 1, column 2"),
        ('{"id": "a", "id": "b"}', "'id' twice"),
        ('{"reassess_after_days": NaN}', "NaN"),
        ("[" * 100_000, "expected JSON"),
        ("9" * 5000, "expected JSON"),
        (" " * (POLICY_MAX_BYTES + 1), "at most 1048576 bytes"),
    ],
    ids=["empty", "list", "cut", "duplicate", "nan", "deep", "long number", "too large"],
)
def test_text_that_is_no_policy_is_refused(text: str, message: str) -> None:
    with pytest.raises(PolicyError, match=message):
        load(text)


def test_a_file_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"missing\.json: expected a readable UTF-8 file"):
        load(tmp_path / "missing.json")
    (tmp_path / "latin.json").write_bytes(b'{"id": "\xe9"}')
    with pytest.raises(PolicyError, match=r"latin\.json"):
        load(tmp_path / "latin.json")
    with pytest.raises(PolicyError, match="no built-in policy"):
        builtin("../policy_v1")
