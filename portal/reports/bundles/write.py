"""One assessment as one file: what it rests on, what was decided, and the receipts that prove it.

The same state of database, vault and ledger makes the same bytes. Nothing internal to the buyer is in it, so
that a supplier, an auditor and a court can be given the same file.
"""

import hashlib
from typing import BinaryIO

from sqlalchemy.orm import Session

from portal.errors import NotFound, StorageFailed
from portal.evidence.models import Evidence
from portal.evidence.ports import BlobStore
from portal.reports.bundles import form
from portal.reports.bundles.basis import Basis
from portal.reports.bundles.receipts import Receipts
from portal.reports.bundles.telling import documents
from portal.reports.pdf import render
from portal.reports.read import assessment_report
from portal.reports.view import Audience
from portal.review.models import Assessment
from portal.zips import CHUNK, ZipWriter


def write_bundle(
    session: Session,
    store: BlobStore,
    assessment_id: str,
    file: BinaryIO,
    *,
    policy: str,
    digests_only: bool = False,
) -> None:
    """Write the bundle of an assessment into `file`, which is empty and can seek. `policy`: tlog-policy of
    the portal's logs.

    Memory grows with the number of files, not with their size. Raises NotFound, Conflict while there is no
    log or entries wait, StorageFailed where evidence has other bytes than were delivered.
    """
    found = session.get(Assessment, assessment_id)
    if found is None:
        raise NotFound("there is no such assessment")
    basis = Basis(session, found)
    receipts = Receipts(session, basis.subjects())
    writer = _Writer(file)
    writer.add(form.README, form.TEXT.encode(), "how to check this")
    for path, what, data in documents(basis):
        writer.add(path, data, what)
    if not digests_only:
        for row in basis.blobs():
            writer.copy(store, row)
    view = assessment_report(session, assessment_id, audience=Audience.SUPPLIER)
    writer.add(form.REPORT, render(view), "the report for people; nothing proves it")
    writer.add(form.POLICY, policy.encode(), "keys of the logs (tlog-policy)")
    for path, what, data in receipts.documents():
        writer.add(path, data, what)
    writer.close(
        {
            "format": form.FORMAT,
            "assessment": found.id,
            "number": found.number,
            "supplier": {"id": found.supplier_id, "name": basis.supplier.name},
            "product": {
                "id": found.product_id,
                "model": found.product.model,
                "name": found.product.name,
            },
            "evidence": "digests" if digests_only else "included",
        }
    )


class _Writer:
    """Files into the ZIP, and each into the manifest."""

    def __init__(self, file: BinaryIO) -> None:
        self._zip = ZipWriter(file)
        self._files: list[dict[str, object]] = []

    def add(self, path: str, data: bytes, what: str) -> None:
        self._zip.add(path, data)
        self._note(path, len(data), hashlib.sha256(data).hexdigest(), what)

    def copy(self, store: BlobStore, row: Evidence) -> None:
        path, sha256 = form.blob(row.sha256), hashlib.sha256()
        with store.open(row.sha256) as source, self._zip.open(path, row.size) as entry:
            left = row.size
            while left and (data := source.read(min(CHUNK, left))):
                sha256.update(data)
                entry.write(data)
                left -= len(data)
            if left or sha256.hexdigest() != row.sha256:
                raise StorageFailed(
                    f"The store holds other bytes than evidence {row.id} had: run `lotgate fsck`."
                )
        self._note(path, row.size, row.sha256, "evidence")

    def _note(self, path: str, size: int, sha256: str, what: str) -> None:
        self._files.append({"path": path, "size": size, "sha256": sha256, "what": what})

    def close(self, about: dict[str, object]) -> None:
        self._zip.add(form.MANIFEST, form.document(about | {"files": self._files}))
        self._zip.close()
