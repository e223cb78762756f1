"""A time stamp over bytes at hand: `verify_timestamp`."""

from datetime import UTC, timedelta

import pytest

from portal.verification import Outcome, TimestampAuthority, Trust, verify_timestamp
from tests.unit.verification.authority import NOW, Identity, day, root
from tests.unit.verification.syntax import time_stamp
from tests.unit.verification.test_timestamps import World, make

MESSAGE = b"a checkpoint"
AT = NOW.timestamp()


@pytest.fixture(scope="module")
def world() -> World:
    return make(day(0))


@pytest.fixture(scope="module")
def token(world: World) -> bytes:
    return time_stamp(MESSAGE, world.authority, day(-20))


def test_it_proves_the_time_that_the_authority_says(world: World, token: bytes) -> None:
    found = verify_timestamp(token, MESSAGE, world.trust(), at=AT)
    assert (found.outcome, found.why, found.authority) == (Outcome.PASS, "", "clock")
    assert found.at is not None
    assert timedelta(0) <= found.at - day(-20) < timedelta(seconds=5)
    assert found.at.tzinfo is UTC


def test_over_other_bytes_it_proves_nothing(world: World, token: bytes) -> None:
    found = verify_timestamp(token, MESSAGE + b"\n", world.trust(), at=AT)
    assert (found.outcome, found.why) == (Outcome.FAIL, "it is over something else")
    assert (found.at, found.authority) == (None, None)


def test_a_nonce_that_was_asked_for_and_is_not_there_is_refused(world: World, token: bytes) -> None:
    found = verify_timestamp(token, MESSAGE, world.trust(), at=AT, nonce=0)
    assert (found.outcome, found.at) == (Outcome.FAIL, None)
    assert "nonce" in found.why


@pytest.mark.parametrize("broken", [b"", b"\x30", b"no token", b"\x30\x80" * 1000, bytes(300_000)])
def test_what_cannot_be_read_is_no_pass(world: World, broken: bytes) -> None:
    found = verify_timestamp(broken, MESSAGE, world.trust(), at=AT)
    assert (found.outcome, found.at) == (Outcome.UNREADABLE, None)


def test_an_authority_that_nobody_named_proves_nothing(world: World, token: bytes) -> None:
    stranger: Identity = root("Stranger")
    for authorities in ([], [TimestampAuthority("clock", stranger.pem)]):
        found = verify_timestamp(token, MESSAGE, Trust.build([], timestamp_authorities=authorities), at=AT)
        assert (found.outcome, found.at) == (Outcome.WARN, None)


def test_a_stamp_of_the_future_is_refused(world: World, token: bytes) -> None:
    found = verify_timestamp(token, MESSAGE, world.trust(), at=day(-30).timestamp())
    assert found.outcome is Outcome.FAIL


def test_a_time_that_is_none_is_no_argument(world: World, token: bytes) -> None:
    with pytest.raises(ValueError, match="seconds since 1970"):
        verify_timestamp(token, MESSAGE, world.trust(), at=float("nan"))
