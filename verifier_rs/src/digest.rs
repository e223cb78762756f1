//! SHA-384 and SHA-512 of the system's OpenSSL: half as fast again as any in Rust
//! (docs/decisions/0017-sha-512-by-openssl.md). Used like those of the crate sha2.

use openssl::sha;
use sha2::digest::consts::{U48, U64};
use sha2::digest::{FixedOutput, HashMarker, Output, OutputSizeUser, Update};

macro_rules! digest {
    ($name:ident, $size:ty) => {
        #[derive(Clone, Default)]
        pub struct $name(sha::$name);

        impl HashMarker for $name {}

        impl OutputSizeUser for $name {
            type OutputSize = $size;
        }

        impl Update for $name {
            fn update(&mut self, data: &[u8]) {
                self.0.update(data);
            }
        }

        impl FixedOutput for $name {
            fn finalize_into(self, out: &mut Output<Self>) {
                *out = self.0.finish().into();
            }
        }
    };
}

digest!(Sha384, U48);
digest!(Sha512, U64);

#[cfg(test)]
mod tests {
    use sha2::Digest;

    #[test]
    fn they_are_those_of_the_crate_sha2_however_the_bytes_come() {
        for length in [0, 1, 55, 111, 112, 127, 128, 129, 255, 1000, 300_000] {
            let data: Vec<u8> = (0..length).map(|at: usize| (at % 251) as u8).collect();
            for step in [1, 127, 128, 4096] {
                let (mut short, mut long) = (super::Sha384::new(), super::Sha512::new());
                for piece in data.chunks(step) {
                    short.update(piece);
                    long.update(piece);
                }
                assert_eq!(
                    short.finalize().as_slice(),
                    sha2::Sha384::digest(&data).as_slice()
                );
                assert_eq!(long.finalize().as_slice(), sha2::Sha512::digest(&data).as_slice());
            }
        }
    }
}
