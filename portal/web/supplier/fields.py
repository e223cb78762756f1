"""The form field for a file of the vault: uploaded beforehand in pieces, or sent along with the form."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from werkzeug.datastructures import FileStorage
from wtforms import Field
from wtforms.validators import StopValidation

from portal.errors import LotgateError, StorageFailed
from portal.evidence.models import Evidence
from portal.evidence.service import receive_bytes
from portal.http.context import actor, clock, parts, session

DIRECT_MAX_BYTES: Final = 64 << 20
FILE = "_file"  # beside the hidden field `name`, the plain file input is called `name_file`


class EvidenceField(Field):
    """`data` is the id of evidence that the supplier has delivered, or None.

    Browsers with scripts upload in pieces and send the id; others send the file itself, up to 64 MiB, which
    becomes evidence by `keep`. A form that comes back still names what has arrived.
    """

    errors: Sequence[str]

    def __init__(self, *arguments: Any, accept: str = "", **options: Any) -> None:
        self.accept = accept
        self.sent: FileStorage | None = None
        super().__init__(*arguments, **options)

    def process(self, formdata: Any, data: Any = None, extra_filters: Any = None) -> None:
        super().process(formdata, data, extra_filters)
        files = formdata.getlist(self.name + FILE) if formdata is not None else []
        self.sent = next((file for file in files if isinstance(file, FileStorage) and file.filename), None)

    def process_formdata(self, valuelist: list[Any]) -> None:
        self.data = next((value for value in valuelist if isinstance(value, str) and value), None)

    @property
    def given(self) -> bool:
        return self.data is not None or self.sent is not None

    @property
    def evidence(self) -> Evidence | None:
        """What has arrived already, as far as the supplier may see it."""
        return session().get(Evidence, self.data) if self.data else None

    def keep(self) -> bool:
        """Make evidence of a file that came along; False, with an error beside the field, when that cannot
        be, or when the named evidence is not the supplier's."""
        try:
            if self.sent is not None:
                self.data = receive(self.sent).id
                self.sent = None
        except StorageFailed:
            raise
        except LotgateError as error:
            self.errors = [*self.errors, str(error)]
            return False
        if self.data is not None and self.evidence is None:
            self.data = None
            self.errors = [*self.errors, "That upload is not there any more: choose the file again."]
            return False
        return True


class FileGiven:
    """Validator: a file was chosen or is there already."""

    field_flags: Final = {"required": True}

    def __init__(self, message: str) -> None:
        self.message = message

    def __call__(self, _form: Any, field: EvidenceField) -> None:
        if not field.given:
            raise StopValidation(self.message)


def keep_all(fields: Iterable[EvidenceField]) -> bool:
    """`keep` of each; every one is tried, so that all that arrived stays."""
    kept = [field.keep() for field in fields]
    return all(kept)


def receive(file: FileStorage) -> Evidence:
    """A file that came with a form, as evidence."""
    return receive_bytes(
        session(),
        actor(),
        clock(),
        parts().store,
        parts().spool,
        file.stream,  # type: ignore[arg-type]  # reads bytes
        filename=file.filename or "",
        limit=DIRECT_MAX_BYTES,
        quota=parts().settings.supplier_quota_bytes,
    )
