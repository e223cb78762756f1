"""`lotgate verify --content`: what is inside, in the same document, with its own exit code."""

import json
from pathlib import Path

from tests.unit.cli.test_verify import image, keys, lotgate, trust
from tests.unit.verification.conftest import Keys, MakeImage, run

__all__ = ["image", "keys", "trust"]


def test_content_stands_in_the_document_of_the_file(trust: Path, image: MakeImage) -> None:
    path = image("ed25519")
    plain = lotgate("verify", path, "--trust", trust, "--json")
    assert "content" not in json.loads(plain.stdout)
    result = lotgate("verify", path, "--trust", trust, "--content", "--json", "--at", "2026-11-21T12:00:00Z")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["outcome"] == "pass"
    assert document["content"]["version"] == 1
    assert document["content"]["outcome"] == "pass"
    assert document["content"]["at"] == "2026-11-21T12:00:00Z"
    assert document["content"]["rules"] > 0


def test_what_is_inside_decides_the_exit_code_as_well(
    trust: Path, keys: Keys, image: MakeImage, tmp_path: Path
) -> None:
    path = tmp_path / "payload.bin"
    path.write_bytes(b"\0" * 99 + keys.private("p256").read_bytes())
    signature = tmp_path / "payload.sig"
    run(
        "openssl",
        "pkeyutl",
        "-sign",
        "-rawin",
        "-inkey",
        keys.private("ed25519"),
        "-in",
        path,
        "-out",
        signature,
    )
    arguments = ("verify", path, "--signature", signature, "--trust", trust, "--content")
    result = lotgate(*arguments)
    assert result.exit_code == 1
    assert "content.private_keys  fail" in result.stdout
    assert "an unprotected private key (EC P-256, PKCS#8) at offset 0x63" in result.stdout


def test_rules_of_a_folder_are_used_and_wrong_ones_are_wrong_usage(
    trust: Path, image: MakeImage, tmp_path: Path
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "mine.yar").write_text("rule everything { condition: filesize > 0 }")
    arguments = ("verify", image("ed25519"), "--trust", trust, "--content", "--rules", folder)
    result = lotgate(*arguments)
    assert result.exit_code == 1
    assert "the rule everything matches" in result.stdout
    (folder / "mine.yar").write_text("rule everything {\n condition: filesize >\n}")
    result = lotgate(*arguments)
    assert result.exit_code == 2
    assert "rules mine.yar:" in result.stderr
    assert lotgate("verify", image("ed25519"), "--trust", trust, "--rules", folder).exit_code == 2


def test_a_file_that_cannot_be_read_has_no_content(trust: Path, tmp_path: Path) -> None:
    result = lotgate("verify", tmp_path / "none", "--trust", trust, "--content", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["content"] is None
