"""Keys of signing tools in the portal: registered as it wrote them, compared by their owner's own means."""

import html
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from portal.accounts.models import RoleName, User
from portal.db import TenantSession
from portal.suppliers.models import SigningKey
from tests.factories import Make
from tests.unit.verification.hss import Signer
from tests.unit.verification.tools import Minisign, Signify, Ssh

TOOLS: dict[str, Callable[[Path], Minisign | Signify | Ssh]] = {
    "minisign": lambda folder: Minisign(folder, "key"),
    "signify": lambda folder: Signify(folder, "key"),
    "ssh-ed25519": lambda folder: Ssh(folder, "key", "ed25519"),
    "ssh-rsa": lambda folder: Ssh(folder, "key", "rsa", "-b", "3072"),
}


@pytest.mark.parametrize("name", TOOLS)
def test_a_tools_key_is_registered_and_its_owner_can_compute_the_fingerprint(
    name: str, tmp_path: Path, make: Make, sign_in: Callable[[User], FlaskClient], session: TenantSession
) -> None:
    tool = TOOLS[name](tmp_path)
    client = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier("Nordhaven Cells")))
    data = {"label": "Release key", "purposes": ["firmware"], "pem": tool.public.read_text()}
    session.rollback()
    answer = client.post("/s/keys/new", data=data)
    assert answer.status_code == 302, answer.text
    key = session.scalars(select(SigningKey)).one()
    session.rollback()
    page = html.unescape(client.get(answer.location).text)
    assert "OpenSSH key SHA256:" in page if name.startswith("ssh") else "minisign or signify key " in page
    command = re.search(r"<pre class=\"scroll-x\"><code>(.+?)</code>", page)
    assert command is not None
    computed = subprocess.run(["sh", "-c", command[1]], cwd=tmp_path, capture_output=True, check=True).stdout
    assert computed.decode().split()[-1] == key.fingerprint.removeprefix("sha256:")


def test_the_owner_of_a_hash_based_key_computes_its_fingerprint_without_openssl_reading_it(
    tmp_path: Path, make: Make, sign_in: Callable[[User], FlaskClient], session: TenantSession
) -> None:
    signer = Signer.make(1, "lms_sha256_m24_h5", "lmots_sha256_n24_w4")
    (tmp_path / "key.pem").write_text(signer.pem)
    client = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier("Nordhaven Cells")))
    session.rollback()
    data = {"label": "Release key", "purposes": ["firmware"], "pem": signer.pem}
    answer = client.post("/s/keys/new", data=data)
    assert answer.status_code == 302, answer.text
    key = session.scalars(select(SigningKey)).one()
    assert key.algorithm == "HSS/LMS"
    session.rollback()
    command = re.search(
        r"<pre class=\"scroll-x\"><code>(.+?)</code>", html.unescape(client.get(answer.location).text)
    )
    assert command is not None
    computed = subprocess.run(["sh", "-c", command[1]], cwd=tmp_path, capture_output=True, check=True).stdout
    assert computed.decode().split()[-1] == key.fingerprint.removeprefix("sha256:")


@pytest.mark.parametrize("name", TOOLS)
def test_a_tools_secret_key_is_refused_and_not_shown_again(
    name: str, tmp_path: Path, make: Make, sign_in: Callable[[User], FlaskClient], session: TenantSession
) -> None:
    secret = TOOLS[name](tmp_path).secret.read_text()
    client = sign_in(make.user(RoleName.SUPPLIER_ADMIN, make.supplier("Nordhaven Cells")))
    session.rollback()
    answer = client.post("/s/keys/new", data={"label": "Oops", "purposes": ["firmware"], "pem": secret})
    assert answer.status_code == 422
    assert "private key" in answer.text
    assert secret.splitlines()[1] not in html.unescape(answer.text)
