"""Attestations that passed: every line is found again with the keys that signed it."""

import json
from dataclasses import asdict, replace
from pathlib import Path

from sqlalchemy import func, insert, select

from portal.submissions.attestations.models import AttestationPasses
from portal.submissions.attestations.passes import Columns, columns_of, signed_line
from portal.suppliers.keys import key_name
from portal.verification import Chunk, Trust, TrustKey, verify_attestations
from tests.unit.submissions.conftest import Desk, Keys, a_unit, statement


def test_every_line_is_found_again_with_all_its_keys(desk: Desk, keys: Keys, tmp_path: Path) -> None:
    """Two keys, both on some lines, lines that fail between them; many chunks, as a large file has."""
    expected: dict[int, set[str]] = {}
    lines = []
    for line in range(1, 60):
        names = ["second"] if line % 3 == 0 else ["attestation"]
        if line % 5 == 0:
            names = ["attestation", "second"]
        both = [keys.envelope(name, statement(a_unit(f"U{line}"))) for name in names]
        envelope = both[0] | {"signatures": [one["signatures"][0] for one in both]}
        if line % 7 == 0:
            envelope["payloadType"] = "text/plain"
            names = []
        expected[line] = set(names)
        lines.append(json.dumps(envelope))
    trust = Trust.build([TrustKey(name, keys.public(name)) for name in ("attestation", "second")])
    kept: list[Columns] = []
    path = tmp_path / "part.jsonl"
    for start in range(0, len(lines), 10):  # chunks begin where they begin in the whole file
        path.write_text("\n".join(lines[start : start + 10]))

        def keep(chunk: Chunk, start: int = start) -> None:
            columns = columns_of(chunk, trust.keys)
            assert columns is not None
            kept.append(replace(columns, first_line=start + columns.first_line))

        verify_attestations(path, trust, at=1_795_262_400.0, columns=keep)
    session, made = desk.session, desk.attest(desk.lot(desk.manifest("U1")), b"no envelope")
    about = {"submission_id": made, "supplier_id": desk.row(made).supplier_id, "run": 99}
    for columns in kept:
        session.execute(insert(AttestationPasses), about | asdict(columns))
    for line, names in expected.items():
        signed = signed_line(session, made, 99, line)
        assert (set() if signed is None else {name for name, _ in signed.keys}) == names, line
    for absent in (0, 60, 10_000):
        assert signed_line(session, made, 99, absent) is None


def test_the_verdict_on_a_unit_names_the_key_that_signed(desk: Desk) -> None:
    key = desk.key("attestation")
    manifest = desk.manifest(*(f"U{number}" for number in range(30)))
    lot = desk.lot(manifest)
    lines = desk.envelopes("attestation", manifest["units"]).splitlines()
    lines[11] = lines[11].replace(b'"sig": "', b'"sig": "AAAA', 1)
    made = desk.attest(lot, b"\n".join(lines))
    run = desk.row(made).run
    for number in range(1, 31):
        signed = signed_line(desk.session, made, run, number)
        if number == 12:
            assert signed is None
        else:
            assert signed is not None
            assert signed.keys == ((key_name(key), key.fingerprint),)
    assert signed_line(desk.session, made, run + 1, 1) is None
    assert desk.session.scalar(select(func.count()).select_from(AttestationPasses)) == 1
