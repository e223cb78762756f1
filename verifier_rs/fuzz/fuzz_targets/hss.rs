use _verifier::keys::hss::Key;

/// A key, as long as those of either length of hash are, and a signature.
pub fn run(data: &[u8]) {
    for length in [52, 60] {
        if let Some((key, signature)) = data.split_at_checked(length)
            && let Ok(key) = Key::parse(key)
            && let Ok(pending) = key.begin(signature)
        {
            let mut state = pending.sink();
            state.update(b"message");
            let _ = pending.holds(&state);
            assert_eq!(
                pending.one_time_keys(&state).len(),
                pending.one_time_keys(&pending.sink()).len()
            );
        }
    }
}
