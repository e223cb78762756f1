"""HSS: a one-time key that signs two different things raises the alarm; the same signature again does not."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError

from portal.accounts.models import RoleName
from portal.submissions import service as submissions
from portal.submissions.firmware.models import OneTimeKey
from portal.submissions.firmware.service import release_of
from portal.submissions.firmware.shown import shown
from portal.submissions.models import SubmissionState
from portal.suppliers.keys import decide_key, register_key
from portal.suppliers.models import SigningKey
from portal.verification import Check, Outcome
from tests.unit.submissions.conftest import Desk, NewDesk
from tests.unit.verification.hss import Signer

P, F = Outcome.PASS, Outcome.FAIL
CHECK = "one_time_key"


@pytest.fixture
def signer() -> Signer:
    return Signer.make(2, "lms_sha256_m24_h5", "lmots_sha256_n24_w4")


def approved(desk: Desk, signer: Signer) -> SigningKey:
    row = register_key(
        *(desk.session, desk.actor, desk.clock), pem=signer.pem, label="hash-based", purposes=["firmware"]
    )
    decide_key(
        *(desk.session, desk.make.actor(RoleName.REVIEWER), desk.clock, row.id),
        approve=True,
        fingerprint_typed=row.fingerprint[-8:],
        note="read out on the telephone",
    )
    desk.session.commit()
    return row


def offer(desk: Desk, data: bytes, version: str, signature: bytes) -> dict[str, Check]:
    return desk.checks(desk.firmware(data, version, signature))


def remembered(desk: Desk) -> int:
    return desk.session.scalar(select(func.count()).select_from(OneTimeKey)) or 0


def test_two_images_by_two_one_time_keys_pass(desk: Desk, signer: Signer) -> None:
    key = approved(desk, signer)
    for number in (1, 2):
        data = b"image %d" % number
        made = desk.firmware(data, f"{number}.0", signer.sign(data))
        found = desk.checks(made)
        assert (found["signature"].outcome, found["key"].outcome, found[CHECK].outcome) == (P, P, P)
        assert release_of(desk.session, made).signing_key_id == key.id
    # The key of the lower tree was signed once: the same signature stands in both.
    assert remembered(desk) == 3


def test_a_one_time_key_that_signs_two_images_means_that_the_key_is_compromised(
    desk: Desk, signer: Signer
) -> None:
    approved(desk, signer)
    assert offer(desk, b"image 1", "1.0", signer.sign(b"image 1"))[CHECK].outcome is P
    signer.rewind()
    made = desk.firmware(b"image 2", "2.0", signer.sign(b"image 2"))
    found = desk.checks(made)
    assert found["signature"].outcome is P
    assert found[CHECK].outcome is F
    for words in ("One-time key 0", "level 2", "on 21 Nov 2026", "Distrust the key"):
        assert words in found[CHECK].reason
    assert desk.row(made).state is SubmissionState.VERIFIED  # a person must look
    assert release_of(desk.session, made).accepted_at is None
    # A later run says so again, and the first image is not held against itself.
    assert again(desk, made)[CHECK].outcome is F
    assert remembered(desk) == 2


def again(desk: Desk, submission_id: str) -> dict[str, Check]:
    submissions.verify(desk.session, desk.clock, desk.store, submission_id, lambda *_: None)
    desk.session.commit()
    return desk.checks(submission_id)


def test_the_same_delivery_again_and_a_later_run_are_no_alarm(desk: Desk, signer: Signer) -> None:
    approved(desk, signer)
    signature = signer.sign(b"image 1")
    first = desk.firmware(b"image 1", "1.0", signature)
    assert offer(desk, b"image 1", "1.0", signature)[CHECK].outcome is P
    assert again(desk, first)[CHECK].outcome is P
    assert remembered(desk) == 2


def test_the_same_image_signed_anew_by_the_same_one_time_key_is_an_alarm(desk: Desk, signer: Signer) -> None:
    """pyhsslms takes a fresh randomizer each time: what the one-time key signs is another hash."""
    approved(desk, signer)
    signature = signer.sign(b"image 1")
    signer.rewind()
    other = signer.sign(b"image 1")
    assert signature != other
    assert offer(desk, b"image 1", "1.0", signature)[CHECK].outcome is P
    assert offer(desk, b"image 1", "1.0", other)[CHECK].outcome is F


def test_reuse_in_an_upper_tree_is_seen(desk: Desk, signer: Signer) -> None:
    approved(desk, signer)
    private = signer.private
    assert offer(desk, b"image 1", "1.0", signer.sign(b"image 1"))[CHECK].outcome is P
    # A copy of the key that made a lower tree of its own with the same one-time key of the upper one.
    top = private.prv[0]
    top.q, top.ots_priv[0]._signatures_remaining = 0, 1
    del private.prv[1], private.pub[1], private.sig[0]
    found = offer(desk, b"image 2", "2.0", signer.sign(b"image 2"))
    assert found["signature"].outcome is P
    assert found[CHECK].outcome is F
    assert "level 1" in found[CHECK].reason


def test_the_case_page_shows_which_one_time_keys_signed(desk: Desk, signer: Signer) -> None:
    approved(desk, signer)
    made = desk.firmware(b"image 1", "1.0", signer.sign(b"image 1"))
    image = shown(release_of(desk.session, made).report)
    assert image is not None
    (table,) = [
        table for group in image.groups for table in group.tables if table.title.startswith("One-time")
    ]
    assert table.columns[0] == "Level"
    trees = [tree.I.hex() for tree in signer.private.prv]
    assert [[value.text for value in row[:3]] for row in table.rows] == [
        ["1", trees[0], "0"],
        ["2", trees[1], "0"],
    ]


def test_a_signature_that_does_not_hold_is_not_remembered(desk: Desk, signer: Signer) -> None:
    approved(desk, signer)
    found = offer(desk, b"image 2", "1.0", signer.sign(b"image 1"))
    assert found["signature"].outcome is F
    assert CHECK not in found
    assert remembered(desk) == 0


def test_an_image_by_another_kind_of_key_has_no_such_check(desk: Desk) -> None:
    desk.key("firmware")
    assert CHECK not in offer(desk, b"image", "1.0", desk.keys.sign("firmware", b"image"))


def test_what_one_supplier_delivered_says_nothing_about_another(new_desk: NewDesk, signer: Signer) -> None:
    one, other = new_desk(), new_desk()
    for desk in (one, other):
        approved(desk, signer)
    assert offer(one, b"image 1", "1.0", signer.sign(b"image 1"))[CHECK].outcome is P
    signer.rewind()
    assert offer(other, b"image 2", "1.0", signer.sign(b"image 2"))[CHECK].outcome is P


def test_the_database_itself_keeps_one_row_for_each(desk: Desk, signer: Signer) -> None:
    approved(desk, signer)
    made = desk.firmware(b"image 1", "1.0", signer.sign(b"image 1"))
    row = desk.session.scalars(select(OneTimeKey)).first()
    assert row is not None
    kept = ("supplier_id", "fingerprint", "identifier", "leaf")
    desk.session.add(
        OneTimeKey(
            **{name: getattr(row, name) for name in kept},
            signed="00" * 24,
            submission_id=made,
            seen_at=desk.clock.now(),
        )
    )
    with pytest.raises(IntegrityError, match="one_time_keys"):
        desk.session.flush()
