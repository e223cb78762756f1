"""Every check of lots, passing and failing, through the vault, the verbs and the job."""

import dataclasses
import json
from typing import Any

import pytest
from sqlalchemy import func, select

from portal.submissions import service as submissions
from portal.submissions.lots.models import CustodyEvent, Lot, Unit
from portal.submissions.lots.service import lot_of
from portal.submissions.models import SubmissionState
from portal.verification import Outcome
from tests.unit.submissions.conftest import Desk, NewDesk, a_manifest, a_unit

P, F, N = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN
LIMITS = {"capacity_ah": {"min": 100}, "resistance_mohm": {"max": 0.7}, "ocv_v": {"min": 3.2, "max": 3.4}}


@pytest.fixture
def plain(new_desk: NewDesk) -> Desk:
    """A supplier whose product has no firmware, with limits set."""
    desk = new_desk(components=())
    desk.product.limits = LIMITS
    desk.session.commit()
    return desk


def again(desk: Desk, submission_id: str) -> Outcome:
    """Verify once more, as re-assessment does."""
    outcome = submissions.verify(desk.session, desk.clock, desk.store, submission_id, lambda *_: None)
    desk.session.commit()
    return outcome


def test_a_good_lot_lacks_nothing_but_attestations(plain: Desk) -> None:
    made = plain.lot(plain.manifest())
    found = {name: check.outcome for name, check in plain.checks(made).items()}
    assert list(found) == [
        *("manifest", "signature", "count", "serials_unique", "serials_new", "limits", "firmware", "dates"),
        *("custody", "attested"),
    ]
    assert found.pop("signature") is found.pop("firmware") is Outcome.NOT_APPLICABLE
    assert found.pop("attested") is N
    assert set(found.values()) == {P}
    assert plain.row(made).state is SubmissionState.VERIFIED
    lot = lot_of(plain.session, made)
    assert lot is not None
    assert (lot.lot_number, lot.declared_count, lot.unit_count, lot.live) == ("L-1", 2, 2, True)
    serials = select(Unit.serial).where(Unit.lot_id == lot.id).order_by(Unit.position)
    assert plain.session.scalars(serials).all() == ["SN-1", "SN-2"]
    assert plain.session.scalar(select(func.count()).select_from(CustodyEvent)) == 2


@pytest.mark.parametrize("data", [b"\xef\xbb\xbf{}", b'{"lot": 1, "lot": 2}', b"[]", b"\xff\xfe{\x00}\x00"])
def test_an_unreadable_manifest_leaves_no_lot_half_written(plain: Desk, data: bytes) -> None:
    made = plain.lot(data)
    found = plain.checks(made)
    assert found["manifest"].outcome is Outcome.UNREADABLE
    assert plain.row(made).outcome is Outcome.UNREADABLE
    assert list(found) == ["manifest", "signature"]
    assert plain.session.scalar(select(func.count()).select_from(Lot)) == 0


def test_a_manifest_about_another_lot_or_product_is_not_taken_for_this_one(plain: Desk) -> None:
    found = plain.checks(plain.lot(plain.manifest(lot="L-2") | {"product": "X-1"}))
    assert found["manifest"].outcome is Outcome.UNREADABLE
    assert "lot: expected L-1, found L-2" in found["manifest"].reason
    assert f"product: expected {plain.product.model}, found X-1" in found["manifest"].reason


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"manifest_max_units": 1}, "at most 1 units, found 2"),
        ({"manifest_max_bytes": 99}, "at most 99 bytes"),
    ],
)
def test_the_limits_of_the_settings_hold_once(plain: Desk, limits: dict[str, int], words: str) -> None:
    usual = plain.jobs.settings
    plain.jobs.settings = dataclasses.replace(usual, **limits)  # type: ignore[arg-type]
    assert words in plain.checks(plain.lot(plain.manifest()))["manifest"].reason
    plain.jobs.settings = usual
    made = plain.lot(plain.manifest())
    assert plain.checks(made)["manifest"].outcome is P
    tight = submissions.Limits(manifest_bytes=99, manifest_units=1)
    findings = submissions.examine(plain.session, plain.store, made, lambda *_: None, tight)
    submissions.record(plain.session, plain.clock, findings)
    assert plain.checks(made)["manifest"].outcome is P  # what was taken once is read again


# --- the checks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("check", "values", "words"),
    [
        ("count", {"unit_count": 3}, "Declared are 3 units, listed are 2"),
        ("dates", {"manufactured_on": "2026-11-22"}, "manufactured on 2026-11-22"),
        ("custody", {"custody": []}, "no hand-off at all"),
        ("custody", {"maker": "Somebody Else"}, "not with the maker Somebody Else"),
    ],
)
def test_a_manifest_that_contradicts_itself(
    plain: Desk, check: str, values: dict[str, Any], words: str
) -> None:
    found = plain.checks(plain.lot(plain.manifest(**values)))
    assert found["manifest"].outcome is P
    assert found[check].outcome is F
    assert words in found[check].reason


def custody(*hops: tuple[str, str, str]) -> list[dict[str, str]]:
    return [
        {"event": "shipped", "from": one, "to": other, "location": "dock", "at": at}
        for one, other, at in hops
    ]


MAKER = "Nordhaven Cells AS"


@pytest.mark.parametrize(
    ("hops", "check", "words"),
    [
        (
            ((MAKER, "Polar", "2026-10-02T00:00:00Z"), ("Baltic", "Meridian", "2026-10-03T00:00:00Z")),
            "custody",
            "Polar received it, but Baltic handed it on (hand-off 2)",
        ),
        (
            ((MAKER, "Polar", "2026-10-05T00:00:00Z"), ("Polar", "Meridian", "2026-10-04T00:00:00Z")),
            "custody",
            "hand-off 2 is dated before hand-off 1",
        ),
        (((MAKER, "Polar", "2026-11-21T12:00:01Z"),), "dates", "hand-off 1 at 2026-11-21 12:00 UTC"),
        (((MAKER, "Polar", "2026-11-21T14:00:01+02:00"),), "dates", "hand-off 1"),
    ],
    ids=["a missing hop", "backwards in time", "in the future", "in the future elsewhere"],
)
def test_a_custody_chain_that_does_not_hold(
    plain: Desk, hops: tuple[tuple[str, str, str], ...], check: str, words: str
) -> None:
    found = plain.checks(plain.lot(plain.manifest(custody=custody(*hops))))
    assert found[check].outcome is F
    assert words in found[check].reason


def test_the_moment_of_submission_is_not_the_future(plain: Desk) -> None:
    made = plain.lot(plain.manifest(custody=custody((MAKER, "Polar", "2026-11-21T12:00:00Z"))))
    assert plain.checks(made)["dates"].outcome is P


def test_a_serial_twice_in_a_lot_however_written(plain: Desk) -> None:
    found = plain.checks(plain.lot(plain.manifest("SN-1", "sn-1 ", "SN-2")))
    assert found["serials_unique"].outcome is F
    assert "1 serials stand more than once in this lot: SN-1" in found["serials_unique"].reason


def test_values_outside_the_limits_and_on_them(plain: Desk) -> None:
    on_them = [a_unit("SN-1", capacity_ah=100, resistance_mohm=0.7, ocv_v=3.2), a_unit("SN-2", ocv_v=3.4)]
    made = plain.lot(a_manifest(plain.product.model, on_them))
    assert plain.checks(made)["limits"].outcome is P
    outside = [a_unit("SN-3", capacity_ah=99.9, ocv_v=3.41), a_unit("SN-4")]
    found = plain.checks(plain.lot(a_manifest(plain.product.model, outside, "L-2"), lot="L-2"))["limits"]
    assert found.outcome is F
    assert "2 values are outside" in found.reason
    assert "SN-3 (capacity 99.9 Ah)" in found.reason


def test_without_limits_there_is_only_a_warning(new_desk: NewDesk) -> None:
    desk = new_desk(components=())
    assert desk.checks(desk.lot(desk.manifest()))["limits"].outcome is Outcome.WARN


def test_firmware_must_be_accepted_and_named(desk: Desk) -> None:
    desk.key("firmware")
    desk.firmware(desk.keys.image("firmware", "1.0.0"), "1.0.0")

    def firmware(lot: str, **versions: str) -> tuple[Outcome, str]:
        unit = a_unit(f"{lot}-1", firmware=versions)
        found = desk.checks(desk.lot(a_manifest(desk.product.model, [unit], lot), lot=lot))["firmware"]
        return found.outcome, found.reason

    assert firmware("A", BMS="1.0.0")[0] is P
    for lot, versions, words in (
        ("B", {"BMS": "1.0.1"}, "BMS 1.0.1: not an accepted version (1 units)"),
        ("C", {}, "no firmware named"),
        ("D", {"BMS": "1.0.0", "PCS": "1.0.0"}, "PCS: not a component of this product"),
        ("E", {"PCS": "1.0.0"}, "BMS: no version named"),
    ):
        outcome, reason = firmware(lot, **versions)
        assert outcome is F
        assert words in reason


# --- signatures over the manifest -----------------------------------------------------------------


def signature(desk: Desk, key: str, *, spoil: bool = False) -> tuple[Outcome, str]:
    data = json.dumps(desk.manifest()).encode()
    made = desk.lot(
        data.replace(b"Narvik", b"Tromso", 1) if spoil else data, signature=desk.keys.sign(key, data)
    )
    found = desk.checks(made)["signature"]
    return found.outcome, found.reason


def test_a_signed_manifest(plain: Desk) -> None:
    plain.key("manifests", ("manifest",))
    assert signature(plain, "manifests")[0] is P


def test_a_changed_manifest_and_a_key_that_does_not_count(plain: Desk) -> None:
    plain.key("manifests", ("manifest",))
    plain.key("firmware", ("firmware",))
    plain.key("waiting", ("manifest",), approve=None)
    assert signature(plain, "manifests", spoil=True)[0] is F
    assert signature(plain, "firmware")[0] is F
    outcome, reason = signature(plain, "waiting")
    assert outcome is F
    assert reason.count("waits for approval") == 1


# --- serials that were delivered before -----------------------------------------------------------


def test_a_serial_delivered_before_by_anyone(new_desk: NewDesk) -> None:
    first, second = new_desk(components=()), new_desk(components=())
    made = first.lot(first.manifest("SN-1", "SN-2"))
    found = second.checks(second.lot(second.manifest("sn-2", "SN-3")))["serials_new"]
    assert found.outcome is F
    assert "SN-2" in found.reason
    assert first.supplier.name not in found.reason
    own = first.lot(first.manifest("SN-1", lot="L-2"), lot="L-2")
    assert "(by you)" in first.checks(own)["serials_new"].reason
    again(first, made)
    assert first.checks(made)["serials_new"].outcome is P  # the first one stays the first


def test_a_correction_may_bring_its_serials_again_and_ends_what_it_replaces(plain: Desk) -> None:
    made = plain.lot(plain.manifest(unit_count=3))
    better = plain.lot(plain.manifest(), supersedes_id=made)
    assert plain.checks(better)["serials_new"].outcome is P
    old = lot_of(plain.session, made)
    assert old is not None
    assert old.live is False
    another = plain.lot(plain.manifest(), supersedes_id=made)
    assert plain.checks(another)["serials_new"].outcome is F


def test_serials_of_a_withdrawn_lot_are_free(plain: Desk) -> None:
    made = plain.lot(plain.manifest())
    submissions.withdraw(plain.session, plain.actor, plain.clock, plain.jobs, made)
    plain.session.commit()
    assert plain.checks(plain.lot(plain.manifest()))["serials_new"].outcome is P


def test_a_hundred_thousand_units_are_taken(plain: Desk) -> None:
    serials = [f"SN-{number:06d}" for number in range(100_000)]
    made = plain.lot(plain.manifest(*serials))
    found = plain.checks(made)
    assert "100,000 units" in found["manifest"].reason
    assert found["serials_new"].outcome is found["serials_unique"].outcome is P
    lot = lot_of(plain.session, made)
    assert lot is not None
    assert plain.session.scalar(select(func.count(Unit.id)).where(Unit.lot_id == lot.id)) == 100_000
    later = plain.lot(plain.manifest("SN-099999", lot="L-2"), lot="L-2")
    assert plain.checks(later)["serials_new"].outcome is F
