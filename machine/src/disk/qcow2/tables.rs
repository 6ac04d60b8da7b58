//! Tables of a qcow2 image: the two levels that map the disk, and the counts of who refers to a
//! cluster of the file. Source: `qcow2.rst`, "Cluster mapping" and "Host cluster management".

use std::{fs::File, io, os::unix::fs::FileExt};

use super::Header;

/// Bits of an L1 or a standard L2 entry that are a place in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// Exactly one refers to the cluster, so it may be written in place.
pub const COPIED: u64 = 1 << 63;
/// The L2 entry is a compressed cluster's.
const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeros (version 3).
const ZERO: u64 = 1 << 0;

/// Reads `len` entries of 8 bytes; what lies behind the end of the file is 0.
pub fn read_table(file: &File, at: u64, len: u64) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; (len * 8) as usize];
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(bytes.chunks_exact(8).map(|entry| super::be64(entry, 0)).collect())
}

/// The place in an L1 or refcount table's entry; `None` if there is none.
pub fn place(entry: u64) -> Option<u64> {
    Some(entry & OFFSET).filter(|at| *at != 0)
}

/// What an L2 entry says about its cluster.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mapping {
    /// Nothing is allocated for it.
    Unallocated,
    /// It reads as zeros and has no place.
    Zero,
    /// It has a cluster of the file.
    Allocated {
        /// Where.
        at: u64,
        /// It reads as zeros all the same.
        is_zero: bool,
        /// It may be written in place.
        is_copied: bool,
    },
    /// It is compressed.
    Compressed {
        /// Where its first byte is.
        at: u64,
        /// At most so many bytes, up to the end of a sector.
        len: u64,
    },
}

impl Mapping {
    /// Reads `entry` of an image with that header.
    pub fn of(entry: u64, header: &Header) -> Self {
        if entry & COMPRESSED != 0 {
            let offset_bits = 62 - (header.cluster_bits - 8);
            let at = entry & ((1 << offset_bits) - 1);
            let sectors = (entry & (COMPRESSED - 1)) >> offset_bits;
            return Self::Compressed { at, len: (sectors + 1) * 512 - at % 512 };
        }
        let is_zero = header.version >= 3 && entry & ZERO != 0;
        match place(entry) {
            Some(at) => Self::Allocated { at, is_zero, is_copied: entry & COPIED != 0 },
            None if is_zero => Self::Zero,
            None => Self::Unallocated,
        }
    }
}

/// One refcount block: counts of 1 to 64 bits.
pub struct RefcountBlock {
    at: u64,
    order: u32,
    bytes: Vec<u8>,
}

impl RefcountBlock {
    /// Reads the block at `at`.
    pub fn read(file: &File, header: &Header, at: u64) -> io::Result<Self> {
        let mut bytes = vec![0; header.cluster() as usize];
        file.read_exact_at(&mut bytes, at)?;
        Ok(Self { at, order: header.refcount_order, bytes })
    }

    /// Writes it back.
    pub fn write(&self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.bytes, self.at)
    }

    /// Count number `index`.
    pub fn get(&self, index: u64) -> u64 {
        let index = index as usize;
        let width = 1 << self.order;
        if self.order < 3 {
            let (byte, shift) = (index * width / 8, index * width % 8);
            return u64::from(self.bytes[byte] >> shift) & ((1 << width) - 1);
        }
        let len = width / 8;
        let bytes = &self.bytes[index * len..][..len];
        bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    /// Sets count number `index`; whether there is room for it.
    pub fn set(&mut self, index: u64, count: u64) -> bool {
        let index = index as usize;
        let width = 1 << self.order;
        if width < 64 && count >> width != 0 {
            return false;
        }
        if self.order < 3 {
            let (byte, shift) = (index * width / 8, index * width % 8);
            let mask = ((1_u16 << width) - 1) as u8;
            self.bytes[byte] = self.bytes[byte] & !(mask << shift) | (count as u8) << shift;
        } else {
            let len = width / 8;
            let bytes = &mut self.bytes[index * len..][..len];
            bytes.copy_from_slice(&count.to_be_bytes()[8 - len..]);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_every_width_stay_apart() {
        for order in 0..=6 {
            let mut block = RefcountBlock { at: 0, order, bytes: vec![0; 512] };
            let most = if order == 6 { u64::MAX } else { (1 << (1 << order)) - 1 };
            for index in [0, 1, 5, 63] {
                assert!(block.set(index, most), "{order}");
            }
            assert!(order == 6 || !block.set(2, most + 1), "{order}: no room");
            for (index, want) in [(0, most), (1, most), (2, 0), (4, 0), (5, most), (6, 0)] {
                assert_eq!(block.get(index), want, "{order} {index}");
            }
        }
    }
}
