//! What `deploy/` asks Kubernetes for, and the same asked of containerd.

use std::{
    io::{Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::{packages, tool};

/// Reads YAML, and has the schemas of Kubernetes.
const VALIDATE: &str = "kubernetes-validate==1.37.0";
/// Helm's own engine.
const HELM: &str = "helm-python-sdk==0.2.2";

/// The privileges of the agent's container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// All there are.
    Privileged,
    /// Capabilities only.
    Least,
}

/// What Helm makes of the chart with these values, which are JSON.
pub fn charted(values: &str) -> Result<Vec<Value>> {
    let chart = deploy().join("helm/tlstap");
    let chart = chart.to_str().context("a path that is not UTF-8")?;
    manifests(&["chart", chart, values], "")
}

impl Variant {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Privileged, Self::Least];

    /// What kubectl makes of the kustomization.
    pub fn kustomized(self) -> Result<Vec<Value>> {
        let folder = match self {
            Self::Privileged => "base",
            Self::Least => "least-privilege",
        };
        let folder = deploy().join(folder);
        let yaml =
            tool::run(tool::command("kubectl", ["kustomize".as_ref(), folder.as_os_str()])?)?;
        manifests(&["yaml"], &yaml)
    }

    /// What Helm makes of the chart.
    pub fn charted(self) -> Result<Vec<Value>> {
        charted(&format!(r#"{{"privileged": {}}}"#, self == Self::Privileged))
    }

    /// Likewise, with values of the user.
    pub fn charted_with(self, mut values: Value) -> Result<Vec<Value>> {
        let all = values.as_object_mut().context("no values")?;
        all.insert("privileged".to_owned(), (self == Self::Privileged).into());
        charted(&values.to_string())
    }

    /// What `ctr run` is told for a container with the same privileges.
    pub fn options(self) -> Result<Vec<String>> {
        let all = self.kustomized()?;
        let pod = pod(&all)?;
        let context = pod.pointer("/containers/0/securityContext").context("no securityContext")?;
        ensure!(is(pod, "hostPID"), "not in the host's pid namespace");
        let mut options = vec!["--with-ns=pid:/proc/self/ns/pid".to_owned()];
        if is(context, "readOnlyRootFilesystem") {
            options.push("--read-only".to_owned());
        }
        if context.get("allowPrivilegeEscalation").is_none_or(|escalates| escalates == true) {
            options.push("--allow-new-privs".to_owned());
        }
        if is(context, "privileged") {
            options.push("--privileged".to_owned());
            return Ok(options);
        }
        let text = |at: &str| context.pointer(at).and_then(Value::as_str);
        if text("/seccompProfile/type") == Some("RuntimeDefault") {
            options.push("--seccomp".to_owned());
        }
        // ctr knows no profile of AppArmor if it is told none.
        ensure!(text("/appArmorProfile/type") == Some("Unconfined"), "confined by AppArmor");
        ensure!(text("/capabilities/drop/0") == Some("ALL"), "not all capabilities are dropped");
        options.extend(USUAL.map(|name| format!("--cap-drop=CAP_{name}")));
        let added = context.pointer("/capabilities/add").and_then(Value::as_array);
        let added = added.into_iter().flatten().filter_map(Value::as_str);
        options.extend(added.map(|name| format!("--cap-add=CAP_{name}")));
        Ok(options)
    }
}

/// What containers have that ask for nothing.
const USUAL: [&str; 14] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "FSETID",
    "FOWNER",
    "MKNOD",
    "NET_RAW",
    "SETGID",
    "SETUID",
    "SETFCAP",
    "SETPCAP",
    "NET_BIND_SERVICE",
    "SYS_CHROOT",
    "KILL",
    "AUDIT_WRITE",
];

fn is(object: &Value, name: &str) -> bool {
    object.get(name).is_some_and(|value| value == true)
}

/// The object of this kind.
pub fn of_kind<'a>(all: &'a [Value], kind: &str) -> Result<&'a Value> {
    let found = all.iter().find(|object| object.get("kind").is_some_and(|found| found == kind));
    found.with_context(|| format!("no {kind}"))
}

/// What each pod is.
pub fn pod(all: &[Value]) -> Result<&Value> {
    of_kind(all, "DaemonSet")?.pointer("/spec/template/spec").context("no pod")
}

/// The arguments of the agent.
pub fn arguments(all: &[Value]) -> Result<Vec<&str>> {
    let arguments = pod(all)?.pointer("/containers/0/args").and_then(Value::as_array);
    let words = arguments.context("no arguments")?.iter().map(Value::as_str);
    words.collect::<Option<_>>().context("an argument that is no text")
}

/// The port and the path by which the kubelet asks: `livenessProbe` or `readinessProbe`.
pub fn asked_by(all: &[Value], probe: &str) -> Result<(u64, String)> {
    let container = pod(all)?.pointer("/containers/0").context("no container")?;
    let get = container.pointer(&format!("/{probe}/httpGet")).context("no probe by HTTP")?;
    let (path, name) = (get["path"].as_str().context("no path")?, &get["port"]);
    let ports = container["ports"].as_array().context("no ports")?;
    let port = ports.iter().find(|port| port["name"] == *name).context("no such port")?;
    Ok((port["containerPort"].as_u64().context("no number")?, path.to_owned()))
}

/// The port at which Prometheus is told to look.
pub fn scraped_at(all: &[Value]) -> Result<u64> {
    let annotations = of_kind(all, "DaemonSet")?.pointer("/spec/template/metadata/annotations");
    let port = annotations.and_then(|all| all.get("prometheus.io/port")?.as_str());
    port.context("no port")?.parse().context("no number")
}

/// Holds all against the schemas of a version of Kubernetes, where no field may be unknown.
pub fn valid(all: &[Value], version: &str) -> Result<()> {
    manifests(&["check", version], &serde_json::to_string(all)?).map(drop)
}

fn manifests(arguments: &[&str], stdin: &str) -> Result<Vec<Value>> {
    let mut python = python()?;
    python.arg(tool::fixtures().join("manifests.py")).args(arguments);
    let mut file = tempfile::tempfile()?;
    file.write_all(stdin.as_bytes())?;
    file.seek(SeekFrom::Start(0))?;
    python.stdin(file);
    Ok(serde_json::from_str(&tool::run(python)?)?)
}

fn python() -> Result<Command> {
    packages::python(&[VALIDATE, HELM])
}

fn deploy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy")
}
