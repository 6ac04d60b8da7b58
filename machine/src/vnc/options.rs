//! What `--display vnc:…` says.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    str::FromStr,
};

/// Ports below this are displays, whose ports begin here: as viewers read an address.
const DISPLAYS: u16 = 100;
const FIRST_PORT: u16 = 5900;

/// Where viewers find the server, and whom it lets in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VncOptions {
    /// Where.
    pub address: VncAddress,
    /// The file that holds the password.
    pub password: Option<PathBuf>,
    /// Who may look at the same time.
    pub share: Share,
}

/// Where viewers find the server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum VncAddress {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// Who may look at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Share {
    /// A viewer that wants to be alone is: the others have to go.
    #[default]
    AllowExclusive,
    /// One that wants to be alone is refused.
    ForceShared,
    /// All, whatever they want.
    Ignore,
}

impl FromStr for VncOptions {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut parts = text.split(',');
        let address = parts.next().unwrap_or_default().parse()?;
        let mut options = Self { address, password: None, share: Share::default() };
        for part in parts {
            match part.split_once('=') {
                Some(("password", file)) if !file.is_empty() => {
                    options.password = Some(file.into());
                }
                Some(("share", "allow-exclusive")) => options.share = Share::AllowExclusive,
                Some(("share", "force-shared")) => options.share = Share::ForceShared,
                Some(("share", "ignore")) => options.share = Share::Ignore,
                _ => {
                    return Err(format!(
                        "'{part}' is neither password=FILE nor \
                         share=allow-exclusive|force-shared|ignore"
                    ));
                }
            }
        }
        Ok(options)
    }
}

impl FromStr for VncAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Self::Unix(path.into()));
        }
        let wrong = || {
            format!("'{text}' is no address: write HOST:PORT, :DISPLAY on this host, or unix:PATH")
        };
        let (host, number) = text.rsplit_once(':').ok_or_else(wrong)?;
        let number: u16 = number.parse().map_err(|_| wrong())?;
        let port = if number < DISPLAYS { FIRST_PORT + number } else { number };
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Ok(Self::Tcp((Ipv4Addr::LOCALHOST, port).into()));
        }
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(Self::Tcp((ip, port).into()));
        }
        let found = (host, port).to_socket_addrs().map_err(|e| format!("{host}: {e}"))?;
        found.into_iter().next().map(Self::Tcp).ok_or_else(wrong)
    }
}

impl std::fmt::Display for VncAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl VncAddress {
    /// Whether only who is on this host gets there.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_as_viewers_write_them() {
        let tcp = |text: &str| match text.parse() {
            Ok(VncAddress::Tcp(address)) => address.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(tcp(":0"), "127.0.0.1:5900");
        assert_eq!(tcp(":5"), "127.0.0.1:5905");
        assert_eq!(tcp("127.0.0.1:6000"), "127.0.0.1:6000");
        assert_eq!(tcp("0.0.0.0:1"), "0.0.0.0:5901");
        assert_eq!(tcp("[::1]:1"), "[::1]:5901");
        assert_eq!("unix:/a/b".parse(), Ok(VncAddress::Unix("/a/b".into())));
        for wrong in ["", "5900", "unix:", ":70000", ":-1", "127.0.0.1", "127.0.0.1:x"] {
            assert!(wrong.parse::<VncAddress>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn options_follow_the_address() {
        let options: VncOptions = "[::]:1,password=/x,share=ignore".parse().expect("valid");
        assert_eq!((options.password, options.share), (Some("/x".into()), Share::Ignore));
        assert!(!options.address.is_local());
        assert!(":1".parse::<VncOptions>().expect("valid").address.is_local());
        for wrong in [":1,", ":1,password=", ":1,share=no", ":1,tls"] {
            assert!(wrong.parse::<VncOptions>().is_err(), "{wrong}");
        }
    }
}
