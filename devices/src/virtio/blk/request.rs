//! A request as the driver writes it (VIRTIO 1.2, section 5.2.6): a header, data, and a byte for
//! the status.

use std::sync::Arc;

use trine_guest::Ram;

use super::super::Chain;
use crate::{Data, DiskError, Order};

/// Bytes of a sector, whatever the block size.
pub(super) const SECTOR: u64 = 512;
/// The most ranges of a discard or write zeroes request.
pub(super) const RANGES_MAX: u32 = 64;
/// The most sectors of a range: 2 GiB.
pub(super) const RANGE_SECTORS_MAX: u32 = 1 << 22;

/// Bytes of the header: type, reserved, sector.
const HEADER: u64 = 16;
/// Bytes of a range: sector, number of sectors, flags.
const RANGE: u64 = 16;
/// Bytes of the serial number.
const ID_LEN: usize = 20;

// Types of requests.
const T_IN: u32 = 0;
const T_OUT: u32 = 1;
const T_FLUSH: u32 = 4;
const T_GET_ID: u32 = 8;
const T_DISCARD: u32 = 11;
const T_WRITE_ZEROES: u32 = 13;

// Status.
const S_OK: u8 = 0;
const S_IOERR: u8 = 1;
const S_UNSUPP: u8 = 2;

/// A request that is done already, with or without success: the bytes that were written for it.
pub(super) struct Status(u32);

impl Status {
    pub(super) fn written(self) -> u32 {
        self.0
    }
}

/// What is to be done. Places and lengths are in bytes, and lie on the disk.
#[derive(PartialEq, Debug)]
enum Kind {
    Read { at: u64, len: u64 },
    Write { at: u64, len: u64 },
    Flush,
    Discard(Vec<(u64, u64)>),
    WriteZeroes(Vec<(u64, u64, bool)>),
}

/// A request with its buffer.
pub(super) struct Work {
    chain: Chain,
    kind: Kind,
}

/// Why a request is not done: its status.
type Refusal = u8;

impl Work {
    /// The request in `chain`, for a disk of `capacity` sectors that is called `serial`. What needs
    /// no disk is done at once. `None` if there is no room for header and status.
    pub(super) fn new(
        chain: Chain,
        ram: &Ram,
        capacity: u64,
        serial: &str,
    ) -> Option<Result<Self, Status>> {
        let mut header = [0; HEADER as usize];
        if chain.read(ram, 0, &mut header) < header.len() || chain.writable_len() == 0 {
            return None;
        }
        let header = u128::from_le_bytes(header);
        let (of, sector) = (header as u32, (header >> 64) as u64);
        if of == T_GET_ID {
            let mut id = [0; ID_LEN];
            for (to, from) in id.iter_mut().zip(serial.bytes()) {
                *to = from;
            }
            let room = (chain.writable_len() - 1).min(ID_LEN as u64) as usize;
            chain.write(ram, 0, &id[..room]);
            return Some(Err(Status(put_status(&chain, ram, S_OK))));
        }
        let kind = Kind::new(&chain, ram, of, sector, capacity);
        Some(match kind {
            Ok(kind) => Ok(Self { chain, kind }),
            Err(refusal) => Err(Status(put_status(&chain, ram, refusal))),
        })
    }

    /// Whether it changes what is on the disk and has to be there when the driver hears of it.
    pub(super) fn is_write(&self) -> bool {
        matches!(self.kind, Kind::Write { .. } | Kind::WriteZeroes(_))
    }

    /// The order to the disk that comes after `done`, of at most `most` bytes; `None` at the end.
    pub(super) fn order(&self, ram: &Arc<Ram>, done: u64, most: u64) -> Option<Order> {
        let rest = |len: u64| len.checked_sub(done).filter(|rest| *rest > 0);
        let index = usize::try_from(done).ok()?;
        match &self.kind {
            Kind::Read { at, len } => {
                let len = rest(*len)?.min(most) as usize;
                Some(Order::Read { at: at + done, len })
            }
            Kind::Write { at, len } => {
                let data = self.chain.part(HEADER + done, rest(*len)?.min(most));
                Some(Order::Write { at: at + done, data: Data::in_guest(ram, data) })
            }
            Kind::Flush => (done == 0).then_some(Order::Flush),
            Kind::Discard(ranges) => ranges.get(index).map(|&(at, len)| Order::Discard { at, len }),
            Kind::WriteZeroes(ranges) => ranges
                .get(index)
                .map(|&(at, len, may_unmap)| Order::WriteZeroes { at, len, may_unmap }),
        }
    }

    /// The disk has done the order of `piece` bytes that came after `done`, and has read `data`.
    pub(super) fn answered(
        &self,
        ram: &Ram,
        done: &mut u64,
        piece: u64,
        data: &[u8],
    ) -> Result<(), DiskError> {
        match self.kind {
            Kind::Read { .. } => {
                if data.len() as u64 != piece {
                    return Err(DiskError::Io);
                }
                self.chain.write(ram, *done, data);
                *done += piece;
            }
            Kind::Write { .. } => *done += piece,
            Kind::Flush | Kind::Discard(_) | Kind::WriteZeroes(_) => *done += 1,
        }
        Ok(())
    }

    /// Tells the driver of the end. Returns how many bytes are new from the start of the writable
    /// part on.
    pub(super) fn end(&self, ram: &Ram, result: Result<(), DiskError>) -> u32 {
        let status = match result {
            Ok(()) => S_OK,
            Err(DiskError::Unsupported) => S_UNSUPP,
            Err(_) => S_IOERR,
        };
        put_status(&self.chain, ram, status)
    }
}

impl Kind {
    fn new(chain: &Chain, ram: &Ram, of: u32, sector: u64, capacity: u64) -> Result<Self, Refusal> {
        let place = |len: u64| {
            let at = place(sector, len / SECTOR, capacity).ok_or(S_IOERR)?.0;
            if len.is_multiple_of(SECTOR) { Ok(at) } else { Err(S_IOERR) }
        };
        match of {
            T_IN => {
                let len = chain.writable_len() - 1;
                Ok(Self::Read { at: place(len)?, len })
            }
            T_OUT => {
                let len = chain.readable_len() - HEADER;
                Ok(Self::Write { at: place(len)?, len })
            }
            T_FLUSH => Ok(Self::Flush),
            T_DISCARD => {
                let ranges = ranges(chain, ram, capacity, 0)?;
                Ok(Self::Discard(ranges.into_iter().map(|(at, len, _)| (at, len)).collect()))
            }
            T_WRITE_ZEROES => Ok(Self::WriteZeroes(ranges(chain, ram, capacity, 1)?)),
            _ => Err(S_UNSUPP),
        }
    }
}

/// Sectors from `sector` on as a place and a length in bytes, if the disk has them.
fn place(sector: u64, sectors: u64, capacity: u64) -> Option<(u64, u64)> {
    let end = sector.checked_add(sectors).filter(|end| *end <= capacity)?;
    end.checked_mul(SECTOR)?;
    Some((sector * SECTOR, sectors * SECTOR))
}

/// The ranges of a discard or write zeroes request: place, length, and whether to unmap. Of the
/// flags only those in `flags_known` may be set.
fn ranges(
    chain: &Chain,
    ram: &Ram,
    capacity: u64,
    flags_known: u32,
) -> Result<Vec<(u64, u64, bool)>, Refusal> {
    let len = chain.readable_len() - HEADER;
    let count = len / RANGE;
    if !len.is_multiple_of(RANGE) || !(1..=u64::from(RANGES_MAX)).contains(&count) {
        return Err(S_IOERR);
    }
    (0..count)
        .map(|n| {
            let mut bytes = [0; RANGE as usize];
            chain.read(ram, HEADER + n * RANGE, &mut bytes);
            let all = u128::from_le_bytes(bytes);
            let (sector, sectors, flags) = (all as u64, (all >> 64) as u32, (all >> 96) as u32);
            if flags & !flags_known != 0 {
                return Err(S_UNSUPP);
            }
            let range = place(sector, sectors.into(), capacity);
            let (at, len) = range.filter(|_| sectors <= RANGE_SECTORS_MAX).ok_or(S_IOERR)?;
            Ok((at, len, flags & 1 != 0))
        })
        .collect()
}

/// Puts the status into the last byte. Returns how many bytes are new from the start of the
/// writable part on: all, or after a failure none that the driver could rely on.
fn put_status(chain: &Chain, ram: &Ram, status: u8) -> u32 {
    let len = chain.writable_len();
    chain.write(ram, len - 1, &[status]);
    match status {
        S_OK => u32::try_from(len).unwrap_or(u32::MAX),
        _ => u32::from(len == 1),
    }
}
