//! A device's state outside the device.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use thiserror::Error;

/// The state of one device, self-describing: readable in a snapshot, comparable in a test.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Saved {
    /// [`crate::Device::name`] of the device it was taken from.
    pub device: String,
    /// Its `State`.
    pub state: serde_json::Value,
}

/// Why a state was refused. The device keeps the state that it had.
#[derive(Debug, Error)]
pub enum LoadError {
    /// The state is another device's.
    #[error("this is the state of '{found}', not of '{expected}'")]
    WrongDevice {
        /// The device asked to load it.
        expected: &'static str,
        /// The device it was taken from.
        found: String,
    },
    /// A field is missing, of the wrong type or out of range.
    #[error("the state of '{device}' is damaged: {reason}")]
    Damaged {
        /// The device.
        device: &'static str,
        /// What is wrong.
        reason: String,
    },
}

impl Saved {
    /// Packs `state` of the device called `device`.
    ///
    /// # Panics
    /// If `state` has a shape that JSON cannot hold (a map with keys that are not strings).
    pub fn pack<S: Serialize>(device: &'static str, state: &S) -> Self {
        let state = serde_json::to_value(state).expect("device states are plain data");
        Self { device: device.to_owned(), state }
    }

    /// Unpacks the state of the device called `device`.
    ///
    /// # Errors
    /// If it is another device's state, or not one at all.
    pub fn unpack<S: DeserializeOwned>(&self, device: &'static str) -> Result<S, LoadError> {
        if self.device != device {
            return Err(LoadError::WrongDevice { expected: device, found: self.device.clone() });
        }
        serde_json::from_value(self.state.clone())
            .map_err(|e| LoadError::Damaged { device, reason: e.to_string() })
    }
}

/// Bytes as one string of hexadecimal digits: a sector in a state is one value, not hundreds.
pub(crate) mod hex {
    use std::fmt::Write;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        let mut digits = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a string cannot fail.
            let _ = write!(digits, "{byte:02x}");
        }
        to.serialize_str(&digits)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let digits = String::deserialize(from)?;
        let digit = |d: u8| char::from(d).to_digit(16).map(|d| d as u8);
        let pairs = digits.as_bytes().chunks(2);
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        pairs.map(|pair| byte(pair).ok_or_else(|| Error::custom("not hexadecimal"))).collect()
    }
}
