//! Passwords in configuration files: `base64(IV ‖ '@' ‖ AES-CFB(text))`, as the original writes and reads them.

use aes::cipher::{AsyncStreamCipher as _, KeyIvInit as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const IV_LEN: usize = 16;
/// What the original uses where `BINLOG_SECRET_KEY` is not set: it hides a password from a glance, not from anybody who looks.
const DEFAULT_KEY: &str = "a529b7665997f043a30ac8fadcb51d6aa032c226ab5b7750530b12b8c1a16a48";

/// The key that configuration passwords are encrypted with.
#[derive(Clone)]
pub struct SecretKey {
    bytes: Vec<u8>,
    default: bool,
}

/// Why a password or key cannot be used. It never holds the secret.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum SecretError {
    /// BINLOG_SECRET_KEY is malformed.
    #[error("secretKey not valid: BINLOG_SECRET_KEY must be 16, 24 or 32 bytes in hex")]
    Key,
    /// The text was not made by `encrypt`, or under another key.
    #[error("ciphertext not valid: make it with binlogctl -cmd encrypt under the same BINLOG_SECRET_KEY")]
    Ciphertext,
}

/// The key of the environment variable `BINLOG_SECRET_KEY`, or the default.
///
/// # Errors
/// [`SecretError::Key`].
pub fn secret_key(env: impl Fn(&str) -> Option<String>) -> Result<SecretKey, SecretError> {
    let given = env("BINLOG_SECRET_KEY").filter(|k| !k.is_empty());
    let bytes = unhex(given.as_deref().unwrap_or(DEFAULT_KEY)).ok_or(SecretError::Key)?;
    if !matches!(bytes.len(), 16 | 24 | 32) {
        return Err(SecretError::Key);
    }
    Ok(SecretKey { bytes, default: given.is_none() })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(text.get(i..i + 2)?, 16).ok()).collect()
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl SecretKey {
    /// Whether it is the one that everybody has.
    pub fn is_default(&self) -> bool {
        self.default
    }

    /// Encrypts under a fresh IV.
    pub fn encrypt(&self, text: &str) -> String {
        let iv: [u8; IV_LEN] = rand::random();
        let mut data = text.as_bytes().to_vec();
        let done = match self.bytes.len() {
            16 => cfb_mode::Encryptor::<aes::Aes128>::new_from_slices(&self.bytes, &iv)
                .map(|c| c.encrypt(&mut data)),
            24 => cfb_mode::Encryptor::<aes::Aes192>::new_from_slices(&self.bytes, &iv)
                .map(|c| c.encrypt(&mut data)),
            _ => cfb_mode::Encryptor::<aes::Aes256>::new_from_slices(&self.bytes, &iv)
                .map(|c| c.encrypt(&mut data)),
        };
        done.expect("the key's length was checked when it was made");
        STANDARD.encode([&iv[..], b"@", &data].concat())
    }

    /// Decrypts what [`SecretKey::encrypt`] or the original made.
    ///
    /// # Errors
    /// [`SecretError::Ciphertext`].
    pub fn decrypt(&self, text: &str) -> Result<String, SecretError> {
        let raw = STANDARD.decode(text.trim()).map_err(|_| SecretError::Ciphertext)?;
        let (iv, rest) = raw.split_at_checked(IV_LEN).ok_or(SecretError::Ciphertext)?;
        let (separator, data) = rest.split_first().ok_or(SecretError::Ciphertext)?;
        if *separator != b'@' {
            return Err(SecretError::Ciphertext);
        }
        let mut data = data.to_vec();
        let done = match self.bytes.len() {
            16 => cfb_mode::Decryptor::<aes::Aes128>::new_from_slices(&self.bytes, iv)
                .map(|c| c.decrypt(&mut data)),
            24 => cfb_mode::Decryptor::<aes::Aes192>::new_from_slices(&self.bytes, iv)
                .map(|c| c.decrypt(&mut data)),
            _ => cfb_mode::Decryptor::<aes::Aes256>::new_from_slices(&self.bytes, iv)
                .map(|c| c.decrypt(&mut data)),
        };
        done.map_err(|_| SecretError::Ciphertext)?;
        String::from_utf8(data).map_err(|_| SecretError::Ciphertext)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encrypted_comes_back() {
        for hex in [
            None,
            Some("00112233445566778899aabbccddeeff"),
            Some("00112233445566778899aabbccddeeff0011223344556677"),
        ] {
            let key = secret_key(|_| hex.map(str::to_owned)).unwrap();
            assert_eq!(key.is_default(), hex.is_none());
            for text in ["", "p@ss w\u{f6}rd", "a long password that spans more than one block of the cipher"]
            {
                assert_eq!(key.decrypt(&key.encrypt(text)).unwrap(), text);
            }
        }
    }

    #[test]
    fn bad_keys_and_texts_are_refused() {
        for key in ["zz", "00", "0", "é0"] {
            assert_eq!(secret_key(|_| Some(key.to_owned())).unwrap_err(), SecretError::Key, "{key}");
        }
        let key = secret_key(|_| None).unwrap();
        for text in ["", "x", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            assert_eq!(key.decrypt(text), Err(SecretError::Ciphertext), "{text}");
        }
    }
}
