"""Every check of firmware, passing and failing, on images by imgtool and signatures by openssl."""

from collections.abc import Callable

import pytest

from portal.errors import InvalidInput
from portal.submissions import service as submissions
from portal.submissions.firmware.service import release_of
from portal.submissions.firmware.versions import parse_version, same_version
from portal.submissions.models import SubmissionState
from portal.suppliers.keys import distrust_key
from portal.verification import Outcome
from tests.unit.submissions.conftest import Desk, NewDesk

P, F, N = Outcome.PASS, Outcome.FAIL, Outcome.NOT_RUN
UNREADABLE, NOT_APPLICABLE = Outcome.UNREADABLE, Outcome.NOT_APPLICABLE


def outcomes(desk: Desk, submission_id: str) -> dict[str, Outcome]:
    return {name: check.outcome for name, check in desk.checks(submission_id).items()}


def test_a_good_image_passes_every_check_and_is_accepted_by_the_machine(desk: Desk) -> None:
    key = desk.key("firmware")
    made = desk.firmware(desk.keys.image("firmware", "1.4.2+7", "--security-counter", "3"), "1.4.2")
    assert set(outcomes(desk, made).values()) <= {P, NOT_APPLICABLE}
    assert outcomes(desk, made)["digest"] is NOT_APPLICABLE
    assert desk.row(made).state is SubmissionState.ACCEPTED
    release = release_of(desk.session, made)
    assert (release.image_version, release.security_counter) == ("1.4.2+7", 3)
    assert release.signing_key_id == key.id
    assert release.accepted_at == desk.clock.now()


def test_a_detached_signature_by_openssl_proves_an_image_of_no_format(desk: Desk) -> None:
    desk.key("firmware")
    data = b"\x7fno format at all" * 99
    found = outcomes(desk, desk.firmware(data, "2.0", desk.keys.sign("firmware", data)))
    assert found["signature"] is found["key"] is P
    assert found["version"] is NOT_APPLICABLE


def test_a_declared_digest_that_is_another_fails(desk: Desk) -> None:
    desk.key("firmware")
    image = desk.keys.image("firmware", "1.0.0")
    assert outcomes(desk, desk.firmware(image, "1.0.0", declared_sha256="ab" * 32))["digest"] is F


@pytest.mark.parametrize(
    ("spoil", "check", "outcome"),
    [
        (lambda image: image[: len(image) // 2], "format", UNREADABLE),
        (lambda image: image[:-7], "format", UNREADABLE),
        (lambda image: image[:200] + bytes([image[200] ^ 1]) + image[201:], "signature", F),
        (lambda image: image + b"\xff" * 4096, "format", UNREADABLE),
    ],
    ids=["half", "seven bytes short", "a flipped bit", "bytes behind the image"],
)
def test_a_spoiled_image_is_never_accepted(
    desk: Desk, spoil: Callable[[bytes], bytes], check: str, outcome: Outcome
) -> None:
    desk.key("firmware")
    made = desk.firmware(spoil(desk.keys.image("firmware", "1.0.0")), "1.0.0")
    assert outcomes(desk, made)[check] is outcome
    assert desk.row(made).state is SubmissionState.VERIFIED
    assert release_of(desk.session, made).accepted_at is None


def test_an_empty_file_is_refused_before_it_is_evidence(desk: Desk) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        desk.put(b"", "image.bin")


def test_a_tlv_that_runs_past_the_end_is_unreadable(desk: Desk) -> None:
    desk.key("firmware")
    image = bytearray(desk.keys.image("firmware", "1.0.0"))
    at = (
        image.index(b"\x07\x69") + 4
    )  # after the TLV info header (magic 0x6907, total length): the first entry
    image[at + 2 : at + 4] = b"\xff\xff"
    found = desk.checks(desk.firmware(bytes(image), "1.0.0"))
    assert found["format"].outcome is UNREADABLE
    assert found["signature"].outcome is not P


def test_a_file_renamed_to_an_image_carries_no_signature(desk: Desk) -> None:
    desk.key("firmware")
    found = outcomes(desk, desk.firmware(b"%PDF-1.7 a data sheet\n" * 50, "1.0.0"))
    assert found["signed"] is F
    assert found["key"] is not P


def test_an_image_without_signature_fails_as_unsigned(desk: Desk) -> None:
    desk.key("firmware")
    found = desk.checks(desk.firmware(desk.keys.image(None, "1.0.0"), "1.0.0"))
    assert found["signed"].outcome is F


def test_a_key_nobody_registered_proves_nothing(desk: Desk) -> None:
    desk.key("firmware")
    found = desk.checks(desk.firmware(desk.keys.image("unknown", "1.0.0"), "1.0.0"))
    assert found["key"].outcome is F
    assert "none of the 1 approved key" in found["key"].reason


@pytest.mark.parametrize("detached", [False, True], ids=["in the image", "detached"])
@pytest.mark.parametrize(
    ("approve", "words"), [(None, "waits for approval"), (False, "was rejected")], ids=["pending", "rejected"]
)
def test_a_key_that_is_not_approved_is_named(
    desk: Desk, approve: bool | None, words: str, detached: bool
) -> None:
    desk.key("other")
    key = desk.key("waiting", approve=approve)
    image = desk.keys.image(None if detached else "waiting", "1.0.0")
    signature = desk.keys.sign("waiting", image) if detached else None
    made = desk.firmware(image, "1.0.0", signature)
    found = desk.checks(made)
    assert found["key"].outcome is not P
    assert found["signature"].outcome is not P
    assert words in found["key"].reason
    assert f"“waiting …{key.fingerprint[-8:]}”" in found["key"].reason
    assert desk.row(made).state is SubmissionState.VERIFIED


def test_a_key_of_another_supplier_is_not_approved_for_you_and_nobody_is_named(new_desk: NewDesk) -> None:
    theirs, ours = new_desk(), new_desk()
    theirs.key("theirs")
    image = b"bytes of no format" * 50
    found = ours.checks(ours.firmware(image, "1.0.0", ours.keys.sign("theirs", image)))
    assert found["key"].outcome is F
    assert "not approved for you" in found["key"].reason
    told = " ".join(check.reason for check in found.values())
    assert theirs.supplier.name not in told
    assert "theirs" not in told


def test_a_key_for_other_purposes_does_not_sign_firmware(desk: Desk) -> None:
    desk.key("manifests", ("manifest",))
    found = desk.checks(desk.firmware(desk.keys.image("manifests", "1.0.0"), "1.0.0"))
    assert found["key"].outcome is F


def test_a_key_distrusted_before_the_submission_does_not_count(desk: Desk) -> None:
    key = desk.key("firmware")
    desk.clock.at = desk.clock.now().replace(hour=13)
    reviewer = desk.make.actor()
    distrust_key(
        *(desk.session, reviewer, desk.clock, key.id),
        since=desk.clock.now().replace(hour=12, minute=30),
        reason="the private key leaked",
    )
    desk.session.commit()
    found = desk.checks(desk.firmware(desk.keys.image("firmware", "1.0.0"), "1.0.0"))
    assert found["key"].outcome is F
    assert "distrust" in found["key"].reason


def test_another_version_than_declared_fails(desk: Desk) -> None:
    desk.key("firmware")
    found = desk.checks(desk.firmware(desk.keys.image("firmware", "1.0.0"), "1.0.1"))
    assert found["version"].outcome is F
    assert "Declared is version 1.0.1, but the image says 1.0.0" in found["version"].reason


def test_a_downgrade_fails_and_the_newer_one_stays_accepted(desk: Desk) -> None:
    desk.key("firmware")
    desk.firmware(desk.keys.image("firmware", "2.1.0"), "2.1.0")
    found = desk.checks(desk.firmware(desk.keys.image("firmware", "2.0.9"), "2.0.9"))
    assert found["rollback"].outcome is F
    assert "2.1.0" in found["rollback"].reason


@pytest.mark.parametrize("options", [("--security-counter", "4"), ()], ids=["lower", "missing"])
def test_a_security_counter_that_goes_back_fails(desk: Desk, options: tuple[str, ...]) -> None:
    desk.key("firmware")
    desk.firmware(desk.keys.image("firmware", "1.0.0", "--security-counter", "5"), "1.0.0")
    found = desk.checks(desk.firmware(desk.keys.image("firmware", "1.1.0", *options), "1.1.0"))
    assert found["rollback"].outcome is F
    assert "security counter" in found["rollback"].reason


def test_versions_without_order_are_left_to_a_person(desk: Desk) -> None:
    desk.key("firmware")
    for version in ("1.0", "final-2"):
        data = version.encode() * 500
        made = desk.firmware(data, version, desk.keys.sign("firmware", data))
        release_of(desk.session, made).accepted_at = desk.clock.now()  # as a reviewer's decision does
        desk.session.commit()
    assert desk.checks(made)["rollback"].outcome is Outcome.WARN


def test_the_same_version_with_other_bytes_fails_even_if_the_first_was_never_accepted(desk: Desk) -> None:
    first = desk.firmware(desk.keys.image("firmware", "1.0.0", fill=3), "1.0.0")
    assert desk.row(first).state is SubmissionState.VERIFIED  # its key was never registered
    desk.key("firmware")
    found = desk.checks(desk.firmware(desk.keys.image("firmware", "1.0.0", fill=5), "1.0.0"))
    assert found["lineage"].outcome is F
    same = desk.firmware(desk.keys.image("firmware", "1.0.0", fill=3), "1.0.0")
    assert desk.checks(same)["lineage"].outcome is F  # it now stands beside other bytes as well


def test_a_wrongly_declared_version_does_not_bar_the_right_image(desk: Desk) -> None:
    desk.key("firmware")
    desk.firmware(desk.keys.image("firmware", "1.0.0"), "2.0.0")
    found = outcomes(desk, desk.firmware(desk.keys.image("firmware", "2.0.0"), "2.0.0"))
    assert found["lineage"] is found["version"] is P


def test_an_accepted_release_stays_so_when_it_is_verified_again_after_newer_ones(desk: Desk) -> None:
    desk.key("firmware")
    old = desk.firmware(desk.keys.image("firmware", "1.0.0"), "1.0.0")
    desk.firmware(desk.keys.image("firmware", "1.1.0"), "1.1.0")
    desk.firmware(desk.keys.image("firmware", "1.0.0", fill=9), "1.0.0")
    outcome = submissions.verify(desk.session, desk.clock, desk.store, old, lambda *_: None)
    desk.session.commit()
    assert outcome is P
    assert desk.row(old).run == 2


def test_withdrawn_firmware_is_no_longer_accepted(desk: Desk) -> None:
    made = desk.firmware(desk.keys.image("firmware", "1.0.0"), "1.0.0")
    release_of(desk.session, made).accepted_at = desk.clock.now()
    submissions.withdraw(desk.session, desk.actor, desk.clock, desk.jobs, made)
    desk.session.commit()
    assert release_of(desk.session, made).withdrawn_at == desk.clock.now()


@pytest.mark.parametrize(
    ("lower", "higher"), [("1.9", "1.10"), ("1.0.0+4", "1.0.0+5"), ("1.0", "1.0.1"), ("0.9.9", "v1")]
)
def test_versions_compare_by_number(lower: str, higher: str) -> None:
    one, other = parse_version(lower), parse_version(higher)
    assert one is not None and other is not None
    assert one < other


def test_versions_that_are_the_same_and_that_are_none() -> None:
    assert same_version("1.4.2", "1.4.2+7")
    assert not same_version("1.4.2+6", "1.4.2+7")
    assert parse_version("1.0.0-rc1") is None
    assert parse_version("1." + "9" * 11) is None
