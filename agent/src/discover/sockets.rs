//! The TCP sockets of a process, from /proc: what the kernel half cannot tell. Slow on a node with
//! many sockets.

use std::{fs, net::SocketAddr, os::unix::fs::MetadataExt as _, path::Path};

use procfs::{
    net::{TcpNetEntry, TcpState},
    process::{FDTarget, Process},
};

/// A TCP socket of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpSocket {
    /// The process's address.
    pub local: SocketAddr,
    /// The other side's.
    pub peer: SocketAddr,
    /// Inode of its network namespace.
    pub namespace: Option<u32>,
}

/// The TCP socket behind a file descriptor.
pub fn of_descriptor(proc: &Path, pid: u32, descriptor: u32) -> Option<TcpSocket> {
    let process = open(proc, pid)?;
    let number = i32::try_from(descriptor).ok()?;
    let FDTarget::Socket(inode) = process.fd_from_fd(number).ok()?.target else { return None };
    let entry = connections(&process).find(|entry| entry.inode == inode)?;
    Some(socket(&entry, proc, pid))
}

/// The only TCP connection of a process. `None` when there are others.
pub fn only(proc: &Path, pid: u32) -> Option<TcpSocket> {
    let process = open(proc, pid)?;
    let held: Vec<u64> = process
        .fd()
        .ok()?
        .filter_map(|descriptor| match descriptor.ok()?.target {
            FDTarget::Socket(inode) => Some(inode),
            _ => None,
        })
        .collect();
    let mut own = connections(&process)
        .filter(|entry| entry.state == TcpState::Established && held.contains(&entry.inode));
    let only = own.next()?;
    own.next().is_none().then(|| socket(&only, proc, pid))
}

fn open(proc: &Path, pid: u32) -> Option<Process> {
    Process::new_with_root(proc.join(pid.to_string())).ok()
}

/// All TCP sockets of the process's network namespace.
fn connections(process: &Process) -> impl Iterator<Item = TcpNetEntry> {
    let (v4, v6) = (process.tcp().unwrap_or_default(), process.tcp6().unwrap_or_default());
    v4.into_iter().chain(v6)
}

fn socket(entry: &TcpNetEntry, proc: &Path, pid: u32) -> TcpSocket {
    // A socket for both carries IPv4 in IPv6 (RFC 4291, section 2.5.5.2).
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let namespace = fs::metadata(proc.join(pid.to_string()).join("ns/net"));
    TcpSocket {
        local: canonical(entry.local_address),
        peer: canonical(entry.remote_address),
        namespace: namespace.ok().and_then(|namespace| u32::try_from(namespace.ino()).ok()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::fd::AsRawFd as _,
    };

    use super::*;

    #[test]
    fn addresses_of_a_descriptor() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let number = u32::try_from(stream.as_raw_fd()).unwrap();
        let found = of_descriptor(Path::new("/proc"), std::process::id(), number);
        let found = found.unwrap();
        assert_eq!(found.local, stream.local_addr().unwrap());
        assert_eq!(found.peer, stream.peer_addr().unwrap());
        assert!(found.namespace.is_some());
        let listening = u32::try_from(listener.as_raw_fd()).unwrap();
        let found = of_descriptor(Path::new("/proc"), std::process::id(), listening);
        assert_eq!(found.unwrap().local, listener.local_addr().unwrap());
        assert_eq!(of_descriptor(Path::new("/proc"), std::process::id(), 0xffff_ffff), None);
    }
}
