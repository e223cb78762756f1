"""What is known about a supplier at one time: the input of an assessment, stored with it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from typing import Any

from portal.policy import codec

FACTS_MAX_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EvidenceFact:
    """One stored file: its digest with the algorithm's name ("sha256:…"), its name, its last valid day."""

    digest: str
    name: str
    valid_until: date | None = None


@dataclass(frozen=True, slots=True)
class AnswerFact:
    """The newest submitted answer to a question: "yes", a choice, an ISO date, or text; and the files beside
    it.
    """

    value: str
    evidence: tuple[EvidenceFact, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckFact:
    """One recorded check of a current submission (one not superseded by a newer one of the same thing).

    `outcome` is pass, fail, warn, unreadable, not_applicable or not_run; only `pass` proves anything.
    `subject` is for people ("firmware BMS-1 2.1.0"); `kind` is the submission's: the part of `id` before
    the dot.
    """

    id: str
    outcome: str
    reason: str
    submission_id: str
    subject: str
    kind: str


@dataclass(frozen=True, slots=True)
class EntityFact:
    """A company in the chain. `country` is an ISO 3166 code of two letters, or empty when not known."""

    role: str
    name: str
    country: str = ""


@dataclass(frozen=True, slots=True)
class ChangeFact:
    """A change notice, told or seen, that nobody has decided on yet."""

    kind: str
    filed: date


@dataclass(frozen=True, slots=True)
class ExceptionFact:
    """An accepted gap; counts up to and including the day `expires`."""

    control_id: str
    expires: date


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything the policy looks at. The order of the entries never matters.

    `dates`: end_of_sale, end_of_support. `contacts`: security. `last_assessed`: the day people last
    decided, or None.
    """

    answers: Mapping[str, AnswerFact] = field(default_factory=dict)
    checks: tuple[CheckFact, ...] = ()
    entities: tuple[EntityFact, ...] = ()
    dates: Mapping[str, date] = field(default_factory=dict)
    contacts: Mapping[str, str] = field(default_factory=dict)
    last_assessed: date | None = None
    changes: tuple[ChangeFact, ...] = ()
    exceptions: tuple[ExceptionFact, ...] = ()

    def in_order(self) -> "Facts":
        """The same facts, sorted and without repetitions: one form for equal facts."""
        return replace(
            self,
            answers={
                key: replace(answer, evidence=_sorted(answer.evidence))
                for key, answer in self.answers.items()
            },
            checks=_sorted(self.checks),
            entities=_sorted(self.entities),
            changes=_sorted(self.changes),
            exceptions=_sorted(self.exceptions),
        )

    def to_json(self) -> bytes:
        """Canonical bytes; equal facts give equal bytes."""
        return codec.encode(self.in_order())

    @classmethod
    def from_json(cls, data: str | bytes) -> "Facts":
        """The facts that `to_json` wrote. Raises PolicyError."""
        return codec.decode(cls, codec.parse_json(data, "facts", FACTS_MAX_BYTES), "facts")

    @property
    def digest(self) -> str:
        return codec.digest(self.to_json())


def _sorted(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(sorted(set(items), key=repr))
