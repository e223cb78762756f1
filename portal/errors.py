"""The one tree of errors. No HTTP here: the doors decide how an error is shown.

Messages say what was expected, what was found, where, and what to do.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with an input.

    `where` is a field, line or offset ("units[17].serial", "line 4"); `fix` tells what to do.
    """

    where: str
    expected: str
    found: str
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.where}: expected {self.expected}, found {self.found}"
        return f"{text}. {self.fix}" if self.fix else text


class LotgateError(Exception):
    """Anything that Lotgate refuses or cannot do. `code` is stable, for scripts."""

    code = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInput(LotgateError):
    """The input is understood and wrong. `problems` lists every fault found (at least the first 100)."""

    code = "invalid_input"

    def __init__(self, message: str, problems: tuple[Problem, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class NotFound(LotgateError):
    """There is no such thing, or it is another tenant's: both look the same on purpose."""

    code = "not_found"


class NotAllowed(LotgateError):
    """The actor is known and may not do this."""

    code = "not_allowed"


class Conflict(LotgateError):
    """The thing is not in the state this needs (already decided, wrong offset, claimed by another)."""

    code = "conflict"


class Locked(Conflict):
    """Another request is working on it at this moment; trying again soon will do."""

    code = "locked"


class Outdated(Conflict):
    """What was found out rests on something that has changed since: find it out again. Nothing was kept."""

    code = "outdated"


class Gone(LotgateError):
    """It was here and has expired or been ended."""

    code = "gone"


class TooLarge(LotgateError):
    """Over a named limit."""

    code = "too_large"


class TooMany(LotgateError):
    """Too many tries in too short a time."""

    code = "too_many"


class ChecksumMismatch(LotgateError):
    """The bytes are not those that were announced."""

    code = "checksum_mismatch"


class StorageFailed(LotgateError):
    """The store could not keep the bytes durably; nothing was acknowledged."""

    code = "storage_failed"


class BackupDamaged(LotgateError):
    """A backup, or what it would be made of, is not whole."""

    code = "backup_damaged"


class LedgerError(LotgateError):
    """Something in the ledger, or about it, does not hold: a proof, a checkpoint, a signature, a tile."""

    code = "ledger_error"


class ZipRefused(LotgateError):
    """A ZIP file is damaged, or is not in the one form in which Lotgate writes and reads them."""

    code = "zip_refused"


class PolicyError(LotgateError):
    """A policy or questionnaire file does not hold together."""

    code = "policy_error"


class SettingsError(LotgateError):
    """A setting is unknown or has a wrong value."""

    code = "settings_error"


class VerifierError(LotgateError):
    """Anything that the native verifier reports as an error rather than as an outcome."""

    code = "verifier_error"


class VerifierStateError(VerifierError):
    """A stored hash state is forged, damaged or of another version."""

    code = "verifier_state"


class TrustError(VerifierError):
    """The trust file or a key cannot be used."""

    code = "trust_error"


class RulesError(VerifierError):
    """YARA rules or a list of known bad digests cannot be used; the message names file and line."""

    code = "rules_error"


class UnreadableFile(VerifierError):
    """The file cannot be read as what it claims to be."""

    code = "unreadable_file"


class VerifierFault(VerifierError):
    """The verifier itself failed (a panic): counts as unreadable, never as pass."""

    code = "verifier_fault"
