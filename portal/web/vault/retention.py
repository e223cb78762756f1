"""Retention: the rules, what they would let go, and the deletion of what was seen."""

from flask import flash, redirect, render_template, request, url_for
from flask_wtf import FlaskForm
from werkzeug.wrappers import Response
from wtforms import HiddenField, IntegerField, SelectField, TextAreaField
from wtforms.validators import InputRequired, Length, NumberRange

from portal.db import reading
from portal.errors import Conflict, InvalidInput
from portal.http.context import actor, clock, db, parts, session
from portal.retention import read, rules, service
from portal.retention.preview import Preview
from portal.retention.rules import OF_PRODUCT, WORDS, YEARS_MAX, YEARS_MIN, Anchor, Kind, Rule, Rules
from portal.web.people import asked_page, explain
from portal.web.security import fresh
from portal.web.vault.blueprint import blueprint
from portal.web.words import KINDS

NAMES = {Kind(kind.value): name for kind, name in KINDS.items()} | {Kind.UNUSED: "Offered with nothing"}
CHOICES = {anchor.value: words for anchor, words in WORDS.items()} | {Anchor.NEVER.value: "never: for ever"}


class RulesForm(FlaskForm):
    """Two fields for each kind: `lot_years`, `lot_anchor`."""

    version = HiddenField()
    why = TextAreaField("Why", [InputRequired("Say why: it stays in the record."), Length(max=500)])


for _kind in Kind:
    _fits = {
        name: words for name, words in CHOICES.items() if _kind is not Kind.UNUSED or name not in OF_PRODUCT
    }
    setattr(
        RulesForm,
        f"{_kind.value}_years",
        IntegerField(
            f"{NAMES[_kind]}: years",
            [InputRequired(), NumberRange(YEARS_MIN, YEARS_MAX, f"{YEARS_MIN} to {YEARS_MAX} years.")],
        ),
    )
    setattr(RulesForm, f"{_kind.value}_anchor", SelectField("From", choices=_fits))


@blueprint.get("/retention")
def retention() -> str:
    return _rules(None)


@blueprint.post("/retention")
@fresh
def set_rules() -> Response | tuple[str, int]:
    form = RulesForm()
    if form.validate_on_submit():
        by_kind = {
            kind: Rule(Anchor(form[f"{kind.value}_anchor"].data), form[f"{kind.value}_years"].data)
            for kind in Kind
        }
        version = form.version.data or ""
        try:
            row = service.set_rules(
                session(),
                actor(),
                clock(),
                by_kind=by_kind,
                why=form.why.data or "",
                version=int(version) if version.isdigit() else -1,
            )
        except (InvalidInput, Conflict) as error:
            session().rollback()
            explain(form, error)
        else:
            number = row.version
            session().commit()
            flash(f"Version {number} of the rules is in force. Nothing was deleted.", "success")
            return redirect(url_for("vault.retention"))
    return _rules(form), 422


@blueprint.get("/preview")
def preview() -> str:
    return render_template("vault/preview.html", found=service.preview(session(), clock()))


@blueprint.post("/preview")
@fresh
def delete() -> Response:
    seen = _seen()
    done = service.delete(session(), actor(), clock(), digest=request.form.get("digest", ""), seen=seen)
    parts().jobs.enqueue(session(), "remove_bytes")
    session().commit()
    count = len(done.goes)
    flash(f"{count} {'file was' if count == 1 else 'files were'} deleted.", "success")
    return redirect(url_for("vault.deleted"))


@blueprint.get("/deleted")
def deleted() -> str:
    text = request.args.get("q", "").strip()[:100]
    return render_template(
        "vault/deleted.html", page=read.deleted(session(), text=text, number=asked_page()), text=text
    )


def _seen() -> Preview:
    """What would go, looked up without holding up writers."""
    session().rollback()
    with reading(db.engine) as own:
        return service.preview(own, clock())


def _rules(form: RulesForm | None) -> str:
    found = rules.current(session())
    return render_template(
        "vault/retention.html",
        rules=found,
        names=NAMES,
        kinds=list(Kind),
        versions=read.versions(session()),
        form=form or _filled(found),
    )


def _filled(found: Rules) -> RulesForm:
    values: dict[str, object] = {"version": str(found.version)}
    for kind, rule in found.by_kind.items():
        values |= {f"{kind.value}_years": rule.years, f"{kind.value}_anchor": rule.anchor.value}
    return RulesForm(formdata=None, data=values)
