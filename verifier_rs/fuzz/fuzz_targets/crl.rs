use _verifier::x509::crl::Crl;

pub fn run(data: &[u8]) {
    let _ = Crl::from_der(data);
}
