//! Where to listen, as the user writes it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// One address with its port, or all addresses of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address {
    /// That one.
    One(SocketAddr),
    /// Every one.
    All(u16),
}

impl Address {
    /// What is tried, one after the other: IPv6 serves both, but may be off.
    pub(super) fn candidates(self) -> Vec<SocketAddr> {
        match self {
            Self::One(address) => vec![address],
            Self::All(port) => {
                let all = [IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)];
                all.map(|address| SocketAddr::new(address, port)).into()
            }
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = match text.strip_prefix(':') {
            Some(port) => port.parse().ok().map(Self::All),
            None => text.parse().ok().map(Self::One),
        };
        address.ok_or_else(|| {
            "write ADDRESS:PORT, such as 127.0.0.1:9464 or [::1]:9464, or :9464 for all addresses"
                .to_owned()
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(address) => address.fmt(f),
            Self::All(port) => write!(f, ":{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_all() {
        for text in ["127.0.0.1:9464", "[::1]:0", ":9464"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!(":80".parse(), Ok(Address::All(80)));
        assert_eq!(Address::All(80).candidates().len(), 2);
        for wrong in ["", "9464", ":", ":65536", "localhost:9464", "127.0.0.1", "::1:9464x", ":-1"]
        {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
