"""A SoftHSM2 token in a folder of its own, made by softhsm2-util."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
import pytest
from pkcs11 import Attribute, KeyType, Mechanism

from portal.adapters.pkcs11 import Token

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
LABEL, PIN = "lotgate tests", "2468"


@dataclass
class SoftHsm:
    folder: Path
    pin_file: Path

    def token(self, label: str = LABEL) -> Token:
        return Token(MODULE, label, self.pin_file)

    def add_token(self, label: str = LABEL) -> None:
        command = [
            "softhsm2-util",
            "--init-token",
            "--free",
            "--label",
            label,
            "--so-pin",
            "13579",
            "--pin",
            PIN,
        ]
        subprocess.run(command, check=True, capture_output=True)
        restart()

    def configure(self, mechanisms: str = "ALL") -> None:
        """`mechanisms` is SoftHSM2's own setting; with a minus sign before them it is all but these."""
        (self.folder / "softhsm2.conf").write_text(
            f"directories.tokendir = {self.folder / 'tokens'}\n"
            f"log.level = ERROR\nslots.mechanisms = {mechanisms}\n"
        )
        restart()

    def session(self) -> Any:
        """A session of somebody else, whom the code under test knows nothing of: it logs in anew."""
        restart()
        return pkcs11.lib(str(MODULE)).get_token(token_label=LABEL).open(rw=True, user_pin=PIN)

    def add_key(self, label: str, attributes: dict[Attribute, bool] | None = None) -> None:
        """An Ed25519 key as somebody with another tool would make it."""
        session = self.session()
        domain = session.create_domain_parameters(
            KeyType.EC_EDWARDS, {Attribute.EC_PARAMS: bytes.fromhex("06032b6570")}, local=True
        )
        domain.generate_keypair(
            mechanism=Mechanism.EC_EDWARDS_KEY_PAIR_GEN,
            label=label,
            store=True,
            private_template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False} | (attributes or {}),
        )
        session.close()
        restart()

    @property
    def environment(self) -> dict[str, str]:
        """Settings of a portal whose keys are on the token."""
        return {
            "LOTGATE_PKCS11_MODULE": str(MODULE),
            "LOTGATE_PKCS11_TOKEN": LABEL,
            "LOTGATE_PKCS11_PIN_FILE": str(self.pin_file),
        }


def restart() -> None:
    """The module forgets every session and reads its configuration again when it is next used."""
    library = pkcs11.lib(str(MODULE))
    if library.initialized:
        library.finalize()


@contextmanager
def softhsm(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoftHsm]:
    folder.mkdir()
    (folder / "tokens").mkdir()
    pin_file = folder / "pin"
    pin_file.write_text(f"{PIN}\n")
    pin_file.chmod(0o600)
    monkeypatch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
    made = SoftHsm(folder, pin_file)
    made.configure()
    made.add_token()
    yield made
    restart()
