"""Bearer tokens for tests, made directly."""

import hashlib
from collections.abc import Sequence
from datetime import timedelta

from portal.accounts.models import ApiToken, RoleName
from portal.accounts.permissions import TOKEN_SCOPES, Permission
from portal.db import new_id
from portal.suppliers.models import Supplier
from tests.factories.make import Make


def bearer(make: Make, supplier: Supplier, scopes: Sequence[Permission] = TOKEN_SCOPES) -> dict[str, str]:
    """The Authorization header of a fresh token of `supplier` with these scopes."""
    token = f"lgt_{new_id()}{new_id()}"
    make.session.add(
        ApiToken(
            organisation_id=supplier.id,
            created_by=make.user(RoleName.SUPPLIER_ADMIN, supplier).id,
            name="build machine",
            prefix=token[:12],
            token_sha256=hashlib.sha256(token.encode()).hexdigest(),
            scopes=[scope.value for scope in scopes],
            created_at=make.clock.now(),
            expires_at=make.clock.now() + timedelta(days=30),
        )
    )
    make.session.commit()
    return {"Authorization": f"Bearer {token}"}
