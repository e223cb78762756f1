"""Forms of the reviewer pages."""

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from flask_wtf import FlaskForm
from wtforms import (
    BooleanField,
    DateField,
    DateTimeLocalField,
    DecimalField,
    FieldList,
    Form,
    FormField,
    HiddenField,
    IntegerField,
    RadioField,
    SelectChoice,
    SelectField,
    StringField,
    TextAreaField,
)
from wtforms.validators import InputRequired, Optional

from portal.clock import Clock, today
from portal.errors import Problem
from portal.policy.result import Gap
from portal.reassessment.service import TOLD_KINDS
from portal.review.deciding import ANSWER_DAYS
from portal.review.models import DecisionKind
from portal.review.rules import Condition
from portal.suppliers.models import Product
from portal.suppliers.service import LIMITS
from portal.web.review.words import DECISIONS, TIERS
from portal.web.words import CHANGES

_NEVER = date.min
PROPOSED_DAYS = 90  # how long a condition lasts unless the reviewer says otherwise


def said(problem: Problem) -> str:
    """A problem as it is written beside its field."""
    return f"Expected {problem.expected}, found {problem.found}. {problem.fix}".strip()


class ConditionForm(Form):
    """One gap, to accept or not."""

    control_id = HiddenField()
    accept = BooleanField("Accept this gap")
    text = TextAreaField("Condition", description="What makes the gap bearable meanwhile.")
    owner = StringField("Owner", description="Who answers for it.")
    expires_on = DateField("Until", validators=[Optional()], description="Its last day, within a year.")


class DecisionForm(FlaskForm):
    """A decision on a case."""

    assessment_id = HiddenField()
    kind = RadioField(
        "Decision",
        choices=[SelectChoice(kind.value, DECISIONS[kind]) for kind in DecisionKind],
        validators=[InputRequired("Choose one.")],
    )
    reason = TextAreaField(
        "Reason",
        validators=[InputRequired("Say why: it stays with the decision.")],
        description="It stands in the report, the supplier's too. What stays among us is for a comment.",
    )
    conditions = FieldList(FormField(ConditionForm))
    items = TextAreaField(
        "What the supplier must put right", description="One point a line. The supplier answers each."
    )
    answer_by = DateField("By when", validators=[Optional()])

    def listed_items(self) -> list[str]:
        return [line.strip() for line in (self.items.data or "").splitlines() if line.strip()]

    def accepted(self) -> list[tuple[int, Condition]]:
        """The conditions that were ticked, each with its row in the form; a missing date is yesterday's, so
        that the verb refuses it like every other wrong one."""
        return [
            (
                row,
                Condition(
                    control_id=entry.control_id.data or "",
                    text=entry.text.data or "",
                    owner=entry.owner.data or "",
                    expires_on=entry.expires_on.data or _NEVER,
                ),
            )
            for row, entry in enumerate(field.form for field in self.conditions)
            if entry.accept.data
        ]

    def show(self, problems: Sequence[Problem]) -> list[Problem]:
        """Put problems to the fields they are about; returns those that are about none."""
        rows = [row for row, _ in self.accepted()]
        left = []
        for problem in problems:
            field = self._field(problem.where, rows)
            if field is None:
                left.append(problem)
            else:
                field.errors = [*field.errors, said(problem)]
        return left

    def _field(self, where: str, rows: list[int]) -> Any:
        name, _, rest = where.partition("[")
        if name in ("reason", "kind", "items", "answer_by"):
            return self[name]
        number, _, part = rest.partition("].")
        if name == "conditions" and number.isdigit() and part:
            return self.conditions[rows[int(number)]].form[part]
        return None


def decision_form(clock: Clock, gaps: Sequence[Gap], assessment_id: str) -> DecisionForm:
    """The form as it comes up, or as it came back, with a row for each open gap."""
    day = today(clock) + timedelta(days=PROPOSED_DAYS)
    return DecisionForm(
        assessment_id=assessment_id,
        answer_by=today(clock) + timedelta(days=ANSWER_DAYS),
        conditions=[{"control_id": gap.control_id, "accept": False, "expires_on": day} for gap in gaps],
    )


class CommentForm(FlaskForm):
    text = TextAreaField("Comment", validators=[InputRequired("Write something.")])
    audience = RadioField(
        "Who reads it",
        choices=[SelectChoice("internal", "Only us"), SelectChoice("supplier", "The supplier too")],
        default="internal",
    )


class SampleForm(FlaskForm):
    size = IntegerField("Units to test", validators=[InputRequired("How many units?")])


class TakeOverForm(FlaskForm):
    reason = StringField("Why you take it over", validators=[InputRequired("Say why: it stays in the case.")])


class ChangeForm(FlaskForm):
    """A change that a reviewer tells."""

    kind = SelectField(
        "What changed", choices=[SelectChoice(kind.value, CHANGES[kind]) for kind in TOLD_KINDS]
    )
    subject = SelectField("About", validate_choice=False)
    title = StringField("In one line", validators=[InputRequired("Name the change.")])
    description = TextAreaField("Details", description="What changed, from what to what, and how you know.")
    effective_on = DateField("From", validators=[Optional()])


class KeyDecisionForm(FlaskForm):
    """The last characters of a fingerprint as heard by another channel."""

    fingerprint = StringField(
        "Last 8 characters of the fingerprint",
        description="Needed to approve: as you heard them by another channel, not copied from this page.",
    )
    note = TextAreaField(
        "How it was confirmed",
        validators=[InputRequired("Say by which channel, with whom and when.")],
        description="For example: by telephone with R. Berg, number from the contract, 20 Nov 2026.",
    )
    answer = RadioField(
        "Decision",
        choices=[SelectChoice("approve", "Approve this key"), SelectChoice("reject", "Reject this key")],
        validators=[InputRequired("Choose one.")],
    )


class DistrustForm(FlaskForm):
    since = DateTimeLocalField(
        "Distrusted from (UTC)",
        format=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"],
        validators=[InputRequired("Say from when on.")],
        description="What was signed and received before stays trusted.",
    )
    reason = TextAreaField("Reason", validators=[InputRequired("Say why.")])


def _limit(label: str) -> DecimalField:
    """A limit as precise as it was typed."""
    return DecimalField(label, places=None, validators=[Optional()])


class ProductForm(FlaskForm):
    """What reviewers set on a product; the limits count for every lot that arrives from then on."""

    tier = SelectField("Tier", choices=[SelectChoice(str(tier), words) for tier, words in TIERS.items()])
    end_of_sale = DateField("End of sale", validators=[Optional()])
    end_of_support = DateField("End of support", validators=[Optional()])
    capacity_ah_min = _limit("Capacity, at least (Ah)")
    capacity_ah_max = _limit("Capacity, at most (Ah)")
    resistance_mohm_min = _limit("Resistance, at least (mΩ)")
    resistance_mohm_max = _limit("Resistance, at most (mΩ)")
    ocv_v_min = _limit("Open-circuit voltage, at least (V)")
    ocv_v_max = _limit("Open-circuit voltage, at most (V)")

    def limits(self) -> dict[str, dict[str, float]]:
        """The acceptance limits as the vendor record keeps them."""
        return {
            name: {
                bound: float(value)
                for bound in ("min", "max")
                if (value := self[f"{name}_{bound}"].data) is not None
            }
            for name in LIMITS
        }


def product_form(product: Product) -> ProductForm:
    """The form with what is set on the product."""
    values = {
        f"{name}_{bound}": Decimal(str(value))
        for name, bounds in product.limits.items()
        for bound, value in bounds.items()
    }
    dates = {"end_of_sale": product.end_of_sale, "end_of_support": product.end_of_support}
    return ProductForm(tier=str(product.tier), **dates, **values)
