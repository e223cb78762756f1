"""Change notices."""

from portal.accounts.permissions import Permission
from portal.api import shapes
from portal.api.blueprint import contract, own_id
from portal.http.context import actor, clock, parts, session
from portal.reassessment import service
from portal.reassessment.models import ChangeNotice, ChangeSource
from portal.reassessment.read import change_page


@contract.route("GET", "/changes", Permission.SUPPLIER_SUBMISSION_READ)
def list_changes(query: shapes.Paging) -> shapes.Changes:
    """Changes to your products that you told or the machine saw, the newest first."""
    found = change_page(
        session(),
        supplier_id=own_id(),
        page=query.page,
        size=query.size,
        without=ChangeSource.BUYER,  # what the buyer noted down is written for the buyer
    )
    return shapes.Changes(
        items=[_told(row.notice) for row in found.rows],
        total=found.total,
        page=found.page,
        pages=found.pages,
    )


@contract.route("POST", "/changes", Permission.SUPPLIER_CHANGE_FILE, status=201)
def file_change(body: shapes.NewChange) -> shapes.Change:
    """Tell a change; what it touches is assessed again. Without a product: all of yours."""
    notice = service.file_notice(session(), actor(), clock(), parts().jobs, **body.model_dump())
    session().commit()
    return _told(notice)


def _told(notice: ChangeNotice) -> shapes.Change:
    return shapes.Change(**{name: getattr(notice, name) for name in shapes.Change.model_fields})
