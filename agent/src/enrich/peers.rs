//! Names of the containers and pods of this node by their addresses.
//!
//! The addresses come from the network namespaces themselves (/proc/PID/net), so that they are
//! known with every runtime and every network plugin. They are looked up in the background, when
//! an address is met that no namespace had and containers have come since, or some time has passed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{Processes, processes::Home};
use crate::discover;

/// How long until addresses are read again though no container came: one may have been given
/// another network.
const RETRY: Duration = Duration::from_secs(30);

/// Who has an address.
pub(crate) enum Owner {
    /// These containers, which share one network namespace.
    Known(Arc<[Home]>),
    /// It is being looked for.
    Pending,
    /// Nobody on this node, or more than one.
    Unknown,
}

/// The addresses of all containers.
#[derive(Debug)]
pub struct Peers {
    proc: PathBuf,
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    addresses: HashMap<IpAddr, Namespace>,
    looking: bool,
    /// When the addresses were read the last time, and how many containers were known then.
    read: Option<(Instant, u64)>,
}

/// What lives in a network namespace; `None` when several namespaces have the address.
type Namespace = Option<Arc<[Home]>>;

impl Peers {
    pub(crate) fn new(proc: &Path) -> Self {
        Self { proc: proc.to_owned(), state: Mutex::default(), changed: Notify::new() }
    }

    /// Who has the address, as far as it is known now. Must be called in a tokio runtime.
    pub(crate) fn look_up(self: &Arc<Self>, address: IpAddr, processes: &Arc<Processes>) -> Owner {
        if address.is_loopback() {
            return Owner::Unknown;
        }
        let mut state = self.lock();
        match state.addresses.get(&address) {
            Some(Some(homes)) => return Owner::Known(Arc::clone(homes)),
            Some(None) => return Owner::Unknown,
            None if state.looking => return Owner::Pending,
            None => {}
        }
        let containers = processes.containers();
        let now = Instant::now();
        if let Some((read, then)) = state.read
            && then == containers
            && now.duration_since(read) < RETRY
        {
            return Owner::Unknown;
        }
        state.looking = true;
        let (peers, processes) = (Arc::clone(self), Arc::clone(processes));
        let look = move || {
            let addresses = read(&peers.proc, &processes);
            let read = Some((now, containers));
            *peers.lock() = State { addresses, looking: false, read };
            // All who wait, and whoever is about to.
            peers.changed.notify_waiters();
            peers.changed.notify_one();
        };
        // By a task, since a thread that is started here would have no more rights than this one.
        tokio::spawn(async { tokio::task::spawn_blocking(look).await });
        Owner::Pending
    }

    /// Completes when addresses were read, or at once if they were since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code that holds the lock panics half-way through a change.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the addresses of every network namespace that containers have for themselves.
fn read(proc: &Path, processes: &Processes) -> HashMap<IpAddr, Namespace> {
    let mut found: HashMap<IpAddr, Namespace> = HashMap::new();
    for (pid, homes) in namespaces(proc, processes).into_values() {
        let homes: Arc<[Home]> = homes.into_iter().collect();
        for address in addresses(&proc.join(pid.to_string())) {
            found.entry(address).and_modify(|owner| *owner = None).or_insert(Some(homes.clone()));
        }
    }
    found
}

/// By inode of the network namespace: a process in it, and the containers that it is in.
fn namespaces(proc: &Path, processes: &Processes) -> BTreeMap<u64, (u32, BTreeSet<Home>)> {
    let namespace = |process: &Path| fs::metadata(process.join("ns/net")).map(|meta| meta.ino());
    let host = namespace(&discover::host(proc)).ok();
    let mut found: BTreeMap<u64, (u32, BTreeSet<Home>)> = BTreeMap::new();
    for pid in discover::processes(proc).unwrap_or_default() {
        let Ok(inode) = namespace(&proc.join(pid.to_string())) else { continue };
        let known = processes.know(pid);
        let home = &known.home;
        if Some(inode) != host && *home != Home::Host {
            found.entry(inode).or_insert_with(|| (pid, BTreeSet::new())).1.insert(home.clone());
        }
    }
    found
}

/// The addresses of a process's network namespace by which others reach it.
fn addresses(process: &Path) -> Vec<IpAddr> {
    let text = |name: &str| fs::read_to_string(process.join("net").join(name)).unwrap_or_default();
    let v4 = local_v4(&text("fib_trie"));
    let v6 = text("if_inet6").lines().filter_map(local_v6).collect::<Vec<_>>();
    v4.into_iter().map(IpAddr::from).chain(v6.into_iter().map(IpAddr::from)).collect()
}

/// The local addresses in the text of /proc/net/fib_trie, where each stands on a line of its own
/// before those that say what it is (net/ipv4/fib_trie.c).
fn local_v4(text: &str) -> BTreeSet<Ipv4Addr> {
    let mut found = BTreeSet::new();
    let mut address = None;
    for line in text.lines().map(str::trim_start) {
        if let Some(leaf) = line.strip_prefix("|-- ") {
            address = leaf.trim_end().parse().ok();
        } else if line.starts_with("/32 host LOCAL") {
            found.extend(address.filter(|address: &Ipv4Addr| !address.is_loopback()));
        }
    }
    found
}

/// The address in a line of /proc/net/if_inet6 (net/ipv6/addrconf.c), unless it is one that every
/// namespace has.
fn local_v6(line: &str) -> Option<Ipv6Addr> {
    let digits = line.split_whitespace().next().filter(|digits| digits.len() == 32)?;
    let address = Ipv6Addr::from(u128::from_str_radix(digits, 16).ok()?);
    (!address.is_loopback() && !address.is_unicast_link_local()).then_some(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_version_4() {
        let text = "Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     |-- 172.17.0.0
        /16 link UNICAST
Local:
  +-- 0.0.0.0/0 3 0 5
        |-- 127.0.0.1
           /32 host LOCAL
     +-- 172.17.0.0/16 2 0 2
        |-- 172.17.0.2
           /32 host LOCAL
        |-- 172.17.255.255
           /32 link BROADCAST
        |-- 10.0.0.9
           /32 host LOCAL
";
        let found: Vec<_> = local_v4(text).into_iter().collect();
        assert_eq!(found, [Ipv4Addr::new(10, 0, 0, 9), Ipv4Addr::new(172, 17, 0, 2)]);
        assert!(local_v4("|-- x\n/32 host LOCAL\n/32 host LOCAL").is_empty());
    }

    #[test]
    fn addresses_of_version_6() {
        let check = |line: &str, expect: Option<&str>| {
            assert_eq!(local_v6(line), expect.map(|address| address.parse().unwrap()), "{line}");
        };
        check("fd000000000000000000000000000002 02 40 00 80 eth0", Some("fd00::2"));
        check("00000000000000000000000000000001 01 80 10 80 lo", None);
        check("fe80000000000000042acfffe110002a 02 40 20 80 eth0", None);
        check("fd00 02", None);
        check("", None);
    }
}
