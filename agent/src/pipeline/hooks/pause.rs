//! All probes taken off for some time, and put on again: what a limit of the agent asks for.

use std::sync::Arc;

use super::Hooks;
use crate::{capture::Connections, discover::Event, heartbeat::Heartbeat};

impl Hooks {
    /// Takes all probes off. Until [`Hooks::resume`] none is put on, whatever happens. Connections that
    /// are open end here, since what happens on them is not seen any more.
    pub(in super::super) fn pause(&mut self, connections: &Connections) {
        if self.paused {
            return;
        }
        self.paused = true;
        let (mut attachments, libraries) = self.registry.take_all();
        self.former = libraries;
        attachments.extend(self.ciphertext.take_all());
        detach(attachments, &self.heart);
        connections.interrupt();
    }

    /// Puts probes on all that is there now, as at the beginning.
    pub(in super::super) fn resume(&mut self) {
        if !std::mem::take(&mut self.paused) {
            return;
        }
        // Those of connections that ended when the probes were taken off.
        self.names.libraries.forget_paths();
        self.namespaces.clear();
        self.begin();
        for (id, point) in self.mounts.clone() {
            self.tell(Event::Mounted { id, point });
        }
        while self.work() {}
        self.registry.let_go(self.former.drain().map(|(_, library)| library));
    }

    /// What becomes of an event while nothing is probed.
    pub(super) fn miss(&mut self, event: &Event) {
        if let Event::Exited { pid } = event {
            self.names.libraries.forget(*pid);
            self.unreadable.remove(pid);
        }
    }
}

/// In this thread: it has nothing else to do, and what follows waits for it.
fn detach<A>(attachments: Vec<A>, heart: &Arc<Heartbeat>) {
    for attachment in attachments {
        heart.beat();
        drop(attachment);
    }
}
