//! The socket of a connection.

use std::{
    fmt,
    mem::offset_of,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};
use tlstap_ebpf::{AF_INET, AF_INET6, method};

use super::fields::Fields;

/// The socket of a connection, and how it was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Its addresses.
    pub endpoints: Endpoints,
    /// Inode of its network namespace, as in `/proc/PID/ns/net`.
    pub namespace: Option<u32>,
    /// How it was found.
    pub method: Method,
}

/// The addresses of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Endpoints {
    /// Of a TCP socket.
    Tcp {
        /// The traced process's.
        local: SocketAddr,
        /// The other side's.
        peer: SocketAddr,
    },
    /// Of a Unix socket, most of which have a name on one side only.
    Unix {
        /// The traced process's: a path, or `@` and an abstract name.
        local: Option<String>,
        /// The other side's.
        peer: Option<String>,
    },
}

/// How the socket of a connection was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// It sent or received inside a call on the TLS object.
    Nested,
    /// It sent the ciphertext that a call on the TLS object had made.
    Ciphertext,
    /// The TLS object was given its file descriptor.
    Descriptor,
    /// The process had no other.
    Only,
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nested => "nested call",
            Self::Ciphertext => "ciphertext",
            Self::Descriptor => "file descriptor",
            Self::Only => "only socket of the process",
        })
    }
}

impl Method {
    const fn from_code(code: u32) -> Option<Self> {
        match code {
            method::NESTED => Some(Self::Nested),
            method::CIPHERTEXT => Some(Self::Ciphertext),
            _ => None,
        }
    }
}

impl Socket {
    /// Reads [`tlstap_ebpf::Endpoints`].
    pub(super) fn read_tcp(payload: &[u8]) -> Option<Self> {
        type Layout = tlstap_ebpf::Endpoints;
        let field = Fields(payload.get(..size_of::<Layout>())?);
        let family = u16::try_from(field.u32(offset_of!(Layout, family))?).ok()?;
        let port = |at| u16::try_from(field.u32(at)?).ok();
        let address = |at| match family {
            AF_INET => Some(IpAddr::from(field.bytes::<4>(at)?)),
            // A socket for both carries IPv4 in IPv6 (RFC 4291, section 2.5.5.2).
            AF_INET6 => Some(IpAddr::from(field.bytes::<16>(at)?).to_canonical()),
            _ => None,
        };
        let local = address(offset_of!(Layout, local))?;
        let peer = address(offset_of!(Layout, peer))?;
        let local_port = port(offset_of!(Layout, local_port))?;
        let peer_port = u16::from_be(port(offset_of!(Layout, peer_port))?);
        let endpoints = Endpoints::Tcp {
            local: SocketAddr::new(local, local_port),
            peer: SocketAddr::new(peer, peer_port),
        };
        Some(Self {
            endpoints,
            namespace: inode(field.u32(offset_of!(Layout, namespace))?),
            method: Method::from_code(field.u32(offset_of!(Layout, method))?)?,
        })
    }

    /// Reads [`tlstap_ebpf::UnixEndpoints`].
    pub(super) fn read_unix(payload: &[u8]) -> Option<Self> {
        type Layout = tlstap_ebpf::UnixEndpoints;
        let field = Fields(payload.get(..size_of::<Layout>())?);
        let name = |length, at| {
            let length = usize::try_from(field.u32(length)?).ok()?;
            let bytes: [u8; tlstap_ebpf::UNIX_NAME_LEN] = field.bytes(at)?;
            Some(unix_name(bytes.get(..length).unwrap_or(&bytes)))
        };
        let endpoints = Endpoints::Unix {
            local: name(offset_of!(Layout, local_len), offset_of!(Layout, local))?,
            peer: name(offset_of!(Layout, peer_len), offset_of!(Layout, peer))?,
        };
        Some(Self {
            endpoints,
            namespace: inode(field.u32(offset_of!(Layout, namespace))?),
            method: Method::from_code(field.u32(offset_of!(Layout, method))?)?,
        })
    }
}

fn inode(number: u32) -> Option<u32> {
    (number != 0).then_some(number)
}

/// A Unix socket's name as `ss` shows it: a path, or `@` and what follows the NUL of an abstract
/// name (unix(7)). `None` for a socket without a name.
fn unix_name(bytes: &[u8]) -> Option<String> {
    match bytes {
        [] => None,
        [0, name @ ..] => Some(format!("@{}", String::from_utf8_lossy(name))),
        path => {
            let path = path.split(|&byte| byte == 0).next().unwrap_or(path);
            Some(String::from_utf8_lossy(path).into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(family: u16, local: &[u8], peer: &[u8]) -> Option<Socket> {
        type Layout = tlstap_ebpf::Endpoints;
        let mut payload = vec![0; size_of::<Layout>()];
        let mut put =
            |at: usize, bytes: &[u8]| payload[at..at + bytes.len()].copy_from_slice(bytes);
        put(offset_of!(Layout, family), &u32::from(family).to_ne_bytes());
        put(offset_of!(Layout, local_port), &43210_u32.to_ne_bytes());
        put(offset_of!(Layout, peer_port), &u32::from(443_u16.to_be()).to_ne_bytes());
        put(offset_of!(Layout, method), &method::NESTED.to_ne_bytes());
        put(offset_of!(Layout, namespace), &7_u32.to_ne_bytes());
        put(offset_of!(Layout, local), local);
        put(offset_of!(Layout, peer), peer);
        Socket::read_tcp(&payload)
    }

    #[test]
    fn addresses() {
        let check = |found, local: &str, peer: &str| {
            let endpoints =
                Endpoints::Tcp { local: local.parse().unwrap(), peer: peer.parse().unwrap() };
            let wanted = Socket { endpoints, namespace: Some(7), method: Method::Nested };
            assert_eq!(found, Some(wanted));
        };
        let v4 = tcp(AF_INET, &[172, 17, 0, 2], &[172, 17, 0, 3]);
        check(v4, "172.17.0.2:43210", "172.17.0.3:443");
        let (mut local, mut peer) = ([0; 16], [0; 16]);
        (local[15], peer[0], peer[15]) = (1, 0xfd, 2);
        check(tcp(AF_INET6, &local, &peer), "[::1]:43210", "[fd00::2]:443");
        let mut mapped = [0; 16];
        mapped[10..].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
        check(tcp(AF_INET6, &mapped, &mapped), "10.0.0.1:43210", "10.0.0.1:443");
        assert_eq!(tcp(1, &[], &[]), None);
    }

    #[test]
    fn unix_names() {
        let check = |bytes: &[u8], name: Option<&str>| {
            assert_eq!(unix_name(bytes).as_deref(), name, "{bytes:?}");
        };
        check(b"", None);
        check(b"/run/web.sock\0", Some("/run/web.sock"));
        check(b"/run/web.sock", Some("/run/web.sock"));
        check(b"\0web", Some("@web"));
    }

    #[test]
    fn every_cut_is_refused() {
        type Layout = tlstap_ebpf::UnixEndpoints;
        let mut payload = vec![0; size_of::<Layout>()];
        payload[offset_of!(Layout, method)..][..4]
            .copy_from_slice(&method::CIPHERTEXT.to_ne_bytes());
        // A length beyond the name's place.
        payload[offset_of!(Layout, local_len)..][..4].copy_from_slice(&[0xff; 4]);
        assert!(Socket::read_unix(&payload).is_some());
        for cut in 0..payload.len() {
            assert_eq!(Socket::read_unix(&payload[..cut]), None, "cut at {cut}");
        }
    }
}
