//! Which frames are received (sections 3.2.1, 10.3.1 and 13.5): by address and by VLAN.

use serde::{Deserialize, Serialize};

/// Exact addresses.
const ADDRESSES: usize = 16;
/// Words of the tables of multicast hashes and of VLANs.
const WORDS: usize = 128;

/// An address register: it counts; which address of a frame it is compared with.
const VALID: u64 = 1 << 63;
const SELECT: u64 = 3 << 48;
const SELECT_SOURCE: u64 = 1 << 48;
const ADDRESS: u64 = (1 << 48) - 1;

// RCTL.
const UNICAST_PROMISCUOUS: u32 = 1 << 3;
const MULTICAST_PROMISCUOUS: u32 = 1 << 4;
const MULTICAST_OFFSET_SHIFT: u32 = 12;
const BROADCAST_ACCEPT: u32 = 1 << 15;
const VLAN_FILTER: u32 = 1 << 18;
const CFI_FILTER: u32 = 1 << 19;
const CFI: u32 = 1 << 20;

/// Bits of a VLAN tag.
const TAG_CFI: u16 = 1 << 12;
const TAG_ID: u16 = 0xfff;

/// How a frame has passed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Pass {
    /// It is for this station, or for all.
    Exact,
    /// It may be for this station.
    Inexact,
}

/// RAL and RAH, MTA and VFTA.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Filter {
    addresses: Vec<u64>,
    multicasts: Vec<u32>,
    vlans: Vec<u32>,
}

impl Filter {
    /// After a reset: the station's own address.
    pub(super) fn new(mac: [u8; 6]) -> Self {
        let (addresses, table) = (vec![0; ADDRESSES], vec![0; WORDS]);
        let mut filter = Self { addresses, multicasts: table.clone(), vlans: table };
        filter.set_station(mac);
        filter
    }

    /// The station's own address, as the EEPROM has it, is the first.
    pub(super) fn set_station(&mut self, mac: [u8; 6]) {
        self.addresses[0] = VALID | number(&mac);
    }

    pub(super) fn is_possible(&self) -> bool {
        self.addresses.len() == ADDRESSES
            && self.addresses.iter().all(|address| address & !(VALID | SELECT | ADDRESS) == 0)
            && self.multicasts.len() == WORDS
            && self.vlans.len() == WORDS
    }

    /// The half `n` of the address registers: low, high, low and so on.
    pub(super) fn address(&self, n: usize) -> u32 {
        (self.addresses[n / 2 % ADDRESSES] >> (32 * (n % 2))) as u32
    }

    pub(super) fn set_address(&mut self, n: usize, value: u32) {
        let shift = 32 * (n % 2);
        let address = &mut self.addresses[n / 2 % ADDRESSES];
        let other = *address & !(u64::from(u32::MAX) << shift);
        *address = (other | u64::from(value) << shift) & (VALID | SELECT | ADDRESS);
    }

    pub(super) fn multicast_mut(&mut self, n: usize) -> &mut u32 {
        &mut self.multicasts[n % WORDS]
    }

    pub(super) fn vlan_mut(&mut self, n: usize) -> &mut u32 {
        &mut self.vlans[n % WORDS]
    }

    /// Whether the frame passes with this RCTL, and how. It is as long as a header at least; `tag`
    /// is its VLAN tag.
    pub(super) fn pass(&self, control: u32, frame: &[u8], tag: Option<u16>) -> Option<Pass> {
        let (to, from) = (frame.first_chunk()?, frame.get(6..)?.first_chunk()?);
        tag.is_none_or(|tag| self.passes_tag(control, tag)).then_some(())?;
        let is_multicast = to[0] & 1 != 0;
        let is_broadcast = *to == [0xff; 6];
        let has = |bit: u32| control & bit != 0;
        let is_promiscuous =
            has(if is_multicast { MULTICAST_PROMISCUOUS } else { UNICAST_PROMISCUOUS });
        if self.knows(to, from) || is_broadcast && has(BROADCAST_ACCEPT) {
            Some(Pass::Exact)
        } else if is_promiscuous || is_multicast && self.has_hash(control, to) {
            Some(Pass::Inexact)
        } else {
            None
        }
    }

    fn passes_tag(&self, control: u32, tag: u16) -> bool {
        let id = usize::from(tag & TAG_ID);
        let is_member = self.vlans[id / 32] >> (id % 32) & 1 != 0;
        let has_cfi = tag & TAG_CFI != 0;
        control & VLAN_FILTER == 0
            || is_member && (control & CFI_FILTER == 0 || has_cfi == (control & CFI != 0))
    }

    fn knows(&self, to: &[u8; 6], from: &[u8; 6]) -> bool {
        self.addresses.iter().filter(|address| *address & VALID != 0).any(|address| {
            match address & SELECT {
                0 => address & ADDRESS == number(to),
                SELECT_SOURCE => address & ADDRESS == number(from),
                _ => false,
            }
        })
    }

    /// Whether the bit is set that stands for 12 bits of the address.
    fn has_hash(&self, control: u32, to: &[u8; 6]) -> bool {
        let shift = [4, 3, 2, 0][(control >> MULTICAST_OFFSET_SHIFT & 3) as usize];
        let hash = (number(to) >> 32 >> shift) as usize & 0xfff;
        self.multicasts[hash / 32] >> (hash % 32) & 1 != 0
    }
}

/// An address, as its registers have it: the first byte is the lowest.
fn number(address: &[u8; 6]) -> u64 {
    address.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
