//! Little-endian fields at byte offsets: how every structure in this crate is read and written.

/// A structure under construction: bytes whose fields are set by offset or appended.
///
/// Offsets are constants of a specification, so a field outside the record is a mistake in this
/// crate and panics; nothing that a user or a guest chose is ever an offset here.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(Vec<u8>);

impl Record {
    /// A record of `len` zero bytes.
    pub(crate) fn zeroed(len: usize) -> Self {
        Self(vec![0; len])
    }

    /// An empty record, to append to.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn set(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    pub(crate) fn set_u8(&mut self, at: usize, value: u8) -> &mut Self {
        self.set(at, &[value])
    }

    pub(crate) fn set_u16(&mut self, at: usize, value: u16) -> &mut Self {
        self.set(at, &value.to_le_bytes())
    }

    pub(crate) fn set_u32(&mut self, at: usize, value: u32) -> &mut Self {
        self.set(at, &value.to_le_bytes())
    }

    pub(crate) fn set_u64(&mut self, at: usize, value: u64) -> &mut Self {
        self.set(at, &value.to_le_bytes())
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(crate) fn push_u8(&mut self, value: u8) -> &mut Self {
        self.push(&[value])
    }

    pub(crate) fn push_u16(&mut self, value: u16) -> &mut Self {
        self.push(&value.to_le_bytes())
    }

    pub(crate) fn push_u32(&mut self, value: u32) -> &mut Self {
        self.push(&value.to_le_bytes())
    }

    pub(crate) fn push_u64(&mut self, value: u64) -> &mut Self {
        self.push(&value.to_le_bytes())
    }

    /// Sets the byte at `at` so that the whole record sums to zero modulo 256.
    pub(crate) fn set_checksum(&mut self, at: usize) -> &mut Self {
        self.0[at] = 0;
        self.0[at] = sum(&self.0).wrapping_neg();
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }
}

/// The sum of all bytes modulo 256: zero for a table whose checksum is right.
pub(crate) fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// `N` bytes at `at`, or `None` where the bytes end before.
fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
