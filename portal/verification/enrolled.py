"""Keys as they were enrolled, as the verifier takes them; portal/suppliers/enrolment.py has their options."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from portal.verification.trust import KeyOptions, Root, TimestampAuthority, Trust, TrustKey


def is_root(options: Mapping[str, Any]) -> bool:
    """Whether signers are certificates that lead to it, and not the key itself."""
    return options.get("root") is True


def built(
    name: str, pem: str, options: Mapping[str, Any], purposes: tuple[Any, ...], **dates: Any
) -> TrustKey | Root:
    """Raises TypeError for an option that is none."""
    rest = dict(options)
    if is_root(rest):
        del rest["root"]
        usages = tuple(rest.pop("usages", ("codeSigning",)))
        if rest:
            raise TypeError(f"{', '.join(sorted(rest))} does not apply to a certificate authority")
        return Root(id=name, pem=pem, purposes=purposes, usages=usages, **dates)
    builders = tuple(rest.pop("builders", ()))
    return TrustKey(
        id=name, pem=pem, purposes=purposes, options=KeyOptions(**rest), builders=builders, **dates
    )


def trust_of(
    entries: Iterable[TrustKey | Root],
    *,
    crls: Sequence[str] = (),
    timestamp_authorities: Sequence[TimestampAuthority] = (),
) -> Trust:
    """Raises TrustError where an option does not fit its key."""
    keys: list[TrustKey] = []
    roots: list[Root] = []
    for one in entries:
        if isinstance(one, Root):
            roots.append(one)
        else:
            keys.append(one)
    return Trust.build(keys, roots=roots, crls=crls, timestamp_authorities=timestamp_authorities)
