"""Sigstore: the bundles of sigstore/sigstore-conformance, `test/assets/bundle-verify`."""

import importlib.resources
import json
from pathlib import Path
from typing import Any

from portal.errors import TrustError
from portal.verification import Trust, verify_file
from tests.conformance.conftest import Conformance, folder
from tests.unit.verification.conftest import AT

# As its README says, where a case has no file of its own.
SUBJECT = (
    "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon/.github/workflows/"
    "extremely-dangerous-oidc-beacon.yml@refs/heads/main"
)
ISSUER = "https://token.actions.githubusercontent.com"


def public_root() -> Any:
    """The trusted root of the public production instance, as sigstore-python brings it along."""
    store = importlib.resources.files("sigstore") / "_store"
    (found,) = [each for each in store.iterdir() if each.name.endswith("cdn.sigstore.dev")]
    return json.loads((found / "trusted_root.json").read_text())


def counts(case: Path) -> bool:
    def given(name: str, otherwise: str) -> str:
        return (case / name).read_text().strip() if (case / name).exists() else otherwise

    own = case / "trusted_root.json"
    entry = {
        "id": "instance",
        "trusted_root": json.loads(own.read_text()) if own.exists() else public_root(),
        "identities": [{"issuer": given("issuer", ISSUER), "subject": given("identity", SUBJECT)}],
    }
    try:
        trust = Trust.parse(json.dumps({"version": 1, "keys": [], "sigstore": [entry]}))
    except TrustError:
        return False
    artifact = case / "artifact"
    path = artifact if artifact.exists() else case.parent / "a.txt"
    report = verify_file(path, trust, at=AT, signature=(case / "bundle.sigstore.json").read_bytes())
    found = {check.id.removeprefix("firmware."): check.outcome.value for check in report.checks}
    # Which builder may be named in a statement is no question of theirs.
    return {found[name] for name in ("signed", "signature", "key", "algorithm")} == {"pass"}


def test_bundles(conformance: Conformance) -> None:
    cases = [case for case in sorted(folder("sigstore-conformance").iterdir()) if case.is_dir()]
    conformance.compare(
        "Sigstore bundles",
        ((case.name, not case.name.endswith("_fail"), counts(case)) for case in cases),
        {
            "keys of their own instead of certificates are not supported": {
                "managed-key-and-trusted-root",
                "managed-key-happy-path",
            },
        },
        at_least=60,
    )
