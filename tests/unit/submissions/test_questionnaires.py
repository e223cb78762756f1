"""A questionnaire's life: begun, saved answer by answer, backed by files, submitted, verified.

What a question takes and when the data holds together: tests/unit/policy/test_questionnaire.py.
"""

from collections.abc import Callable
from datetime import date, timedelta

import pytest
from sqlalchemy import select

from portal.accounts.models import RoleName
from portal.errors import Conflict, InvalidInput, NotAllowed, NotFound
from portal.ledger.models import Entry
from portal.policy.model import builtin as policy
from portal.submissions import service as submissions
from portal.submissions.models import Submission, SubmissionKind, SubmissionState
from portal.submissions.questionnaires import service as questionnaires
from portal.submissions.questionnaires.models import Answer, AnswerEvidence, QuestionnaireResponse
from portal.submissions.questionnaires.read import QuestionnaireView, questionnaire_view
from portal.verification import Outcome
from tests.factories.offered import Offered, good_answers
from tests.unit.submissions.conftest import Desk, NewDesk

PDF = b"%PDF-1.7 a document"
ASKED = questionnaires.builtin()


def quiet(_done: int, _total: int, _note: str) -> None:
    """Progress that nobody waits for."""


def begin(desk: Desk) -> Submission:
    return questionnaires.start_questionnaire(
        desk.session, desk.actor, desk.clock, product_id=desk.product.id
    )


def save(desk: Desk, draft: Submission, question_id: str, value: object) -> Answer | None:
    return questionnaires.save_answer(desk.session, desk.actor, desk.clock, draft.id, question_id, value)


def attach(desk: Desk, draft: Submission, question_id: str, evidence_id: str) -> AnswerEvidence:
    return questionnaires.attach_file(
        *(desk.session, desk.actor, desk.clock, draft.id, question_id, evidence_id),
        valid_until=date(2027, 6, 30),
    )


def detach(desk: Desk, draft: Submission, row_id: str) -> None:
    questionnaires.detach_file(desk.session, desk.actor, desk.clock, draft.id, row_id)


def fill(desk: Desk, draft: Submission) -> None:
    """Every answer that is asked for, and a file beside each that wants one."""
    for question_id, value in good_answers(ASKED, {}).items():
        save(desk, draft, question_id, value)
    for question in ASKED.questions:
        if question.needs_file(answers(desk, draft).get(question.id, "")):
            attach(desk, draft, question.id, desk.put(PDF + question.id.encode(), "proof.pdf"))


def answers(desk: Desk, draft: Submission) -> dict[str, str]:
    return questionnaires.current_answers(desk.session, draft.id)


def files(desk: Desk, draft: Submission) -> list[AnswerEvidence]:
    return questionnaires.current_evidence(desk.session, draft.id)


def view(desk: Desk, draft: Submission) -> QuestionnaireView:
    return questionnaire_view(desk.session, draft)


def revisions(desk: Desk, draft: Submission) -> list[tuple[int, str | None]]:
    rows = desk.session.scalars(select(Answer).where(Answer.submission_id == draft.id))
    return sorted((row.revision, row.value) for row in rows)


@pytest.fixture
def draft(desk: Desk) -> Submission:
    return begin(desk)


# --- the built-in one -----------------------------------------------------------------------------


def test_the_built_in_questionnaire_claims_every_knock_out_and_names_no_unknown_control() -> None:
    claimed = {control for question in ASKED.questions for control in question.controls}
    controls = {control.id: control for control in policy().controls}
    assert len(ASKED.questions) == 29
    assert claimed <= set(controls)
    assert {name for name, control in controls.items() if control.knock_out} <= claimed


# --- begin ----------------------------------------------------------------------------------------


def test_a_draft_says_which_questionnaire_it_answers_and_is_begun_once(desk: Desk, draft: Submission) -> None:
    response = desk.session.scalars(select(QuestionnaireResponse)).one()
    assert (response.submission_id, response.questionnaire_digest) == (draft.id, ASKED.digest)
    assert begin(desk) is draft
    assert (view(desk, draft).began_with, answers(desk, draft)) == (False, {})


def test_the_next_one_begins_with_what_was_last_submitted(desk: Desk, draft: Submission) -> None:
    fill(desk, draft)
    save(desk, draft, "inc_contact_hours", "")
    save(desk, draft, "inc_contact_hours", "business_hours")
    removed = attach(desk, draft, "upd_channels", desk.put(PDF, "wrong.pdf"))
    detach(desk, draft, removed.id)
    desk.submit(draft)
    again = begin(desk)
    assert again.id != draft.id
    assert answers(desk, again) == answers(desk, draft)
    assert {revision for revision, _ in revisions(desk, again)} == {1}
    backed = {(row.question_id, row.evidence_id, row.valid_until) for row in files(desk, draft)}
    assert {(row.question_id, row.evidence_id, row.valid_until) for row in files(desk, again)} == backed
    save(desk, again, "inc_contact", "soc@nordhaven.example")
    assert answers(desk, draft)["inc_contact"] == "security@nordhaven.example"


# --- answers --------------------------------------------------------------------------------------


def test_one_answer_is_kept_with_who_when_and_how(desk: Desk, draft: Submission) -> None:
    row = save(desk, draft, "sup_maker_name", "  Nordhaven Cells AS ")
    assert row is not None
    assert (row.value, row.revision) == ("Nordhaven Cells AS", 1)
    assert (row.answered_by, row.answered_at, row.method) == (desk.actor.user_id, desk.clock.now(), "web")


def test_every_change_is_a_revision_and_the_newest_counts(desk: Desk, draft: Submission) -> None:
    for value in ("yes", "no", "no", "", "", "yes"):
        save(desk, draft, "fw_signing", value)
    assert revisions(desk, draft) == [(1, "yes"), (2, "no"), (3, None), (4, "yes")]
    assert answers(desk, draft) == {"fw_signing": "yes"}


def test_many_answers_are_kept_each_by_itself(desk: Desk, draft: Submission) -> None:
    given = good_answers(ASKED, {})
    for question_id, value in given.items():
        save(desk, draft, question_id, value)
    assert answers(desk, draft) == given


@pytest.mark.parametrize(
    ("question_id", "value", "expected"),
    [
        ("fw_signing", "maybe", "one of yes, no"),
        ("fw_algorithm", "md5", "one of ed25519"),
        ("fw_signing", True, "one of yes, no"),
        ("upd_channels", None, "text"),
        ("upd_channels", ["USB"], "text"),
        ("sup_maker_name", "N" * 201, "at most 200 characters"),
        ("upd_channels", "x" * 2001, "at most 2000 characters"),
        ("upd_channels", " \n ", "text"),
        ("upd_channels", "USB\x00", "text"),
        ("sup_maker_country", "Norway", "at most 2 characters"),
        ("sup_maker_country", "no", "two capital letters"),
        ("res_end_of_support", "2031-02-30", "a date YYYY-MM-DD"),
        ("inc_contact", "security", "an e-mail address"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_and_the_old_one_stays(
    desk: Desk, draft: Submission, question_id: str, value: object, expected: str
) -> None:
    good = good_answers(ASKED, {})[question_id]
    save(desk, draft, question_id, good)
    with pytest.raises(InvalidInput) as caught:
        save(desk, draft, question_id, value)
    (problem,) = caught.value.problems
    assert problem.where == question_id
    assert expected in problem.expected
    assert revisions(desk, draft) == [(1, good)]


def test_a_question_that_is_not_asked_takes_nothing(desk: Desk, draft: Submission) -> None:
    evidence = desk.put(PDF)
    with pytest.raises(NotFound, match="no such question"):
        save(desk, draft, "favourite_colour", "blue")
    with pytest.raises(NotFound, match="no such question"):
        attach(desk, draft, "favourite_colour", evidence)
    assert (answers(desk, draft), files(desk, draft)) == ({}, [])


# --- files ----------------------------------------------------------------------------------------


def test_a_file_beside_an_answer_comes_and_goes_and_stays_in_the_vault(desk: Desk, draft: Submission) -> None:
    first, second = desk.put(PDF, "register.pdf"), desk.put(PDF + b"2", "register-2.pdf")
    row = attach(desk, draft, "sup_maker_name", first)
    desk.clock.advance(timedelta(seconds=1))  # they stand in the order in which they came
    attach(desk, draft, "sup_maker_name", second)
    assert [kept.evidence.filename for kept in files(desk, draft)] == ["register.pdf", "register-2.pdf"]
    assert row.valid_until == date(2027, 6, 30)
    detach(desk, draft, row.id)
    assert [kept.evidence_id for kept in files(desk, draft)] == [second]
    with pytest.raises(NotFound):
        detach(desk, draft, row.id)
    assert desk.session.get_one(AnswerEvidence, row.id).removed_at == desk.clock.now()
    assert desk.store.stat(row.evidence.sha256) is not None


def test_a_question_that_takes_no_file_gets_none(desk: Desk, draft: Submission) -> None:
    with pytest.raises(InvalidInput, match="takes no file"):
        attach(desk, draft, "inc_contact", desk.put(PDF))
    assert files(desk, draft) == []


def test_a_file_that_is_nowhere_is_not_attached(desk: Desk, draft: Submission) -> None:
    for evidence_id in ("", "0" * 32):
        with pytest.raises(NotFound):
            attach(desk, draft, "sup_maker_name", evidence_id)
    assert files(desk, draft) == []


# --- whose is it ----------------------------------------------------------------------------------


def test_another_suppliers_draft_and_files_look_like_none(new_desk: NewDesk) -> None:
    ours, theirs = new_desk(), new_desk()
    draft, foreign = begin(ours), begin(theirs)
    their_file = attach(theirs, foreign, "sup_maker_name", theirs.put(PDF, "theirs.pdf"))
    our_file = ours.put(PDF, "ours.pdf")
    tries: list[Callable[[], object]] = [
        lambda: save(ours, foreign, "fw_signing", "yes"),
        lambda: attach(ours, foreign, "sup_maker_name", our_file),
        lambda: attach(ours, draft, "sup_maker_name", their_file.evidence_id),
        lambda: detach(ours, foreign, their_file.id),
        lambda: detach(ours, draft, their_file.id),
        lambda: ours.submit(foreign),
    ]
    for attempt in tries:
        with pytest.raises(NotFound):
            attempt()
    assert (answers(ours, foreign), files(ours, draft)) == ({}, [])
    assert [row.id for row in files(theirs, foreign)] == [their_file.id]


def test_a_file_beside_another_questionnaire_is_not_taken_away_through_this_one(desk: Desk) -> None:
    first = begin(desk)
    fill(desk, first)
    desk.submit(first)
    second = begin(desk)
    row = files(desk, first)[0]
    with pytest.raises(NotFound):
        detach(desk, second, row.id)
    assert row.removed_at is None


def test_people_of_the_buyer_answer_nothing(desk: Desk, draft: Submission) -> None:
    reviewer = desk.make.actor(RoleName.REVIEWER)
    with pytest.raises(NotAllowed):
        questionnaires.save_answer(*(desk.session, reviewer, desk.clock, draft.id), "fw_signing", "yes")
    with pytest.raises(NotAllowed):
        questionnaires.start_questionnaire(desk.session, reviewer, desk.clock, product_id=desk.product.id)


def test_a_submission_of_another_kind_takes_no_answers(desk: Desk) -> None:
    with pytest.raises(NotFound):
        save(desk, desk.draft_lot(desk.manifest()), "fw_signing", "yes")


# --- progress -------------------------------------------------------------------------------------


def test_progress_counts_visible_required_questions_with_their_files(desk: Desk, draft: Submission) -> None:
    begun = view(desk, draft).progress
    assert (begun.done, begun.percent) == (0, 0)
    save(desk, draft, "sup_maker_country", "NO")
    assert view(desk, draft).progress.done == 1
    save(desk, draft, "sup_maker_name", "Nordhaven Cells AS")  # wants a file
    assert view(desk, draft).progress.done == 1
    row = attach(desk, draft, "sup_maker_name", desk.put(PDF))
    assert view(desk, draft).progress.done == 2
    section = view(desk, draft).section("SUP")
    assert section is not None
    assert (section.progress.done, section.progress.total) == (2, 4)
    detach(desk, draft, row.id)
    assert view(desk, draft).progress.done == 1


def test_a_follow_up_counts_only_while_it_is_asked(desk: Desk, draft: Submission) -> None:
    def total() -> int:
        return view(desk, draft).progress.total

    without = total()
    save(desk, draft, "fw_signing", "yes")
    assert total() == without + 2  # its algorithm, its key
    save(desk, draft, "fw_algorithm", "ed25519")
    save(desk, draft, "fw_signing", "no")
    assert total() == without
    assert answers(desk, draft)["fw_algorithm"] == "ed25519"  # kept, and shown again with a yes


# --- submit ---------------------------------------------------------------------------------------


def test_an_empty_one_is_refused_with_everything_that_is_missing(desk: Desk, draft: Submission) -> None:
    with pytest.raises(InvalidInput) as caught:
        desk.submit(draft)
    always = [question.id for question in ASKED.questions if question.visible_if is None]
    assert [problem.where for problem in caught.value.problems] == always
    assert caught.value.problems == view(desk, draft).problems
    assert (draft.state, desk.jobs.waiting) == (SubmissionState.DRAFT, [])


def test_one_missing_answer_and_one_missing_file_are_both_named(desk: Desk, draft: Submission) -> None:
    fill(desk, draft)
    save(desk, draft, "inc_contact", "")
    (row,) = (kept for kept in files(desk, draft) if kept.question_id == "fw_rollback")
    detach(desk, draft, row.id)
    with pytest.raises(InvalidInput) as caught:
        desk.submit(draft)
    found = [(problem.where, problem.expected) for problem in caught.value.problems]
    assert found == [("fw_rollback", "an attached file"), ("inc_contact", "an answer")]
    assert draft.state is SubmissionState.DRAFT


def test_a_complete_one_is_submitted_verified_and_accepted_by_the_machine(
    desk: Desk, draft: Submission
) -> None:
    fill(desk, draft)
    assert (view(desk, draft).progress.percent, view(desk, draft).problems) == (100, ())
    desk.submit(draft)
    assert (draft.state, draft.submitted_by) == (SubmissionState.SUBMITTED, desk.actor.user_id)
    desk.jobs.run_all()
    desk.session.expire_all()
    assert (draft.state, draft.outcome) == (SubmissionState.ACCEPTED, Outcome.PASS)
    (check,) = desk.checks(draft.id).values()
    assert (check.id, check.outcome) == ("questionnaire.complete", Outcome.PASS)
    assert f"All {view(desk, draft).progress.total} required questions" in check.reason
    told = select(Entry.kind).where(Entry.subject_id == draft.id)
    assert desk.session.scalars(told).all() == ["submission.made", "verification.ended"]


def test_a_no_needs_no_file_and_is_for_the_policy_to_judge(desk: Desk, draft: Submission) -> None:
    fill(desk, draft)
    save(desk, draft, "fw_signing", "no")
    for row in files(desk, draft):
        if row.question_id == "fw_signing":
            detach(desk, draft, row.id)
    desk.verify(draft)
    assert desk.checks(draft.id)["complete"].outcome is Outcome.PASS


def test_one_that_is_no_longer_complete_fails_and_is_not_accepted_any_more(desk: Desk) -> None:
    """As after a newer edition of the questionnaire that asks more."""
    short = Offered(desk.session, desk.clock).questionnaire(desk.product, {"inc_contact": ""})
    assert short.state is SubmissionState.ACCEPTED
    outcome = submissions.verify(desk.session, desk.clock, desk.store, short.id, quiet)
    assert (outcome, short.state) == (Outcome.FAIL, SubmissionState.VERIFIED)
    reason = desk.checks(short.id)["complete"].reason
    assert reason.startswith("1 answers or files are missing; first: inc_contact: expected an answer")


def test_what_was_submitted_does_not_change(desk: Desk, draft: Submission) -> None:
    fill(desk, draft)
    row = files(desk, draft)[0]
    evidence = desk.put(PDF, "late.pdf")
    desk.submit(draft)
    before = answers(desk, draft), [kept.id for kept in files(desk, draft)]
    tries: list[Callable[[], object]] = [
        lambda: save(desk, draft, "fw_signing", "no"),
        lambda: attach(desk, draft, "sup_maker_name", evidence),
        lambda: detach(desk, draft, row.id),
        lambda: desk.submit(draft),
    ]
    for attempt in tries:
        with pytest.raises(Conflict, match="cannot be changed"):
            attempt()
    assert (answers(desk, draft), [kept.id for kept in files(desk, draft)]) == before


def test_a_withdrawn_one_is_verified_no_more_and_a_new_one_begins_with_its_answers(
    desk: Desk, draft: Submission
) -> None:
    fill(desk, draft)
    desk.submit(draft)
    submissions.withdraw(desk.session, desk.actor, desk.clock, desk.jobs, draft.id)
    assert not submissions.begin_verification(desk.session, desk.clock, draft.id)
    again = begin(desk)
    assert (again.id != draft.id, again.kind) == (True, SubmissionKind.QUESTIONNAIRE)
    assert answers(desk, again) == answers(desk, draft)
