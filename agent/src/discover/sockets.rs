//! The TCP sockets of a process, from /proc: what the kernel half cannot tell. Slow on a node with
//! many sockets.

use std::{net::SocketAddr, path::Path};

use procfs::{
    net::{TcpNetEntry, TcpState},
    process::{FDTarget, Process},
};

/// The addresses of a socket: the process's, the peer's.
pub type Addresses = (SocketAddr, SocketAddr);

/// The addresses of the TCP socket behind a file descriptor.
pub fn of_descriptor(proc: &Path, pid: u32, descriptor: u32) -> Option<Addresses> {
    let process = open(proc, pid)?;
    let number = i32::try_from(descriptor).ok()?;
    let FDTarget::Socket(inode) = process.fd_from_fd(number).ok()?.target else { return None };
    connections(&process).find(|entry| entry.inode == inode).map(|entry| addresses(&entry))
}

/// The addresses of the only TCP connection of a process. `None` when there are others.
pub fn only(proc: &Path, pid: u32) -> Option<Addresses> {
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
    own.next().is_none().then(|| addresses(&only))
}

fn open(proc: &Path, pid: u32) -> Option<Process> {
    Process::new_with_root(proc.join(pid.to_string())).ok()
}

/// All TCP sockets of the process's network namespace.
fn connections(process: &Process) -> impl Iterator<Item = TcpNetEntry> {
    let (v4, v6) = (process.tcp().unwrap_or_default(), process.tcp6().unwrap_or_default());
    v4.into_iter().chain(v6)
}

fn addresses(entry: &TcpNetEntry) -> Addresses {
    // A socket for both carries IPv4 in IPv6 (RFC 4291, section 2.5.5.2).
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    (canonical(entry.local_address), canonical(entry.remote_address))
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
        let wanted = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
        assert_eq!(found, Some(wanted));
        let listening = u32::try_from(listener.as_raw_fd()).unwrap();
        let found = of_descriptor(Path::new("/proc"), std::process::id(), listening);
        assert_eq!(found.map(|(local, _)| local), Some(listener.local_addr().unwrap()));
        assert_eq!(of_descriptor(Path::new("/proc"), std::process::id(), 0xffff_ffff), None);
    }
}
