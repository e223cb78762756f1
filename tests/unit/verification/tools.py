"""Signing tools that nobody here wrote, with keys of their own: minisign, signify, ssh-keygen."""

import base64
import subprocess
from pathlib import Path

ED25519 = bytes.fromhex("302a300506032b6570032100")  # SubjectPublicKeyInfo up to the key


def ask(*arguments: str | Path, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(arguments, input=data, capture_output=True, check=False)


def run(*arguments: str | Path, data: bytes = b"") -> bytes:
    done = ask(*arguments, data=data)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


class Minisign:
    def __init__(self, folder: Path, name: str) -> None:
        self.secret, self.public = folder / f"{name}.key", folder / f"{name}.pub"
        run("minisign", "-G", "-W", "-f", "-p", self.public, "-s", self.secret)

    def sign(self, path: Path, *options: str) -> bytes:
        out = path.with_suffix(".minisig")
        run("minisign", "-S", *options, "-s", self.secret, "-x", out, "-m", path)
        return out.read_bytes()

    def accepts(self, path: Path, signature: bytes) -> bool:
        given = path.with_suffix(".given")
        given.write_bytes(signature)
        return ask("minisign", "-V", "-p", self.public, "-x", given, "-m", path).returncode == 0


class Signify:
    def __init__(self, folder: Path, name: str) -> None:
        self.secret, self.public = folder / f"{name}.sec", folder / f"{name}.pub"
        run("signify-openbsd", "-G", "-n", "-p", self.public, "-s", self.secret)

    def sign(self, path: Path, *options: str) -> bytes:
        out = path.with_suffix(".sig")
        run("signify-openbsd", "-S", *options, "-s", self.secret, "-x", out, "-m", path)
        return out.read_bytes()

    def accepts(self, path: Path, signature: bytes) -> bool:
        given = path.with_suffix(".given")
        given.write_bytes(signature)
        return ask("signify-openbsd", "-V", "-p", self.public, "-x", given, "-m", path).returncode == 0


class Ssh:
    def __init__(self, folder: Path, name: str, *kind: str) -> None:
        self.secret, self.public = folder / name, folder / f"{name}.pub"
        run("ssh-keygen", "-q", "-N", "", "-C", "release@nordhaven.example", "-t", *kind, "-f", self.secret)

    def pem(self) -> str:
        words = self.public.read_text().split()
        if words[0] == "ssh-ed25519":  # ssh-keygen does not convert this kind
            der = ED25519 + base64.b64decode(words[1])[-32:]
            return run("openssl", "pkey", "-pubin", "-inform", "DER", "-pubout", data=der).decode()
        return run("ssh-keygen", "-e", "-m", "pkcs8", "-f", self.public).decode()

    def sign(self, path: Path, *options: str, namespace: str = "file") -> bytes:
        arguments = ("-Y", "sign", "-q", *options, "-n", namespace, "-f", self.secret)
        return run("ssh-keygen", *arguments, data=path.read_bytes())

    def accepts(self, path: Path, signature: bytes, namespace: str = "file") -> bool:
        given, allowed = path.with_suffix(".given"), path.with_suffix(".allowed")
        given.write_bytes(signature)
        allowed.write_text(f"release@nordhaven.example {self.public.read_text()}")
        options = ("-f", allowed, "-I", "release@nordhaven.example", "-n", namespace, "-s", given)
        return ask("ssh-keygen", "-Y", "verify", *options, data=path.read_bytes()).returncode == 0
