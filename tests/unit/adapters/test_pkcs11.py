"""Keys on a PKCS#11 token, with SoftHSM2: what a token keeps, and each thing that it is refused for."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pkcs11 import Attribute, KeyType, ObjectClass

from portal.adapters.keys import KeyFolder, signer_in
from portal.adapters.pkcs11 import Token, TokenKeys
from portal.errors import LedgerError, SettingsError
from portal.ledger.ports import Purpose
from portal.settings import Settings
from tests.factories.softhsm import LABEL, MODULE, PIN, SoftHsm, restart, softhsm

ORIGIN = "gate.example/ledger/1"
ED25519, ML_DSA = Purpose.LOG_ED25519, Purpose.LOG_ML_DSA_44


@pytest.fixture
def hsm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    with softhsm(tmp_path / "hsm", monkeypatch) as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    return KeyFolder(tmp_path / "keys")


@pytest.fixture
def keys(hsm: SoftHsm, folder: KeyFolder) -> TokenKeys:
    return TokenKeys(hsm.token(), ORIGIN, folder)


def objects(hsm: SoftHsm, kind: ObjectClass) -> list[Any]:
    return list(hsm.session().get_objects({Attribute.CLASS: kind}))


def test_a_key_is_made_on_the_token_and_cannot_come_out(
    hsm: SoftHsm, keys: TokenKeys, folder: KeyFolder
) -> None:
    assert not keys.exists(ED25519)
    keys.create(ED25519)
    assert keys.exists(ED25519)
    assert not folder.exists(ED25519)
    assert keys.place(ED25519) == f"the PKCS#11 token {LABEL!r}"
    signature = keys.sign(ED25519, b"a checkpoint")
    Ed25519PublicKey.from_public_bytes(keys.public(ED25519)).verify(signature, b"a checkpoint")
    restart()
    (private,) = objects(hsm, ObjectClass.PRIVATE_KEY)
    assert private.label == f"{ORIGIN} log-ed25519"
    kept = [
        private[name] for name in (Attribute.SENSITIVE, Attribute.EXTRACTABLE, Attribute.NEVER_EXTRACTABLE)
    ]
    assert kept == [True, False, True]
    with pytest.raises(pkcs11.exceptions.AttributeSensitive):
        private[Attribute.VALUE]


def test_it_is_there_after_a_restart(hsm: SoftHsm, keys: TokenKeys, folder: KeyFolder) -> None:
    keys.create(ED25519)
    public = keys.public(ED25519)
    restart()
    assert TokenKeys(hsm.token(), ORIGIN, folder).public(ED25519) == public


def test_what_the_token_does_not_keep_is_a_file(keys: TokenKeys, folder: KeyFolder) -> None:
    keys.create(ML_DSA)
    assert folder.exists(ML_DSA)
    assert keys.place(ML_DSA) == folder.place(ML_DSA)
    assert keys.public(ML_DSA) == folder.public(ML_DSA)
    assert keys.sign(ML_DSA, b"x")


def test_each_log_has_keys_of_its_own(hsm: SoftHsm, keys: TokenKeys, tmp_path: Path) -> None:
    keys.create(ED25519)
    second = TokenKeys(keys.token, "gate.example/ledger/2", KeyFolder(tmp_path / "second"))
    assert not second.exists(ED25519)
    second.create(ED25519)
    assert second.public(ED25519) != keys.public(ED25519)


def test_a_key_that_was_a_file_before_stays_one(keys: TokenKeys, folder: KeyFolder) -> None:
    folder.create(ED25519)
    assert keys.exists(ED25519)
    assert keys.public(ED25519) == folder.public(ED25519)
    with pytest.raises(LedgerError, match="is there already"):
        keys.create(ED25519)


# --- It comes back --------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of what the session left
def test_a_lost_session_is_opened_again(keys: TokenKeys) -> None:
    keys.create(ED25519)
    keys.token.use(lambda session: session.close())
    assert len(keys.sign(ED25519, b"x")) == 64


def test_a_fork_logs_in_for_itself(keys: TokenKeys) -> None:
    keys.create(ED25519)
    public = Ed25519PublicKey.from_public_bytes(keys.public(ED25519))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writer, keys.sign(ED25519, b"from the child"))
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    public.verify(os.read(reader, 100), b"from the child")
    public.verify(keys.sign(ED25519, b"from the parent"), b"from the parent")


# --- What is refused ------------------------------------------------------------------------------


def test_a_wrong_pin_is_refused_and_not_tried_again(hsm: SoftHsm, keys: TokenKeys) -> None:
    hsm.pin_file.write_text("9999")
    for words in ("refused the PIN", "it is not tried again"):
        with pytest.raises(LedgerError, match=words):
            keys.exists(ED25519)
    hsm.pin_file.write_text(PIN)
    assert not keys.exists(ED25519)


@pytest.mark.parametrize(
    ("content", "mode", "words"),
    [(PIN, 0o640, "may be read by others"), ("", 0o600, "is empty"), (None, 0o600, "cannot be read")],
)
def test_a_pin_file_that_others_read_or_that_says_nothing_is_refused(
    hsm: SoftHsm, keys: TokenKeys, content: str | None, mode: int, words: str
) -> None:
    if content is None:
        hsm.pin_file.unlink()
    else:
        hsm.pin_file.write_text(content)
        hsm.pin_file.chmod(mode)
    with pytest.raises(LedgerError, match=words):
        keys.exists(ED25519)


def test_a_token_that_is_not_there_is_refused(hsm: SoftHsm, folder: KeyFolder) -> None:
    folder.create(ED25519)  # nor is a key beside it taken instead
    keys = TokenKeys(hsm.token("another"), ORIGIN, folder)
    with pytest.raises(LedgerError, match=r"'another' is not there; .* shows these: 'lotgate tests'"):
        keys.sign(ED25519, b"x")


def test_two_tokens_with_one_label_are_refused(hsm: SoftHsm, keys: TokenKeys) -> None:
    hsm.add_token()
    with pytest.raises(LedgerError, match="2 tokens have the label"):
        keys.exists(ED25519)


def test_a_module_that_is_not_there_is_refused(hsm: SoftHsm, folder: KeyFolder, tmp_path: Path) -> None:
    keys = TokenKeys(Token(tmp_path / "none.so", LABEL, hsm.pin_file), ORIGIN, folder)
    with pytest.raises(LedgerError, match="there is no PKCS#11 module"):
        keys.exists(ED25519)


def test_a_library_that_speaks_no_pkcs_11_is_refused(hsm: SoftHsm, folder: KeyFolder) -> None:
    library = next(Path("/lib").glob("*/libm.so.6"))
    keys = TokenKeys(Token(library, LABEL, hsm.pin_file), ORIGIN, folder)
    with pytest.raises(LedgerError, match="cannot be used as a PKCS#11 module"):
        keys.exists(ED25519)


def test_two_keys_with_one_label_are_refused(hsm: SoftHsm, keys: TokenKeys) -> None:
    for _ in range(2):
        hsm.add_key(keys.label(ED25519))
    keys = TokenKeys(hsm.token(), ORIGIN, keys.rest)
    for act in (keys.public, lambda purpose: keys.sign(purpose, b"x")):
        with pytest.raises(LedgerError, match="has 2 objects of the kind private key"):
            act(ED25519)


@pytest.mark.parametrize(
    "attributes",
    [
        {Attribute.EXTRACTABLE: True},
        {Attribute.SENSITIVE: False},
        {Attribute.SENSITIVE: False, Attribute.EXTRACTABLE: True},
    ],
)
def test_a_key_that_can_come_out_is_refused(
    hsm: SoftHsm, keys: TokenKeys, attributes: dict[Attribute, bool]
) -> None:
    hsm.add_key(keys.label(ED25519), attributes)
    for act in (keys.public, lambda purpose: keys.sign(purpose, b"x")):
        with pytest.raises(LedgerError, match="can be taken out"):
            act(ED25519)


def test_a_key_of_another_kind_is_refused(hsm: SoftHsm, keys: TokenKeys) -> None:
    session = hsm.session()
    session.generate_keypair(KeyType.RSA, 2048, label=keys.label(ED25519), store=True)
    restart()
    with pytest.raises(LedgerError, match="is not one of Ed25519"):
        keys.sign(ED25519, b"x")


def test_a_private_key_without_its_public_one_is_refused(hsm: SoftHsm, keys: TokenKeys) -> None:
    keys.create(ED25519)
    keys = TokenKeys(keys.token, ORIGIN, keys.rest)
    keys.token.use(
        lambda session: [
            one.destroy() for one in session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY})
        ]
    )
    with pytest.raises(LedgerError, match="has 0 objects of the kind public key"):
        keys.public(ED25519)


@pytest.mark.parametrize("lacking", ["CKM_EDDSA", "CKM_EC_EDWARDS_KEY_PAIR_GEN"])
def test_a_token_without_the_mechanism_is_refused(hsm: SoftHsm, keys: TokenKeys, lacking: str) -> None:
    hsm.configure(f"-CKM_MD5,{lacking}")  # SoftHSM 2.6.1 overlooks the first of what is left out
    with pytest.raises(LedgerError, match=f"lacks {lacking.removeprefix('CKM_')}"):
        keys.create(ED25519)


def test_a_key_on_the_token_and_in_the_folder_is_refused(keys: TokenKeys, folder: KeyFolder) -> None:
    keys.create(ED25519)
    folder.create(ED25519)
    with pytest.raises(LedgerError, match="and also is the file"):
        keys.sign(ED25519, b"x")


def test_a_key_is_never_made_twice(keys: TokenKeys) -> None:
    keys.create(ED25519)
    with pytest.raises(LedgerError, match="is there already"):
        keys.create(ED25519)


def test_a_token_without_its_label_or_pin_is_no_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="pkcs11_token and pkcs11_pin_file"):
        signer_in(Settings(var_dir=tmp_path, pkcs11_module=MODULE, pkcs11_token=LABEL), 1, ORIGIN)
