"""The verifier's report as pages show it, from images that imgtool made."""

import json

from portal.submissions.firmware.service import release_of
from portal.submissions.firmware.shown import FOLDED_FROM, ROWS_MAX, Kind, shown
from portal.submissions.firmware.words import term
from portal.verification import Outcome
from tests.unit.submissions.conftest import Desk


def test_no_report_is_nothing_to_show() -> None:
    assert shown(None) is None
    assert shown("") is None


def test_names_become_words() -> None:
    assert term("hdr_size") == "Header size"
    assert term("build_id") == "Build ID"
    assert term("image_sha256") == "Image SHA-256"
    assert term("size") == "Size"
    assert term("size", "memory") == "Bytes in memory"
    assert term("rootfs-image.build_no", "provides") == "rootfs-image.build_no"


def test_facts_tables_and_nested_facts_are_laid_out_by_what_they_are() -> None:
    document = {
        "version": 1,
        "format": "esp32",
        "claims": {
            "version": "1.2.3",
            "entry_point": 0x40080000,
            "image_size": 4096,
            "sha256": "ab" * 32,
            "encrypted": False,
            "nothing": None,
            "flags": ["A", "B"],
            "app": {"project": "bms", "deeper": {"deepest": {"last": {"beyond": 1}}}},
            "segments": [
                {"address": 0x1000, "size": 16, "content": None},
                {"address": 0x2000, "name": "text"},
            ],
        },
    }
    image = shown(json.dumps(document))
    assert image is not None
    first, app, deepest = image.groups
    facts = dict(first.facts)
    assert (facts["Entry point"].text, facts["Entry point"].kind) == ("0x40080000", Kind.ADDRESS)
    assert (facts["Image size"].text, facts["Image size"].kind) == ("4096", Kind.SIZE)
    assert facts["SHA-256"].kind is Kind.DIGEST
    assert facts["Encrypted"].text == "no"
    assert facts["Flags"].text == "A, B"
    assert "Nothing" not in facts
    (segments,) = first.tables
    assert segments.columns == ("Address", "Size", "Name")
    assert [[value.text for value in row] for row in segments.rows] == [
        ["0x00001000", "16", ""],
        ["0x00002000", "", "text"],
    ]
    assert (app.title, deepest.title) == ("App", "App: Deeper: Deepest")
    assert deepest.facts[0][1].text == "Beyond: 1"


def test_a_long_table_says_how_much_is_not_shown() -> None:
    image = shown(json.dumps({"claims": {"segments": [{"size": 1}] * (ROWS_MAX + 7)}}))
    assert image is not None
    (table,) = image.groups[0].tables
    assert (len(table.rows), table.more, table.folded) == (ROWS_MAX, 7, True)


def test_a_table_is_closed_only_where_it_is_long() -> None:
    image = shown(json.dumps({"claims": {"segments": [{"size": 1}] * (FOLDED_FROM - 1)}}))
    assert image is not None
    assert not image.groups[0].tables[0].folded


def test_times_digests_and_object_identifiers_are_written_for_people() -> None:
    claims = {
        "made_at": "2026-11-21T12:00:00Z",
        "odd_at": "2026-13-21T12:00:00Z",
        "key": "sha256:" + "ab" * 32,
        "content_type": "1.2.840.113549.1.7.1",
        "other_type": "1.2.840.113549.1.7.1",
    }
    image = shown(json.dumps({"claims": claims}))
    assert image is not None
    facts = dict(image.groups[0].facts)
    assert facts["Made at"].text == "21 Nov 2026, 12:00\N{NO-BREAK SPACE}UTC"
    assert facts["Odd at"].text == "2026-13-21T12:00:00Z"
    assert facts["Public key"].kind is Kind.DIGEST
    assert facts["Content type"].text == "data (1.2.840.113549.1.7.1)"
    assert facts["Other type"].text == "1.2.840.113549.1.7.1"


def test_a_signature_names_rule_signer_chain_and_time() -> None:
    document = {
        "rules": "rules 1",
        "signatures": [
            {
                "what": "The CMS signature",
                "outcome": "pass",
                "signature": {"outcome": "pass", "reason": "It holds."},
                "key": {"outcome": "pass", "reason": "Its chain ends at a root."},
                "algorithm": {"outcome": "pass", "reason": "Strong."},
                "rule": "ECDSA",
                "signer": {
                    "id": "root",
                    "fingerprint": "sha256:ab",
                    "algorithm": "ECDSA P-256",
                    "chain": [
                        {
                            "subject": "CN=a",
                            "issuer": "CN=b",
                            "not_before": "2026-01-01T00:00:00Z",
                            "not_after": "2027-01-01T00:00:00Z",
                        }
                    ],
                },
                "time_stamp": {"outcome": "pass", "reason": "It proves a time."},
                "time": {"at": "2026-11-21T12:00:00Z", "source": "timestamp", "authority": "TSA"},
            },
            {
                "what": "Another",
                "outcome": "not_run",
                "signer": None,
                "rule": None,
                "time": {"at": "2026-11-21T12:00:00Z", "source": "receipt"},
            },
        ],
        "confinement": {"landlock": 6, "seccomp": False},
    }
    image = shown(json.dumps(document))
    assert image is not None
    stamped, received = image.signatures
    assert stamped.outcome is Outcome.PASS
    assert stamped.reasons == ("It holds.", "Its chain ends at a root.", "Strong.")
    assert stamped.chain[0].issuer == "CN=b"
    assert stamped.chain[0].not_after == "1 Jan 2027, 00:00\N{NO-BREAK SPACE}UTC"
    assert stamped.time == "21 Nov 2026, 12:00\N{NO-BREAK SPACE}UTC, by the time stamp of TSA"
    assert stamped.time_stamp == "It proves a time."
    assert received.time == "21 Nov 2026, 12:00\N{NO-BREAK SPACE}UTC, when it was received"
    assert received.time_stamp == ""
    assert image.confinement.endswith("no file system (Landlock)")
    assert "seccomp" not in image.confinement


def test_an_image_by_imgtool_shows_its_header_its_entries_and_who_signed(desk: Desk) -> None:
    desk.key("firmware")
    made = desk.firmware(desk.keys.image("firmware", "1.4.2+7", "--security-counter", "3"), "1.4.2")
    image = shown(release_of(desk.session, made).report)
    assert image is not None
    facts = {name: value.text for name, value in image.groups[0].facts}
    assert (facts["Version"], facts["Security counter"], facts["Header size"]) == ("1.4.2+7", "3", "32")
    entries = next(table for table in image.groups[0].tables if table.title == "TLV entries")
    assert {"SHA256", "KEYHASH", "ED25519", "SEC_CNT"} == {row[1].text for row in entries.rows}
    (signature,) = image.signatures
    assert signature.outcome is Outcome.PASS
    assert signature.algorithm == "Ed25519"
    assert "RFC 8032" in signature.rule
    assert signature.fingerprint.startswith("sha256:")
    assert signature.time.endswith("when it was received")
