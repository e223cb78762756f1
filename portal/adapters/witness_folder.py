"""A witness as a folder: its keys, the logs that it knows, and what it cosigned last of each.

    name                       how the witness is called in its keys
    keys/*.pem                 private keys, mode 0600
    logs                       verifier keys of the logs, one a line
    checkpoints/<origin hash>  the last checkpoint cosigned, with its signatures; three lines before the first

A checkpoint is durable before its cosignature leaves. A folder that is put back from a backup would cosign a
second history: a witness that lost its folder begins anew, under another name.
"""

import hashlib
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portal.adapters.keys import KeyFolder, MemoryFile, private_folder, write_private
from portal.clock import Clock
from portal.errors import LedgerError
from portal.ledger.notes import Checkpoint, Kind, Note, VerifierKey
from portal.ledger.ports import Purpose
from portal.ledger.tree import EMPTY
from portal.ledger.witnessing import Answer, Refused, Request, WitnessSigner, judge

_PURPOSES: Final = (Purpose.WITNESS_ED25519, Purpose.WITNESS_ML_DSA_44)


@dataclass(frozen=True, slots=True)
class WitnessFolder:
    folder: Path
    signer: WitnessSigner

    @classmethod
    def create(cls, folder: Path, name: str) -> "WitnessFolder":
        """A new witness with new keys. Raises LedgerError where the folder holds one, or for such a name."""
        keys = KeyFolder(folder / "keys")
        if (folder / "name").exists() or any(map(keys.exists, _PURPOSES)):
            raise LedgerError(f"{folder} is a witness already")
        VerifierKey.parse(str(VerifierKey(name, Kind.ED25519_COSIGNATURE, bytes(32))))  # the name can be one
        private_folder(folder)
        for purpose in _PURPOSES:
            keys.create(purpose)
        write_private(folder / "logs", b"")
        write_private(folder / "name", f"{name}\n".encode())  # the last: without it, it is no witness
        return cls(folder, WitnessSigner(name, keys))

    @classmethod
    def open(cls, folder: Path) -> "WitnessFolder":
        """Raises LedgerError where it is none, or anything in it is damaged or missing."""
        found = cls(folder, WitnessSigner(_text(folder / "name").strip(), KeyFolder(folder / "keys")))
        found.signer.verifier_keys()
        for origin in {key.name for key in found.logs()}:
            with found._hold(origin):
                found.last(origin)
        return found

    # --- the logs that it knows -------------------------------------------------------------------

    def logs(self) -> list[VerifierKey]:
        lines = _text(self.folder / "logs").splitlines()
        return [VerifierKey.parse(line) for line in lines if line.strip() and not line.startswith("#")]

    def add(self, keys: list[VerifierKey]) -> list[VerifierKey]:
        """Know these logs from now on. What was cosigned of a log stays. Returns the keys that are new."""
        with self._hold("logs"):
            known = self.logs()
            new = [key for key in dict.fromkeys(keys) if key not in known]
            if any(key.kind is Kind.ED25519_COSIGNATURE for key in new):
                raise LedgerError("this is the key of a witness; expected those of a log")
            for key in new:
                path = self._path(key.name)
                if not path.exists() and all(key.name != other.name for other in known):
                    private_folder(path.parent)
                    write_private(path, Checkpoint(key.name, 0, EMPTY).body.encode())
            lines = "".join(f"{key}\n" for key in [*known, *new])
            write_private(self.folder / "logs", lines.encode())
        return new

    def last(self, origin: str) -> Note:
        """What was cosigned last; no signatures before the first. Raises LedgerError where it is damaged."""
        path = self._path(origin)
        if not path.exists():
            raise LedgerError(f"{path} is missing: without it, this witness could cosign another history")
        text = _text(path)
        try:
            if "\n\n" not in text:
                note = Note(Checkpoint.parse(text), ())
                intact = note.checkpoint == Checkpoint(origin, 0, EMPTY)
            else:
                note = Note.parse(text)
                signed = note.signed_by(self.signer.verifier_keys())
                intact = note.checkpoint.origin == origin and len(signed) == len(_PURPOSES)
        except LedgerError:
            intact = False
        if not intact:
            raise LedgerError(f"{path} is damaged: without it, this witness could cosign another history")
        return note

    # --- cosigning --------------------------------------------------------------------------------

    def add_checkpoint(self, body: bytes, clock: Clock) -> str:
        """Signature lines for a request (tlog-witness). Raises Refused; StorageFailed where nothing was said.

        One request for a log at a time, over all threads and processes; read, compared and stored as one.
        """
        request = Request.parse(body)
        origin = request.note.checkpoint.origin
        log = [key for key in self.logs() if key.name == origin]
        if not log:
            raise Refused(f"the log {origin!r} is not known here", Answer.UNKNOWN_LOG)
        with self._hold(origin):
            checkpoint = judge(request, log, self.last(origin).checkpoint)
            lines = self.signer.cosign(checkpoint, clock)
            ids = {(key.name, key.id) for key in log}
            given = {
                (one.name, one.key_id): one for one in reversed(request.note.signatures)
            }  # the first counts
            note = Note(checkpoint, (*(one for who, one in given.items() if who in ids), *lines))
            write_private(self._path(origin), str(note).encode())
        return "".join(map(str, lines))

    def _hold(self, name: str) -> AbstractContextManager[None]:
        return MemoryFile(self._path(name)).hold()

    def _path(self, origin: str) -> Path:
        return self.folder / "checkpoints" / hashlib.sha256(origin.encode()).hexdigest()


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise LedgerError(f"{path} cannot be read: {why}. `lotgate witness init` makes a witness") from None
