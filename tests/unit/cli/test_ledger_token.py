"""The whole life of logs whose Ed25519 keys are on a PKCS#11 token: `lotgate ledger`, the worker, fsck."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from portal.adapters.blobs import LocalBlobStore
from portal.adapters.pkcs11 import token_of
from portal.cli.main import main
from portal.clock import SystemClock
from portal.db import TenantSession, open_engine, open_session
from portal.jobs.tasks import Bench, publish_ledger
from portal.ledger import logs
from portal.ledger.models import Entry
from portal.ledger.service import append
from portal.settings import load_settings
from tests.factories import RecordingQueue
from tests.factories.softhsm import LABEL, SoftHsm, restart, softhsm

Run = Callable[..., Result]


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    token_of.cache_clear()
    with softhsm(tmp_path / "hsm", monkeypatch) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        yield made
    token_of.cache_clear()


@pytest.fixture
def run(hsm: SoftHsm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("LOTGATE_VAR_DIR", str(tmp_path / "var"))
    monkeypatch.setenv("LOTGATE_PUBLIC_URL", "https://gate.example")
    return lambda *words: CliRunner().invoke(main, list(words))


@pytest.fixture
def database(run: Run) -> Iterator[TenantSession]:
    """The portal's own, with one entry in it. The first word makes it."""
    run("ledger", "show")
    engine = open_engine(load_settings().database)
    with open_session(engine) as session:
        append(session, SystemClock(), "something.done", "1" * 32, {})
        session.commit()
        yield session
    engine.dispose()


def test_a_log_lives_on_the_token_from_its_making_to_the_next(
    run: Run, database: TenantSession, tmp_path: Path
) -> None:
    made = run("ledger", "create")
    assert made.exit_code == 0, made.output
    assert f"key log-ed25519: the PKCS#11 token '{LABEL}'" in made.output
    assert "key log-ml-dsa-44: the file " in made.output
    assert [path.name for path in (tmp_path / "var").rglob("*.pem")] == ["log-ml-dsa-44.pem"]
    assert "1 entries" in run("ledger", "publish").output
    assert run("fsck").exit_code == 0
    assert f"key log-ed25519: the PKCS#11 token '{LABEL}'" in run("ledger", "show").output

    receipt, policy = tmp_path / "receipt", tmp_path / "policy"
    receipt.write_text(str(logs.receipt(database, database.scalars(select(Entry)).one())))
    keys = logs.verifier_keys(logs.find(database, 1))
    policy.write_text("".join(f"log {key}\n" for key in keys) + "quorum none\n")
    database.commit()
    checked = run("verify-receipt", str(receipt), "--policy", str(policy))
    assert checked.exit_code == 0, checked.output
    assert "ED25519, ML-DSA-44" in checked.output

    assert run("ledger", "close", "--yes").exit_code == 0
    assert "Log 2 is open" in run("ledger", "create").output
    assert logs.verifier_keys(logs.find(database, 2))[0].key != keys[0].key
    assert run("fsck").exit_code == 0
    assert run("verify-receipt", str(receipt), "--policy", str(policy)).exit_code == 0


def test_the_worker_signs_with_the_token(run: Run, database: TenantSession) -> None:
    settings, clock = load_settings(), SystemClock()
    run("ledger", "create")
    engine = open_engine(settings.database)
    store = LocalBlobStore(settings.store)
    publish_ledger(Bench(engine, clock, store, RecordingQueue(engine, clock, store, settings), settings))
    engine.dispose()
    assert logs.find(database, 1).head == 1
    assert not logs.pending(database)


def test_without_its_token_nothing_is_signed_and_everything_says_so(run: Run, hsm: SoftHsm) -> None:
    run("ledger", "create")
    (hsm.folder / "tokens").rename(hsm.folder / "away")
    (hsm.folder / "tokens").mkdir()
    restart()
    token_of.cache_clear()
    for words in (("ledger", "show"), ("fsck",)):
        assert f"the PKCS#11 token '{LABEL}' is not there" in run(*words).output
    assert run("fsck").exit_code == 1


def test_another_key_under_the_same_label_signs_nothing(
    run: Run, hsm: SoftHsm, database: TenantSession
) -> None:
    run("ledger", "create")
    session = hsm.session()
    for key in list(session.get_objects()):
        key.destroy()
    restart()
    token_of.cache_clear()
    assert "key log-ed25519: not on this host" in run("ledger", "show").output
    assert run("ledger", "publish").exit_code == 1
    hsm.add_key("gate.example/ledger/1 log-ed25519")
    token_of.cache_clear()
    refused = run("ledger", "publish")
    assert refused.exit_code == 1
    assert "the signer's keys are not those with which gate.example/ledger/1 was opened" in refused.output
    assert logs.find(database, 1).head == 0


def test_a_wrong_pin_makes_no_log(run: Run, hsm: SoftHsm) -> None:
    hsm.pin_file.write_text("1111")
    refused = run("ledger", "create")
    assert (refused.exit_code, "refused the PIN" in refused.output) == (1, True)
    assert "Traceback" not in refused.output
    assert "There is no log yet" in run("ledger", "show").output
