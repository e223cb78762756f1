"""Which HTTP status says what an error of ours means; for pages, API and uploads alike."""

from typing import Final

from portal import errors

STATUS: Final[dict[type[errors.LotgateError], int]] = {
    errors.NotFound: 404,
    errors.NotAllowed: 403,
    errors.Conflict: 409,
    errors.Locked: 423,
    errors.Gone: 410,
    errors.TooLarge: 413,
    errors.TooMany: 429,
    errors.InvalidInput: 422,
    errors.ChecksumMismatch: 460,  # tus 1.0, checksum extension
    errors.StorageFailed: 507,
    errors.TrustError: 422,
    errors.UnreadableFile: 422,
}


def status_of(error: errors.LotgateError) -> int:
    """The status for `error`; 500 for what is nobody's input."""
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
