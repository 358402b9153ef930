//! Sockets that the kernel half did not see in the calls on their TLS object: asks for more where
//! there is more, without holding up the stream.

use std::{collections::HashSet, path::PathBuf};

use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::{
    capture::{ConnectionKey, Endpoints, Method, Socket},
    discover::{self, TcpSocket},
};

/// Looks for sockets.
#[derive(Debug)]
pub(super) struct SocketSearch {
    proc: PathBuf,
    /// Processes whose ciphertext is followed.
    followed: HashSet<u32>,
    /// Takes processes whose ciphertext is to be followed.
    follow: UnboundedSender<u32>,
    found: UnboundedSender<(ConnectionKey, Socket)>,
    results: UnboundedReceiver<(ConnectionKey, Socket)>,
}

impl SocketSearch {
    /// The receiver gives processes whose ciphertext is to be followed.
    pub(super) fn new(proc: PathBuf) -> (Self, UnboundedReceiver<u32>) {
        let (follow, wanted) = mpsc::unbounded_channel();
        let (found, results) = mpsc::unbounded_channel();
        (Self { proc, followed: HashSet::new(), follow, found, results }, wanted)
    }

    /// Another one, which tells the same receiver.
    pub(super) fn another(&self) -> Self {
        let (found, results) = mpsc::unbounded_channel();
        let (proc, follow) = (self.proc.clone(), self.follow.clone());
        Self { proc, followed: HashSet::new(), follow, found, results }
    }

    /// A connection's I/O is not done in the calls on its TLS object. `only`: the process has no
    /// other connection.
    pub(super) fn elsewhere(&mut self, connection: ConnectionKey, only: bool) {
        if self.followed.insert(connection.pid) {
            // When the hooking thread has ended, so does the agent.
            let _ = self.follow.send(connection.pid);
        }
        if only {
            self.look_up(connection, Method::Only, |proc, pid| discover::only_socket(&proc, pid));
        }
    }

    /// A connection's TLS object was given a file descriptor.
    pub(super) fn descriptor(&self, connection: ConnectionKey, number: u32) {
        self.look_up(connection, Method::Descriptor, move |proc, pid| {
            discover::socket_of_descriptor(&proc, pid, number)
        });
    }

    /// A process ended.
    pub(super) fn forget(&mut self, pid: u32) {
        self.followed.remove(&pid);
    }

    /// The next socket that was found.
    pub(super) async fn found(&mut self) -> (ConnectionKey, Socket) {
        match self.results.recv().await {
            Some(found) => found,
            None => std::future::pending().await,
        }
    }

    fn look_up(
        &self,
        connection: ConnectionKey,
        method: Method,
        search: impl FnOnce(PathBuf, u32) -> Option<TcpSocket> + Send + 'static,
    ) {
        let (proc, found) = (self.proc.clone(), self.found.clone());
        let look = move || {
            if let Some(TcpSocket { local, peer, namespace }) = search(proc, connection.pid) {
                let endpoints = Endpoints::Tcp { local, peer };
                let _ = found.send((connection, Socket { endpoints, namespace, method }));
            } else {
                tracing::debug!(pid = connection.pid, %connection, by = %method, "no socket found");
            }
        };
        // By a task, since a thread that is started here would have no more rights than this one.
        tokio::spawn(async { tokio::task::spawn_blocking(look).await });
    }
}
