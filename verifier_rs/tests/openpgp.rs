//! OpenPGP detached signatures by gpg, with gpg's own verdicts; skipped where gpg is not installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use _verifier::file::{Request, verify};
use _verifier::outcome::Outcome;
use _verifier::source::Progress;
use _verifier::trust::{Purpose, Trust};
use base64::prelude::{BASE64_STANDARD, Engine};

struct Gpg(PathBuf);

impl Gpg {
    /// A fresh home; `None` without gpg.
    fn new(name: &str) -> Option<Self> {
        let home = std::env::temp_dir().join(format!("lotgate-gpg-{}-{name}", std::process::id()));
        fs::create_dir_all(&home).unwrap();
        let gpg = Gpg(home);
        Command::new("gpg").arg("--version").output().ok()?;
        Some(gpg)
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        Command::new("gpg")
            .args([
                "--batch",
                "--yes",
                "--quiet",
                "--no-permission-warning",
                "--passphrase",
                "",
            ])
            .args(["--pinentry-mode", "loopback", "--homedir"])
            .arg(&self.0)
            .args(arguments)
            .output()
            .unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Vec<u8> {
        let done = self.ask(arguments);
        assert!(
            done.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&done.stderr)
        );
        done.stdout
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn make(&self, kind: &str, usage: &str, expires: &str) {
        self.run(&[
            "--quick-generate-key",
            "release@nordhaven.example",
            kind,
            usage,
            expires,
        ]);
    }

    fn fingerprint(&self) -> String {
        let listed = String::from_utf8(self.run(&["--list-keys", "--with-colons"])).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    fn trust(&self) -> Result<Trust, String> {
        let text = String::from_utf8(self.run(&["--armor", "--export"])).unwrap();
        enrolled(&text)
    }

    fn sign(&self, file: &str, options: &[&str]) -> Vec<u8> {
        let out = self.path("signature");
        let fixed = ["--output", &out, "--detach-sign", file];
        self.run(&[options, &fixed].concat());
        fs::read(out).unwrap()
    }

    fn accepts(&self, file: &str, signature: &[u8]) -> bool {
        let given = self.path("given");
        fs::write(&given, signature).unwrap();
        self.ask(&["--verify", &given, file]).status.success()
    }
}

impl Drop for Gpg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf")
            .arg("--homedir")
            .arg(&self.0)
            .args(["--kill", "all"])
            .output();
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn enrolled(certificate: &str) -> Result<Trust, String> {
    let text = serde_json::json!({"version": 1, "keys": [{"id": "release", "public_key": certificate}]});
    Trust::parse(&text.to_string()).map_err(|error| error.to_string())
}

fn now() -> f64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// Outcome and reason of the signature, and whether the key counts.
fn verdict(file: &str, trust: &Trust, signature: &[u8], at: f64) -> (Outcome, String) {
    let request = Request {
        path: Path::new(file),
        trust,
        purpose: Purpose::Firmware,
        signature: Some(signature),
        at,
        certificates: None,
        timestamp: None,
        declared_sha256: None,
        received: None,
        known: None,
    };
    let mut report = |_| Ok(());
    let report = verify(&request, &mut Progress::new(&mut report)).unwrap();
    let check = report
        .checks
        .iter()
        .find(|check| check.id == "firmware.signature")
        .unwrap();
    (check.finding.outcome, check.finding.reason.clone())
}

fn passes(file: &str, trust: &Trust, signature: &[u8]) -> bool {
    verdict(file, trust, signature, now()).0 == Outcome::Pass
}

fn advisory(gpg: &Gpg) -> String {
    let path = gpg.path("advisory.json");
    fs::write(&path, "{\n  \"document\": \"NH-2026-001\"\n}\n".repeat(3000)).unwrap();
    path
}

#[test]
fn gpg_signs_with_each_kind_of_key_armoured_and_binary() {
    for (kind, digest) in [
        ("ed25519", "SHA512"),
        ("rsa3072", "SHA256"),
        ("nistp256", "SHA256"),
        ("nistp384", "SHA384"),
    ] {
        let Some(gpg) = Gpg::new(kind) else { return };
        gpg.make(kind, "sign", "1y");
        let file = advisory(&gpg);
        let trust = gpg.trust().unwrap();
        for options in [vec!["--armor"], vec![], vec!["--armor", "--textmode"]] {
            let options = [options, vec!["--digest-algo", digest]].concat();
            let good = gpg.sign(&file, &options);
            let (outcome, reason) = verdict(&file, &trust, &good, now());
            assert_eq!(outcome, Outcome::Pass, "{kind} {options:?}: {reason}");
            let other = gpg.path("other.json");
            fs::write(&other, "something else").unwrap();
            assert!(!passes(&other, &trust, &good));
            assert!(!gpg.accepts(&other, &good));
        }
        let binary = gpg.sign(&file, &["--digest-algo", digest]);
        let step = binary.len() / 24;
        for place in (0..binary.len()).step_by(step.max(1)) {
            let mut bad = binary.clone();
            bad[place] ^= 0x41;
            let (ours, theirs) = (passes(&file, &trust, &bad), gpg.accepts(&file, &bad));
            assert!(
                !ours || theirs,
                "{kind}: byte {place} changed, gpg refuses, we do not"
            );
        }
    }
}

#[test]
fn a_signing_subkey_that_signed_back_counts_and_its_revocation_too() {
    let Some(gpg) = Gpg::new("subkey") else { return };
    gpg.make("ed25519", "cert", "1y");
    let fingerprint = gpg.fingerprint();
    assert!(gpg.trust().err().unwrap().contains("may sign"));
    gpg.run(&["--quick-add-key", &fingerprint, "ed25519", "sign", "1y"]);
    let file = advisory(&gpg);
    let good = gpg.sign(&file, &[]);
    let before = gpg.trust().unwrap();
    let (outcome, reason) = verdict(&file, &before, &good, now());
    assert_eq!(outcome, Outcome::Pass, "{reason}");
    assert!(reason.contains("its subkey"), "{reason}");
    let (late, why) = verdict(&file, &before, &good, now() + 400.0 * 86_400.0);
    assert!(late == Outcome::Fail && why.contains("expired on"), "{why}");
    let (early, why) = verdict(&file, &before, &good, now() - 86_400.0);
    assert!(
        early == Outcome::Fail && why.contains("after it was received"),
        "{why}"
    );
    // The revocation that gpg made with the key, with its guard line taken out.
    let made = fs::read_to_string(gpg.0.join(format!("openpgp-revocs.d/{fingerprint}.rev"))).unwrap();
    fs::write(gpg.path("revocation"), made.replace(":-----BEGIN", "-----BEGIN")).unwrap();
    gpg.run(&["--import", &gpg.path("revocation")]);
    match gpg.trust() {
        Ok(trust) => {
            let (outcome, why) = verdict(&file, &trust, &good, now());
            assert!(outcome == Outcome::Fail && why.contains("is revoked"), "{why}");
        }
        Err(why) => assert!(why.contains("revoked"), "{why}"),
    }
}

/// Without the subkey's own signature back, anybody could bind somebody else's subkey to a certificate of theirs.
#[test]
fn a_signing_subkey_whose_signature_back_is_forged_does_not_count() {
    let Some(gpg) = Gpg::new("back") else { return };
    gpg.make("ed25519", "cert", "1y");
    gpg.run(&["--quick-add-key", &gpg.fingerprint(), "ed25519", "sign", "1y"]);
    let mut certificate = gpg.run(&["--export"]);
    // RFC 9580 §5.2.3.34: an embedded signature (subpacket 32) of version 4 and type 0x19.
    let place = certificate
        .windows(3)
        .position(|bytes| bytes == [0x20, 0x04, 0x19])
        .unwrap();
    let armoured = |bytes: &[u8]| {
        let lines: Vec<_> = BASE64_STANDARD
            .encode(bytes)
            .into_bytes()
            .chunks(64)
            .map(<[u8]>::to_vec)
            .collect();
        let body = String::from_utf8(lines.join(&b'\n')).unwrap();
        format!("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n")
    };
    assert!(enrolled(&armoured(&certificate)).is_ok());
    let length = usize::from(certificate[place - 1]);
    certificate[place + length - 1] ^= 1;
    let why = enrolled(&armoured(&certificate)).err().unwrap();
    assert!(why.contains("may sign"), "{why}");
}

#[test]
fn sha1_an_unknown_notation_a_message_and_a_private_key_are_refused() {
    let Some(gpg) = Gpg::new("refused") else { return };
    gpg.make("rsa3072", "sign", "1y");
    let file = advisory(&gpg);
    let trust = gpg.trust().unwrap();
    let sha1 = gpg.sign(&file, &["--digest-algo", "SHA1"]);
    let (outcome, why) = verdict(&file, &trust, &sha1, now());
    assert!(outcome == Outcome::Fail && why.contains("SHA-1"), "{why}");
    let critical = gpg.sign(&file, &["--sig-notation", "!reviewed@nordhaven.example=yes"]);
    let (outcome, why) = verdict(&file, &trust, &critical, now());
    assert!(
        outcome == Outcome::Fail && why.contains("critical notation"),
        "{why}"
    );
    let known = gpg.sign(&file, &["--sig-notation", "reviewed@nordhaven.example=yes"]);
    assert!(passes(&file, &trust, &known));
    let short = gpg.sign(&file, &["--default-sig-expire", "1d"]);
    let (outcome, why) = verdict(&file, &trust, &short, now() + 2.0 * 86_400.0);
    assert!(
        outcome == Outcome::Fail && why.contains("says that it expired"),
        "{why}"
    );
    let out = gpg.path("clear");
    gpg.run(&["--output", &out, "--clear-sign", &file]);
    let (outcome, why) = verdict(&file, &trust, &fs::read(&out).unwrap(), now());
    assert!(
        outcome == Outcome::Unreadable && why.contains("detached"),
        "{why}"
    );
    let secret = String::from_utf8(gpg.run(&["--armor", "--export-secret-keys"])).unwrap();
    assert!(
        enrolled(&secret)
            .err()
            .unwrap()
            .contains("private key: it must never be uploaded")
    );
}

#[test]
fn another_certificate_is_named_as_not_approved() {
    let (Some(gpg), Some(other)) = (Gpg::new("one"), Gpg::new("other")) else {
        return;
    };
    gpg.make("ed25519", "sign", "1y");
    other.make("ed25519", "sign", "1y");
    let file = advisory(&gpg);
    let (outcome, why) = verdict(&file, &other.trust().unwrap(), &gpg.sign(&file, &[]), now());
    assert_eq!(outcome, Outcome::NotRun);
    assert!(why.contains(&gpg.fingerprint()), "{why}");
}
