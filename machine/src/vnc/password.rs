//! VNC authentication: the viewer encrypts what it is challenged with, by the password.
//!
//! Source: RFC 6143, section 7.2.2; as all who do it, the bits of each byte of the key are reversed.
//! Only 8 bytes of a password count, and DES is weak: it keeps passers-by out, no more.

use des::{
    Des,
    cipher::{Array, BlockCipherEncrypt, KeyInit},
};

/// Bytes of a challenge, and of the response to it.
pub(super) const CHALLENGE_LEN: usize = 16;

/// A password.
#[derive(Clone, PartialEq, Eq)]
pub struct Password([u8; 8]);

impl Password {
    /// The first line of `text`. `None` if it is empty.
    #[must_use]
    pub fn new(text: &[u8]) -> Option<Self> {
        let line = text.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
        if line.len() > 8 {
            log::warn!("of a VNC password only the first 8 bytes count");
        }
        let mut password = [0; 8];
        password.iter_mut().zip(line).for_each(|(to, from)| *to = *from);
        (!line.is_empty()).then_some(Self(password))
    }

    /// What a viewer that knows the password answers.
    pub(super) fn response(&self, challenge: [u8; CHALLENGE_LEN]) -> [u8; CHALLENGE_LEN] {
        let cipher = Des::new(&Array::from(self.0.map(u8::reverse_bits)));
        let mut response = challenge;
        for half in response.chunks_exact_mut(8) {
            let mut block = Array::from(<[u8; 8]>::try_from(&*half).unwrap_or_default());
            cipher.encrypt_block(&mut block);
            half.copy_from_slice(&block);
        }
        response
    }

    /// Whether this is the response. How long it takes does not tell where it is wrong.
    pub(super) fn accepts(
        &self,
        challenge: [u8; CHALLENGE_LEN],
        response: [u8; CHALLENGE_LEN],
    ) -> bool {
        let pairs = self.response(challenge).into_iter().zip(response);
        pairs.fold(0, |difference, (a, b)| difference | a ^ b) == 0
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Password(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_des_with_the_bits_of_the_key_reversed() {
        // NIST SP 800-17, table A.1 (variable plaintext): the key is 01h in every byte, of which the
        // last bit is parity; then table A.2's (variable key) first row.
        let key = |bytes: [u8; 8]| Password(bytes.map(u8::reverse_bits));
        let rows = [
            (0x0101_0101_0101_0101_u64, 0x8000_0000_0000_0000_u64, 0x95f8_a5e5_dd31_d900_u64),
            (0x0101_0101_0101_0101, 0x4000_0000_0000_0000, 0xdd7f_121c_a501_5619),
            (0x8001_0101_0101_0101, 0x0000_0000_0000_0000, 0x95a8_d728_13da_a94d),
        ];
        for (key_bits, plain, cipher) in rows {
            let twice = |bits: u64| [bits.to_be_bytes(), bits.to_be_bytes()].concat();
            let challenge = twice(plain).try_into().expect("16 bytes");
            let response = key(key_bits.to_be_bytes()).response(challenge);
            assert_eq!(response.to_vec(), twice(cipher), "{key_bits:016x}");
        }
    }

    #[test]
    fn only_the_right_response_is_accepted() {
        let password = Password::new(b"secret\nmore").expect("a password");
        assert_eq!(Password::new(b"secret"), Some(password.clone()));
        let challenge = [0x5a; CHALLENGE_LEN];
        let mut response = password.response(challenge);
        assert!(password.accepts(challenge, response));
        response[15] ^= 1;
        assert!(!password.accepts(challenge, response));
        assert!(!password.accepts(challenge, Password(*b"secreT\0\0").response(challenge)));
        assert_eq!(Password::new(b"12345678"), Password::new(b"12345678 and more"));
        assert_eq!((Password::new(b""), Password::new(b"\nx")), (None, None));
        assert_eq!(format!("{password:?}"), "Password(…)");
    }
}
