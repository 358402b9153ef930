//! What the connections of a file share: the interfaces, and which addresses are taken.

use std::{net::SocketAddr, ops::RangeInclusive};

use foldhash::{HashMap, HashSet};

use super::{
    super::{escape::Escaped, place::place},
    blocks, comment,
    route::Route,
};
use crate::{capture::Direction, enrich::Record};

/// Ports for clients whose own is taken, the highest first. One that has become free is used again
/// only after all others: Wireshark notes ports that come again.
const OTHERS: RangeInclusive<u16> = 64_536..=u16::MAX;

/// The node that the file is about.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// How many connections there were.
    connections: u32,
    /// The addresses of those that are open.
    pub(super) pairs: HashSet<(SocketAddr, SocketAddr)>,
    /// How many clients had another port.
    others: usize,
    /// Numbers of interfaces, by what they are named after.
    interfaces: HashMap<(String, bool), u32>,
}

impl Node {
    /// A new connection: its way, and its number. See [`Route::of`].
    pub(super) fn enter(
        &mut self,
        record: &Record,
        first: Option<(Direction, &[u8])>,
    ) -> (Route, u32) {
        self.connections = self.connections.wrapping_add(1);
        let mut route = Route::of(record, first, self.connections);
        // Both sides of a connection may be on this node. Wireshark knows a connection by its
        // addresses, whatever the interface, and would take one side for the other's packets again.
        let from = self.others % OTHERS.len();
        for port in OTHERS.rev().cycle().skip(from).take(OTHERS.len()) {
            if self.pairs.insert(route.pair()) {
                break;
            }
            self.others = self.others.wrapping_add(1);
            route.is_second = true;
            route.client_mut().set_port(port);
        }
        (route, self.connections)
    }

    /// A connection ended.
    pub(super) fn leave(&mut self, pair: (SocketAddr, SocketAddr)) {
        self.pairs.remove(&pair);
    }

    /// The number of the interface of a record's container, which is written if it is new.
    pub(super) fn interface(&mut self, record: &Record, second: bool, out: &mut Vec<u8>) -> u32 {
        let container = record.container.as_deref();
        // Names are used again by other containers.
        let id = container.and_then(|container| container.id.as_deref());
        let name = Escaped(place(container).as_bytes()).to_string();
        let number = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let key = (id.unwrap_or(&name).to_owned(), second);
        *self.interfaces.entry(key).or_insert_with(|| {
            let side = if second { " (other side)" } else { "" };
            blocks::interface(&(name + side), &comment::description(container), out);
            number
        })
    }
}
