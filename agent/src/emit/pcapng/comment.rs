//! A record in, what is known about its connection out: a line for each fact.

use super::super::{escape::Escaped, place::place};
use crate::{
    capture::Endpoints,
    enrich::{Container, Pod, Record},
};

/// The comment on a connection's first packet. Names cannot begin a line of their own.
pub(super) fn comment(record: &Record) -> String {
    let mut lines = Lines::default();
    let process = &record.process;
    lines.add("process", process.command.as_deref());
    lines.add("pid", Some(&process.pid.to_string()));
    lines.add("executable", process.executable.as_deref());
    let container = record.container.as_deref();
    lines.add("container", Some(&place(container)));
    if let Some(Container { id, image, pod, .. }) = container {
        lines.add("container id", id.as_deref());
        lines.add("image", image.as_deref());
        lines.add("pod", pod.as_ref().map(pod_name).as_deref());
    }
    if let Some(library) = &record.tls {
        let version = library.version.as_deref().unwrap_or_default();
        lines.add("library", Some(format!("{} {version}", library.name).trim_end()));
    }
    match record.socket.as_ref().map(|socket| &socket.endpoints) {
        Some(Endpoints::Tcp { local, peer }) => {
            lines.add("local", Some(&local.to_string()));
            lines.add("peer", Some(&peer.to_string()));
        }
        Some(Endpoints::Unix { local, peer }) => {
            lines.add("local", local.as_deref());
            lines.add("peer", peer.as_deref());
        }
        None => lines.add("peer", Some("unknown; the addresses are invented")),
    }
    lines.add("peer name", record.peer.as_deref());
    lines.add("connection", Some(&record.message.connection.to_string()));
    lines.text
}

/// What an interface stands for.
pub(super) fn description(container: Option<&Container>) -> String {
    let Some(container) = container else { return "processes of the host".to_owned() };
    let mut lines = Lines::default();
    lines.add("id", container.id.as_deref());
    lines.add("image", container.image.as_deref());
    lines.add("pod", container.pod.as_ref().map(pod_name).as_deref());
    lines.text.replace('\n', ", ")
}

fn pod_name(pod: &Pod) -> String {
    format!("{}/{}", pod.namespace, pod.name)
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn add(&mut self, name: &str, value: Option<&str>) {
        let Some(value) = value else { return };
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text += &format!("{name}: {}", Escaped(value.as_bytes()));
    }
}
