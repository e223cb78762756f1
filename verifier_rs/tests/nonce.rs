//! A time stamp that was asked for with a nonce counts only with this nonce (RFC 3161 §2.4.2): no old answer is played
//! again. Nothing in the project asks for stamps yet; who does so gives the nonce to `Token::verify`.

use _verifier::cms::timestamp::Token;
use _verifier::trust::Trust;

/// Made with the nonce 5 on 2026-11-18.
const TOKEN: &[u8] = include_bytes!("../fuzz/corpus/timestamp/token.der");
const AT: f64 = 1_795_262_400.0;

fn refused(nonce: Option<&[u8]>) -> String {
    let token = Token::parse(TOKEN).unwrap();
    // The authority is not known here, so the stamp never counts; why it does not is what differs.
    token.verify(&Trust::default(), AT, nonce).unwrap_err().why
}

#[test]
fn another_nonce_is_refused_before_anything_else_is_looked_at() {
    for wrong in [&[6][..], &[0, 5], &[]] {
        assert!(refused(Some(wrong)).contains("nonce"), "{wrong:?}");
    }
}

#[test]
fn its_own_nonce_or_none_that_was_asked_for_goes_on() {
    for right in [Some(&[5][..]), None] {
        assert!(!refused(right).contains("nonce"), "{}", refused(right));
    }
}
