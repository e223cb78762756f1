"""A SoftHSM2 token in a folder of its own, made by softhsm2-util."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pkcs11
import pytest

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

    def session(self) -> object:
        """A session of somebody else, whom the code under test knows nothing of: it logs in anew."""
        restart()
        return pkcs11.lib(str(MODULE)).get_token(token_label=LABEL).open(rw=True, user_pin=PIN)

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
