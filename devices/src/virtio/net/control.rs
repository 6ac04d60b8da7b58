//! The control queue's commands (VIRTIO 1.2, section 5.1.6.5), most of which are about which frames
//! the guest wants.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use trine_guest::Ram;

use super::super::Chain;

// Classes and commands.
const RX_PROMISC: (u8, u8) = (0, 0);
const RX_ALLMULTI: (u8, u8) = (0, 1);
const MAC_TABLE_SET: (u8, u8) = (1, 0);
const MAC_ADDR_SET: (u8, u8) = (1, 1);
const VLAN_ADD: (u8, u8) = (2, 0);
const VLAN_DEL: (u8, u8) = (2, 1);
const ANNOUNCE_ACK: (u8, u8) = (3, 0);

/// The addresses that a table can have; with more, all of their kind are accepted.
const TABLE_MAX: usize = 64;
/// One more than the largest VLAN.
const VLANS: u16 = 1 << 12;
/// The type of a frame with a VLAN tag, behind the addresses.
const TYPE_VLAN: [u8; 2] = [0x81, 0x00];

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MacAddress(pub [u8; 6]);

impl MacAddress {
    const BROADCAST: Self = Self([0xff; 6]);

    fn is_group(self) -> bool {
        self.0[0] & 1 != 0
    }
}

/// Which frames the guest wants. At first all, for a driver need not know of filters.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Filter {
    is_promiscuous: bool,
    takes_all_groups: bool,
    /// Addresses of its own; `None` if there are too many.
    unicast: Option<Vec<MacAddress>>,
    groups: Option<Vec<MacAddress>>,
    vlans: BTreeSet<u16>,
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            is_promiscuous: true,
            takes_all_groups: false,
            unicast: Some(Vec::new()),
            groups: Some(Vec::new()),
            vlans: BTreeSet::new(),
        }
    }
}

/// A change to the filter.
pub(super) enum Change {
    Promiscuous(bool),
    AllGroups(bool),
    Tables(Option<Vec<MacAddress>>, Option<Vec<MacAddress>>),
    Vlan(u16, bool),
}

impl Filter {
    pub(super) fn change(&mut self, change: Change) {
        match change {
            Change::Promiscuous(on) => self.is_promiscuous = on,
            Change::AllGroups(on) => self.takes_all_groups = on,
            Change::Tables(unicast, groups) => (self.unicast, self.groups) = (unicast, groups),
            Change::Vlan(vlan, true) => drop(self.vlans.insert(vlan)),
            Change::Vlan(vlan, false) => drop(self.vlans.remove(&vlan)),
        }
    }

    /// Whether a guest with the address `own` wants this frame, which has an Ethernet header.
    pub(super) fn accepts(&self, own: MacAddress, has_vlans: bool, frame: &[u8]) -> bool {
        if self.is_promiscuous {
            return true;
        }
        let tag = frame.get(12..14) == Some(&TYPE_VLAN);
        if let (true, true, Some(tag)) = (has_vlans, tag, frame.get(14..16)) {
            let vlan = u16::from_be_bytes([tag[0], tag[1]]) % VLANS;
            if !self.vlans.contains(&vlan) {
                return false;
            }
        }
        let Some(to) = frame.first_chunk().copied().map(MacAddress) else { return false };
        let is_in = |table: &Option<Vec<_>>| table.as_ref().is_none_or(|table| table.contains(&to));
        match to {
            MacAddress::BROADCAST => true,
            to if to.is_group() => self.takes_all_groups || is_in(&self.groups),
            to => to == own || is_in(&self.unicast),
        }
    }

    pub(super) fn is_possible(&self) -> bool {
        let tables = [&self.unicast, &self.groups];
        let is_table = |table: &Option<Vec<_>>| table.as_ref().is_none_or(|t| t.len() <= TABLE_MAX);
        tables.into_iter().all(is_table) && self.vlans.iter().all(|vlan| *vlan < VLANS)
    }
}

/// A command of the driver.
pub(super) enum Command {
    Filter(Change),
    Address(MacAddress),
    AnnounceDone,
}

impl Command {
    /// The command in `chain`; `None` if there is no such command, or not all of it.
    pub(super) fn read(chain: &Chain, ram: &Ram) -> Option<Self> {
        let mut data = Data { chain, ram, at: 0 };
        let [class, command] = data.next()?;
        Some(match (class, command) {
            RX_PROMISC => Self::Filter(Change::Promiscuous(data.next()? == [1])),
            RX_ALLMULTI => Self::Filter(Change::AllGroups(data.next()? == [1])),
            MAC_TABLE_SET => Self::Filter(Change::Tables(data.table()?, data.table()?)),
            MAC_ADDR_SET => Self::Address(MacAddress(data.next()?)),
            VLAN_ADD | VLAN_DEL => {
                let vlan = u16::from_le_bytes(data.next()?);
                let change = Change::Vlan(vlan, (class, command) == VLAN_ADD);
                return (vlan < VLANS).then_some(Self::Filter(change));
            }
            ANNOUNCE_ACK => Self::AnnounceDone,
            _ => return None,
        })
    }
}

/// A command's bytes, one after the other.
struct Data<'a> {
    chain: &'a Chain,
    ram: &'a Ram,
    at: u64,
}

impl Data<'_> {
    fn next<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        let count = self.chain.read(self.ram, self.at, &mut bytes);
        self.at += N as u64;
        (count == N).then_some(bytes)
    }

    /// A number of addresses and the addresses; `Some(None)` if there are too many to keep.
    fn table(&mut self) -> Option<Option<Vec<MacAddress>>> {
        let count = u32::from_le_bytes(self.next()?);
        if count as usize > TABLE_MAX {
            self.at += u64::from(count) * 6;
            return (self.at <= self.chain.readable_len()).then_some(None);
        }
        let addresses: Option<Vec<_>> = (0..count).map(|_| self.next().map(MacAddress)).collect();
        addresses.map(Some)
    }
}
