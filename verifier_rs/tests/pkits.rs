//! NIST's PKITS: 246 chains made to trip path validation, from PyPI's cryptography-vectors. Their names say what is
//! right: "Valid…" and "Invalid…". The exceptions are exact: one that surprises by the right result fails too.

use std::fs;
use std::path::PathBuf;

use _verifier::trust::roots::{Revocation, Root};
use _verifier::trust::{Purpose, Trust};
use _verifier::verdict::Moment;
use _verifier::x509::crl::Crl;
use _verifier::x509::path::Role;
use _verifier::x509::{Certificate, check};

/// 2026-11-21; the chains are valid from 2010 to 2030.
const AT: f64 = 1_795_262_400.0;

/// Valid by RFC 5280, refused here: why, and which.
const STRICTER: &[(&str, &[&str])] = &[
    (
        "certificate policies are not evaluated, so a chain that wants them is refused",
        &[
            "ValidPolicyMappingTest11EE",
            "ValidPolicyMappingTest12EE",
            "ValidPolicyMappingTest13EE",
            "ValidPolicyMappingTest14EE",
            "ValidPolicyMappingTest1EE",
            "ValidPolicyMappingTest3EE",
            "ValidPolicyMappingTest5EE",
            "ValidPolicyMappingTest6EE",
            "ValidPolicyMappingTest9EE",
            "ValidSelfIssuedinhibitAnyPolicyTest7EE",
            "ValidSelfIssuedinhibitAnyPolicyTest9EE",
            "ValidSelfIssuedinhibitPolicyMappingTest7EE",
            "ValidSelfIssuedrequireExplicitPolicyTest6EE",
            "ValidinhibitAnyPolicyTest2EE",
            "ValidinhibitPolicyMappingTest2EE",
            "ValidinhibitPolicyMappingTest4EE",
            "ValidrequireExplicitPolicyTest1EE",
            "ValidrequireExplicitPolicyTest2EE",
            "ValidrequireExplicitPolicyTest4EE",
        ],
    ),
    (
        "a revocation list counts when the very key signed it that issued the certificate",
        &[
            "ValidBasicSelfIssuedCRLSigningKeyTest6EE",
            "ValidBasicSelfIssuedNewWithOldTest3EE",
            "ValidBasicSelfIssuedNewWithOldTest4EE",
            "ValidBasicSelfIssuedOldWithNewTest1EE",
            "ValidDNnameConstraintsTest19EE",
            "ValidSelfIssuedpathLenConstraintTest15EE",
            "ValidSelfIssuedpathLenConstraintTest17EE",
            "ValidSeparateCertificateandCRLKeysTest19EE",
        ],
    ),
    (
        "revocation lists must be complete: no indirect, delta or partial ones",
        &[
            "ValidIDPwithindirectCRLTest22EE",
            "ValidIDPwithindirectCRLTest24EE",
            "ValidIDPwithindirectCRLTest25EE",
            "ValidcRLIssuerTest28EE",
            "ValidcRLIssuerTest29EE",
            "ValidcRLIssuerTest30EE",
            "ValidcRLIssuerTest33EE",
            "ValiddeltaCRLTest5EE",
            "ValiddistributionPointTest1EE",
            "ValiddistributionPointTest4EE",
            "ValiddistributionPointTest5EE",
            "ValiddistributionPointTest7EE",
            "ValidonlySomeReasonsTest18EE",
            "ValidonlySomeReasonsTest19EE",
        ],
    ),
    (
        "an authority's certificate signs nothing but certificates and lists",
        &[
            "ValidonlyContainsCACertsTest13EE",
            "ValidpathLenConstraintTest14EE",
            "ValidpathLenConstraintTest8EE",
        ],
    ),
    (
        "DSA is not supported",
        &["ValidDSAParameterInheritanceTest5EE", "ValidDSASignaturesTest4EE"],
    ),
    (
        "x509-cert reads no dates before 1970",
        &["Validpre2000UTCnotBeforeDateTest3EE"],
    ),
];
/// Invalid by PKITS, passed here.
const LAXER: &[(&str, &[&str])] = &[(
    "only the delta list revokes it; a trust file refuses delta lists when it is read",
    &["InvaliddeltaCRLTest4EE"],
)];

fn folder() -> Option<PathBuf> {
    let given = std::env::var_os("LOTGATE_VECTORS").map(PathBuf::from);
    let beside = || {
        let lib = concat!(env!("CARGO_MANIFEST_DIR"), "/../.venv/lib");
        let found = fs::read_dir(lib).ok()?.flatten();
        found
            .map(|python| python.path().join("site-packages/cryptography_vectors"))
            .find(|path| path.is_dir())
    };
    let folder = given.or_else(beside)?.join("x509/PKITS_data");
    folder.is_dir().then_some(folder)
}

fn files(folder: PathBuf) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[test]
fn every_chain_of_pkits_has_the_verdict_that_nist_gives() {
    let Some(folder) = folder() else {
        println!("skipped: PKITS is not here (PyPI cryptography-vectors, or LOTGATE_VECTORS)");
        return;
    };
    let mut trust = Trust {
        revocation: Revocation::Required,
        ..Trust::default()
    };
    let mut leaves = Vec::new();
    for (name, der) in files(folder.join("certs")) {
        if name.ends_with("EE") {
            leaves.push((name, Certificate::from_der(&der)));
        } else if name == "TrustAnchorRootCertificate" {
            let pem = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, &der).unwrap();
            let entry = serde_json::json!({"id": "anchor", "certificate": pem, "usages": ["any"]});
            trust
                .roots
                .push(Root::read(serde_json::from_value(entry).unwrap()).unwrap());
        } else if let Ok(certificate) = Certificate::from_der(&der) {
            trust.intermediates.push(certificate);
        }
    }
    for (_, der) in files(folder.join("crls")) {
        trust.crls.extend(Crl::from_der(&der).ok());
    }
    let mut surprises = Vec::new();
    let (mut cases, mut exceptions) = (0, 0);
    for (name, leaf) in &leaves {
        let expected = match name {
            name if name.starts_with("Valid") => true,
            name if name.starts_with("Invalid") => false,
            // About policies, which have no name of what is right.
            _ => continue,
        };
        let verdict = leaf.as_ref().map_err(Clone::clone).and_then(|leaf| {
            check(
                leaf,
                &[],
                &trust,
                Role::Signer(Purpose::Firmware),
                &Moment::receipt(AT),
                AT,
            )
            .map(|_| ())
            .map_err(|refusal| format!("{}: {}", refusal.reason.name(), refusal.words))
        });
        let excepted = if expected { STRICTER } else { LAXER };
        let excepted = excepted.iter().any(|(_, names)| names.contains(&name.as_str()));
        cases += 1;
        exceptions += usize::from(excepted);
        if (verdict.is_ok() == expected) == excepted {
            surprises.push(format!("{name}: {verdict:?}"));
        }
    }
    assert!(leaves.len() > 200, "only {} leaves", leaves.len());
    assert!(
        surprises.is_empty(),
        "{} surprises:\n{}",
        surprises.len(),
        surprises.join("\n")
    );
    println!(
        "conformance: NIST PKITS\t{cases}\t{}\t{exceptions}",
        cases - exceptions
    );
}
