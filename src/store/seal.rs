//! The one door personal data passes on its way to and from the database.
//!
//! Sealed bytes begin with the key's version, 0 while no key is configured, so that encryption can be switched
//! on without touching what is stored. Deliberately not here: keys from outside; they come with encryption.

use anyhow::{Result, bail, ensure};
use ring::hmac;

/// No key: the bytes are plain.
const PLAIN: u8 = 0;
/// The bytes follow as they are.
const RAW: u8 = 0;
/// The bytes follow compressed, their length first.
const LZ4: u8 = 1;
/// Shorter bytes are not worth compressing.
const COMPRESS_BYTES_MIN: usize = 512;
/// Longest opened text; a longer claim is a damaged row.
const OPENED_BYTES_MAX: usize = 1 << 30;

/// Seals, opens, and hashes for look-up.
#[derive(Debug, Clone)]
pub struct Keys {
    index: hmac::Key,
}

impl Keys {
    pub(super) fn new(index_key: &[u8]) -> Self {
        Self { index: hmac::Key::new(hmac::HMAC_SHA256, index_key) }
    }

    /// Seals bytes, compressing long ones.
    pub fn seal(&self, bytes: &[u8]) -> Vec<u8> {
        if bytes.len() < COMPRESS_BYTES_MIN {
            let mut sealed = Vec::with_capacity(bytes.len() + 2);
            sealed.extend_from_slice(&[PLAIN, RAW]);
            sealed.extend_from_slice(bytes);
            return sealed;
        }
        let mut sealed = vec![PLAIN, LZ4];
        sealed.extend_from_slice(&lz4_flex::compress_prepend_size(bytes));
        sealed
    }

    /// Opens sealed bytes.
    pub fn open(&self, sealed: &[u8]) -> Result<Vec<u8>> {
        let Some((&[PLAIN, codec], bytes)) = sealed.split_first_chunk::<2>() else {
            bail!("sealed bytes of an unknown key version");
        };
        if codec == RAW {
            return Ok(bytes.to_vec());
        }
        ensure!(codec == LZ4, "sealed bytes of an unknown codec");
        let (length, _) = lz4_flex::block::uncompressed_size(bytes)?;
        ensure!(length <= OPENED_BYTES_MAX, "sealed bytes claim to be too long");
        Ok(lz4_flex::decompress_size_prepended(bytes)?)
    }

    /// A keyed hash to look a value up by; it tells nothing without the key.
    pub fn hash(&self, text: &str) -> [u8; 16] {
        let tag = hmac::sign(&self.index, text.as_bytes());
        let mut hash = [0; 16];
        hash.copy_from_slice(&tag.as_ref()[..16]);
        hash
    }
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, bytes).as_ref());
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_again_and_damage_is_an_error() {
        let keys = Keys::new(&[7; 32]);
        for length in [0, 1, 511, 512, 100_000] {
            let bytes = vec![b'x'; length];
            assert_eq!(keys.open(&keys.seal(&bytes)).unwrap(), bytes);
        }
        for damaged in [&[][..], &[0], &[1, 0, 9], &[0, 9, 9], &[0, 1, 255, 255, 255, 255, 1]] {
            assert!(keys.open(damaged).is_err(), "{damaged:?}");
        }
        assert_ne!(keys.hash("a"), Keys::new(&[8; 32]).hash("a"));
    }
}
