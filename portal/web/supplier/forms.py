"""Forms of the supplier pages."""

from collections.abc import Iterable, Sequence
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    DateField,
    SelectChoice,
    SelectField,
    SelectMultipleField,
    StringField,
    TextAreaField,
)
from wtforms.validators import InputRequired, Optional, Regexp
from wtforms.widgets import CheckboxInput, ListWidget

from portal.errors import InvalidInput, Problem
from portal.reassessment.service import TOLD_KINDS
from portal.submissions.lots.models import Lot
from portal.submissions.models import Submission
from portal.suppliers.models import Component, EntityRole, KeyPurpose, Product
from portal.web.supplier.fields import EvidenceField, FileGiven
from portal.web.supplier.words import PURPOSES
from portal.web.words import CHANGES, ROLES

SHA256 = Regexp("(?i)^[0-9a-f]{64}$", message="Expected 64 hexadecimal digits.")
COUNTRY = Regexp("^[A-Za-z]{2}$", message="Expected two letters, such as DE.")


def show(form: FlaskForm, error: InvalidInput, renamed: dict[str, str] | None = None) -> None:
    """Put the problems of a refusal beside their fields; `renamed`: where → name of the field."""
    left: list[str] = []
    for problem in error.problems:
        name = (renamed or {}).get(problem.where, problem.where)
        if name in form:
            form[name].errors = [*form[name].errors, told(problem)]
        else:
            left.append(str(problem))
    form.form_errors = left or ([] if error.problems else [error.message])


def told(problem: Problem) -> str:
    """A problem beside its field, which need not be named again."""
    return f"Expected {problem.expected}, found {problem.found}. {problem.fix}".strip()


def _upper(value: str | None) -> str:
    return (value or "").strip().upper()


class ProductForm(FlaskForm):
    model = StringField(
        "Model",
        validators=[InputRequired("Give the model designation.")],
        description="As on the type plate and in your lot manifests, for example NH-LFP-280.",
    )
    name = StringField("Name", validators=[InputRequired("Give the name.")])
    chemistry = StringField("Chemistry", description="For batteries: LFP, NMC, VRLA …")
    end_of_sale = DateField("End of sale", validators=[Optional()])
    end_of_support = DateField(
        "End of support", validators=[Optional()], description="Until then you repair security faults."
    )
    components = TextAreaField(
        "Components with firmware",
        description="One a line: BMS controller, gateway, network card … More can be added later.",
    )

    def listed_components(self) -> tuple[str, ...]:
        return tuple(line.strip() for line in (self.components.data or "").splitlines() if line.strip())


class EditProductForm(FlaskForm):
    name = StringField("Name", validators=[InputRequired("Give the name.")])
    chemistry = StringField("Chemistry")
    end_of_sale = DateField("End of sale", validators=[Optional()])
    end_of_support = DateField("End of support", validators=[Optional()])


class ComponentForm(FlaskForm):
    name = StringField("Name of the component", validators=[InputRequired("Name the component.")])


class EntityForm(FlaskForm):
    role = SelectField(
        "Role",
        choices=[
            SelectChoice("", "Choose …"),
            *(SelectChoice(role.value, ROLES[role]) for role in EntityRole),
        ],
        validators=[InputRequired("Choose what the company does.")],
    )
    name = StringField("Registered name", validators=[InputRequired("Give the name.")])
    country = StringField(
        "Country",
        validators=[InputRequired("Give the country."), COUNTRY],
        filters=[_upper],
        description="Two letters (ISO 3166), such as DE.",
    )


class KeyForm(FlaskForm):
    label = StringField(
        "Label",
        validators=[InputRequired("Give it a name.")],
        description="How you call it yourselves, for example “BMS release key 2026”.",
    )
    purposes = SelectMultipleField(
        "Signs",
        choices=[SelectChoice(purpose.value, PURPOSES[purpose]) for purpose in KeyPurpose],
        widget=ListWidget(prefix_label=False),
        option_widget=CheckboxInput(),
        validators=[InputRequired("Choose at least one.")],
    )
    pem = TextAreaField(
        "Public key or certificate",
        validators=[InputRequired("Paste the public key.")],
        description="PEM, beginning with -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----, or the "
        "key of OpenSSH, minisign or signify, or an armoured OpenPGP certificate. Never the private key.",
    )
    method = SelectField(
        "How detached signatures are made",
        default="",
        choices=[
            SelectChoice(
                "", "In the usual way: RSA with PKCS#1 v1.5 padding, ECDSA in DER, Ed25519, ML-DSA, HSS"
            ),
            SelectChoice("pss", "RSA with PSS padding, salt as long as the digest"),
            SelectChoice(
                "pss-max", "RSA with PSS padding, the longest salt (what openssl dgst makes by itself)"
            ),
            SelectChoice("p1363", "ECDSA as r‖s, 64 or 96 bytes (JOSE, smart cards)"),
            SelectChoice(
                "root", "Not by this key: it is a certificate authority, and signers have certificates by it"
            ),
        ],
        description="We verify in this one way and never try another. Images with their own form (MCUboot, "
        "ESP32, FIT) are not concerned.",
    )
    hash = SelectField(
        "Digest that is signed",
        default="",
        choices=[
            SelectChoice("", "The usual one: SHA-256, or SHA-384 for P-384"),
            SelectChoice("sha256", "SHA-256"),
            SelectChoice("sha384", "SHA-384"),
            SelectChoice("sha512", "SHA-512"),
        ],
    )
    usages = StringField(
        "Extended key usages of the signers' certificates",
        description="Of a certificate authority only: codeSigning (where this is empty), emailProtection, or "
        "OIDs such as 1.2.3, with spaces between.",
    )
    builders = TextAreaField(
        "Builders",
        description="For SLSA provenance: the builder URIs that statements signed with this key may name, "
        "one a line.",
    )

    @property
    def options(self) -> dict[str, object]:
        """As portal.suppliers.enrolment keeps them."""
        by_method: dict[str, dict[str, object]] = {
            "pss": {"rsa_padding": "pss"},
            "pss-max": {"rsa_padding": "pss", "pss_salt": "max"},
            "p1363": {"ecdsa_encoding": "p1363"},
            "root": {"root": True},
        }
        options = dict(by_method.get(self.method.data or "", {}))
        for name, given in (("usages", self.usages.data), ("builders", self.builders.data)):
            if words := (given or "").split():
                options[name] = words
        return options | {"hash": self.hash.data or None}


class FirmwareForm(FlaskForm):
    component = SelectField("Component", validators=[InputRequired("Choose the component.")])
    version = StringField(
        "Version",
        validators=[InputRequired("Give the version.")],
        description="The same as in the image, for example 2.1.0 or 2.1.0+7.",
    )
    image = EvidenceField("Image", validators=[FileGiven("Choose the image.")])
    signature = EvidenceField(
        "Detached signature", description="Only where the signature is not inside the image. At most 64 KiB."
    )
    certificates = EvidenceField(
        "Signer's certificates",
        accept=".pem,.crt,.cer",
        description="PEM, the signer's first; only where a certificate authority is registered here.",
    )
    timestamp = EvidenceField(
        "Time stamp",
        accept=".tsr,.tst,application/timestamp-reply",
        description="RFC 3161, over the signature file or the image. It outlives the signer's certificate.",
    )
    declared_sha256 = StringField(
        "SHA-256 of the image",
        validators=[Optional(), SHA256],
        filters=[lambda value: (value or "").strip().lower()],
        description="As your release record says; we compare it with what arrived.",
    )
    release_notes = TextAreaField("Release notes", description="What changed, and which faults it repairs.")


class LotForm(FlaskForm):
    product = SelectField("Product", validators=[InputRequired("Choose the product.")])
    lot_number = StringField(
        "Lot number", validators=[InputRequired("Give the lot number.")], description="As in the manifest."
    )
    manifest = EvidenceField(
        "Manifest",
        accept=".json,application/json",
        validators=[FileGiven("Choose the manifest.")],
        description="JSON: lot, product, maker, site, date, units and custody.",
    )
    units = EvidenceField(
        "Units as CSV",
        accept=".csv,text/csv",
        description="Only where the manifest leaves its units to a table.",
    )
    signature = EvidenceField("Signature over the manifest", description="Detached. At most 64 KiB.")
    supersedes = SelectField(
        "Replaces",
        validators=[Optional()],
        description="An earlier manifest of this product that this one corrects.",
    )


class AttestationsForm(FlaskForm):
    lot = SelectField("Lot", validators=[InputRequired("Choose the lot.")])
    attestations = EvidenceField(
        "File of attestations",
        accept=".jsonl,.ndjson,.json",
        description="DSSE envelopes, one a line, each an in-toto statement about one unit.",
        validators=[FileGiven("Choose the file.")],
    )


class ChangeForm(FlaskForm):
    kind = SelectField(
        "What changes", choices=[SelectChoice(kind.value, CHANGES[kind]) for kind in TOLD_KINDS]
    )
    product = SelectField("About")
    title = StringField("In one line", validators=[InputRequired("Name the change.")])
    description = TextAreaField("Details", description="What changes, from what to what, and why.")
    effective_on = DateField("From", validators=[Optional()])


class AnswerForm(FlaskForm):
    answer = TextAreaField("Your answer", validators=[InputRequired("Write your answer.")])


class WithdrawForm(FlaskForm):
    """Nothing but the token."""


# --- What there is to choose from ----------------------------------------------------------------------


def product_choices(products: Sequence[Product], first: str) -> list[Any]:
    return [
        SelectChoice("", first),
        *(SelectChoice(row.id, f"{row.name} ({row.model})") for row in products),
    ]


def component_choices(products: Iterable[Product]) -> list[Any]:
    return [
        SelectChoice("", "Choose …"),
        *(
            SelectChoice(part.id, part.name, optgroup=f"{product.name} ({product.model})")
            for product in products
            for part in product.components
        ),
    ]


def lot_choices(lots: Sequence[Lot]) -> list[Any]:
    return [
        SelectChoice("", "Choose …"),
        *(
            SelectChoice(lot.id, f"{lot.lot_number}, {lot.submission.product.name}, {lot.unit_count:,} units")
            for lot in lots
        ),
    ]


def replaced_choices(submissions: Sequence[Submission]) -> list[Any]:
    return [
        SelectChoice("", "Nothing: this lot is new"),
        *(SelectChoice(row.id, f"{row.title} ({row.product.name})") for row in submissions),
    ]


def known_component(components: Iterable[Component], component_id: str) -> str:
    """The id if it is one of them, else nothing."""
    return next((row.id for row in components if row.id == component_id), "")
