"""Signing keys: approve after a check by another channel, distrust from a date."""

from datetime import UTC

from flask import flash, redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from portal.errors import InvalidInput, NotFound
from portal.http.context import actor, clock, parts, session
from portal.reassessment import service as reassessment
from portal.reassessment.touched import submissions_resting_on
from portal.review import vendors
from portal.review.read import people
from portal.suppliers import enrolment, service
from portal.suppliers.keys import known_as
from portal.suppliers.models import KeyState, SigningKey, Supplier
from portal.web.review.blueprint import blueprint
from portal.web.review.forms import DistrustForm, KeyDecisionForm, said
from portal.web.revocation import ListForm, bring, list_view


def load(key_id: str) -> SigningKey:
    key = session().get(SigningKey, key_id)
    if key is None:
        raise NotFound("There is no such key.")
    return key


@blueprint.get("/keys")
def keys() -> str:
    state = request.args.get("state", "")
    return render_template(
        "review/keys.html",
        rows=vendors.keys(session(), KeyState(state) if state in list(KeyState) else None),
        states=list(KeyState),
    )


@blueprint.get("/keys/<key_id>")
def key(key_id: str) -> str:
    return show(load(key_id))


def show(
    found: SigningKey,
    decision_form: KeyDecisionForm | None = None,
    distrust_form: DistrustForm | None = None,
    list_form: ListForm | None = None,
) -> str:
    return render_template(
        "review/key.html",
        key=found,
        known_as=known_as(found),
        enrolled=enrolment.words(found.options),
        supplier=session().get_one(Supplier, found.supplier_id),
        names=people(session(), (found.registered_by, found.decided_by, found.distrusted_by)),
        revocation=list_view(found, list_form),
        resting=submissions_resting_on(session(), found),
        decision_form=decision_form or KeyDecisionForm(formdata=None),
        distrust_form=distrust_form or DistrustForm(formdata=None, since=clock().now()),
    )


@blueprint.post("/keys/<key_id>/decision")
def decide_key(key_id: str) -> str | Response | tuple[str, int]:
    found, form = load(key_id), KeyDecisionForm()
    if not form.validate_on_submit():
        return show(found, decision_form=form), 422
    try:
        decided = service.decide_key(
            session(),
            actor(),
            clock(),
            found.id,
            approve=form.answer.data == "approve",
            fingerprint_typed=form.fingerprint.data or "",
            note=form.note.data,
        )
    except InvalidInput as error:
        for problem in error.problems:
            field = form.fingerprint if problem.where == "fingerprint" else form.note
            field.errors = [*field.errors, said(problem)]
        return show(found, decision_form=form), 422
    session().commit()
    flash(f"The key {decided.label} is {decided.state.value}.", "success")
    return redirect(url_for("review.key", key_id=decided.id))


@blueprint.post("/keys/<key_id>/distrust")
def distrust_key(key_id: str) -> str | Response | tuple[str, int]:
    found, form = load(key_id), DistrustForm()
    if not form.validate_on_submit():
        return show(found, distrust_form=form), 422
    try:
        distrusted = service.distrust_key(
            session(),
            actor(),
            clock(),
            found.id,
            since=form.since.data.replace(tzinfo=UTC),
            reason=form.reason.data,
        )
    except InvalidInput as error:
        form.reason.errors = [said(problem) for problem in error.problems]
        return show(found, distrust_form=form), 422
    reassessment.key_distrusted(session(), actor(), clock(), parts().jobs, distrusted)
    session().commit()
    flash("The key is distrusted. Everything signed with it is being assessed again.", "success")
    return redirect(url_for("review.key", key_id=distrusted.id))


@blueprint.post("/keys/<key_id>/revocation-list")
def bring_list(key_id: str) -> str | Response | tuple[str, int]:
    found, form = load(key_id), ListForm()
    done = bring(found, form, url_for("review.key", key_id=found.id))
    return done or (show(found, list_form=form), 422)
