"""Signing keys: register one, read its fingerprint to the buyer by another channel, see what became of it."""

from typing import Final

from flask import flash, redirect, render_template, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from portal.errors import Conflict, InvalidInput, NotFound
from portal.http.context import actor, clock, session
from portal.suppliers import enrolment, service
from portal.suppliers.keys import known_as
from portal.suppliers.models import SigningKey
from portal.web.revocation import ListForm, bring, list_view
from portal.web.supplier.blueprint import blueprint, own_id
from portal.web.supplier.forms import KeyForm, show

# How the owner of a key computes its fingerprint on another computer, by the encoding it was registered in.
_DIGEST: Final = "openssl pkey -pubin -outform DER | openssl sha256"
_PREFIX: Final = r"\060\052\060\005\006\003\053\145\160\003\041\000"
_ED25519: Final = f"(printf '{_PREFIX}'; {{}} | base64 -d | tail -c 32) | openssl sha256"
_PLAIN: Final = "grep -v '^-' key.pem | base64 -d | openssl sha256"
FINGERPRINT_COMMANDS: Final = {
    "public_key": "openssl pkey -pubin -in key.pem -outform DER | openssl sha256",
    "certificate": f"openssl x509 -in certificate.pem -noout -pubkey | {_DIGEST}",
    "openssh": f"ssh-keygen -e -m pkcs8 -f key.pub | {_DIGEST}",
    "openpgp": "gpg --dearmor < key.asc | openssl sha256",
    "minisign": _ED25519.format("tail -n 1 key.pub"),
}


def fingerprint_command(key: SigningKey) -> str:
    """For the owner of a key, who reads the fingerprint from another computer and not from this portal."""
    if key.kind == "openssh" and key.algorithm == "Ed25519":  # ssh-keygen does not convert this kind
        return _ED25519.format("cut -d ' ' -f 2 key.pub")
    if key.kind == "public_key" and key.algorithm == "HSS/LMS":  # openssl does not read this one
        return _PLAIN
    return FINGERPRINT_COMMANDS[key.kind]


@blueprint.get("/keys")
def keys() -> str:
    rows = session().scalars(
        select(SigningKey)
        .where(SigningKey.supplier_id == own_id())
        .order_by(SigningKey.registered_at.desc(), SigningKey.id)
    )
    return render_template("supplier/keys.html", keys=rows.all())


@blueprint.route("/keys/new", methods=["GET", "POST"])
def new_key() -> str | Response | tuple[str, int]:
    form = KeyForm()
    if form.validate_on_submit():
        try:
            key = service.register_key(
                session(),
                actor(),
                clock(),
                pem=form.pem.data,
                label=form.label.data,
                purposes=form.purposes.data,
                options=form.options,
            )
        except InvalidInput as error:
            show(form, error, {"options": "method"})
            if any("private key:" in problem.found for problem in error.problems):
                form.pem.data = ""  # it is not sent back over the wire, nor left on the screen
        except Conflict as error:
            form.pem.errors = [error.message]
        else:
            session().commit()
            flash("The key is registered. Now its fingerprint has to be confirmed.", "success")
            return redirect(url_for("supplier.key", key_id=key.id))
    page = render_template("supplier/new_key.html", form=form)
    return (page, 422) if form.is_submitted() else page


@blueprint.get("/keys/<key_id>")
def key(key_id: str) -> str:
    return _key(_load(key_id))


@blueprint.post("/keys/<key_id>/revocation-list")
def bring_list(key_id: str) -> Response | tuple[str, int]:
    found, form = _load(key_id), ListForm()
    done = bring(found, form, url_for("supplier.key", key_id=found.id))
    return done or (_key(found, form), 422)


def _load(key_id: str) -> SigningKey:
    found = session().get(SigningKey, key_id)
    if found is None:
        raise NotFound("There is no such key.")
    return found


def _key(found: SigningKey, form: ListForm | None = None) -> str:
    return render_template(
        "supplier/key.html",
        key=found,
        known_as=known_as(found),
        enrolled=enrolment.words(found.options),
        command=fingerprint_command(found),
        revocation=list_view(found, form),
    )
