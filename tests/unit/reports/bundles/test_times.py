"""Time stamps in a bundle, and the comparison of a bundle with today's log."""

import json
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
import rfc8785

from portal.accounts.models import RoleName
from portal.adapters.http import HttpClient
from portal.clock import FixedClock
from portal.errors import LotgateError
from portal.ledger import logs, stamps
from portal.ledger.tree import tile_path, tile_width
from portal.suppliers import timestamping
from tests.factories.tsa import authority
from tests.factories.zips import unzipped
from tests.unit.reports.bundles.conftest import World
from tests.unit.reports.bundles.packing import Files, checked, lotgate, packed


@pytest.fixture(scope="module")
def stamped(world: World, tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of a bundle whose checkpoint was stamped by openssl, and then the log went on."""
    now = FixedClock(datetime.now(UTC))  # openssl stamps with the time that it is
    with authority(tmp_path_factory.mktemp("stamps") / "tsa") as tsa:
        actor = world.desk.make.actor(RoleName.ADMINISTRATOR)
        timestamping.add_authority(world.session, actor, world.clock, label="Clock", pem=tsa.anchor.pem)
        world.session.commit()
        world.publish()
        log = logs.find(world.session, 1)
        checkpoint = logs.checkpoint(world.session, log)
        believed = timestamping.entries(world.session)
        stamps.keep(world.session, stamps.obtain(HttpClient(30), tsa.url, checkpoint, believed, now))
        world.session.commit()
    world.desk.put(b"the log goes on", "later.pdf")
    world.publish()
    return unzipped(world.bundle())


def test_a_stamp_says_by_when_everything_was_there(world: World, stamped: Files) -> None:
    steps, _ = checked(packed(stamped), world.policy)
    assert [text for text in steps if "were there by" in text and "as Clock stamped" in text]


def name_of(files: Files, suffix: str) -> str:
    return next(name for name in files if name.startswith("ledger/1/0") and name.endswith(suffix))


def over_another_checkpoint(files: Files) -> Files:
    return files | {name_of(files, ".checkpoint"): files["ledger/1/checkpoint"]}


def without_proof(files: Files) -> Files:
    return files | {name_of(files, ".consistency"): b""}


def cut_token(files: Files) -> Files:
    name = name_of(files, ".tsr")
    return files | {name: files[name][:-5]}


def other_authority(files: Files) -> Files:
    name = next(name for name in files if name.startswith("authorities/"))
    row = json.loads(files[name])
    row["pem"] = json.loads(files[next(name for name in files if name.startswith("keys/"))])["pem"]
    return files | {name: rfc8785.dumps(row)}


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (over_another_checkpoint, "does not count|no proof was expected"),
        (without_proof, "is empty"),
        (cut_token, "the time stamp does not count"),
        (other_authority, "its certificate is not the one that was added"),
    ],
)
def test_a_stamp_is_refused(world: World, stamped: Files, tamper: object, said: str) -> None:
    assert callable(tamper)
    with pytest.raises(LotgateError, match=said):
        checked(packed(tamper(stamped)), world.policy)


def test_a_stamp_by_an_authority_that_was_removed_counts_no_more(
    world: World, stamped: Files, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Neither in a bundle that is made then, nor where the stamp is put into it."""
    row = timestamping.authorities(world.session)[0]
    timestamping.remove_authority(
        world.session, world.desk.make.actor(RoleName.ADMINISTRATOR), world.clock, row.id
    )
    world.session.commit()
    world.publish()
    files = unzipped(world.bundle())
    assert not [name for name in files if name.endswith(".tsr")]
    name = f"authorities/{row.id}.json"
    files |= {
        one: stamped[one] for one in (name, *(name_of(stamped, end) for end in (".tsr", ".checkpoint")))
    }
    log = logs.find(world.session, 1)
    sizes = (int(name_of(stamped, ".tsr").split("/")[-1].removesuffix(".tsr")), log.head)
    path = logs.tree(world.session, log, sizes[1]).consistency(sizes[0])
    files[name_of(stamped, ".consistency")] = "".join(f"{b64encode(one).decode()}\n" for one in path).encode()
    for kind in (timestamping.ADDED, timestamping.REMOVED):
        entry = logs.entry_about(world.session, kind, row.id)
        assert entry is not None
        proof = logs.receipt(world.session, entry)
        assert proof is not None
        files[f"ledger/1/entries/{proof.index:012d}.tlog-proof"] = str(proof).encode()
    with pytest.raises(LotgateError, match="the time stamp does not count"):
        checked(packed(files), world.policy)


# --- Online -----------------------------------------------------------------------------------------


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """The log as files, served by python's own server; and its address."""
    folder = tmp_path / "site"
    log = logs.find(world.session, 1)
    folder.mkdir()
    (folder / "checkpoint").write_text(logs.checkpoint(world.session, log).note)
    for level in range(2):
        number = 0
        while width := tile_width(log.head, level, number):
            path = folder / tile_path(level, number, width)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(logs.tile(world.session, log, level, number, width))
            number += 1
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()
    thread.join()
    server.server_close()


def test_online_the_newest_checkpoint_continues_the_bundles(
    world: World, stamped: Files, site: tuple[Path, str], tmp_path: Path
) -> None:
    bundle, policy = tmp_path / "bundle.zip", tmp_path / "policy"
    bundle.write_bytes(packed(stamped))
    text = logs.policy_text(world.session, "http://nowhere.invalid", None)
    policy.write_text(text.replace("http://nowhere.invalid/ledger/1/", site[1]))
    done = lotgate("verify-bundle", bundle, "--policy", policy, "--online")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "continues the bundle's" in done.stdout
    (site[0] / "checkpoint").unlink()
    gone = lotgate("verify-bundle", bundle, "--policy", policy, "--online")
    assert gone.returncode == 1
    assert "expected status 200, found 404" in gone.stdout
