//! What cannot work ends in one clear line: no panic, no stack trace.

use anyhow::{Result, ensure};
use tlstap_tests::node::Node;

crate::tests![without_root, without_a_capability, wrong_usage];

/// What setpriv takes away for each case, and what the agent must name.
fn refused_without(node: &Node, setpriv: &[&str], names: &[&str]) -> Result<()> {
    let wrapper = [&["setpriv"], setpriv, &["--"]].concat();
    node.tlstap(&["trace", "-o", "json"])?.through(&wrapper).output()?.refused(names)
}

fn without_root(node: &Node) -> Result<()> {
    let nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];
    refused_without(node, &nobody, &["CAP_BPF", "CAP_SYS_ADMIN", "CAP_PERFMON"])
}

fn without_a_capability(node: &Node) -> Result<()> {
    let all = "-sys_admin,-bpf,-perfmon";
    let taken = ["--bounding-set", all, "--inh-caps", all];
    refused_without(node, &taken, &["CAP_BPF", "CAP_SYS_ADMIN", "CAP_PERFMON"])
}

fn wrong_usage(node: &Node) -> Result<()> {
    for arguments in [&["trace", "--no-such-flag"][..], &["trace", "-o", "xml"]] {
        let ended = node.tlstap(arguments)?.output()?;
        ensure!(ended.code == Some(2), "exit {:?}, not 2", ended.code);
        ensure!(ended.stdout.is_empty(), "stdout: {:?}", ended.stdout);
        ended.no_accident()?;
    }
    Ok(())
}
