"""What the built-in policy says about suppliers that are good, and about each way of not being good."""

from dataclasses import replace
from datetime import timedelta

import pytest

from portal.errors import PolicyError
from portal.policy.evaluate import evaluate
from portal.policy.facts import AnswerFact, ChangeFact, EntityFact, EvidenceFact, ExceptionFact, Facts
from portal.policy.model import Rating, Requirement, Strength
from portal.policy.result import ControlResult, Result, Severity
from tests.unit.policy.builders import (
    POLICY,
    TODAY,
    answered,
    perfect,
    perfect_answers,
    reply,
    submission,
    without,
)


def judged(facts: Facts, tier: int = 1) -> Result:
    return evaluate(POLICY, facts, tier, TODAY)


def control(result: Result, control_id: str) -> ControlResult:
    found = result.control(control_id)
    assert found is not None
    return found


def strength(facts: Facts, control_id: str, tier: int = 1) -> Strength:
    return control(judged(facts, tier), control_id).strength


def knocked(result: Result) -> set[str]:
    return {item.control_id for item in result.knock_outs if item.accepted_until is None}


@pytest.mark.parametrize("tier", [1, 2, 3])
def test_a_supplier_that_does_everything_right_is_approvable_in_every_tier(tier: int) -> None:
    result = judged(perfect(), tier)
    assert (result.rating, result.gaps, result.knock_outs) == (Rating.APPROVABLE, (), ())
    assert (result.score or 0) > 95
    assert all(item.met for item in result.controls if item.applies)


def test_before_any_delivery_documents_make_tier_2_approvable_but_tier_1_needs_a_trusted_image() -> None:
    facts = answered(perfect_answers())
    assert judged(facts, 2).rating is Rating.CONDITIONAL  # FW-02 is required, and only a check proves it
    assert {gap.control_id for gap in judged(facts, 2).gaps} == {"FW-02"}
    assert knocked(judged(facts, 1)) == {"FW-02"}
    with_image = replace(facts, checks=submission("firmware"))
    assert judged(with_image, 1).rating is Rating.APPROVABLE
    waiting = {control.id for control in judged(with_image, 1).controls if not control.applies}
    assert waiting == {"PRV-04", "PRV-05", "PRV-06", "PRV-10", "QA-03", "QA-05", "CMP-04"}


def test_a_supplier_that_said_nothing_is_rejected_with_every_knock_out() -> None:
    result = judged(Facts())
    assert result.rating is Rating.REJECT
    assert knocked(result) == {control.id for control in POLICY.controls if control.knock_out}
    assert result.score == 0
    assert all(gap.why and gap.matters and gap.closes for gap in result.gaps)


@pytest.mark.parametrize(
    ("spoiled", "control_id", "rating", "why"),
    [
        (without(perfect(), "sup_maker_name"), "SUP-01", Rating.REJECT, "no manufacturer is named"),
        (
            without(perfect(), "sup_maker_country"),
            "SUP-01",
            Rating.REJECT,
            "country of the manufacturer is missing",
        ),
        (
            without(perfect(), "sup_maker_address"),
            "SUP-01",
            Rating.REJECT,
            "sup_maker_address is not answered",
        ),
        (reply(perfect(), qa_test_report="no"), "QA-01", Rating.REJECT, "qa_test_report is answered 'no'"),
        (
            reply(perfect(), qa_test_report_date="2020-01-01"),
            "QA-01",
            Rating.REJECT,
            "more than 1096 days ago",
        ),
        (reply(perfect(), qa_test_report_date="2027-01-01"), "QA-01", Rating.REJECT, "still ahead"),
        (without(perfect(), "qa_test_report_date"), "QA-01", Rating.REJECT, "nobody knows how old"),
        (
            without(perfect(), "res_end_of_support"),
            "RES-01",
            Rating.HIGH_RISK,
            "no date is given for end of support",
        ),
        (
            reply(perfect(), res_end_of_support="2026-11-21"),
            "RES-01",
            Rating.HIGH_RISK,
            "was 2026-11-21, which is not",
        ),
        (without(perfect(), "inc_contact"), "INC-01", Rating.HIGH_RISK, "no security contact is given"),
        (
            reply(perfect(), inc_contact_hours="business_hours"),
            "INC-01",
            Rating.HIGH_RISK,
            "'business_hours'",
        ),
        (reply(perfect(), acc_remote_access="standing"), "ACC-01", Rating.HIGH_RISK, "'standing'"),
        (
            reply(perfect(), fw_secure_boot="none"),
            "FW-04",
            Rating.HIGH_RISK,
            "fw_secure_boot is answered 'none'",
        ),
    ],
)
def test_a_knock_out_decides_whatever_the_score(
    spoiled: Facts, control_id: str, rating: Rating, why: str
) -> None:
    result = judged(spoiled)
    assert (result.rating, knocked(result)) == (rating, {control_id})
    assert why in result.knock_outs[0].reason
    assert (result.score or 0) > 80
    assert result.gaps[0].severity is Severity.KNOCK_OUT
    assert control_id in result.rating_reasons[0]


def test_a_security_contact_in_business_hours_is_enough_below_tier_1() -> None:
    facts = reply(perfect(), inc_contact_hours="business_hours")
    assert judged(facts, 2).rating is Rating.APPROVABLE
    assert judged(reply(perfect(), inc_contact_hours="unknown"), 2).rating is Rating.HIGH_RISK


@pytest.mark.parametrize("outcome", ["fail", "warn", "unreadable", "not_run", "not_applicable", "odd"])
def test_unsigned_firmware_is_high_risk_until_the_check_passes(outcome: str) -> None:
    facts = perfect(checks=submission("firmware", signed=outcome) if outcome else ())
    for tier in (1, 2, 3):
        result = judged(facts, tier)
        assert (result.rating, "FW-01" in knocked(result)) == (Rating.HIGH_RISK, True)


def test_one_bad_image_among_good_ones_is_enough() -> None:
    good, bad = submission("firmware", 1), submission("firmware", 2, signature="fail")
    result = judged(perfect(checks=good + bad))
    assert "FW-01" in knocked(result)
    assert control(result, "FW-01").strength is Strength.CONTRADICTED
    assert any("firmware 2: firmware.signature fail" in reason for reason in control(result, "FW-01").reasons)


def test_a_check_that_was_never_recorded_is_no_proof() -> None:
    lost = tuple(c for c in submission("firmware", 2) if c.id != "firmware.signature")
    result = judged(perfect(checks=submission("firmware", 1) + lost))
    assert "FW-01" in knocked(result)
    assert "firmware 2: firmware.signature was not recorded" in result.knock_outs[0].reason


def test_a_distrusted_key_knocks_out_in_tier_1_and_is_high_risk_in_tier_2() -> None:
    facts = perfect(checks=submission("firmware", key="fail"))
    assert knocked(judged(facts, 1)) == {"FW-02"}
    assert (judged(facts, 2).rating, knocked(judged(facts, 2))) == (Rating.HIGH_RISK, set())
    assert judged(facts, 3).rating is Rating.CONDITIONAL


@pytest.mark.parametrize(
    ("kind", "check", "control_id"),
    [
        ("firmware", "algorithm", "FW-03"),
        ("firmware", "rollback", "FW-05"),
        ("firmware", "lineage", "FW-06"),
        ("firmware", "digest", "FW-06"),
        ("firmware", "version", "FW-06"),
        ("firmware", "one_time_key", "FW-02"),
        ("lot", "manifest", "PRV-01"),
        ("lot", "serials_unique", "PRV-01"),
        ("lot", "count", "PRV-01"),
        ("lot", "signature", "PRV-02"),
        ("lot", "attested", "PRV-05"),
        ("lot", "custody", "PRV-04"),
        ("lot", "dates", "PRV-04"),
        ("lot", "serials_new", "PRV-10"),
        ("lot", "limits", "QA-03"),
        ("lot", "firmware", "QA-05"),
        ("attestations", "signature", "PRV-06"),
        ("attestations", "readable", "PRV-06"),
        ("attestations", "subject", "PRV-05"),
    ],
)
def test_a_failing_check_beats_claim_and_document(kind: str, check: str, control_id: str) -> None:
    rest = tuple(c for c in perfect().checks if c.kind != kind)
    result = judged(perfect(checks=rest + submission(kind, 1, **{check: "fail"})))
    found = control(result, control_id)
    assert (found.strength, found.met, found.score) == (Strength.CONTRADICTED, False, 0)
    assert result.rating is Rating.HIGH_RISK
    assert any(f"{kind}.{check} fail: as measured" in reason for reason in found.reasons)


def test_a_warning_leaves_what_documents_say() -> None:
    facts = perfect(checks=submission("firmware", rollback="warn"))
    assert strength(facts, "FW-05") is Strength.DOCUMENTED
    assert judged(facts).rating is Rating.APPROVABLE


def test_from_the_first_image_on_only_the_check_says_that_the_algorithm_is_strong() -> None:
    result = judged(perfect(checks=submission("firmware", algorithm="warn")))
    assert result.rating is Rating.CONDITIONAL
    assert "verified is needed, and it is only documented" in result.gaps[0].why


def test_strength_rises_from_claim_over_document_to_proof() -> None:
    bare = {key: replace(answer, evidence=()) for key, answer in perfect().answers.items()}
    claimed = replace(perfect(checks=()), answers=bare)
    assert strength(claimed, "FW-05") is Strength.CLAIMED
    assert strength(perfect(checks=()), "FW-05") is Strength.DOCUMENTED
    assert strength(perfect(), "FW-05") is Strength.VERIFIED
    scores = [control(judged(facts), "FW-05").score for facts in (claimed, perfect(checks=()), perfect())]
    assert scores == [40, 70, 100]
    assert control(judged(perfect()), "FW-04").score == 100  # nothing better is possible


def test_a_file_beside_the_answer_no_documents_nothing() -> None:
    assert strength(reply(perfect(), cft_programme="no"), "CFT-01") is Strength.NONE


def test_an_expired_file_does_not_count() -> None:
    def until(days: int) -> Facts:
        file = EvidenceFact("sha256:" + "a" * 64, "policy.pdf", TODAY + timedelta(days=days))
        facts = perfect()
        return replace(facts, answers=dict(facts.answers) | {"cft_programme": AnswerFact("yes", (file,))})

    assert strength(until(0), "CFT-01") is Strength.DOCUMENTED
    assert strength(until(-1), "CFT-01") is Strength.CLAIMED
    assert "policy.pdf expired on 2026-11-20" in control(judged(until(-1)), "CFT-01").reasons


def test_a_certificate_expires_on_the_day_that_was_answered() -> None:
    facts = reply(perfect(), sup_factory_cert_expiry="2026-11-20")
    assert strength(facts, "SUP-07") is Strength.CLAIMED
    assert strength(reply(facts, sup_factory_cert_expiry="2026-11-21"), "SUP-07") is Strength.DOCUMENTED
    assert strength(without(facts, "sup_factory_cert_expiry"), "SUP-07") is Strength.CLAIMED


def test_a_second_factor_is_not_asked_where_nobody_has_remote_access() -> None:
    facts = reply(perfect(), acc_remote_access="none")
    assert not control(judged(facts), "ACC-02").applies
    assert judged(facts).rating is Rating.APPROVABLE
    assert strength(without(perfect(), "acc_remote_access", "acc_mfa"), "ACC-02") is Strength.NONE


def test_what_does_not_apply_to_a_lot_is_not_held_against_it() -> None:
    rest = tuple(c for c in perfect().checks if c.kind != "lot")
    facts = perfect(checks=rest + submission("lot", firmware="not_applicable"))
    found = control(judged(facts), "QA-05")
    assert (found.applies, found.score) == (False, None)
    assert judged(facts).rating is Rating.APPROVABLE
    mixed = replace(facts, checks=facts.checks + submission("lot", 2))
    assert strength(mixed, "QA-05") is Strength.VERIFIED


@pytest.mark.parametrize("outcome", ["warn", "unreadable", "not_run"])
def test_a_lot_whose_check_was_not_a_pass_is_conditional(outcome: str) -> None:
    rest = tuple(c for c in perfect().checks if c.kind != "lot")
    result = judged(perfect(checks=rest + submission("lot", serials_new=outcome)))
    assert (result.rating, [gap.control_id for gap in result.gaps]) == (Rating.CONDITIONAL, ["PRV-10"])


def test_an_open_change_and_a_year_without_decision_make_it_conditional() -> None:
    changed = perfect(changes=(ChangeFact("bom", TODAY),))
    assert judged(changed).rating is Rating.CONDITIONAL
    assert judged(changed).gaps[0].why.endswith("changes wait for a decision: bom")
    old = replace(perfect(), last_assessed=TODAY - timedelta(days=367))
    assert [gap.control_id for gap in judged(old).gaps] == ["CMP-04"]
    assert judged(replace(old, last_assessed=TODAY - timedelta(days=366))).rating is Rating.APPROVABLE
    assert not control(judged(replace(old, last_assessed=None)), "CMP-04").applies


def test_an_expected_gap_is_listed_and_leaves_approvable() -> None:
    result = judged(reply(perfect(), tel_baseline="no"), 2)
    assert (result.rating, [gap.severity for gap in result.gaps]) == (Rating.APPROVABLE, [Severity.EXPECTED])
    assert judged(reply(perfect(), tel_baseline="no"), 1).rating is Rating.CONDITIONAL


def test_an_exception_accepts_a_gap_until_it_expires() -> None:
    broken = without(perfect(), "res_end_of_support")
    until = replace(broken, exceptions=(ExceptionFact("RES-01", TODAY),))
    result = judged(until)
    assert (result.rating, knocked(result)) == (Rating.CONDITIONAL, set())
    assert [(gap.control_id, gap.accepted_until) for gap in result.gaps] == [("RES-01", TODAY)]
    assert [area.accepted for area in result.areas if area.id == "RES"] == [1]
    late = replace(broken, exceptions=(ExceptionFact("RES-01", TODAY - timedelta(days=1)),))
    assert judged(late).rating is Rating.HIGH_RISK
    two = replace(broken, exceptions=(*late.exceptions, ExceptionFact("RES-01", TODAY + timedelta(days=9))))
    assert judged(two).gaps[0].accepted_until == TODAY + timedelta(days=9)


def test_no_exception_accepts_what_the_policy_rejects() -> None:
    facts = replace(
        without(perfect(), "sup_maker_name"),
        exceptions=(ExceptionFact("SUP-01", TODAY + timedelta(days=30)),),
    )
    result = judged(facts)
    assert (result.rating, knocked(result)) == (Rating.REJECT, {"SUP-01"})
    assert result.gaps[0].accepted_until is None


def test_an_exception_for_an_expected_gap_does_not_make_it_worse() -> None:
    facts = replace(reply(perfect(), tel_baseline="no"), exceptions=(ExceptionFact("TEL-01", TODAY),))
    assert judged(facts, 2).rating is Rating.APPROVABLE


def test_records_are_worth_more_than_answers() -> None:
    recorded = replace(perfect(), dates={"end_of_support": TODAY, "end_of_sale": TODAY + timedelta(days=1)})
    assert knocked(judged(recorded)) == {"RES-01"}
    nameless = replace(perfect(), entities=(EntityFact("manufacturer", " ", "NO"),))
    assert knocked(judged(nameless)) == {"SUP-01"}
    two = replace(
        perfect(), entities=(EntityFact("manufacturer", "A"), EntityFact("manufacturer", "B", "NO"))
    )
    assert judged(two).rating is Rating.APPROVABLE


def test_what_a_tier_does_not_ask_is_neither_scored_nor_a_gap() -> None:
    result = judged(reply(perfect(), eol_data_removal="no"), 3)
    found = control(result, "EOL-01")
    assert (found.requirement, found.applies, found.score) == (Requirement.NOT_ASKED, False, None)
    assert [area.score for area in result.areas if area.id == "EOL"] == [None]
    assert result.rating is Rating.APPROVABLE


def test_area_scores_are_weighted_means_rounded_half_up() -> None:
    result = judged(perfect(checks=()), 1)
    firmware = [control for control in result.controls if control.area == "FW" and control.applies]
    exact = sum(c.weight * (c.score or 0) for c in firmware) / sum(c.weight for c in firmware)
    assert next(area.score for area in result.areas if area.id == "FW") == int(exact + 0.5)


def test_the_reasons_of_a_thousand_images_stay_readable() -> None:
    checks = tuple(c for number in range(1000) for c in submission("firmware", number, signature="fail"))
    found = control(judged(perfect(checks=checks)), "FW-01")
    assert (len(found.reasons), found.reasons[-1]) == (11, "and 990 more")


@pytest.mark.parametrize("tier", [0, 4, -1])
def test_an_unknown_tier_is_refused(tier: int) -> None:
    with pytest.raises(PolicyError, match="tier: expected 1, 2 or 3"):
        judged(perfect(), tier)
