//! What spans come from: a process, its container, this node, and what the operator says of it.

use std::{env, fs, path::Path};

use opentelemetry_proto::tonic::{common::v1::KeyValue, resource::v1::Resource};
use percent_encoding::percent_decode_str;

use super::attributes::{attribute, text};
use crate::discover;

/// Where the operator names more attributes, such as `k8s.node.name` (OpenTelemetry, Resource SDK).
const VARIABLE: &str = "OTEL_RESOURCE_ATTRIBUTES";

/// What all spans of this node have in common.
#[derive(Clone, Debug, Default)]
pub struct Node {
    attributes: Vec<KeyValue>,
}

impl Node {
    /// This one, and what `OTEL_RESOURCE_ATTRIBUTES` says.
    pub fn this(proc: &Path) -> Self {
        let mut node = Self::told();
        if text(&node.attributes, "host.name").is_none() {
            node.attributes.extend(hostname(proc).map(|name| attribute("host.name", name)));
        }
        node
    }

    /// Another one, as of a recording: only what `OTEL_RESOURCE_ATTRIBUTES` says.
    pub fn told() -> Self {
        let told = env::var(VARIABLE).unwrap_or_default();
        let pairs = pairs(&told).into_iter().map(|(name, value)| attribute(name, value));
        Self { attributes: pairs.collect() }
    }

    /// The resource that a process is. What is known of it is believed before what the operator says of
    /// all.
    pub(super) fn resource(&self, process: Vec<KeyValue>) -> Resource {
        let mut attributes = process;
        let name = service(&attributes);
        attributes.push(attribute("service.name", name));
        if let Some(namespace) = text(&attributes, "k8s.namespace.name").map(str::to_owned) {
            attributes.push(attribute("service.namespace", namespace));
        }
        for told in &self.attributes {
            if attributes.iter().all(|known| known.key != told.key) {
                attributes.push(told.clone());
            }
        }
        Resource { attributes, ..Resource::default() }
    }
}

/// The name of the service that a process is a part of: what its instances have in common, so not a
/// pod's name.
fn service(process: &[KeyValue]) -> String {
    let of = |key| text(process, key);
    let program = of("process.executable.path").and_then(|path| path.rsplit('/').next());
    let name = of("k8s.container.name").or(of("container.name")).or(program);
    name.or(of("process.command")).unwrap_or("unknown_service").to_owned()
}

/// The name of the node and not of a container that the agent is in.
fn hostname(proc: &Path) -> Option<String> {
    // The second one is the node's, where the agent has another.
    let node = discover::roots(proc).into_iter().nth(1);
    let name = node.and_then(|root| fs::read_to_string(root.join("etc/hostname")).ok());
    let name = name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    name.or_else(|| rustix::system::uname().nodename().to_str().ok().map(str::to_owned))
}

/// `name=value,name=value`, percent-encoded. What is none is left out.
pub(super) fn pairs(text: &str) -> Vec<(String, String)> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text.trim()).decode_utf8().ok()?;
        Some(text.into_owned())
    };
    let pair = |text: &str| {
        let (name, value) = text.split_once('=')?;
        Some((decoded(name).filter(|name| !name.is_empty())?, decoded(value)?))
    };
    text.split(',').filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(attributes: &[(&str, &str)]) -> Vec<KeyValue> {
        attributes.iter().map(|(key, value)| attribute(*key, *value)).collect()
    }

    #[test]
    fn services_are_what_instances_have_in_common() {
        let all = [
            ("k8s.container.name", "web"),
            ("container.name", "k8s_web_1"),
            ("process.executable.path", "/usr/bin/python3"),
            ("process.command", "python"),
        ];
        let names = ["web", "k8s_web_1", "python3", "python", "unknown_service"];
        for (known, name) in names.iter().enumerate() {
            assert_eq!(service(&of(&all[known..])), *name);
        }
    }

    #[test]
    fn what_is_known_goes_before_what_is_told() {
        let told = of(&[("k8s.node.name", "n"), ("process.command", "x"), ("service.name", "y")]);
        let process = of(&[("process.command", "curl"), ("k8s.namespace.name", "shop")]);
        let resource = Node { attributes: told }.resource(process);
        let expect = of(&[
            ("process.command", "curl"),
            ("k8s.namespace.name", "shop"),
            ("service.name", "curl"),
            ("service.namespace", "shop"),
            ("k8s.node.name", "n"),
        ]);
        assert_eq!(resource.attributes, expect);
    }

    #[test]
    fn lists_of_pairs() {
        let found = pairs(" a=1 ,b=x%2Cy%3D,c,=d,e=%ff,f=");
        let found: Vec<_> = found.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(found, [("a", "1"), ("b", "x,y="), ("f", "")]);
    }

    #[test]
    fn the_host_has_the_name() {
        let proc = tempfile::tempdir().unwrap();
        let etc = proc.path().join("1/root/etc");
        fs::create_dir_all(&etc).unwrap();
        fs::write(etc.join("hostname"), "node-7\n").unwrap();
        assert_eq!(hostname(proc.path()).as_deref(), Some("node-7"));
    }
}
