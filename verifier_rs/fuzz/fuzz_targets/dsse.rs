use std::sync::LazyLock;

use _verifier::statements::dsse::{Envelope, Statement};
use _verifier::statements::envelope::Dsse;
use _verifier::statements::in_toto::{Author, Facts};
use _verifier::trust::Trust;

static APPROVED: LazyLock<Trust> = LazyLock::new(super::approved);

pub fn run(data: &[u8]) {
    if let Ok(envelope) = Envelope::parse(data) {
        let _ = Statement::parse(&envelope.payload);
    }
    if let Ok(facts) = Facts::read(data) {
        let _ = (
            facts.claims(),
            facts.checks(&APPROVED.keys.iter().map(Author::from).collect::<Vec<_>>()),
        );
    }
    let _ = Dsse::read(data);
}
