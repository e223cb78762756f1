use _verifier::statements::dsse::{Envelope, Statement};

pub fn run(data: &[u8]) {
    if let Ok(envelope) = Envelope::parse(data) {
        let _ = Statement::parse(&envelope.payload);
    }
    let _ = Statement::parse(data);
}
