//! The checksums of received frames (section 3.2.9, and RXCSUM in 13.4): what a descriptor says of them.
//! Headers are those of RFC 791, 8200, 9293 and 768, behind Ethernet II or SNAP.

use crate::link::{fold, sum};

// RXCSUM.
const START: u32 = 0xff;
const CHECK_IP: u32 = 1 << 8;
const CHECK_TRANSPORT: u32 = 1 << 9;
const CHECK_IPV6: u32 = 1 << 10;
/// What of RXCSUM can be written.
pub(super) const BITS: u32 = START | CHECK_IP | CHECK_TRANSPORT | CHECK_IPV6;

// Status: nothing was checked; the transport's, IP's checksum was.
const IXSM: u8 = 1 << 2;
const TCPCS: u8 = 1 << 5;
const IPCS: u8 = 1 << 6;
// Errors: it is wrong.
const TCPE: u8 = 1 << 5;
const IPE: u8 = 1 << 6;

const TYPE_VLAN: u16 = 0x8100;
const TYPE_IPV4: u16 = 0x0800;
const TYPE_IPV6: u16 = 0x86dd;
/// Below it a type is a length.
const TYPE_FIRST: u16 = 0x0600;
const SNAP: [u8; 6] = [0xaa, 0xaa, 0x03, 0, 0, 0];
const IPV4_MIN: usize = 20;
const IPV6: usize = 40;
/// Fragment offset, and that there are more.
const FRAGMENT: u16 = 0x3fff;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;

/// What is known of a frame's checksums.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Verdict {
    /// The sum of everything from RXCSUM.PCSS on.
    pub(super) packet: u16,
    pub(super) status: u8,
    pub(super) errors: u8,
}

/// Looks at `frame`, as it will lie in memory, in the way that `control` (RXCSUM) says.
pub(super) fn check(frame: &[u8], control: u32) -> Verdict {
    let packet = frame.get((control & START) as usize..).map_or(0, |bytes| fold(sum(bytes)));
    let (mut status, mut errors) = (0, 0);
    let found = Datagram::parse(frame);
    if let Some(Datagram { header: Some(header), .. }) = &found
        && control & CHECK_IP != 0
    {
        status |= IPCS;
        errors |= if is_right(sum(header)) { 0 } else { IPE };
    }
    let wanted = |datagram: &Datagram<'_>| datagram.header.is_some() || control & CHECK_IPV6 != 0;
    if let Some(sum) = found.filter(wanted).and_then(|datagram| datagram.transport_sum())
        && control & CHECK_TRANSPORT != 0
    {
        status |= TCPCS;
        errors |= if is_right(sum) { 0 } else { TCPE };
    }
    Verdict { packet, status: if status == 0 { IXSM } else { status }, errors }
}

/// Whether this is the sum of something with the right checksum in it.
fn is_right(sum: u64) -> bool {
    fold(sum) == 0xffff
}

/// An IP datagram.
struct Datagram<'a> {
    /// Its header, if that has a checksum.
    header: Option<&'a [u8]>,
    addresses: &'a [u8],
    protocol: u8,
    /// What it carries; `None` if that is but a part.
    payload: Option<&'a [u8]>,
}

impl<'a> Datagram<'a> {
    fn parse(frame: &'a [u8]) -> Option<Self> {
        let (of, behind) = kind(frame.get(12..)?)?;
        match of {
            TYPE_IPV4 => {
                let header_len = usize::from(behind.first()? & 15) * 4;
                let whole = behind.get(..usize::from(word(behind, 2)?))?;
                let (header, payload) = whole.split_at_checked(header_len.max(IPV4_MIN))?;
                let is_whole = word(header, 6)? & FRAGMENT == 0;
                Some(Self {
                    header: Some(header),
                    addresses: &header[12..20],
                    protocol: header[9],
                    payload: is_whole.then_some(payload),
                })
            }
            TYPE_IPV6 => {
                let (header, behind) = behind.split_at_checked(IPV6)?;
                Some(Self {
                    header: None,
                    addresses: &header[8..40],
                    protocol: header[6],
                    payload: Some(behind.get(..usize::from(word(header, 4)?))?),
                })
            }
            _ => None,
        }
    }

    /// The sum of what TCP's or UDP's checksum covers, which it is part of; `None` if there is none.
    fn transport_sum(&self) -> Option<u64> {
        let payload = self.payload?;
        let place = match self.protocol {
            PROTOCOL_TCP => 16,
            PROTOCOL_UDP => 6,
            _ => return None,
        };
        let is_absent = word(payload, place)? == 0 && self.protocol == PROTOCOL_UDP;
        let pseudo = sum(self.addresses) + u64::from(self.protocol) + payload.len() as u64;
        (!is_absent).then(|| pseudo + sum(payload))
    }
}

/// The type of what a frame carries, and what it carries.
fn kind(mut from_type: &[u8]) -> Option<(u16, &[u8])> {
    if word(from_type, 0)? == TYPE_VLAN {
        from_type = from_type.get(4..)?;
    }
    if word(from_type, 0)? < TYPE_FIRST {
        from_type = from_type.get(2..)?.strip_prefix(&SNAP)?;
    }
    Some((word(from_type, 0)?, from_type.get(2..)?))
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}
