//! Filters: which processes are of interest.
//!
//! Those of one kind are alternatives; those of different kinds must all hold.

use std::fmt;

use serde::{Deserialize, Serialize};
use wildmatch::WildMatch;

use crate::{
    attach::Verdict,
    enrich::{Container, Pod, Process},
};

/// The filters of the command line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Filters {
    /// Container names, or beginnings of ids.
    pub containers: Vec<String>,
    /// Pods.
    pub pods: Vec<PodName>,
    /// Kubernetes namespaces.
    pub namespaces: Vec<String>,
    /// Images, as the runtime names them.
    #[serde(with = "globs")]
    pub images: Vec<WildMatch>,
    /// Process ids, as the host numbers them.
    pub pids: Vec<u32>,
    /// Command names, of processes or threads.
    pub commands: Vec<String>,
    /// Paths of executables, inside their containers.
    #[serde(with = "globs")]
    pub executables: Vec<WildMatch>,
}

/// A pod, in one namespace or in any.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodName {
    /// Where it is; anywhere if absent.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

/// Globs as they were typed.
mod globs {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use wildmatch::WildMatch;

    pub(super) fn serialize<S: Serializer>(globs: &[WildMatch], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(globs.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        from: D,
    ) -> Result<Vec<WildMatch>, D::Error> {
        let globs = Vec::<String>::deserialize(from)?;
        Ok(globs.iter().map(|glob| WildMatch::new(glob)).collect())
    }
}

impl fmt::Display for Filters {
    /// As on the command line. What a user typed is escaped.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pods = self.pods.iter().map(|PodName { namespace, name }| {
            namespace.as_ref().map_or(name.clone(), |namespace| format!("{namespace}/{name}"))
        });
        let options = [
            ("container", self.containers.clone()),
            ("pod", pods.collect()),
            ("namespace", self.namespaces.clone()),
            ("image", self.images.iter().map(ToString::to_string).collect()),
            ("pid", self.pids.iter().map(ToString::to_string).collect()),
            ("comm", self.commands.clone()),
            ("exe", self.executables.iter().map(ToString::to_string).collect()),
        ];
        let words: Vec<_> = options
            .iter()
            .flat_map(|(option, values)| values.iter().map(move |value| (option, value)))
            .map(|(option, value)| format!("--{option} {}", value.escape_debug()))
            .collect();
        f.write_str(&words.join(" "))
    }
}

/// The shortest beginning of a container id that is taken as one.
const SHORTEST_ID: usize = 4;

impl Filters {
    /// Whether everything is of interest.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a process, or a call by one of its threads, is of interest.
    pub fn select(
        &self,
        process: &Process,
        container: Option<&Container>,
        thread: Option<&str>,
    ) -> bool {
        self.select_process(process, container)
            && (self.named(process.command.as_deref()) || self.named(thread))
    }

    /// What the kernel half is to do with a process of which nothing more will become known.
    pub fn verdict(&self, process: &Process, container: Option<&Container>) -> Verdict {
        if !self.select_process(process, container) {
            Verdict::Ignore
        } else if self.named(process.command.as_deref()) {
            Verdict::Trace
        } else {
            // A thread of it may bear the name.
            Verdict::ByThread
        }
    }

    /// Whether what a container runtime knows matters.
    pub fn need_names(&self) -> bool {
        !(self.containers.is_empty()
            && self.pods.is_empty()
            && self.namespaces.is_empty()
            && self.images.is_empty())
    }

    fn select_process(&self, process: &Process, container: Option<&Container>) -> bool {
        let pod = container.and_then(|container| container.pod.as_ref());
        let image = container.and_then(|container| container.image.as_deref());
        let executable = process.executable.as_deref();
        any(&self.pids, Some(&process.pid), |wanted, pid| wanted == pid)
            && any(&self.containers, container, |wanted, container| is(container, wanted))
            && any(&self.pods, pod, PodName::is)
            && any(&self.namespaces, pod, |wanted, pod| *wanted == pod.namespace)
            && any(&self.images, image, WildMatch::matches)
            && any(&self.executables, executable, WildMatch::matches)
    }

    fn named(&self, name: Option<&str>) -> bool {
        self.commands.is_empty()
            || name.is_some_and(|name| self.commands.iter().any(|wanted| wanted == name))
    }
}

/// Whether one of the alternatives holds; with none given, anything does.
fn any<W, T: ?Sized>(wanted: &[W], found: Option<&T>, holds: impl Fn(&W, &T) -> bool) -> bool {
    wanted.is_empty() || found.is_some_and(|found| wanted.iter().any(|one| holds(one, found)))
}

impl PodName {
    /// `NAME`, or `NAMESPACE/NAME`.
    pub fn parse(text: &str) -> Self {
        match text.split_once('/') {
            Some((namespace, name)) => {
                Self { namespace: Some(namespace.to_owned()), name: name.to_owned() }
            }
            None => Self { namespace: None, name: text.to_owned() },
        }
    }

    fn is(&self, pod: &Pod) -> bool {
        self.name == pod.name
            && self.namespace.as_ref().is_none_or(|namespace| *namespace == pod.namespace)
    }
}

/// Whether a container is called so, or its id begins so.
pub(crate) fn is(container: &Container, wanted: &str) -> bool {
    let in_pod = container.pod.as_ref().and_then(|pod| pod.container.as_deref());
    container.name.as_deref() == Some(wanted)
        || in_pod == Some(wanted)
        || (wanted.len() >= SHORTEST_ID
            && container.id.as_deref().is_some_and(|id| id.starts_with(wanted)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        let executable = Some("/usr/bin/curl".into());
        Process { pid: 41, command: Some("curl".into()), executable }
    }

    fn container() -> Container {
        Container {
            id: Some("0123456789ab".into()),
            name: Some("k8s_web_web-0_shop".into()),
            runtime: Some("docker".into()),
            image: Some("docker.io/library/web:1".into()),
            pod: Some(Pod {
                name: "web-0".into(),
                namespace: "shop".into(),
                uid: None,
                container: Some("web".into()),
            }),
        }
    }

    #[track_caller]
    fn check(filters: &Filters, thread: &str, expect: bool) {
        let found = filters.select(&process(), Some(&container()), Some(thread));
        assert_eq!(found, expect, "{filters:?}");
    }

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|&name| name.to_owned()).collect()
    }

    fn globs(list: &[&str]) -> Vec<WildMatch> {
        list.iter().map(|glob| WildMatch::new(glob)).collect()
    }

    #[test]
    fn shown_as_typed() {
        let filters = Filters {
            containers: vec!["web".to_owned(), "d\x1bb".to_owned()],
            pods: vec![PodName { namespace: Some("shop".to_owned()), name: "web-0".to_owned() }],
            images: vec![WildMatch::new("*/web:1")],
            pids: vec![41],
            ..Filters::default()
        };
        let expect =
            "--container web --container d\\u{1b}b --pod shop/web-0 --image */web:1 --pid 41";
        assert_eq!(filters.to_string(), expect);
    }

    #[test]
    fn without_filters_all_is_wanted() {
        assert!(Filters::default().select(&process(), None, None));
        assert!(Filters::default().is_empty());
    }

    #[test]
    fn filters_combine() {
        let by = |containers: &[&str], pids: &[u32], commands: &[&str]| Filters {
            containers: names(containers),
            pids: pids.to_vec(),
            commands: names(commands),
            ..Filters::default()
        };
        check(&by(&[], &[], &[]), "x", true);
        check(&by(&["k8s_web_web-0_shop"], &[], &[]), "x", true);
        check(&by(&["db", "web"], &[], &[]), "x", true);
        check(&by(&["0123"], &[], &[]), "x", true);
        check(&by(&["012"], &[], &[]), "x", false);
        check(&by(&["we"], &[], &[]), "x", false);
        check(&by(&["web"], &[42], &[]), "x", false);
        check(&by(&["web"], &[41], &["curl"]), "x", true);
        check(&by(&[], &[], &["worker"]), "worker", true);
        check(&by(&[], &[], &["worker"]), "x", false);
    }

    #[test]
    fn by_pod_and_namespace() {
        let by = |pods: &[&str], namespaces: &[&str]| Filters {
            pods: pods.iter().map(|pod| PodName::parse(pod)).collect(),
            namespaces: names(namespaces),
            ..Filters::default()
        };
        check(&by(&["web-0"], &[]), "x", true);
        check(&by(&["db-0", "shop/web-0"], &[]), "x", true);
        check(&by(&["test/web-0"], &[]), "x", false);
        check(&by(&["web"], &[]), "x", false);
        check(&by(&[], &["shop"]), "x", true);
        check(&by(&["web-0"], &["test"]), "x", false);
        assert!(!by(&["web-0"], &[]).select(&process(), Some(&Container::default()), None));
        assert!(!by(&[], &["shop"]).select(&process(), None, None));
    }

    #[test]
    fn by_image_and_executable() {
        let by = |images: &[&str], executables: &[&str]| Filters {
            images: globs(images),
            executables: globs(executables),
            ..Filters::default()
        };
        check(&by(&["docker.io/library/web:1"], &[]), "x", true);
        check(&by(&["db:*", "*/web:?"], &[]), "x", true);
        check(&by(&["web:1"], &[]), "x", false);
        check(&by(&[], &["/usr/*/curl"]), "x", true);
        check(&by(&["*"], &["/opt/*"]), "x", false);
        assert!(!by(&["*"], &[]).select(&process(), None, None), "the host has no image");
    }

    #[test]
    fn only_some_filters_wait_for_names() {
        let by = |filters: Filters| filters.need_names();
        assert!(by(Filters { containers: names(&["web"]), ..Filters::default() }));
        assert!(by(Filters { pods: vec![PodName::parse("web")], ..Filters::default() }));
        assert!(by(Filters { namespaces: names(&["shop"]), ..Filters::default() }));
        assert!(by(Filters { images: globs(&["*"]), ..Filters::default() }));
        assert!(!by(Filters { executables: globs(&["*"]), pids: vec![1], ..Filters::default() }));
    }
}
