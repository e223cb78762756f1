"""Every table, imported once, for whoever needs the whole metadata (migrations, fsck, tests)."""

from portal.accounts import models as accounts
from portal.db import Base
from portal.evidence import models as evidence
from portal.jobs import models as jobs
from portal.ledger import models as ledger
from portal.notices import models as notices
from portal.reassessment import models as reassessment
from portal.retention import models as retention
from portal.review import models as review
from portal.submissions import models as submissions
from portal.submissions.attestations import models as attestations
from portal.submissions.firmware import models as firmware
from portal.submissions.lots import models as lots
from portal.submissions.questionnaires import models as questionnaires
from portal.suppliers import models as suppliers

metadata = Base.metadata

__all__ = [
    "accounts",
    "attestations",
    "evidence",
    "firmware",
    "jobs",
    "ledger",
    "lots",
    "metadata",
    "notices",
    "questionnaires",
    "reassessment",
    "retention",
    "review",
    "submissions",
    "suppliers",
]
