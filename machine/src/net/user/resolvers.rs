//! The host's DNS servers, as `/etc/resolv.conf` has them (resolv.conf(5)).

use std::net::{IpAddr, SocketAddr};

use super::outside::DNS_PORT;

const FILE: &str = "/etc/resolv.conf";

/// The host's servers of the first one's family, as they are now. Without the file it is the host
/// itself.
pub(super) fn of_host() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(FILE);
    let all = text.map_or_else(|_| vec![IpAddr::from([127, 0, 0, 1])], |text| parse(&text));
    all.into_iter().map(|ip| SocketAddr::new(ip, DNS_PORT)).collect()
}

fn parse(text: &str) -> Vec<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        // An address that is valid on one interface only has that behind a %, and is no use here.
        (words.next()? == "nameserver").then(|| words.next()?.parse::<IpAddr>().ok())?
    };
    let mut all: Vec<IpAddr> = text.lines().filter_map(server).collect();
    let first = all.first().copied();
    all.retain(|ip| first.is_some_and(|first| first.is_ipv4() == ip.is_ipv4()));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_of_one_family_are_found() {
        let text = "# comment\nsearch a.b\nnameserver 9.9.9.9\n nameserver\t::1\nnameserver fe80::1%e0\n\
                    nameserver 8.8.8.8 \nnameserver\n;nameserver 1.1.1.1\n";
        assert_eq!(parse(text), [IpAddr::from([9, 9, 9, 9]), IpAddr::from([8, 8, 8, 8])]);
        assert!(parse("").is_empty());
        assert_eq!(parse("nameserver ::1\nnameserver 1.1.1.1").len(), 1);
    }
}
