//! What cannot be entered is said in one line.

use anyhow::{Result, ensure};
use tlstap_tests::{child::Child, node::Node, tool};

use super::enter;

crate::tests![what_is_not_there, without_privileges, wrong_usage];

fn what_is_not_there(node: &Node) -> Result<()> {
    node.docker()?;
    enter(node, "no-such-container", &["--", "true"])?.refused(&["no-such-container"])?;
    let mut child = Child::start(tool::command("true", [] as [&str; 0])?)?;
    child.finish(tlstap_tests::agent::END)?;
    let pid = child.pid().to_string();
    enter(node, &pid, &["--pid", "--", "true"])?.refused(&[&pid])
}

fn without_privileges(node: &Node) -> Result<()> {
    let sleeping = Child::start(tool::command("unshare", ["--net", "sleep", "99"])?)?;
    let pid = sleeping.pid().to_string();
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--"];
    for namespace in ["--net", "--uts", "--pid", "--mount", "--cgroup"] {
        let launch = node.tlstap(&["enter", &pid, namespace, "--", "true"])?;
        launch.through(&nobody).output()?.refused(&["run as root", "root is needed"])?;
    }
    // The one that the kernel refuses is named.
    for (taken, namespace, words) in [
        ("-sys_ptrace,-sys_admin", "--net", "not permitted to look into"),
        ("-sys_admin", "--net", "private mount namespace"),
        ("-sys_admin", "--uts", "the UTS namespace of"),
        ("-sys_admin", "--ipc", "the IPC namespace of"),
        ("-sys_chroot", "--mount", "the mount namespace of"),
    ] {
        let without = ["setpriv", "--bounding-set", taken, "--inh-caps", taken, "--"];
        let launch = node.tlstap(&["enter", &pid, namespace, "--", "true"])?;
        launch.through(&without).output()?.refused(&[words])?;
    }
    Ok(())
}

fn wrong_usage(node: &Node) -> Result<()> {
    for arguments in [
        &["1"][..],
        &["1", "--"],
        &["1", "true"],
        &["1", "--with-tools", "--", "true"],
        &["1", "--mount", "--host-names", "--", "true"],
        &["1", "--user", "1:2:3", "--", "true"],
    ] {
        let ended = node.tlstap(&[&["enter"], arguments].concat())?.output()?;
        ensure!(ended.code == Some(2), "{arguments:?}: exit {:?}, not 2", ended.code);
        ended.no_accident()?;
    }
    Ok(())
}
