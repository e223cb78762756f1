"""Time stamps on checkpoints, by openssl's authority: what counts, what is refused, what fsck finds."""

import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, select, update

from portal.accounts.models import RoleName, User
from portal.adapters.blobs import LocalBlobStore
from portal.adapters.http import HttpClient
from portal.clock import FixedClock
from portal.errors import LedgerError
from portal.jobs.stamping import Stamping, stamp_ledger
from portal.jobs.tasks import Bench
from portal.ledger import logs, stamps
from portal.ledger.audit import audit
from portal.ledger.leaves import Opening
from portal.ledger.models import Stamp, StampTrouble
from portal.ledger.notes import Note
from portal.settings import Settings
from portal.submissions.models import Submission
from portal.suppliers import timestamping
from portal.suppliers.models import Supplier
from portal.verification import TimestampAuthority
from tests.factories import Make, RecordingQueue
from tests.factories.kept import Kept
from tests.factories.tsa import Authority, authority
from tests.unit.api.conftest import Machine
from tests.unit.api.conftest import machine as machine  # noqa: PLC0414
from tests.unit.ledger.conftest import Ledger
from tests.unit.ledger.test_cosignatures import cosigned
from tests.unit.verification.authority import root

HOUR = timedelta(hours=1)


@pytest.fixture
def clock() -> FixedClock:
    """openssl stamps with the time that it is."""
    return FixedClock(datetime.now(UTC))


@pytest.fixture
def tsa(tmp_path: Path) -> Iterator[Authority]:
    with authority(tmp_path / "tsa") as made:
        yield made


@pytest.fixture
def believed(ledger: Ledger, make: Make, tsa: Authority) -> list[TimestampAuthority]:
    actor = make.actor(RoleName.ADMINISTRATOR)
    timestamping.add_authority(ledger.session, actor, ledger.clock, label="Clock", pem=tsa.anchor.pem)
    ledger.session.commit()
    return timestamping.entries(ledger.session)


@pytest.fixture
def stamp(ledger: Ledger, tsa: Authority, believed: list[TimestampAuthority]) -> Callable[[], Stamp]:
    """Publish what waits, and have it stamped."""

    def stamp() -> Stamp:
        ledger.publish()
        checkpoint = logs.checkpoint(ledger.session, ledger.log)
        made = stamps.obtain(HttpClient(30), tsa.url, checkpoint, believed, ledger.clock)
        stamps.keep(ledger.session, made)
        ledger.session.commit()
        return made

    return stamp


# --- What counts ----------------------------------------------------------------------------------


def test_openssl_accepts_what_is_served(
    ledger: Ledger, stamp: Callable[[], Stamp], tsa: Authority, client: FlaskClient, tmp_path: Path
) -> None:
    size = stamp().size
    for name in (f"{size}.tsr", f"{size}.checkpoint"):
        answer = client.get(f"/ledger/1/stamps/{name}")
        assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        (tmp_path / name).write_bytes(answer.data)
    command = ["openssl", "ts", "-verify", "-data", tmp_path / f"{size}.checkpoint"]
    command += ["-in", tmp_path / f"{size}.tsr", "-CAfile", tsa.folder / "ca.pem"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "Verification: OK" in done.stdout + done.stderr
    (tmp_path / f"{size}.checkpoint").write_bytes((tmp_path / f"{size}.checkpoint").read_bytes() + b"\n")
    assert "Verification: OK" not in subprocess.run(command, capture_output=True, text=True).stdout
    for missing in ("1/stamps/99999.tsr", "2/stamps/1.tsr", f"1/stamps/0{size + 1}.checkpoint"):
        assert client.get(f"/ledger/{missing}").status_code == 404


def test_the_stamped_bytes_are_the_first_six_lines_of_the_cosigned_checkpoint(
    ledger: Ledger, stamp: Callable[[], Stamp], client: FlaskClient
) -> None:
    made = stamp()
    cosigned(ledger, logs.checkpoint(ledger.session, ledger.log), "witness.example")
    served = client.get("/ledger/1/checkpoint").data
    assert b"witness.example" in served
    assert b"".join(served.splitlines(keepends=True)[:6]) == stamps.stamped_bytes(ledger.session, made)


def test_an_entry_has_the_time_of_the_first_stamp_behind_it(
    ledger: Ledger, stamp: Callable[[], Stamp], believed: list[TimestampAuthority]
) -> None:
    first = stamp()
    between = first.size
    ledger.add(3)
    second = stamp()
    ledger.add(1)
    ledger.publish()
    times = [
        stamps.time_of(ledger.session, ledger.entry(seq), believed)
        for seq in (0, between - 1, between, second.size - 1, second.size)
    ]
    sizes = [time.stamp.size if time.stamp else None for time in times]
    assert sizes == [first.size, first.size, second.size, second.size, None]
    assert times[0].at == first.time
    assert abs(times[0].at - ledger.clock.now()) < timedelta(minutes=5)
    assert [time.words for time in times] == ["time-stamped by Clock"] * 4 + ["claimed by the portal"]
    assert times[4].at == ledger.entry(second.size).at


def test_a_receipt_can_rest_on_the_stamped_checkpoint(ledger: Ledger, stamp: Callable[[], Stamp]) -> None:
    made = stamp()
    ledger.add(20)
    ledger.publish()
    proof = stamps.proof(ledger.session, ledger.entry(0), made)
    opened = proof.check(Opening.load(proof.extra).leaf(), logs.verifier_keys(ledger.log))
    assert opened.checkpoint.size == made.size
    assert str(Note.parse(str(proof.note))).encode() == stamps.stamped_bytes(ledger.session, made)


def test_without_belief_time_is_what_the_portal_claims(ledger: Ledger, stamp: Callable[[], Stamp]) -> None:
    stamp()
    now = datetime.now(UTC)
    stranger = root("Stranger", start=now - HOUR, end=now + HOUR)
    for believed in ([], [TimestampAuthority("Stranger", stranger.pem)]):
        time = stamps.time_of(ledger.session, ledger.entry(0), believed)
        assert (time.at, time.authority) == (ledger.entry(0).at, None)


def test_a_stamp_that_was_swapped_proves_no_time(
    ledger: Ledger, stamp: Callable[[], Stamp], believed: list[TimestampAuthority]
) -> None:
    first = stamp()
    ledger.add(1)
    second = stamp()
    old = first.response
    ledger.session.execute(update(Stamp).where(Stamp.size == second.size).values(response=old))
    ledger.session.commit()
    ledger.session.expire_all()
    newest = ledger.entry(second.size - 1)
    assert stamps.time_of(ledger.session, newest, believed).stamp is None


def test_pages_say_whose_word_the_time_is(
    ledger: Ledger,
    stamp: Callable[[], Stamp],
    make: Make,
    store: LocalBlobStore,
    spool: Path,
    sign_in: Callable[[User], FlaskClient],
) -> None:
    files = Kept(ledger.session, ledger.clock, make, store, spool)
    product = make.product()
    pages = []
    for name in ("first.bin", "second.bin"):
        files.delivered(product, name.encode(), ago=timedelta(0), filename=name)
        row = ledger.session.scalars(select(Submission).where(Submission.title.contains(name))).one()
        pages.append(row.id)
        if name == "first.bin":
            stamp()
    ledger.publish()
    supplier = make.user(RoleName.SUPPLIER_ADMIN, ledger.session.get_one(Supplier, product.supplier_id))
    reviewer = make.user(RoleName.REVIEWER)
    ledger.session.commit()
    for user, place in ((supplier, "s"), (reviewer, "r")):
        client = sign_in(user)
        stamped, claimed = (client.get(f"/{place}/submissions/{page}").text for page in pages)
        assert "at the latest: time-stamped by Clock" in stamped
        assert "claimed by the portal" not in stamped
        assert "claimed by the portal" in claimed
        assert "time-stamped by" not in claimed
    public = sign_in(reviewer).get("/ledger/").text
    assert "Time-stamped by Clock" in public
    assert f"/ledger/1/stamps/{ledger.session.scalars(select(Stamp.size)).one()}.tsr" in public


def test_the_api_says_whose_word_the_time_is(
    ledger: Ledger, stamp: Callable[[], Stamp], machine: Machine
) -> None:
    told = []
    for content in (b"first", b"second"):
        evidence = machine.send(content)
        if content == b"first":
            stamp()
        ledger.publish()
        told.append(machine.get(f"/evidence/{evidence}/receipt").get_json())
    made = ledger.session.scalars(select(Stamp)).one()
    assert [(one["authority"], one["stamped_size"]) for one in told] == [("Clock", made.size), (None, None)]
    assert datetime.fromisoformat(told[0]["there_by"]) == made.time


# --- When it is asked -----------------------------------------------------------------------------


@pytest.fixture
def bench(
    engine: Engine,
    clock: FixedClock,
    store: LocalBlobStore,
    settings: Settings,
    tsa: Authority,
    ledger: Ledger,
) -> Bench:
    known = {name: getattr(settings, name) for name in ("var_dir", "secret_key", "database_url")}
    settings = Settings(**known, timestamp_url=tsa.url)
    return Bench(engine, clock, store, RecordingQueue(engine, clock, store, settings), settings)


def work(ledger: Ledger, bench: Bench) -> None:
    """What the worker does. On SQLite an open transaction of the test would keep it out."""
    ledger.session.commit()
    stamp_ledger(bench)


def kept(ledger: Ledger) -> list[int]:
    ledger.session.rollback()
    return list(ledger.session.scalars(select(Stamp.size).order_by(Stamp.size)))


def test_the_worker_asks_once_an_hour_and_only_about_something_new(
    ledger: Ledger, believed: list[TimestampAuthority], bench: Bench, tsa: Authority, clock: FixedClock
) -> None:
    work(ledger, bench)
    assert kept(ledger) == []  # nothing is published
    ledger.add(1)
    ledger.publish()
    first = ledger.log.head
    work(ledger, bench)
    assert kept(ledger) == [first]
    ledger.add(1)
    ledger.publish()
    work(ledger, bench)
    assert kept(ledger) == [first]  # too early
    clock.advance(HOUR)
    work(ledger, bench)
    assert kept(ledger) == [first, first + 1]
    clock.advance(HOUR)
    work(ledger, bench)
    assert kept(ledger) == [first, first + 1]  # nothing new
    assert tsa.asked == 2


def test_a_closed_log_gets_its_last_stamp_at_once(
    ledger: Ledger, believed: list[TimestampAuthority], bench: Bench, clock: FixedClock
) -> None:
    ledger.add(1)
    ledger.publish()
    work(ledger, bench)
    ledger.add(1)
    ledger.publish()
    logs.close(ledger.session, clock, ledger.log)
    ledger.session.commit()
    work(ledger, bench)
    assert kept(ledger)[-1] == ledger.log.head


def test_an_authority_that_is_away_is_asked_after_growing_pauses(
    ledger: Ledger, believed: list[TimestampAuthority], bench: Bench, tsa: Authority, clock: FixedClock
) -> None:
    ledger.add(1)
    ledger.publish()
    tsa.mood = "failing"
    pauses = []
    for _ in range(8):
        work(ledger, bench)
        work(ledger, bench)  # too early
        ledger.session.expire_all()
        trouble = ledger.session.scalars(select(StampTrouble)).one()
        assert "found 503" in trouble.why
        pauses.append((trouble.again_at - trouble.at) // timedelta(minutes=1))
        clock.advance(trouble.again_at - clock.now())
    assert (pauses, tsa.asked) == ([1, 2, 4, 8, 16, 32, 60, 60], 8)
    tsa.mood = "honest"
    clock.at = datetime.now(UTC)
    ledger.session.execute(update(StampTrouble).values(again_at=clock.now()))
    work(ledger, bench)
    assert kept(ledger) == [ledger.log.head]
    assert ledger.session.scalars(select(StampTrouble)).all() == []


def test_the_worker_does_not_wait_for_the_authority(
    ledger: Ledger, believed: list[TimestampAuthority], bench: Bench, tsa: Authority
) -> None:
    ledger.add(1)
    ledger.publish()
    ledger.session.commit()
    stamping = Stamping(bench)
    stamping.look()
    stamping.look()  # while it asks
    stamping.stop()
    assert kept(ledger) == [ledger.log.head]
    assert tsa.asked == 1


def test_without_an_authority_s_address_nothing_is_asked(ledger: Ledger, bench: Bench) -> None:
    ledger.add(1)
    ledger.publish()
    bench = Bench(bench.engine, bench.clock, bench.store, bench.jobs, Settings())
    ledger.session.commit()
    Stamping(bench).look()
    work(ledger, bench)
    assert kept(ledger) == []


# --- What is refused ------------------------------------------------------------------------------

REFUSALS = {
    "another imprint": "it is over something else",
    "another nonce": "its nonce is not the one that was asked for",
    "no nonce": "its nonce is not the one that was asked for",
    "rejecting": r"did not grant it \(status 2\)",
    "garbage": "it cannot be read",
    "oversized": "more than 262,144 bytes",
    "redirecting": "found 302",
    "a page": "found 200 and 'text/html'",
    "cut short": "gave no answer",
    "silent": "gave no answer: .*(timed out|took more than)",
}


@pytest.mark.parametrize("mood", REFUSALS)
def test_what_does_not_hold_is_refused_and_not_kept(
    ledger: Ledger, tsa: Authority, believed: list[TimestampAuthority], bench: Bench, mood: str
) -> None:
    ledger.publish()
    tsa.mood = mood
    checkpoint = logs.checkpoint(ledger.session, ledger.log)
    patience = 2 if mood == "silent" else 30
    with pytest.raises(LedgerError, match=REFUSALS[mood]):
        stamps.obtain(HttpClient(patience), tsa.url, checkpoint, believed, ledger.clock)
    if mood not in ("silent", "redirecting"):
        work(ledger, bench)
        assert kept(ledger) == []
        assert ledger.session.scalars(select(StampTrouble)).one().failures == 1


def test_an_authority_that_nobody_believes_is_refused(
    ledger: Ledger, tsa: Authority, believed: list[TimestampAuthority]
) -> None:
    ledger.publish()
    checkpoint = logs.checkpoint(ledger.session, ledger.log)
    now = datetime.now(UTC)
    stranger = TimestampAuthority("Clock", root("Stranger", start=now - HOUR, end=now + HOUR).pem)
    for authorities, words in (([], "an administrator adds its certificate"), ([stranger], "does not count")):
        with pytest.raises(LedgerError, match=words):
            stamps.obtain(HttpClient(30), tsa.url, checkpoint, authorities, ledger.clock)


def test_an_address_where_nobody_answers_is_told(
    ledger: Ledger, tsa: Authority, believed: list[TimestampAuthority]
) -> None:
    ledger.publish()
    checkpoint = logs.checkpoint(ledger.session, ledger.log)
    for url in ("http://127.0.0.1:9/tsa", "file:///etc/passwd", "tsa.example"):
        with pytest.raises(LedgerError, match="gave no answer"):
            stamps.obtain(HttpClient(30), url, checkpoint, believed, ledger.clock)


# --- fsck -----------------------------------------------------------------------------------------


def faults(ledger: Ledger) -> str:
    ledger.session.commit()
    ledger.session.expire_all()
    return "\n".join(f"{fault.where}: {fault.text}" for fault in audit(ledger.session))


def alter(ledger: Ledger, size: int, **values: object) -> None:
    ledger.session.execute(update(Stamp).where(Stamp.size == size).values(**values))


def swap(ledger: Ledger, first: Stamp, second: Stamp) -> None:
    one, two = first.response, second.response
    alter(ledger, first.size, response=two)
    alter(ledger, second.size, response=one)


def believe_a_stranger(ledger: Ledger, first: Stamp, _second: Stamp) -> None:
    now = datetime.now(UTC)
    alter(ledger, first.size, certificate=root("Stranger", start=now - HOUR, end=now + HOUR).pem)


def lose_checkpoint(ledger: Ledger, first: Stamp, _second: Stamp) -> None:
    """By another program, which minds no foreign keys."""
    size = first.size
    ledger.session.commit()
    with sqlite3.connect(str(ledger.session.get_bind().engine.url.database)) as other:
        other.execute("DELETE FROM ledger_checkpoints WHERE size = ?", (size,))


Corrupt = Callable[[Ledger, Stamp, Stamp], object]
CORRUPTIONS: dict[str, tuple[Corrupt, str]] = {
    "a flipped bit": (
        lambda ledger, first, _: alter(
            ledger, first.size, response=first.response[:-1] + bytes([first.response[-1] ^ 1])
        ),
        "it is not signed with the key",
    ),
    "missing bytes": (
        lambda ledger, first, _: alter(ledger, first.size, response=first.response[:-100]),
        "it cannot be read",
    ),
    "no bytes": (lambda ledger, first, _: alter(ledger, first.size, response=b""), "it cannot be read"),
    "swapped stamps": (swap, "it is over something else"),
    "a backdated time": (
        lambda ledger, first, _: alter(ledger, first.size, time=first.time - timedelta(days=1)),
        "beside it stands",
    ),
    "another certificate": (believe_a_stranger, "no administrator added"),
    "a damaged certificate": (
        lambda ledger, first, _: alter(ledger, first.size, certificate="none"),
        "is damaged",
    ),
    "a missing checkpoint": (
        lose_checkpoint,
        "its checkpoint is missing",
    ),
}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corruption_is_named(ledger: Ledger, stamp: Callable[[], Stamp], name: str) -> None:
    first = stamp()
    ledger.add(1)
    second = stamp()
    assert faults(ledger) == ""
    corrupt, words = CORRUPTIONS[name]
    size = first.size
    corrupt(ledger, first, second)
    found = faults(ledger)
    assert f"the time stamp of log 1 over {size} entries: " in found
    assert words in found


def test_a_stamp_by_who_is_believed_no_more_is_no_fault(
    ledger: Ledger, stamp: Callable[[], Stamp], make: Make
) -> None:
    stamp()
    row = timestamping.authorities(ledger.session)[0]
    actor = make.actor(RoleName.ADMINISTRATOR)
    timestamping.remove_authority(ledger.session, actor, ledger.clock, row.id)
    assert faults(ledger) == ""
    believed = timestamping.entries(ledger.session)
    assert stamps.time_of(ledger.session, ledger.entry(0), believed).stamp is None
