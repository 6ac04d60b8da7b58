//! What `--net` says: what the guest's network card is connected to, and which card that is.
//!
//! The syntax is QEMU's (`-nic`, `-netdev user`, `-netdev tap`): a kind, and options behind it,
//! separated by commas; a comma in a value is written twice.

mod user;

use std::{fmt, path::PathBuf, str::FromStr};

pub use user::{Addresses, Forward, Protocol, UserSpec};

use crate::options::{boot_index, one_of, parts};

/// The longest name of a network interface (IFNAMSIZ without its zero).
const INTERFACE_NAME_MAX: usize = 15;

/// A network card as the command line asks for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NetSpec {
    /// What is at the other end of the cable.
    pub kind: NetKind,
    /// The card.
    pub model: NetModel,
    /// Its address; without one, QEMU's usual and the card's number.
    pub mac: Option<[u8; 6]>,
    /// Where all frames are written to.
    pub pcap: Option<PathBuf>,
    /// What is in its expansion ROM: a firmware that boots from the network.
    pub rom: Option<PathBuf>,
    /// Its place in the boot order.
    pub boot_index: Option<u32>,
}

/// What a cable leads to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NetKind {
    /// A gateway that speaks to the world with the host's own sockets.
    User(Box<UserSpec>),
    /// An interface of the host.
    Tap {
        /// Its name; without one, the host chooses.
        interface: Option<String>,
    },
    /// There is no card.
    None,
}

/// A network card.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NetModel {
    /// A virtio network device.
    #[default]
    Virtio,
    /// An Intel 82540EM.
    E1000,
}

impl NetModel {
    /// Every card with the name that the command line has for it.
    pub const NAMES: &[(&str, Self)] = &[("virtio", Self::Virtio), ("e1000", Self::E1000)];
}

impl fmt::Display for NetModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Virtio => "virtio",
            Self::E1000 => "e1000",
        })
    }
}

impl NetSpec {
    /// A virtio card with nothing said about it.
    #[must_use]
    pub fn new(kind: NetKind) -> Self {
        let model = NetModel::default();
        Self { kind, model, mac: None, pcap: None, rom: None, boot_index: None }
    }

    /// Takes one option behind the kind.
    fn set(&mut self, option: &str) -> Result<(), String> {
        let (key, value) = option.split_once('=').map_or((option, None), |(k, v)| (k, Some(v)));
        let given = || match value {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(format!("'{key}' takes a value: {key}=…")),
        };
        match (key, &mut self.kind) {
            ("", _) => Err("there is an empty option; a comma in a value is doubled".into()),
            (_, NetKind::None) => Err(format!("there is no card, so '{key}' has no meaning")),
            ("model", _) => {
                given().and_then(|v| one_of(v, NetModel::NAMES)).map(|v| self.model = v)
            }
            ("mac", _) => given().and_then(mac).map(|v| self.mac = Some(v)),
            ("pcap", _) => given().map(|v| self.pcap = Some(v.into())),
            ("rom", _) => given().map(|v| self.rom = Some(v.into())),
            ("bootindex", _) => given().and_then(boot_index).map(|v| self.boot_index = Some(v)),
            ("ifname", NetKind::Tap { interface }) => {
                given().and_then(interface_name).map(|v| *interface = Some(v))
            }
            (_, NetKind::Tap { .. }) => Err(unknown(key, "ifname")),
            (_, NetKind::User(user)) => match user.set(key, value) {
                Some(result) => result,
                None => Err(unknown(key, UserSpec::KEYS)),
            },
        }
    }
}

impl FromStr for NetSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = parts(text).into_iter();
        let kind = parts.next().unwrap_or_default();
        let mut spec = Self::new(match &*kind {
            "user" => NetKind::User(Box::default()),
            "tap" => NetKind::Tap { interface: None },
            "none" => NetKind::None,
            _ => return Err(format!("'{kind}' is none of user, tap and none")),
        });
        let mut seen = Vec::new();
        for option in parts {
            let key = option.split('=').next().unwrap_or_default().to_owned();
            if seen.contains(&key) && !UserSpec::REPEATABLE.contains(&&*key) {
                return Err(format!("'{key}' is given twice"));
            }
            spec.set(&option)?;
            seen.push(key);
        }
        if let NetKind::User(user) = &mut spec.kind {
            user.finish()?;
        }
        Ok(spec)
    }
}

/// An Ethernet address of one card, as 52:54:00:12:34:56.
fn mac(text: &str) -> Result<[u8; 6], String> {
    let octet = |text: &str| match text.len() {
        1..=2 => u8::from_str_radix(text, 16).ok(),
        _ => None,
    };
    let octets: Option<Vec<u8>> = text.split([':', '-']).map(octet).collect();
    let mac = octets.and_then(|octets| <[u8; 6]>::try_from(octets).ok());
    let mac = mac.ok_or_else(|| format!("mac={text} is not like 52:54:00:12:34:56"))?;
    if mac[0] & 1 != 0 || mac == [0; 6] {
        return Err(format!("mac={text} is no address that a card can have"));
    }
    Ok(mac)
}

fn interface_name(text: &str) -> Result<String, String> {
    let is_good = text.len() <= INTERFACE_NAME_MAX
        && text.bytes().all(|b| b.is_ascii_graphic() && b != b'/' && b != b'%');
    is_good.then(|| text.to_owned()).ok_or_else(|| {
        format!("ifname={text} is not a name of 1 to {INTERFACE_NAME_MAX} characters")
    })
}

fn unknown(key: &str, known: &str) -> String {
    format!(
        "'{key}' is none of {known}, model, mac, pcap, rom and bootindex; a comma in a value is doubled"
    )
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddrV4};

    use super::*;

    fn parse(text: &str) -> Result<NetSpec, String> {
        text.parse()
    }

    fn user(text: &str) -> UserSpec {
        match parse(text).unwrap_or_else(|e| panic!("{text}: {e}")).kind {
            NetKind::User(user) => *user,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn kinds_and_what_all_of_them_take() {
        assert_eq!(parse("none"), Ok(NetSpec::new(NetKind::None)));
        assert_eq!(parse("user"), Ok(NetSpec::new(NetKind::User(Box::default()))));
        let want = NetSpec {
            kind: NetKind::Tap { interface: Some("tap0".into()) },
            model: NetModel::E1000,
            mac: Some([0x52, 0x54, 0, 1, 2, 0xab]),
            pcap: Some("a,b.pcap".into()),
            rom: Some("pxe.rom".into()),
            boot_index: Some(2),
        };
        let text = "tap,ifname=tap0,model=e1000,mac=52:54:0:1:2:aB,pcap=a,,b.pcap,rom=pxe.rom,\
                    bootindex=2";
        assert_eq!(parse(text), Ok(want));
        for (name, model) in NetModel::NAMES {
            assert_eq!(model.to_string(), *name);
        }
    }

    #[test]
    fn a_user_network_in_every_detail() {
        let spec = user(
            "user,net=192.168.7.0/25,host=192.168.7.1,dns=192.168.7.9,dhcpstart=192.168.7.100,\
             hostname=box,domainname=example.org,dnssearch=a.example,dnssearch=b.example,\
             restrict=off,tftp=/srv/tftp,bootfile=pxelinux.0,tftp-server-name=boot,\
             resolver=127.0.0.1:5353,hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-192.168.7.3:5",
        );
        let at = |d| Ipv4Addr::new(192, 168, 7, d);
        let addresses =
            Addresses { net: at(0), prefix: 25, gateway: at(1), dns: at(9), dhcp_start: at(100) };
        assert_eq!(spec.addresses, addresses);
        assert_eq!(addresses.mask(), Ipv4Addr::new(255, 255, 255, 128));
        assert_eq!(addresses.broadcast(), at(127));
        assert_eq!(spec.resolver, Some("127.0.0.1:5353".parse().expect("an address")));
        assert_eq!(spec.search, ["a.example", "b.example"]);
        assert_eq!(spec.tftp, Some("/srv/tftp".into()));
        let udp = Forward {
            protocol: Protocol::Udp,
            host: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 53),
            guest: SocketAddrV4::new(at(3), 5),
        };
        let tcp = Forward {
            protocol: Protocol::Tcp,
            host: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 2222),
            guest: SocketAddrV4::new(at(100), 22),
        };
        assert_eq!(spec.forwards, [tcp, udp]);
        assert!(!spec.is_closed());
    }

    #[test]
    fn what_is_not_said_is_as_in_qemu() {
        let spec = user("user");
        let at = |d| Ipv4Addr::new(10, 0, 2, d);
        let Addresses { gateway, dns, dhcp_start, .. } = spec.addresses;
        assert_eq!((gateway, dns, dhcp_start), (at(2), at(3), at(15)));
        let spec = user("user,net=172.16.5.0/24,restrict");
        assert_eq!(spec.addresses.dhcp_start, Ipv4Addr::new(172, 16, 5, 15));
        assert!(spec.is_closed());
        assert!(!user("user,restrict,hostfwd=tcp::1-:1").is_closed());
        assert_eq!(user("user,net=10.9.8.7/16").addresses.net, Ipv4Addr::new(10, 9, 0, 0));
        assert_eq!(user("user,net=10.9.0.0").addresses.prefix, 24);
        assert_eq!(user("user,resolver=9.9.9.9").resolver.map(|a| a.port()), Some(53));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (text, part) in [
            ("", "none of user, tap and none"),
            ("bridge", "'bridge' is none of"),
            ("none,mac=52:54:00:12:34:56", "there is no card"),
            ("user,", "empty option"),
            ("user,ifname=tap0", "'ifname' is none of hostfwd"),
            ("tap,hostfwd=tcp::1-:1", "'hostfwd' is none of ifname"),
            ("tap,ifname=averyveryverylongname", "1 to 15"),
            ("user,mac=01:00:00:00:00:01", "no address that a card"),
            ("user,mac=52:54:00:12:34", "is not like"),
            ("user,mac=52:54:00:12:34:567", "is not like"),
            ("user,model=ne2k", "none of virtio, e1000"),
            ("user,pcap=", "takes a value"),
            ("user,rom=", "takes a value"),
            ("user,bootindex=first", "not a number"),
            ("user,restrict=maybe", "neither on nor off"),
            ("user,net=10.0.2.0/31", "between 8 and 29"),
            ("user,net=224.0.0.0/24", "no network"),
            ("user,net=127.0.0.0/8", "no network"),
            ("user,host=10.0.3.2", "is not in 10.0.2.0/24"),
            ("user,dns=10.0.2.2", "must differ"),
            ("user,dhcpstart=10.0.2.255", "is not in 10.0.2.0/24"),
            ("user,hostfwd=sctp::1-:2", "neither tcp nor udp"),
            ("user,hostfwd=tcp::1", "like tcp::2222-:22"),
            ("user,hostfwd=tcp::0-:22", "a port from 1"),
            ("user,hostfwd=tcp::22-:65536", "a port from 1"),
            ("user,hostfwd=tcp::22-10.0.3.15:22", "is not in 10.0.2.0/24"),
            ("user,hostfwd=tcp::22-:1,hostfwd=tcp::22-:2", "more than one"),
            ("user,hostname=under_score", "no host name"),
            ("user,dnssearch=a..b", "no host name"),
            ("user,resolver=example.org", "is not an address"),
            ("user,net=10.0.2.0/24,net=10.0.3.0/24", "given twice"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
