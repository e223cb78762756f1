use std::sync::LazyLock;

use _verifier::trust::{Purpose, Trust};
use _verifier::verdict::Moment;
use _verifier::x509::path::Role;
use _verifier::x509::{check, pem};

static APPROVED: LazyLock<Trust> = LazyLock::new(super::approved);

/// Certificates in PEM: read, and the first one followed over the others.
pub fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(certificates) = pem::certificates(text) else {
        return;
    };
    if let Some(leaf) = certificates.first() {
        let moment = Moment::receipt(1_800_000_000.0);
        let _ = check(
            leaf,
            &certificates,
            &APPROVED,
            Role::Signer(Purpose::Firmware),
            &moment,
            moment.at,
        );
    }
}
