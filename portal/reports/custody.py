"""An export of evidence as people carry it away: an archive, and the chain-of-custody form on paper."""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any, BinaryIO, Final

from portal.errors import StorageFailed
from portal.evidence.ports import BlobStore
from portal.evidence.spool import demand_room
from portal.formats import iso
from portal.reports import pdf
from portal.retention.models import Export
from portal.zips import ZipWriter

PIECE: Final = 1 << 20
HAND_OFFS: Final = 6  # empty lines to sign


def manifest_of(export: Export) -> dict[str, Any]:
    """What an export says of itself and its files."""
    manifest: dict[str, Any] = json.loads(export.manifest)
    return manifest


def form(export: Export) -> bytes:
    """The chain-of-custody form as PDF/A; equal exports give equal bytes."""
    manifest = manifest_of(export)
    text = pdf.page(
        "custody.html", manifest=manifest, export=export, hand_offs=HAND_OFFS, made=iso(export.exported_at)
    )
    return pdf.lay_out(text, f"custody {export.id} {export.digest}".encode())


def archive(export: Export, store: BlobStore, spool: Path) -> BinaryIO:
    """The ZIP of an export, open at its start; its file has no name and is gone when it is closed.

    Equal exports give equal bytes. Memory does not grow with the files; every byte is hashed on its way.
    Raises StorageFailed where a file is not what was delivered, or where there is no room.
    """
    files = manifest_of(export)["files"]
    paper = form(export)
    demand_room(spool, sum(file["size"] for file in files if file["name"]) + len(paper) + (4 << 20))
    made: BinaryIO = tempfile.TemporaryFile(dir=spool)  # noqa: SIM115
    try:
        writer = ZipWriter(made)
        writer.add("chain-of-custody.pdf", paper)
        writer.add("manifest.json", export.manifest.encode())
        for number, file in enumerate(files, 1):
            if file["receipt"]:
                writer.add(f"receipts/{number:04}.tlog-proof", file["receipt"].encode())
        for file in files:
            if file["name"]:
                _copy(writer, store, file)
        writer.close()
        made.seek(0)
    except BaseException:
        made.close()
        raise
    return made


def _copy(writer: ZipWriter, store: BlobStore, file: dict[str, Any]) -> None:
    hasher = hashlib.sha256()
    with store.open(file["sha256"]) as source, writer.open(file["name"], file["size"]) as member:
        left = int(file["size"])
        while left and (piece := source.read(min(PIECE, left))):
            hasher.update(piece)
            member.write(piece)
            left -= len(piece)
        if left or source.read(1) or hasher.hexdigest() != file["sha256"]:
            raise StorageFailed(
                f"{file['filename']} is not what was delivered: its bytes in the store are damaged. "
                "No archive was made; run `lotgate fsck`."
            )
