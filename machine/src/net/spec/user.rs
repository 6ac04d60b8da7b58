//! The options of `--net user`.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    path::PathBuf,
};

use crate::options::switch;

/// The longest boot file's name: a field of the BOOTP header (RFC 951), which ends with a zero.
const BOOTFILE_MAX: usize = 127;
/// The longest name in DHCP options that are one string.
const NAME_MAX: usize = 253;
/// All search domains together, as they are in DHCP's option: 255 bytes.
const SEARCH_MAX: usize = 255;

/// A network that the host makes for the guest.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserSpec {
    /// Who has which address.
    pub addresses: Addresses,
    /// The guest reaches nothing but the gateway's own services and what is forwarded to it.
    pub is_restricted: bool,
    /// The host's ports that lead to the guest's.
    pub forwards: Vec<Forward>,
    /// The name that the guest is told to have.
    pub hostname: Option<String>,
    /// The domain that it is told to be in.
    pub domain: Option<String>,
    /// The domains in which it is to look for names.
    pub search: Vec<String>,
    /// The folder that is readable by TFTP.
    pub tftp: Option<PathBuf>,
    /// The file that the guest is to boot.
    pub bootfile: Option<String>,
    /// The name of the server that has it.
    pub tftp_server_name: Option<String>,
    /// Who answers questions to the guest's DNS server; without one, the host's resolvers.
    pub resolver: Option<SocketAddr>,
    /// What was said of addresses; they depend on each other.
    asked: Asked,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
struct Asked {
    net: Option<(Ipv4Addr, u8)>,
    gateway: Option<Ipv4Addr>,
    dns: Option<Ipv4Addr>,
    dhcp_start: Option<Ipv4Addr>,
}

/// Who has which address on the guest's network.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Addresses {
    /// The network itself.
    pub net: Ipv4Addr,
    /// How many bits of its addresses are the network's.
    pub prefix: u8,
    /// The gateway, which is also the host's loopback interface.
    pub gateway: Ipv4Addr,
    /// The DNS server.
    pub dns: Ipv4Addr,
    /// The first address for guests.
    pub dhcp_start: Ipv4Addr,
}

impl Default for Addresses {
    /// 10.0.2.0/24, as in QEMU.
    fn default() -> Self {
        Self::of(Ipv4Addr::new(10, 0, 2, 0), 24)
    }
}

impl Addresses {
    /// QEMU's usual addresses on any network.
    fn of(net: Ipv4Addr, prefix: u8) -> Self {
        let mask = u32::MAX << (32 - u32::from(prefix));
        let at = |last: u32| Ipv4Addr::from_bits(net.to_bits() & mask | last & !mask);
        // A network of eight has no place for guests at 15.
        let first = if prefix > 27 { 4 } else { 15 };
        Self { net: at(0), prefix, gateway: at(2), dns: at(3), dhcp_start: at(first) }
    }

    /// The mask of the network's bits.
    #[must_use]
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(u32::MAX << (32 - u32::from(self.prefix)))
    }

    /// The address of all on the network.
    #[must_use]
    pub fn broadcast(&self) -> Ipv4Addr {
        self.net | !self.mask()
    }

    /// Whether a host on the network may have this address.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address & self.mask() == self.net && address != self.net && address != self.broadcast()
    }
}

/// TCP or UDP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "named after what they are")]
pub enum Protocol {
    Tcp,
    Udp,
}

/// A port of the host that leads to one of the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Forward {
    /// Of which protocol.
    pub protocol: Protocol,
    /// Where the host listens.
    pub host: SocketAddrV4,
    /// Where that leads.
    pub guest: SocketAddrV4,
}

impl UserSpec {
    /// The options, for messages.
    pub(super) const KEYS: &str = "hostfwd, net, host, dns, dhcpstart, restrict, hostname, \
        domainname, dnssearch, tftp, bootfile, tftp-server-name, resolver";
    /// The options that may be given several times.
    pub(super) const REPEATABLE: [&str; 2] = ["hostfwd", "dnssearch"];

    /// Whether nothing outside can reach the guest and nothing outside is reached: what happens
    /// here depends on the guest alone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_restricted && self.forwards.is_empty()
    }

    /// Takes one option; `None` if there is no such option.
    pub(super) fn set(&mut self, key: &str, value: Option<&str>) -> Option<Result<(), String>> {
        Self::KEYS.split(", ").any(|known| known == key).then(|| self.take(key, value))
    }

    fn take(&mut self, key: &str, value: Option<&str>) -> Result<(), String> {
        if key == "restrict" {
            self.is_restricted = switch(key, value)?;
            return Ok(());
        }
        let value = value.filter(|v| !v.is_empty());
        let value = value.ok_or_else(|| format!("'{key}' takes a value: {key}=…"))?;
        let address = || value.parse().map_err(|_| format!("{key}={value} is not an address"));
        match key {
            "net" => self.asked.net = Some(network(value)?),
            "host" => self.asked.gateway = Some(address()?),
            "dns" => self.asked.dns = Some(address()?),
            "dhcpstart" => self.asked.dhcp_start = Some(address()?),
            "hostname" => self.hostname = Some(name(key, value)?),
            "domainname" => self.domain = Some(name(key, value)?),
            "dnssearch" => self.search.push(name(key, value)?),
            "tftp" => self.tftp = Some(value.into()),
            "tftp-server-name" => self.tftp_server_name = Some(name(key, value)?),
            "bootfile" if value.len() <= BOOTFILE_MAX => self.bootfile = Some(value.to_owned()),
            "bootfile" => return Err(format!("bootfile has {BOOTFILE_MAX} bytes at most")),
            "resolver" => self.resolver = Some(resolver(value)?),
            _ => self.forwards.push(forward(value)?),
        }
        Ok(())
    }

    /// All options were taken: finds the addresses that follow from them.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        let asked = &self.asked;
        if let Some((net, prefix)) = asked.net {
            self.addresses = Addresses::of(net, prefix);
        }
        let all = &mut self.addresses;
        all.gateway = asked.gateway.unwrap_or(all.gateway);
        all.dns = asked.dns.unwrap_or(all.dns);
        all.dhcp_start = asked.dhcp_start.unwrap_or(all.dhcp_start);
        let all = *all;
        let inside = |key: &str, address: Ipv4Addr| match all.contains(address) {
            true => Ok(()),
            false => Err(format!("{key}={address} is not in {}/{}", all.net, all.prefix)),
        };
        inside("host", all.gateway)?;
        inside("dns", all.dns)?;
        inside("dhcpstart", all.dhcp_start)?;
        if all.gateway == all.dns || [all.gateway, all.dns].contains(&all.dhcp_start) {
            return Err("host, dns and dhcpstart must differ".into());
        }
        for n in 0..self.forwards.len() {
            let (before, rest) = self.forwards.split_at_mut(n);
            let Some(forward) = rest.first_mut() else { break };
            if forward.guest.ip().is_unspecified() {
                forward.guest.set_ip(all.dhcp_start);
            }
            inside("hostfwd to the guest", *forward.guest.ip())?;
            let key = |forward: &Forward| (forward.protocol, forward.host);
            if before.iter().any(|other| key(other) == key(forward)) {
                return Err(format!("more than one hostfwd is at {}", forward.host));
            }
        }
        if self.search.iter().map(|name| name.len() + 2).sum::<usize>() > SEARCH_MAX {
            return Err("there are too many dnssearch".into());
        }
        Ok(())
    }
}

/// A network, as 10.0.2.0/24.
fn network(text: &str) -> Result<(Ipv4Addr, u8), String> {
    let (net, prefix) = text.split_once('/').unwrap_or((text, "24"));
    let wrong = || format!("net={text} is not like 10.0.2.0/24");
    let net: Ipv4Addr = net.parse().map_err(|_| wrong())?;
    let prefix: u8 = prefix.parse().map_err(|_| wrong())?;
    if !(8..=29).contains(&prefix) {
        return Err(format!("net={text}: there can be between 8 and 29 bits of network"));
    }
    let first = net.octets()[0];
    if net.is_loopback() || first == 0 || first >= 224 {
        return Err(format!("net={text} is no network of hosts"));
    }
    Ok((net, prefix))
}

/// A host's or a domain's name (RFC 1123, section 2.1).
fn name(key: &str, text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    match text.len() <= NAME_MAX && text.split('.').all(is_label) {
        true => Ok(text.to_owned()),
        false => Err(format!("{key}={text} is no host name")),
    }
}

/// A DNS server, at port 53 if none is said.
fn resolver(text: &str) -> Result<SocketAddr, String> {
    let alone = || text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
    text.parse()
        .or_else(|_| alone())
        .map_err(|_| format!("resolver={text} is not an address; write for example 127.0.0.1:5353"))
}

/// A forward, as tcp::2222-:22 or udp:127.0.0.1:5300-10.0.2.15:53. The guest's address is
/// unspecified if none is said.
fn forward(text: &str) -> Result<Forward, String> {
    let wrong = || format!("hostfwd={text} is not like tcp::2222-:22");
    let (protocol, rest) = text.split_once(':').ok_or_else(wrong)?;
    let protocol = match protocol {
        "tcp" | "" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return Err(format!("hostfwd={text}: '{protocol}' is neither tcp nor udp")),
    };
    let (host, guest) = rest.split_once('-').ok_or_else(wrong)?;
    let end = |text: &str| {
        let (address, port) = text.split_once(':').ok_or_else(wrong)?;
        let address = match address {
            "" => Ipv4Addr::UNSPECIFIED,
            _ => address.parse().map_err(|_| wrong())?,
        };
        match port.parse() {
            Ok(port @ 1..) => Ok(SocketAddrV4::new(address, port)),
            _ => Err(format!("hostfwd: '{port}' is not a port from 1 to 65535")),
        }
    };
    Ok(Forward { protocol, host: end(host)?, guest: end(guest)? })
}
