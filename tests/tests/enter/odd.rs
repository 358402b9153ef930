//! Containers that no runtime made, or that hardly are one.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{agent::EVENT, child::Child, node::Node, process, tool};

use super::said;

crate::tests![
    one_static_binary,
    without_a_runtime,
    in_a_user_namespace,
    in_a_user_namespace_as_another_user,
    a_changed_root_alone,
    the_network_alone,
    a_process_of_the_host,
];

/// From scratch: nothing but a busybox, under another name.
fn one_static_binary(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let folder = tempfile::tempdir()?;
    fs::copy(tool::find("busybox")?, folder.path().join("busybox-only"))?;
    let image = docker.derive("FROM scratch\nCOPY busybox-only /\n", folder.path())?;
    let run = docker.run("scratch")?.of_image(image.name()).network(docker.network());
    let container = run.start(&["/busybox-only", "sleep", "1000"])?;
    let devices = said(node, container.name(), &["--", "ip", "-br", "addr"])?;
    ensure!(devices.contains(&container.address()?), "{devices}");
    let tools = ["--mount", "--pid", "--with-tools", "--", "busybox", "ls", "/"];
    let files = said(node, container.name(), &tools)?;
    ensure!(files.contains("busybox-only"), "{files}");
    Ok(())
}

/// A container by hand: a folder as its root, by pivot_root in namespaces of its own, with a busybox.
struct ByHand {
    child: Child,
    pid: String,
    _folder: tempfile::TempDir,
}

impl ByHand {
    fn start(unshare: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        for name in ["bin", "proc", "etc", "old"] {
            fs::create_dir(root.join(name))?;
        }
        fs::copy(tool::find("busybox")?, root.join("bin/busybox"))?;
        fs::write(root.join("etc/hosts"), "192.0.2.5 db\n")?;
        let script = r#"mount --bind "$0" "$0" && cd "$0" && mount -t proc proc proc &&
            /sbin/ip link set lo up && pivot_root . old && cd / &&
            exec /bin/busybox sh -c 'echo up; while :; do /bin/busybox sleep 1; done'"#;
        let namespaces = ["--mount", "--net", "--pid", "--uts", "--ipc", "--fork", "--kill-child"];
        let path = root.to_str().context("a path that is not UTF-8")?;
        let arguments = [&namespaces, unshare, &["sh", "-c", script, path]].concat();
        let child = Child::start(tool::command("unshare", arguments)?)?;
        child.says("up", EVENT)?;
        let path = format!("/proc/{0}/task/{0}/children", child.pid());
        let pid = fs::read_to_string(path)?.trim().to_owned();
        Ok(Self { child, pid, _folder: folder })
    }

    fn holds(&self, node: &Node) -> Result<()> {
        let addresses = said(node, &self.pid, &["--net", "--", "ip", "-br", "addr"])?;
        ensure!(addresses.starts_with("lo ") && addresses.lines().count() == 1, "{addresses}");
        let looked = said(node, &self.pid, &["--", "getent", "hosts", "db"])?;
        ensure!(looked.starts_with("192.0.2.5 "), "{looked}");
        let processes = said(node, &self.pid, &["--pid", "--", "ps", "-o", "args=", "1"])?;
        ensure!(processes.starts_with("/bin/busybox sh"), "{processes}");
        let within = ["--mount", "--pid", "--net", "--", "busybox", "ls", "/etc"];
        ensure!(said(node, &self.pid, &within)? == "hosts");
        let tools = ["--mount", "--pid", "--with-tools", "--", "busybox", "sh", "-c", "ls /etc"];
        ensure!(said(node, &self.pid, &tools)? == "hosts");
        ensure!(!process::ended(self.child.pid()), "the container has ended");
        Ok(())
    }
}

fn without_a_runtime(node: &Node) -> Result<()> {
    ByHand::start(&[])?.holds(node)
}

fn in_a_user_namespace(node: &Node) -> Result<()> {
    let container = ByHand::start(&["--user", "--map-root-user"])?;
    container.holds(node)?;
    // Root there, and nobody outside.
    let id = ["--user", "--pid", "--", "sh", "-c", "id -u; readlink /proc/self/ns/user"];
    let got = said(node, &container.pid, &id)?;
    let theirs = fs::read_link(format!("/proc/{}/ns/user", container.pid))?;
    ensure!(got == format!("0\n{}", theirs.display()), "{got}");
    // Without being asked to, a program of the host stays outside, one of the container never is.
    let own = fs::read_link("/proc/self/ns/user")?;
    let read = ["--", "readlink", "/proc/self/ns/user"];
    let got = said(node, &container.pid, &[&["--net"], &read[..]].concat())?;
    ensure!(got == own.to_string_lossy(), "{got}");
    let read = ["--mount", "--pid", "--", "busybox", "readlink", "/proc/self/ns/user"];
    let got = said(node, &container.pid, &read)?;
    ensure!(got == theirs.to_string_lossy(), "{got}");
    Ok(())
}

fn in_a_user_namespace_as_another_user(node: &Node) -> Result<()> {
    let container = ByHand::start(&["--user", "--map-root-user"])?;
    let ended = super::enter(node, &container.pid, &["--user", "1000", "--", "id"])?;
    ended.refused(&["failed to become 1000:1000"])
}

/// A chroot, in the host's own namespaces.
fn a_changed_root_alone(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    fs::create_dir(folder.path().join("bin"))?;
    fs::copy(tool::find("busybox")?, folder.path().join("bin/busybox"))?;
    let script = "echo up; while :; do /bin/busybox sleep 1; done";
    let mut chroot = tool::command("chroot", [folder.path()])?;
    chroot.args(["/bin/busybox", "sh", "-c", script]);
    let child = Child::start(chroot)?;
    child.says("up", EVENT)?;
    let pid = child.pid().to_string();
    let files = said(node, &pid, &["--mount", "--", "busybox", "ls", "/"])?;
    ensure!(files == "bin", "{files}");
    Ok(())
}

/// A network namespace under a name, as `ip netns` makes it, whose files are the host's.
fn the_network_alone(node: &Node) -> Result<()> {
    let child =
        Child::start(tool::command("unshare", ["--net", "sh", "-c", "echo up; sleep 99"])?)?;
    child.says("up", EVENT)?;
    let pid = child.pid().to_string();
    let got = said(node, &pid, &["--", "sh", "-c", "ip -br link; test -w /etc && echo writable"])?;
    ensure!(got.starts_with("lo ") && got.ends_with("writable"), "{got}");
    Ok(())
}

fn a_process_of_the_host(node: &Node) -> Result<()> {
    let pid = std::process::id().to_string();
    let all = ["--net", "--uts", "--ipc", "--pid", "--cgroup", "--user"];
    let got = said(node, &pid, &[&all[..], &["--", "ps", "-o", "pid=", &pid]].concat())?;
    ensure!(got.trim() == pid, "{got}");
    let got = said(node, &pid, &["--mount", "--", "ls", "/proc/self/exe"])?;
    ensure!(Path::new(&got).is_absolute(), "{got}");
    Ok(())
}
