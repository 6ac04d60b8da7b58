//! The gateway's DHCP server: tells guests who they are, where they are, and what to boot.
//!
//! Sources: RFC 2131 (the protocol), RFC 2132 (options), RFC 3397 (the search list). A lease is only
//! a wish of the server's: a guest that comes back with an address, from a snapshot or from a run
//! before, may have it if it is free.

use std::net::Ipv4Addr;

use smoltcp::wire::{
    DHCP_CLIENT_PORT, DhcpMessageType, DhcpOption, DhcpPacket, DhcpRepr, EthernetAddress,
};

use crate::net::spec::{Addresses, UserSpec};

// Options (RFC 2132) besides those that smoltcp has.
const DNS_SERVERS: u8 = 6;
const HOST_NAME: u8 = 12;
const DOMAIN_NAME: u8 = 15;
const BROADCAST: u8 = 28;
const TFTP_SERVER_NAME: u8 = 66;
const BOOTFILE: u8 = 67;
const DOMAIN_SEARCH: u8 = 119;

/// Where the boot file's name is in a message, and how long it is there.
const FILE_FIELD: std::ops::Range<usize> = 108..236;
/// No message is shorter: clients of BOOTP expect its size (RFC 1542, section 2.1).
const LEN_MIN: usize = 300;
/// How long a guest may keep its address.
const LEASE_SECONDS: u32 = 86_400;
/// More guests push out the first.
const LEASES_MAX: usize = 64;

/// The server.
pub(super) struct Dhcp {
    addresses: Addresses,
    /// The options that every guest gets.
    options: Vec<(u8, Vec<u8>)>,
    is_restricted: bool,
    bootfile: Vec<u8>,
    /// Who has which address, the oldest first.
    leases: Vec<(EthernetAddress, Ipv4Addr)>,
}

/// A message for a guest.
pub(super) struct Reply {
    pub(super) bytes: Vec<u8>,
    /// To whom; `None` is to all.
    pub(super) to: Option<EthernetAddress>,
    pub(super) port: u16,
}

impl Dhcp {
    pub(super) fn new(spec: &UserSpec) -> Self {
        let addresses = spec.addresses;
        let mut options = vec![(BROADCAST, addresses.broadcast().octets().to_vec())];
        // What is closed has nobody to ask.
        if !spec.is_restricted {
            options.push((DNS_SERVERS, addresses.dns.octets().to_vec()));
        }
        for (kind, text) in [
            (HOST_NAME, &spec.hostname),
            (DOMAIN_NAME, &spec.domain),
            (TFTP_SERVER_NAME, &spec.tftp_server_name),
            (BOOTFILE, &spec.bootfile),
        ] {
            options.extend(text.iter().map(|text| (kind, text.as_bytes().to_vec())));
        }
        if !spec.search.is_empty() {
            options
                .push((DOMAIN_SEARCH, spec.search.iter().flat_map(|name| labels(name)).collect()));
        }
        let bootfile = spec.bootfile.clone().unwrap_or_default().into_bytes();
        let is_restricted = spec.is_restricted;
        Self { addresses, options, is_restricted, bootfile, leases: Vec::new() }
    }

    /// The answer to a client's message, if there is one.
    pub(super) fn answer(&mut self, message: &[u8]) -> Option<Reply> {
        let packet = DhcpPacket::new_checked(message).ok()?;
        let request = DhcpRepr::parse(&packet).ok()?;
        let client = request.client_hardware_address;
        let wanted = request.requested_ip.unwrap_or(request.client_ip);
        let (kind, address) = match request.message_type {
            DhcpMessageType::Discover => {
                let free = self.is_free(wanted, client).then_some(wanted);
                (DhcpMessageType::Offer, free.or_else(|| self.address_for(client))?)
            }
            DhcpMessageType::Request => {
                let server = request.server_identifier;
                if server.is_some_and(|server| server != self.addresses.gateway) {
                    return None;
                }
                match self.is_free(wanted, client) {
                    true => (DhcpMessageType::Ack, wanted),
                    false => (DhcpMessageType::Nak, Ipv4Addr::UNSPECIFIED),
                }
            }
            DhcpMessageType::Inform => (DhcpMessageType::Ack, Ipv4Addr::UNSPECIFIED),
            DhcpMessageType::Release => {
                self.leases.retain(|(owner, _)| *owner != client);
                return None;
            }
            _ => return None,
        };
        if kind != DhcpMessageType::Nak && !address.is_unspecified() {
            self.lease(client, address);
        }
        let is_broadcast = request.broadcast || kind == DhcpMessageType::Nak;
        Some(Reply {
            bytes: self.message(kind, address, &request)?,
            to: (!is_broadcast && client.is_unicast()).then_some(client),
            port: DHCP_CLIENT_PORT,
        })
    }

    /// Whether `client` may have this address.
    fn is_free(&self, address: Ipv4Addr, client: EthernetAddress) -> bool {
        let Addresses { gateway, dns, .. } = self.addresses;
        let is_others =
            |(owner, ip): &(EthernetAddress, Ipv4Addr)| *ip == address && *owner != client;
        self.addresses.contains(address)
            && ![gateway, dns].contains(&address)
            && !self.leases.iter().any(is_others)
    }

    /// The address that `client` has, or the first that is free, or else the oldest.
    fn address_for(&self, client: EthernetAddress) -> Option<Ipv4Addr> {
        let own = self.leases.iter().find(|(owner, _)| *owner == client);
        let first = self.addresses.dhcp_start.to_bits();
        let free = (first..=first.saturating_add(LEASES_MAX as u32 + 2))
            .map(Ipv4Addr::from_bits)
            .find(|address| self.is_free(*address, client));
        let leased = own.or(self.leases.first()).map(|(_, address)| *address);
        if own.is_some() { leased } else { free.or(leased) }
    }

    fn lease(&mut self, client: EthernetAddress, address: Ipv4Addr) {
        self.leases.retain(|(owner, ip)| *owner != client && *ip != address);
        if self.leases.len() == LEASES_MAX {
            self.leases.remove(0);
        }
        self.leases.push((client, address));
    }

    fn message(
        &self,
        kind: DhcpMessageType,
        address: Ipv4Addr,
        request: &DhcpRepr<'_>,
    ) -> Option<Vec<u8>> {
        let Addresses { gateway, .. } = self.addresses;
        let is_refusal = kind == DhcpMessageType::Nak;
        let is_lease = !is_refusal && !address.is_unspecified();
        let options: Vec<DhcpOption<'_>> = self
            .options
            .iter()
            .filter(|_| !is_refusal)
            .map(|(kind, data)| DhcpOption { kind: *kind, data })
            .collect();
        let reply = DhcpRepr {
            message_type: kind,
            transaction_id: request.transaction_id,
            secs: 0,
            client_hardware_address: request.client_hardware_address,
            client_ip: if is_refusal { Ipv4Addr::UNSPECIFIED } else { request.client_ip },
            your_ip: address,
            server_ip: if is_refusal { Ipv4Addr::UNSPECIFIED } else { gateway },
            router: (!is_refusal && !self.is_restricted).then_some(gateway),
            subnet_mask: (!is_refusal).then(|| self.addresses.mask()),
            relay_agent_ip: request.relay_agent_ip,
            broadcast: request.broadcast,
            requested_ip: None,
            client_identifier: None,
            server_identifier: Some(gateway),
            parameter_request_list: None,
            dns_servers: None,
            max_size: None,
            lease_duration: is_lease.then_some(LEASE_SECONDS),
            renew_duration: None,
            rebind_duration: None,
            additional_options: &options,
        };
        let mut bytes = vec![0; reply.buffer_len()];
        reply.emit(&mut DhcpPacket::new_unchecked(&mut bytes)).ok()?;
        if !is_refusal {
            // The name is shorter than the field (see `UserSpec`), which ends with zeros.
            bytes[FILE_FIELD][..self.bootfile.len()].copy_from_slice(&self.bootfile);
        }
        bytes.resize(bytes.len().max(LEN_MIN), 0);
        Some(bytes)
    }
}

/// A name as DNS has it: labels with their lengths, and one of length 0 (RFC 1035, section 3.1).
fn labels(name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for label in name.split('.') {
        bytes.push(label.len() as u8);
        bytes.extend(label.as_bytes());
    }
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::spec::{NetKind, NetSpec};

    const DISCOVER: u8 = 1;
    const OFFER: u8 = 2;
    const REQUEST: u8 = 3;
    const ACK: u8 = 5;
    const NAK: u8 = 6;
    const RELEASE: u8 = 7;
    const INFORM: u8 = 8;

    fn server(options: &str) -> Dhcp {
        let spec: NetSpec = format!("user{options}").parse().expect("an option");
        let NetKind::User(spec) = spec.kind else { panic!("{options}") };
        Dhcp::new(&spec)
    }

    /// A message from the client whose address ends with `client`.
    fn message(kind: u8, client: u8, flags: u8, options: &[(u8, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![0; 240];
        bytes[..8].copy_from_slice(&[1, 1, 6, 0, 9, 8, 7, 6]);
        bytes[10] = flags;
        bytes[28..34].copy_from_slice(&[0x52, 0x54, 0, 0, 0, client]);
        bytes[236..].copy_from_slice(&[99, 130, 83, 99]);
        bytes.extend([53, 1, kind]);
        for (kind, data) in options {
            bytes.extend([*kind, data.len() as u8]);
            bytes.extend(*data);
        }
        bytes.push(255);
        bytes
    }

    fn option(reply: &Reply, kind: u8) -> Option<Vec<u8>> {
        let packet = DhcpPacket::new_checked(&reply.bytes[..]).expect("a message");
        packet.options().find(|option| option.kind == kind).map(|option| option.data.to_vec())
    }

    fn yours(reply: &Reply) -> Ipv4Addr {
        DhcpPacket::new_checked(&reply.bytes[..]).expect("a message").your_ip()
    }

    fn kind(reply: &Option<Reply>) -> Option<u8> {
        option(reply.as_ref()?, 53)?.first().copied()
    }

    #[test]
    fn a_client_gets_an_address_and_all_that_belongs_to_it() {
        let mut server = server(
            ",hostname=box,domainname=b.org,dnssearch=b.org,dnssearch=c,bootfile=pxe.0,\
             tftp-server-name=t",
        );
        let offer = server.answer(&message(DISCOVER, 1, 0, &[])).expect("an offer");
        assert_eq!(option(&offer, 53), Some(vec![OFFER]));
        assert_eq!(offer.to, Some(EthernetAddress([0x52, 0x54, 0, 0, 0, 1])));
        let address = Ipv4Addr::new(10, 0, 2, 15);
        assert_eq!(yours(&offer), address);
        let wish = [(50, &[10, 0, 2, 15][..]), (54, &[10, 0, 2, 2])];
        let ack = server.answer(&message(REQUEST, 1, 0x80, &wish)).expect("an answer");
        assert_eq!((option(&ack, 53), yours(&ack), ack.to), (Some(vec![ACK]), address, None));
        for (kind, want) in [
            (1, &[255, 255, 255, 0][..]),
            (3, &[10, 0, 2, 2]),
            (6, &[10, 0, 2, 3]),
            (12, b"box"),
            (15, b"b.org"),
            (28, &[10, 0, 2, 255]),
            (51, &86_400_u32.to_be_bytes()),
            (54, &[10, 0, 2, 2]),
            (66, b"t"),
            (67, b"pxe.0"),
            (119, b"\x01b\x03org\0\x01c\0"),
        ] {
            assert_eq!(option(&ack, kind).as_deref(), Some(want), "option {kind}");
        }
        assert_eq!(ack.bytes[4..8], [9, 8, 7, 6], "the transaction");
        assert_eq!(ack.bytes[20..24], [10, 0, 2, 2], "the next server");
        assert_eq!(ack.bytes[108..114], *b"pxe.0\0");
        assert!(ack.bytes.len() >= 300);
    }

    #[test]
    fn each_client_has_its_own_address_for_as_long_as_it_wants() {
        let mut server = server("");
        let mut ask = |client| yours(&server.answer(&message(DISCOVER, client, 0, &[])).unwrap());
        assert_eq!([1, 2, 1, 3].map(&mut ask).map(|a| a.octets()[3]), [15, 16, 15, 17]);
        assert!(server.answer(&message(RELEASE, 2, 0, &[])).is_none());
        let mut ask = |client| yours(&server.answer(&message(DISCOVER, client, 0, &[])).unwrap());
        assert_eq!(ask(4).octets()[3], 16);
        // More than there is room for.
        for client in 10..=255 {
            assert!((15..=100).contains(&ask(client).octets()[3]));
        }
        assert_eq!(server.leases.len(), LEASES_MAX);
    }

    #[test]
    fn an_address_from_before_is_kept_if_it_is_free() {
        let mut server = server("");
        let at = |d| [10, 0, 2, d];
        let mut ask = |client, address: &[u8]| {
            kind(&server.answer(&message(REQUEST, client, 0, &[(50, address)])))
        };
        assert_eq!(ask(1, &at(77)), Some(ACK), "a guest of a snapshot");
        assert_eq!(ask(2, &at(77)), Some(NAK));
        for wrong in [at(2), at(3), at(0), at(255), [10, 0, 3, 15], [0; 4]] {
            assert_eq!(ask(2, &wrong), Some(NAK), "{wrong:?}");
        }
        let other = [(50, &at(20)[..]), (54, &[10, 0, 2, 99])];
        assert!(server.answer(&message(REQUEST, 2, 0, &other)).is_none(), "another server's");
        let informed = server.answer(&message(INFORM, 9, 0, &[])).expect("an answer");
        assert_eq!((yours(&informed), option(&informed, 51)), (Ipv4Addr::UNSPECIFIED, None));
    }

    #[test]
    fn a_closed_network_has_no_way_out() {
        let mut server = server(",restrict=on");
        let offer = server.answer(&message(DISCOVER, 1, 0, &[])).expect("an offer");
        assert_eq!((option(&offer, 3), option(&offer, 6)), (None, None));
        assert!(option(&offer, 1).is_some());
    }

    #[test]
    fn what_is_no_request_has_no_answer() {
        let mut server = server("");
        let good = message(DISCOVER, 1, 0, &[]);
        for len in 0..good.len() - 3 {
            assert!(server.answer(&good[..len]).is_none(), "{len}");
        }
        for (at, value) in [(0, 2), (1, 6), (2, 16), (236, 0)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert!(server.answer(&bad).is_none(), "{at}");
        }
        assert!(server.answer(&message(99, 1, 0, &[])).is_none());
    }
}
