"""What a report shows, frozen: the PDF (and any later form of the report) sees nothing else."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Generic, TypeVar

from portal.policy.facts import CheckFact, EntityFact
from portal.policy.model import Strength
from portal.policy.result import Difference, Result
from portal.review.models import DecisionKind
from portal.verification import Outcome

T = TypeVar("T")


class Audience(StrEnum):
    """Who reads: the buyer's people see everything, the supplier nothing that is internal to the buyer."""

    BUYER = "buyer"
    SUPPLIER = "supplier"


@dataclass(frozen=True, slots=True)
class Part(Generic[T]):
    """The first rows of a list, and how many there are in all: a report is bounded, and says so."""

    rows: tuple[T, ...] = ()
    total: int = 0

    @classmethod
    def first(cls, rows: Iterable[T], limit: int) -> "Part[T]":
        rows = tuple(rows)
        return cls(rows[:limit], len(rows))

    @property
    def cut(self) -> bool:
        return self.total > len(self.rows)


@dataclass(frozen=True, slots=True)
class Topic:
    """One paragraph of the summary: a heading, a sentence or two, and what they list."""

    title: str
    text: str
    items: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ChangeItem:
    """What the supplier was asked to put right, and what they answered."""

    text: str
    answer: str
    answered_at: datetime | None


@dataclass(frozen=True, slots=True)
class Condition:
    """An accepted gap: which control, under what condition, who answers for it, its last day."""

    control_id: str
    title: str
    text: str
    owner: str
    expires_on: date
    granted_at: datetime


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """Who decided what, and why. `about_this`: on the assessment of this report, not on an earlier one."""

    kind: DecisionKind
    reason: str
    by: str
    role: str
    at: datetime
    assessment_number: int
    about_this: bool
    effective: bool
    seconds: bool  # the second approval of two
    items: tuple[ChangeItem, ...]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What people decided on this assessment. `kind` is None as long as nothing is in force."""

    kind: DecisionKind | None
    words: str
    detail: str
    later: str  # what has superseded it since, or an empty text


@dataclass(frozen=True, slots=True)
class CheckGroup:
    """The checks of one submission, worst first; `outcome` is that of all together."""

    subject: str
    kind: str
    submitted_at: datetime | None
    outcome: Outcome
    checks: tuple[CheckFact, ...]


@dataclass(frozen=True, slots=True)
class FirmwareRow:
    """One image. Versions and counter as declared and as the verifier read them out of the image."""

    component: str
    declared_version: str
    image_version: str
    security_counter: int | None
    format: str
    key: str
    key_fingerprint: str
    sha256: str
    outcome: Outcome
    accepted_at: datetime | None
    withdrawn_at: datetime | None


@dataclass(frozen=True, slots=True)
class CustodyRow:
    kind: str
    at: datetime
    from_holder: str
    to_holder: str
    location: str
    seal: str


@dataclass(frozen=True, slots=True)
class UnitRow:
    """One unit. Capacity in Ah, internal resistance in mΩ, open-circuit voltage in V."""

    serial: str
    firmware: str
    capacity_ah: float | None
    resistance_mohm: float | None
    ocv_v: float | None
    attested: bool


@dataclass(frozen=True, slots=True)
class LotView:
    number: str
    maker: str
    site: str
    manufactured_on: date | None
    declared_count: int
    unit_count: int
    attested: int
    outcome: Outcome
    manifest_sha256: str
    custody: Part[CustodyRow]
    units: Part[UnitRow]
    unattested: Part[str]


@dataclass(frozen=True, slots=True)
class AttestationFailureRow:
    line: int
    outcome: Outcome
    reason: str
    subject: str


@dataclass(frozen=True, slots=True)
class BatchView:
    """One file of attestations about one lot."""

    subject: str
    lot_number: str
    total: int
    passed: int
    failed: int
    unreadable: int
    unmatched: int
    outcome: Outcome
    failures: Part[AttestationFailureRow]


@dataclass(frozen=True, slots=True)
class EvidenceRow:
    """One stored file. `entry`: its number in the ledger; size in bytes."""

    name: str
    used_for: tuple[str, ...]
    sha256: str
    blake3: str
    size: int | None
    received_at: datetime | None
    valid_until: date | None
    entry: int | None
    deleted: str | None = None  # by whom and under which rule


@dataclass(frozen=True, slots=True)
class Backing:
    """How strongly one control is backed; `strength` is None where it does not apply."""

    control_id: str
    strength: Strength | None


@dataclass(frozen=True, slots=True)
class AnswerRow:
    question: str
    answer: str
    files: tuple[str, ...]
    backings: tuple[Backing, ...]


@dataclass(frozen=True, slots=True)
class AnswerSection:
    title: str
    rows: tuple[AnswerRow, ...]


@dataclass(frozen=True, slots=True)
class CommentRow:
    text: str
    by: str
    at: datetime
    internal: bool


@dataclass(frozen=True, slots=True)
class DifferenceView:
    """Against the assessment that people last decided on before this one."""

    before_number: int
    before_at: datetime
    decided: DecisionKind
    changes: Difference


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt as a file (C2SP tlog-proof@v1) that goes into the report."""

    name: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class LedgerRow:
    title: str
    seq: int
    at: datetime
    hash: str
    previous: str


@dataclass(frozen=True, slots=True)
class CheckpointView:
    """The log when it first had all that a report tells. `root` is base64, `signature` the beginning of the
    log's first one. `stamped_…`: the first time stamp over them, if there is any."""

    origin: str
    size: int
    root: str
    at: datetime
    signature: str
    stamped_at: datetime | None
    stamped_by: str
    stamped_size: int | None


@dataclass(frozen=True, slots=True)
class ReportView:
    """One assessment as a document. Lists are bounded (`Part`); texts are as stored, cut where very long."""

    audience: Audience
    buyer: str
    supplier: str
    supplier_country: str
    model: str
    product: str
    chemistry: str
    components: tuple[str, ...]
    assessment_id: str
    number: int
    case_number: int | None
    cause: str
    made_at: datetime
    latest_at: datetime  # the newest thing told here: the assessment or a decision on it
    policy_title: str
    result: Result
    result_digest: str
    facts_digest: str
    verdict: Verdict
    summary: tuple[Topic, ...]
    entities: tuple[EntityFact, ...]
    dates: tuple[tuple[str, date], ...]
    contacts: tuple[tuple[str, str], ...]
    decisions: tuple[DecisionRow, ...]
    conditions: tuple[Condition, ...]
    approvals: str
    difference: DifferenceView | None
    checks: Part[CheckGroup]
    check_count: int
    firmware: Part[FirmwareRow]
    lots: Part[LotView]
    batches: Part[BatchView]
    answers: tuple[AnswerSection, ...]
    questionnaire: str
    evidence: Part[EvidenceRow]
    comments: Part[CommentRow]
    ledger: tuple[LedgerRow, ...]
    checkpoint: CheckpointView | None  # None while there is none over all of `ledger`
    receipts: Mapping[int, Receipt]  # by entry of the ledger; empty while there is no checkpoint
