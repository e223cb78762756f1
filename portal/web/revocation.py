"""Revocation lists of certificate authorities: the part of a key's page that supplier and reviewer share."""

from dataclasses import dataclass

from flask import flash, redirect
from flask_wtf import FlaskForm
from flask_wtf.file import FileField, FileRequired
from werkzeug.wrappers import Response

from portal.errors import Conflict, InvalidInput, TooLarge
from portal.http.context import actor, clock, parts, session
from portal.reassessment.service import certificates_revoked
from portal.suppliers import revocation
from portal.suppliers.enrolment import is_root
from portal.suppliers.models import RevocationList, SigningKey


class ListForm(FlaskForm):
    file = FileField(
        "Newer revocation list",
        validators=[FileRequired("Choose the file.")],
        description="The complete list that the authority signed (CRL), PEM or DER, at most 512 KiB.",
    )


@dataclass(frozen=True, slots=True)
class ListView:
    """`row` is None while no list was brought."""

    row: RevocationList | None
    stale: bool
    form: ListForm


def list_view(key: SigningKey, form: ListForm | None = None) -> ListView | None:
    """None for a key that is no authority."""
    if not is_root(key.options):
        return None
    row = revocation.list_of(session(), key)
    late = row is not None and revocation.stale(row, clock().now())
    return ListView(row, late, form or ListForm(formdata=None))


def bring(key: SigningKey, form: ListForm, back: str) -> Response | None:
    """Keep the list that the form holds, and have judged again what rests on the authority where it revokes
    anything new; None when the form has to come back."""
    if not form.validate_on_submit():
        return None
    try:
        kept = revocation.keep_list(
            session(), actor(), clock(), key.id, form.file.data.stream.read(revocation.LIST_MAX + 1)
        )
    except InvalidInput as error:
        form.file.errors = [
            f"Expected {problem.expected}, found {problem.found}. {problem.fix}".strip()
            for problem in error.problems
        ]
        return None
    except (Conflict, TooLarge) as error:
        form.file.errors = [error.message]
        return None
    if kept.added:
        certificates_revoked(session(), clock(), parts().jobs, key, kept.added)
    session().commit()
    flash(f"The revocation list is kept; it names {kept.row.revoked} certificate(s).", "success")
    return redirect(back)
