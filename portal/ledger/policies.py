"""Which logs and witnesses a reader believes: C2SP tlog-policy, whole."""

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from portal.errors import LedgerError
from portal.ledger.notes import Kind, VerifierKey

MAX_POLICY: Final = 256 * 1024
NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class Group:
    """Counts as a witness where at least `least` of its members do."""

    least: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TrustPolicy:
    """Any one of the logs, and the witnesses that the quorum asks for. Groups stand behind their members.

    `urls`: where the witness of a name takes checkpoints, for those whose line says so.
    """

    logs: tuple[VerifierKey, ...]
    witnesses: dict[str, VerifierKey]
    groups: dict[str, Group]
    quorum: str
    urls: dict[str, str] = field(default_factory=dict)

    def met(self, cosigned: Collection[VerifierKey]) -> bool:
        """Whether these witnesses are enough."""
        seen = {name for name, key in self.witnesses.items() if key in cosigned}
        for name, group in self.groups.items():
            if sum(member in seen for member in group.members) >= group.least:
                seen.add(name)
        return self.quorum == NONE or self.quorum in seen

    def witness_lines(self) -> str:
        """The policy without its logs, as text."""
        lines = [
            " ".join(filter(None, ("witness", name, str(key), self.urls.get(name, ""))))
            for name, key in self.witnesses.items()
        ]
        lines += [f"group {name} {one.least} {' '.join(one.members)}" for name, one in self.groups.items()]
        return "".join(f"{line}\n" for line in [*lines, f"quorum {self.quorum}"])

    @classmethod
    def read(cls, path: Path) -> "TrustPolicy":
        """The policy in a file. Raises LedgerError."""
        try:
            with path.open(encoding="utf-8", newline="") as file:
                return cls.parse(file.read(MAX_POLICY + 1))
        except (OSError, UnicodeDecodeError) as error:
            raise LedgerError(f"the policy {path} cannot be read: {error}") from None

    @classmethod
    def parse(cls, text: str) -> "TrustPolicy":
        """Raises LedgerError that names the line."""
        if len(text) > MAX_POLICY:
            raise LedgerError(f"a policy has at most {MAX_POLICY:,} characters; found {len(text):,}")
        reading = _Reading()
        for number, line in enumerate(text.split("\n"), 1):
            words = line.replace("\t", " ").split(" ")
            words = [word for word in words if word]
            if not words or words[0].startswith("#"):
                continue
            try:
                reading.take(words)
            except LedgerError as error:
                raise LedgerError(f"line {number} of the policy: {error}") from None
        if reading.quorum is None:
            raise LedgerError("the policy has no line quorum; `quorum none` asks for no witness")
        return cls(tuple(reading.logs), reading.witnesses, reading.groups, reading.quorum, reading.urls)


class _Reading:
    def __init__(self) -> None:
        self.logs: list[VerifierKey] = []
        self.witnesses: dict[str, VerifierKey] = {}
        self.groups: dict[str, Group] = {}
        self.quorum: str | None = None
        self.urls: dict[str, str] = {}
        self.grouped: set[str] = set()

    def take(self, words: list[str]) -> None:
        match words:
            case ["log", key] | ["log", key, _]:
                self._log(VerifierKey.parse(key))
            case ["witness", name, key, *url] if len(url) < 2:
                self._witness(name, VerifierKey.parse(key))
                self.urls.update((name, one) for one in url)
            case ["group", name, least, *members]:
                self._group(name, least, members)
            case ["quorum", name]:
                if self.quorum is not None:
                    raise LedgerError("a second line quorum")
                self.quorum = name if name == NONE else self._known(name)
            case _:
                raise LedgerError(f"expected log, witness, group or quorum, found {' '.join(words)[:80]!r}")

    def _log(self, key: VerifierKey) -> None:
        if key.kind is Kind.ED25519_COSIGNATURE:
            raise LedgerError("this is the key of a witness")
        if any(key.key == other.key for other in self.logs):
            raise LedgerError("this log was named before")
        self.logs.append(key)

    def _witness(self, name: str, key: VerifierKey) -> None:
        if key.kind is Kind.ED25519:
            raise LedgerError("this is the key of a log")
        if any(key.key == other.key for other in self.witnesses.values()):
            raise LedgerError("this witness was named before")
        self._new(name)
        self.witnesses[name] = key

    def _group(self, name: str, least: str, members: list[str]) -> None:
        for member in members:
            if self._known(member) in self.grouped:
                raise LedgerError(f"{member} is in a group already")
            self.grouped.add(member)
        count = {"any": 1, "all": len(members)}.get(least)
        if count is None:
            count = int(least) if least.isascii() and least.isdigit() and len(least) < 6 else 0
        if not 1 <= count <= len(members):
            raise LedgerError(f"expected any, all or a number from 1 to {len(members)}, found {least[:20]!r}")
        self._new(name)
        self.groups[name] = Group(count, tuple(members))

    def _new(self, name: str) -> None:
        if name == NONE or name in self.witnesses or name in self.groups:
            raise LedgerError(f"the name {name[:80]!r} is taken")

    def _known(self, name: str) -> str:
        if name not in self.witnesses and name not in self.groups:
            raise LedgerError(f"{name[:80]!r} is neither a witness nor a group of the lines before")
        return name
