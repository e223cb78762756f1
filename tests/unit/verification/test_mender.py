"""Mender artifacts by mender-artifact: what passes, and each thing that is refused."""

import base64
import gzip
import hashlib
import io
import json
import lzma
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import pytest

from portal.verification import FileReport, Outcome, Trust, verify_file
from tests.unit.verification.conftest import AT, Keys, run
from tests.unit.verification.test_firmware import GOOD, outcomes, reason

ROOT = bytes(n * 7 % 251 for n in range(40_000))
VERSION = b'{"format":"mender","version":3}'
Members = dict[str, bytes]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def info(name: str, size: int, kind: bytes = tarfile.REGTYPE, mode: int = 0o600) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.size = size
    made.type = kind
    made.mode = mode
    return made


def tar(members: Mapping[str, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as archive:
        for name, content in members.items():
            archive.addfile(info(name, len(content)), io.BytesIO(content))
    return out.getvalue()


def raw(header: tarfile.TarInfo, content: bytes = b"", form: Literal[0, 1, 2] = tarfile.GNU_FORMAT) -> bytes:
    """One member as tarfile writes it, without an end of the archive."""
    return header.tobuf(form, "utf-8") + content + bytes(-len(content) % 512)


END = bytes(1024)


def untar(content: bytes) -> Members:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def header(kinds: int = 1) -> bytes:
    payloads = [{"type": "rootfs-image"}] * kinds
    provides = {"artifact_name": "release-1.4"}
    depends = {"device_type": ["bms"]}
    content = {"payloads": payloads, "artifact_provides": provides, "artifact_depends": depends}
    members = {"header-info": json.dumps(content).encode()}
    for place in range(kinds):
        members[f"headers/{place:04}/type-info"] = b'{"type": "rootfs-image"}'
    return gzip.compress(tar(members))


class Artifacts:
    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder = folder
        self.keys = keys

    def private(self, name: str) -> Path:
        """mender-artifact takes the older encodings of keys only."""
        path = self.folder / f"{name}.pem"
        run("openssl", "pkey", "-in", self.keys.private(name), "-traditional", "-out", path)
        return path

    def made(self, key: str | None = "p256", *options: str, kind: str = "rootfs-image") -> Path:
        """By mender-artifact."""
        out = self.folder / "out.mender"
        image = self.folder / "root.ext4"
        image.write_bytes(ROOT)
        signing = [] if key is None else ["-k", str(self.private(key))]
        content = [] if kind == "bootstrap-artifact" else ["-f", str(image)]
        named = ["-n", "release-1.4", "-t", "bms", "-o", str(out)]
        run("mender-artifact", "write", kind, *named, *content, *signing, *options)
        return out

    def sign(self, manifest: bytes) -> bytes:
        """As mender-artifact does with an RSA key, by openssl."""
        path = self.folder / "manifest"
        path.write_bytes(manifest)
        private = self.keys.private("rsa-3072")
        return base64.b64encode(run("openssl", "dgst", "-sha256", "-sign", private, path))

    def written(self, content: bytes | Members) -> Path:
        out = self.folder / "out.mender"
        out.write_bytes(content if isinstance(content, bytes) else tar(content))
        return out

    def members(
        self,
        payload: bytes,
        lines: Mapping[str, bytes] | None = None,
        *,
        head: bytes | None = None,
        version: bytes = VERSION,
        name: str = "data/0000.tar.gz",
    ) -> Members:
        """A signed artifact around this payload; `lines` are the files that its manifest covers."""
        lines = {"data/0000/root.ext4": ROOT} if lines is None else lines
        head = header() if head is None else head
        covered = {**lines, "header.tar.gz": head, "version": version}
        manifest = "".join(f"{sha256(content)}  {name}\n" for name, content in covered.items()).encode()
        return {
            "version": version,
            "manifest": manifest,
            "manifest.sig": self.sign(manifest),
            "header.tar.gz": head,
            name: payload,
        }

    def around(self, payload: bytes) -> Path:
        return self.written(self.members(payload))


@pytest.fixture
def artifacts(tmp_path: Path, keys: Keys) -> Artifacts:
    return Artifacts(tmp_path, keys)


@pytest.fixture
def trust(keys: Keys) -> Trust:
    return keys.trust("other", "p256", "rsa-3072", "rsa-2048")


def check(path: Path, trust: Trust) -> FileReport:
    report = verify_file(path, trust, at=AT)
    assert report.format == "mender"
    return report


@pytest.mark.parametrize(
    ("key", "options", "algorithm"),
    [
        ("p256", (), "pass"),
        ("rsa-3072", (), "pass"),
        ("rsa-2048", (), "warn"),
        ("p256", ("--compression", "none"), "pass"),
        ("p256", ("--compression", "lzma"), "pass"),
    ],
)
def test_an_artifact_by_mender_artifact(
    artifacts: Artifacts, trust: Trust, key: str, options: tuple[str, ...], algorithm: str
) -> None:
    report = check(artifacts.made(key, *options), trust)
    assert outcomes(report) == GOOD | {"algorithm": algorithm}
    assert report.key_id == key
    claims = report.claims
    assert (claims["version"], claims["artifact_name"]) == ("release-1.4", "release-1.4")
    assert claims["compatible"] == ["bms"]
    assert claims["payloads"][0]["type"] == "rootfs-image"
    member = {"name": "data/0000/root.ext4", "size": len(ROOT), "sha256": sha256(ROOT), "signed": True}
    assert claims["members"] == [member]


def test_a_module_with_scripts_and_several_files(artifacts: Artifacts, trust: Trust) -> None:
    script = artifacts.folder / "ArtifactInstall_Enter_00"
    script.write_text("#!/bin/sh\n")
    more = artifacts.folder / ("x" * 130)
    more.write_bytes(b"long")
    options = ("-T", "single-file", "-s", str(script), "-f", str(more), "-d", "rootfs-image.version:1.3")
    report = check(artifacts.made("p256", *options, kind="module-image"), trust)
    assert outcomes(report) == GOOD
    assert report.claims["scripts"] == ["ArtifactInstall_Enter_00"]
    assert report.claims["payloads"][0]["depends"] == {"rootfs-image.version": "1.3"}
    assert [member["size"] for member in report.claims["members"]] == [len(ROOT), 4]


def test_an_artifact_without_a_payload(artifacts: Artifacts, trust: Trust) -> None:
    report = check(artifacts.made("p256", kind="bootstrap-artifact"), trust)
    assert outcomes(report) == GOOD
    assert report.claims["members"] == []


def test_an_augmented_artifact_says_what_is_not_signed(artifacts: Artifacts, trust: Trust) -> None:
    more = artifacts.folder / "more.bin"
    more.write_bytes(b"more")
    options = ("-T", "single-file", "--augment-type", "single-file", "--augment-file", str(more))
    path = artifacts.made("p256", *options, kind="module-image")
    report = check(path, trust)
    assert outcomes(report) == GOOD | {"augment": "warn"}
    assert "data/0000/more.bin, header-augment.tar.gz" in reason(report, "augment")
    assert [member["signed"] for member in report.claims["members"]] == [True, False]
    members = untar(path.read_bytes())
    members["manifest-augment"] = members["manifest-augment"].replace(b"more.bin", b"root.ext4")
    report = check(artifacts.written(members), trust)
    assert outcomes(report)["format"] == "fail"


def test_a_payload_in_zstd(artifacts: Artifacts, trust: Trust) -> None:
    plain = tar({"root.ext4": ROOT})
    for level in ("-1", "-19"):
        packed = subprocess.run(["zstd", level, "-c"], input=plain, capture_output=True, check=True).stdout
        report = check(artifacts.written(artifacts.members(packed, name="data/0000.tar.zst")), trust)
        assert outcomes(report) == GOOD


def test_an_unsigned_artifact_is_refused(artifacts: Artifacts, trust: Trust) -> None:
    not_run = dict.fromkeys(("signature", "key", "algorithm"), "not_run")
    assert outcomes(check(artifacts.made(None), trust)) == GOOD | {"signed": "fail"} | not_run


def test_a_signature_that_is_not_base64_is_refused(artifacts: Artifacts, trust: Trust) -> None:
    members = untar(artifacts.made().read_bytes())
    for text in (b"*" * 88, members["manifest.sig"][:-1], b" " + members["manifest.sig"]):
        report = check(artifacts.written(members | {"manifest.sig": text}), trust)
        assert outcomes(report)["signature"] == "unreadable"


def tampered(artifacts: Artifacts) -> dict[str, bytes]:
    """Artifacts by mender-artifact, good and changed."""
    good = artifacts.made().read_bytes()
    members = untar(good)
    other = gzip.compress(tar({"root.ext4": ROOT[:-1] + b"!"}))
    extra = gzip.compress(tar({"root.ext4": ROOT, "extra.sh": b"rm -rf /"}))
    manifest = members["manifest"]
    replaced = manifest.replace(sha256(ROOT).encode(), sha256(ROOT[:-1] + b"!").encode())
    return {
        "good": good,
        "payload changed": tar(members | {"data/0000.tar.gz": other}),
        "file added": tar(members | {"data/0000.tar.gz": extra}),
        "file taken away": tar(members | {"data/0000.tar.gz": gzip.compress(tar({}))}),
        "payload and manifest changed": tar(members | {"data/0000.tar.gz": other, "manifest": replaced}),
        "header changed": tar(members | {"header.tar.gz": header()}),
        "version changed": tar(members | {"version": VERSION + b"\n"}),
        "signature changed": tar(members | {"manifest.sig": artifacts.sign(manifest)}),
        "line taken away": tar(members | {"manifest": manifest.partition(b"\n")[2]}),
        "cut": good[:-5000],
    }


def test_the_same_verdict_as_mender_artifact(artifacts: Artifacts, keys: Keys) -> None:
    public = artifacts.folder / "public.pem"
    public.write_text(keys.public("p256"))
    ours = {}
    theirs = {}
    samples = tampered(artifacts)
    for name, content in samples.items():
        path = artifacts.written(content)
        ours[name] = check(path, keys.trust("p256")).outcome is Outcome.PASS
        command = ["mender-artifact", "validate", "-k", str(public), str(path)]
        theirs[name] = subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert ours == {name: name == "good" for name in samples}
    assert theirs == ours


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("payload changed", '"data/0000/root.ext4" is not what the manifest says'),
        ("file added", 'no line of the manifest covers "data/0000/extra.sh"'),
        ("file taken away", 'the manifest names "data/0000/root.ext4", which is not there'),
        ("header changed", '"header.tar.gz" is not what the manifest says'),
        ("version changed", '"version" is not what the manifest says'),
    ],
)
def test_content_that_the_manifest_does_not_cover_is_refused(
    artifacts: Artifacts, trust: Trust, name: str, words: str
) -> None:
    report = check(artifacts.written(tampered(artifacts)[name]), trust)
    assert outcomes(report) == GOOD | {"format": "fail"}
    assert words in reason(report, "format")


def pax(size: str, content: bytes) -> bytes:
    """A member whose pax record gives another size than its header (RUSTSEC-2025-0111)."""
    record = f"{len(size) + 9} size={size}\n".encode()
    return raw(info("PaxHeader", len(record), tarfile.XHDTYPE), record) + raw(
        info("root.ext4", len(content)), content
    )


def linked(kind: bytes, target: str = "/etc/passwd") -> bytes:
    made = info("root.ext4", 0, kind)
    made.linkname = target
    return raw(made) + END


ONE = raw(info("root.ext4", len(ROOT)), ROOT)
LONG = b"../" * 40 + b"x\0"
INSIDE: dict[str, tuple[bytes, str]] = {
    "pax size that differs": (pax("512", b"") + ONE + END, "0 in its header and 512 in its pax record"),
    "pax size that is no number": (pax("1e3", b"") + END, "pax size"),
    "pax path upwards": (tar({"../" * 50 + "x": b"x"}, tarfile.PAX_FORMAT), "leads out of its folder"),
    "GNU long name upwards": (
        raw(info("././@LongLink", len(LONG), tarfile.GNUTYPE_LONGNAME), LONG) + ONE + END,
        "leads out of its folder",
    ),
    "unknown pax record": (
        raw(info("x", 19, tarfile.XHDTYPE), b"19 GNU.sparse.x=12\n") + ONE + END,
        '"GNU.sparse.x", which is not accepted',
    ),
    "pax record twice": (
        raw(info("x", 20, tarfile.XHDTYPE), b"10 path=a\n10 path=b\n") + ONE + END,
        'record "path" twice',
    ),
    "global pax header": (raw(info("x", 0, tarfile.XGLTYPE)) + ONE + END, "type 'g'"),
    "record without its member": (
        raw(info("x", 10, tarfile.XHDTYPE), b"10 path=a\n") + END,
        "record without",
    ),
    "huge record": (raw(info("x", 100_000, tarfile.XHDTYPE), bytes(100_000)) + END, "at most 65536"),
    "path upwards": (raw(info("../root.ext4", 0)) + END, "leads out of its folder"),
    "absolute path": (raw(info("/etc/passwd", 0)) + END, "absolute path"),
    "backslash": (raw(info("..\\x", 0)) + END, "backslash"),
    "control in name": (raw(info("a\x1bb", 0)) + END, "control"),
    "duplicate file": (ONE + ONE + END, "appears twice"),
    "duplicate by capitals": (ONE + raw(info("ROOT.ext4", 0)) + END, "appears twice"),
    "symbolic link": (linked(tarfile.SYMTYPE), "type '2'"),
    "hard link": (linked(tarfile.LNKTYPE), "type '1'"),
    "device": (linked(tarfile.BLKTYPE), "type '4'"),
    "FIFO": (linked(tarfile.FIFOTYPE), "type '6'"),
    "folder": (linked(tarfile.DIRTYPE), "type '5'"),
    "sparse file": (linked(tarfile.GNUTYPE_SPARSE), "type 'S'"),
    "set-user-id": (raw(info("root.ext4", 0, mode=0o4755)) + END, "set-user-id"),
    "wrong checksum": (ONE.replace(b"root.ext4", b"rooT.ext4", 1) + END, "its bytes give"),
    "no tar header": (b"x" * 512 + END, "no tar header"),
    "data behind the end": (ONE + END + ONE, "data follows the end"),
    "one block of zeros": (ONE + bytes(512) + ONE, "one block of zeros"),
    "no end": (ONE, "no end"),
    "content cut": (ONE[:5000], "cut"),
    "padding not zero": (
        raw(info("root.ext4", 5), b"12345" + b"x" * 507)[:1024] + END,
        "padding that is not zero",
    ),
    "negative size": (raw(info("root.ext4", -1)) + END, "size is no number"),
    "size beyond all files": (raw(info("root.ext4", 1 << 62)) + END, "cut"),
    "two million zeros behind the end": (ONE + bytes(2_000_000), "padding follow the end"),
    "too many files": (b"".join(raw(info(f"m{n}", 0)) for n in range(5000)) + END, "more than 4096 members"),
}


@pytest.mark.parametrize("name", INSIDE)
def test_refused_inside_a_payload(artifacts: Artifacts, trust: Trust, name: str) -> None:
    content, words = INSIDE[name]
    report = check(artifacts.around(gzip.compress(content)), trust)
    assert outcomes(report)["format"] == "unreadable"
    assert report.outcome is not Outcome.PASS
    assert words in reason(report, "format")


def packed(tool: str, content: bytes) -> bytes:
    return subprocess.run([tool, "-c"], input=content, capture_output=True, check=True).stdout


def zstd_with_window(log: int) -> bytes:
    """A frame that wants a window of 2^log bytes (RFC 8878 §3.1.1.1.2)."""
    return b"\x28\xb5\x2f\xfd" + bytes([0, (log - 10) << 3]) + b"\x01\x00\x00"


PACKED: dict[str, tuple[str, Callable[[bytes], bytes], str]] = {
    "gzip bomb": (
        ".gz",
        lambda _: gzip.compress(tar({"root.ext4": bytes(60_000_000)})),
        "unpacks to more than 200 times",
    ),
    "xz bomb": (
        ".xz",
        lambda _: lzma.compress(tar({"root.ext4": bytes(60_000_000)})),
        "unpacks to more than 200 times",
    ),
    "zstd bomb": (
        ".zst",
        lambda _: packed("zstd", tar({"root.ext4": bytes(60_000_000)})),
        "unpacks to more than 200 times",
    ),
    "second gzip member": (".gz", lambda one: gzip.compress(one) * 2, "only one stream is read"),
    "data behind gzip": (".gz", lambda one: gzip.compress(one) + b"x", "only one stream is read"),
    "gzip cut": (".gz", lambda one: gzip.compress(one)[:-30], "data/0000.tar.gz: "),
    "gzip with a wrong sum": (".gz", lambda one: gzip.compress(one)[:-8] + bytes(8), "data/0000.tar.gz: "),
    "no gzip": (".gz", lambda one: one, "data/0000.tar.gz: "),
    "zstd window of 2 GiB": (".zst", lambda _: zstd_with_window(31), "data/0000.tar.zst: "),
    "no xz": (".xz", lambda one: one, "data/0000.tar.xz: "),
    "bzip2": (".bz2", lambda one: one, "compression is not supported"),
}


@pytest.mark.parametrize("name", PACKED)
def test_refused_compression(artifacts: Artifacts, trust: Trust, name: str) -> None:
    extension, pack, words = PACKED[name]
    members = artifacts.members(pack(ONE + END), name=f"data/0000.tar{extension}")
    report = check(artifacts.written(members), trust)
    assert outcomes(report)["format"] == "unreadable"
    assert words in reason(report, "format")


def test_xz_that_wants_too_much_memory_is_refused(artifacts: Artifacts, trust: Trust) -> None:
    big = subprocess.run(
        ["xz", "--lzma2=dict=256MiB"], input=ONE + END, capture_output=True, check=True
    ).stdout
    report = check(artifacts.written(artifacts.members(big, name="data/0000.tar.xz")), trust)
    assert outcomes(report)["format"] == "unreadable"
    assert "memory" in reason(report, "format")


GOOD_PAYLOAD = gzip.compress(ONE + END)
Change = Callable[[Artifacts, Members], bytes | Members]


def ordered(*names: str) -> Change:
    return lambda _, members: {name: members[name] for name in names}


RANK = {
    name: rank
    for rank, name in enumerate(
        ("version", "manifest", "manifest.sig", "manifest-augment", "header.tar.gz", "data/0000.tar.gz")
    )
}
OUTSIDE: dict[str, tuple[Change, str]] = {
    "manifest first": (
        ordered("manifest", "version", "manifest.sig", "header.tar.gz", "data/0000.tar.gz"),
        'expected the member "version" next, found "manifest"',
    ),
    "signature behind the header": (
        ordered("version", "manifest", "header.tar.gz", "manifest.sig", "data/0000.tar.gz"),
        'found "manifest.sig"',
    ),
    "no payload": (ordered("version", "manifest", "manifest.sig", "header.tar.gz"), "found the end"),
    "payload 1 without 0": (
        lambda _, members: {
            name.replace("data/0000", "data/0001"): content for name, content in members.items()
        },
        'expected the member "data/0000.tar.gz"',
    ),
    "another member": (lambda _, members: members | {"extra": b"x"}, 'found "extra"'),
    "member twice": (
        lambda _, members: (
            tar(members).rstrip(b"\0")
            + bytes(-len(tar(members).rstrip(b"\0")) % 512)
            + tar({"version": VERSION})
        ),
        "twice",
    ),
    "format 2": (
        lambda artifacts, _: artifacts.members(GOOD_PAYLOAD, version=b'{"format":"mender","version":2}'),
        'found "mender" version 2',
    ),
    "augment without its header": (
        lambda _, members: dict(
            sorted(
                (members | {"manifest-augment": members["manifest"]}).items(),
                key=lambda member: RANK[member[0]],
            )
        ),
        "come together",
    ),
    "manifest line without a digest": (
        lambda _, members: members | {"manifest": b"00  version\n"},
        "line 1: expected 64 hexadecimal digits",
    ),
    "name twice in the manifest": (
        lambda _, members: members | {"manifest": members["manifest"] * 2},
        "appears twice",
    ),
    "path upwards in the manifest": (
        lambda _, members: members | {"manifest": (sha256(b"") + "  ../x\n").encode()},
        "leads out",
    ),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_refused_outside(artifacts: Artifacts, trust: Trust, name: str) -> None:
    change, words = OUTSIDE[name]
    report = check(artifacts.written(change(artifacts, artifacts.members(GOOD_PAYLOAD))), trust)
    assert outcomes(report)["format"] == "unreadable"
    assert words in reason(report, "format")


HEADERS = {
    "more payloads than there are": (header(2), "lists 2 payload(s), the artifact has 1"),
    "JSON key twice": (gzip.compress(tar({"header-info": b'{"payloads": [], "payloads": []}'})), "twice"),
    "no header-info": (gzip.compress(tar({})), "no header-info"),
    "no JSON": (gzip.compress(tar({"header-info": b"{"})), "header-info: "),
    "member of no payload": (
        gzip.compress(tar(untar(gzip.decompress(header())) | {"headers/0001/type-info": b"{}"})),
        "which a header does not have",
    ),
    "huge header-info": (gzip.compress(tar({"header-info": b" " * 2_000_000})), "at most 1048576"),
}


@pytest.mark.parametrize("name", HEADERS)
def test_refused_header(artifacts: Artifacts, trust: Trust, name: str) -> None:
    head, words = HEADERS[name]
    report = check(artifacts.written(artifacts.members(GOOD_PAYLOAD, head=head)), trust)
    assert outcomes(report)["format"] == "unreadable"
    assert words in reason(report, "format")


def test_any_other_tar_archive_is_opaque(artifacts: Artifacts, trust: Trust) -> None:
    for members in ({"version": b"1.0\n"}, {"a": b"x"}, {"manifest": b"x"}):
        assert verify_file(artifacts.written(tar(members)), trust, at=AT).format == "opaque"


def test_a_large_payload_is_streamed(artifacts: Artifacts, trust: Trust) -> None:
    large = hashlib.shake_128(b"large").digest(20_000_000)
    members = artifacts.members(gzip.compress(tar({"root.ext4": large}), 1), {"data/0000/root.ext4": large})
    assert outcomes(check(artifacts.written(members), trust)) == GOOD
