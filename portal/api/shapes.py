"""What goes over the wire: strict models for what clients send, plain ones for what they are told."""

import json
from datetime import date, datetime
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints

from portal.api.contract import Asked, Given, Told
from portal.evidence.models import Evidence as EvidenceRow
from portal.evidence.models import Tombstone
from portal.policy.questionnaire import Question as AskedQuestion
from portal.reassessment.models import ChangeKind, ChangeSource
from portal.submissions.models import AttachmentRole, SubmissionKind, SubmissionState
from portal.submissions.models import Submission as SubmissionRow
from portal.submissions.questionnaires.read import QuestionnaireView
from portal.submissions.read import SubmissionView
from portal.suppliers.models import Component as ComponentRow
from portal.suppliers.models import Entity as EntityRow
from portal.suppliers.models import EntityRole, KeyState
from portal.suppliers.models import Product as ProductRow
from portal.suppliers.models import SigningKey as KeyRow
from portal.verification import Outcome

# Control characters are refused here: PostgreSQL cannot keep NUL, and no other belongs into a name.
_LINE = r"^[^\x00-\x1f\x7f]*$"
_TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"

Id = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F]{64}$")]
Line40 = Annotated[str, StringConstraints(min_length=1, max_length=40, pattern=_LINE)]
Line64 = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=_LINE)]
Line100 = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_LINE)]
Line200 = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_LINE)]
Text4000 = Annotated[str, StringConstraints(max_length=4000, pattern=_TEXT)]
Country = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]


class Paging(Asked):
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    size: Annotated[int, Field(ge=1, le=200)] = 50


class Listing(Told):
    """What every list says beside its items. Pages count from 1."""

    total: int
    page: int
    pages: int


# --- Products, components, the chain, keys --------------------------------------------------------


class NewProduct(Given):
    model: Line100
    name: Line200
    chemistry: Line40 | None = None
    end_of_sale: date | None = None
    end_of_support: date | None = None
    components: Annotated[list[Line100], Field(max_length=100, default_factory=list)]


class ProductChange(Given):
    """Only what is named changes; null clears a date or the chemistry."""

    name: Line200 = ""
    chemistry: Line40 | None = None
    end_of_sale: date | None = None
    end_of_support: date | None = None


class NewComponent(Given):
    name: Line100


class Component(Told):
    id: str
    name: str

    @classmethod
    def of(cls, row: ComponentRow) -> Self:
        return cls(id=row.id, name=row.name)


class Product(Told):
    """`limits` are the buyer's acceptance limits; units as named."""

    id: str
    model: str
    name: str
    chemistry: str | None
    tier: int
    limits: dict[str, dict[str, float]]
    end_of_sale: date | None
    end_of_support: date | None
    components: list[Component]
    created_at: datetime

    @classmethod
    def of(cls, row: ProductRow) -> Self:
        return cls(
            id=row.id,
            model=row.model,
            name=row.name,
            chemistry=row.chemistry,
            tier=row.tier,
            limits=row.limits,
            end_of_sale=row.end_of_sale,
            end_of_support=row.end_of_support,
            components=[Component.of(component) for component in row.components],
            created_at=row.created_at,
        )


class Products(Listing):
    items: list[Product]


class NewEntity(Given):
    role: EntityRole
    name: Line200
    country: Country


class Entity(Told):
    id: str
    role: EntityRole
    name: str
    country: str

    @classmethod
    def of(cls, row: EntityRow) -> Self:
        return cls(id=row.id, role=row.role, name=row.name, country=row.country)


class Entities(Told):
    items: list[Entity]


class Key(Told):
    id: str
    label: str
    algorithm: str
    fingerprint: str
    purposes: list[str]
    state: KeyState
    not_before: datetime | None
    not_after: datetime | None
    distrusted_from: datetime | None
    registered_at: datetime

    @classmethod
    def of(cls, row: KeyRow) -> Self:
        return cls(
            id=row.id,
            label=row.label,
            algorithm=row.algorithm,
            fingerprint=row.fingerprint,
            purposes=row.purposes,
            state=row.state,
            not_before=row.not_before,
            not_after=row.not_after,
            distrusted_from=row.distrusted_from,
            registered_at=row.registered_at,
        )


class Keys(Told):
    items: list[Key]


# --- Evidence -------------------------------------------------------------------------------------


class FileName(Asked):
    filename: Annotated[str, StringConstraints(min_length=1, max_length=255)]
    sha256: Sha256 | None = None


class Deleted(Told):
    """The bytes are gone; the row, its digests and its receipt stay."""

    at: datetime
    by: str
    rule: str

    @classmethod
    def of(cls, row: Tombstone) -> Self:
        return cls(at=row.deleted_at, by=row.person.name, rule=row.rule)


class Evidence(Told):
    id: str
    filename: str
    size: int
    sha256: str
    blake3: str
    received_at: datetime
    deleted: Deleted | None

    @classmethod
    def of(cls, row: EvidenceRow) -> Self:
        return cls(
            id=row.id,
            filename=row.filename,
            size=row.size,
            sha256=row.sha256,
            blake3=row.blake3,
            received_at=row.received_at,
            deleted=Deleted.of(row.tombstone) if row.tombstone else None,
        )


class Receipt(Told):
    """`proof` is the receipt file as text. It is about entry `index` of `size` in the log `origin`.

    `there_by` is when the entry was there at the latest: so says the time-stamp authority `authority` over
    the checkpoint of `stamped_size` entries (`/ledger/N/stamps/SIZE.tsr`); both null: so claims the portal.
    """

    origin: str
    index: int
    size: int
    proof: str
    there_by: datetime
    authority: str | None
    stamped_size: int | None


class WatchKey(Told):
    """256 bits in hexadecimal digits: HMAC-SHA-256 with it names you in the entries that are about you."""

    key: str


# --- Submissions ----------------------------------------------------------------------------------


class NewFirmware(Given):
    component_id: Id
    version: Line64
    image_id: Id
    signature_id: Id | None = None
    certificates_id: Id | None = None
    timestamp_id: Id | None = None
    declared_sha256: Sha256 | None = None
    release_notes: Text4000 = ""


class NewLot(Given):
    product_id: Id
    lot_number: Line100
    manifest_id: Id
    units_id: Id | None = None
    signature_id: Id | None = None
    supersedes_id: Id | None = None


class NewAttestations(Given):
    lot_id: Id
    attestations_id: Id


class NewQuestionnaire(Given):
    product_id: Id


class SubmissionFilter(Paging):
    kind: SubmissionKind | None = None
    state: SubmissionState | None = None
    outcome: Outcome | None = None
    product_id: Id | None = None


class Submission(Told):
    """`outcome` is that of all checks of the newest run together; only `pass` proves anything."""

    id: str
    kind: SubmissionKind
    state: SubmissionState
    outcome: Outcome | None
    title: str
    product_id: str
    supersedes_id: str | None
    created_at: datetime
    submitted_at: datetime | None
    verified_at: datetime | None

    @classmethod
    def _values(cls, row: SubmissionRow) -> dict[str, Any]:
        return {name: getattr(row, name) for name in Submission.model_fields}

    @classmethod
    def of(cls, row: SubmissionRow) -> Self:
        return cls(**cls._values(row))


class Submissions(Listing):
    items: list[Submission]


class Check(Told):
    id: str
    outcome: Outcome
    reason: str


class AttachedFile(Told):
    role: AttachmentRole
    evidence: Evidence


class Progress(Told):
    done: int
    total: int
    note: str


class FailedLine(Told):
    line: int
    outcome: Outcome
    reason: str
    subject: str


class SubmissionDetail(Submission):
    """One submission in full. `pending`: its checks are not all made yet; `checks` are those of run `run`.

    `report`: of an image, what the verifier found, the document that `lotgate verify --json` prints.
    """

    pending: bool
    progress: Progress
    run: int
    checks: list[Check]
    files: list[AttachedFile]
    failure: str
    component_id: str | None
    declared_version: str | None
    image_version: str | None
    lot_id: str | None
    units: int | None
    units_attested: int | None
    failed_lines: list[FailedLine]
    report: dict[str, Any] | None

    @classmethod
    def of_view(cls, view: SubmissionView) -> Self:
        row, release, lot = view.submission, view.release, view.lot
        newest = view.runs[0].checks if view.runs else ()
        about = lot or (view.batch.lot if view.batch else None)
        return cls(
            **cls._values(row),
            pending=view.pending,
            progress=Progress(done=row.progress_done, total=row.progress_total, note=row.progress_note),
            run=row.run,
            checks=[Check(id=check.check_id, outcome=check.outcome, reason=check.reason) for check in newest],
            files=[AttachedFile(role=file.role, evidence=Evidence.of(file.evidence)) for file in view.files],
            failure=row.failure,
            component_id=release.component_id if release else None,
            declared_version=release.declared_version if release else None,
            image_version=release.image_version if release else None,
            lot_id=about.id if about else None,
            units=lot.unit_count if lot else None,
            units_attested=view.covered if lot else None,
            failed_lines=[
                FailedLine(line=item.line, outcome=item.outcome, reason=item.reason, subject=item.subject)
                for item in view.failures
            ],
            report=json.loads(release.report) if release and release.report else None,
        )


# --- Questionnaires -------------------------------------------------------------------------------


class Choice(Told):
    value: str
    label: str


class Question(Told):
    id: str
    section: str
    text: str
    help: str
    type: str
    required: bool
    evidence: str
    evidence_when: list[str]
    choices: list[Choice]
    max_length: int

    @classmethod
    def of(cls, question: AskedQuestion) -> Self:
        return cls(
            id=question.id,
            section=question.section,
            text=question.text,
            help=question.help,
            type=question.type.value,
            required=question.required,
            evidence=question.evidence.value,
            evidence_when=list(question.evidence_when),
            choices=[Choice(value=choice.value, label=choice.label) for choice in question.choices],
            max_length=question.max_length,
        )


class Questionnaire(Told):
    id: str
    version: str
    digest: str
    title: str
    intro: str
    questions: list[Question]


class Answers(Given):
    """Question id → answer; an empty text clears it. Questions that are not named stay as they are."""

    answers: Annotated[dict[Line64, Text4000], Field(min_length=1, max_length=200)]


class NewAnswerFile(Given):
    evidence_id: Id
    valid_until: date | None = None


class AnswerFile(Told):
    id: str
    evidence: Evidence
    valid_until: date | None


class Answer(Told):
    question: str
    value: str
    visible: bool
    done: bool
    files: list[AnswerFile]


class MissingAnswer(Told):
    question: str
    expected: str
    found: str


class Response(Told):
    """The answers of one submission, and what still keeps it from being submitted."""

    submission: Submission
    done: int
    total: int
    answers: list[Answer]
    missing: list[MissingAnswer]

    @classmethod
    def of(cls, view: QuestionnaireView) -> Self:
        return cls(
            submission=Submission.of(view.submission),
            done=view.progress.done,
            total=view.progress.total,
            answers=[
                Answer(
                    question=item.question.id,
                    value=item.value,
                    visible=item.visible,
                    done=item.done,
                    files=[
                        AnswerFile(
                            id=file.id, evidence=Evidence.of(file.evidence), valid_until=file.valid_until
                        )
                        for file in item.files
                    ],
                )
                for section in view.sections
                for item in section.questions
            ],
            missing=[
                MissingAnswer(question=problem.where, expected=problem.expected, found=problem.found)
                for problem in view.problems
            ],
        )


# --- Changes --------------------------------------------------------------------------------------


class NewChange(Given):
    kind: ChangeKind
    title: Line200
    description: Text4000 = ""
    product_id: Id | None = None
    effective_on: date | None = None


class Change(Told):
    id: str
    kind: ChangeKind
    source: ChangeSource
    title: str
    description: str
    product_id: str | None
    effective_on: date | None
    filed_at: datetime
    handled_at: datetime | None


class Changes(Listing):
    items: list[Change]
