//! The container's own programs, and tools of the host, among the container's files.

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{docker::Container, node::Node, tool};

use super::{enter, said, status};
use crate::{odd::bare_curl, web};

crate::tests![
    its_program_as_it_has_it,
    a_program_in_a_container_without_a_shell,
    tools_leave_no_trace,
    tools_must_be_static,
    nothing_of_the_host_stays_open,
    as_another_user,
    without_capabilities,
];

/// In its root and its working directory, with its variables.
fn its_program_as_it_has_it(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let run = docker.run("own")?.options(&["--workdir", "/fixture", "--env", "COLOUR=a b"]);
    let container = run.start(&["sleep", "infinity"])?;
    container.exec(&["sh", "-c", "echo inside >/only-here"])?;
    let script = "pwd; cat /only-here; echo $COLOUR; echo $TLSTAP_TESTS_RUN; echo $PATH";
    let got = said(node, container.name(), &["--mount", "--", "sh", "-c", script])?;
    let path = container.exec(&["sh", "-c", "echo $PATH"])?;
    ensure!(got == format!("/fixture\ninside\na b\n\n{path}"), "{got}");
    // What it writes is the container's.
    said(node, container.name(), &["--mount", "--", "sh", "-c", "echo x >/written"])?;
    ensure!(container.exec(&["cat", "/written"])? == "x");
    let processes =
        said(node, container.name(), &["--mount", "--pid", "--", "sh", "-c", "echo $$"])?;
    ensure!(processes.parse::<u32>().is_ok_and(|pid| pid < 1000), "{processes}");
    let got = status(node, container.name(), &["--mount", "--", "sh", "-c", "exit 5"])?;
    ensure!(got == "5", "{got}");
    Ok(())
}

/// One of curl and its libraries, that waits.
fn bare(node: &Node) -> Result<(tlstap_tests::docker::Derived, Container)> {
    let docker = node.docker()?;
    let image = bare_curl(docker)?;
    let run = docker.run("bare")?.of_image(image.name()).network(docker.network());
    // It waits for a connection that is never made.
    let container = run.start(&["/usr/bin/curl", "--silent", "telnet://192.0.2.1:9"])?;
    container.pid()?;
    Ok((image, container))
}

fn a_program_in_a_container_without_a_shell(node: &Node) -> Result<()> {
    let (_image, container) = bare(node)?;
    let got = said(node, container.name(), &["--mount", "--net", "--", "curl", "--version"])?;
    ensure!(got.starts_with("curl "), "{got}");
    let ended = enter(node, container.name(), &["--mount", "--", "sh"])?;
    ensure!(ended.code == Some(127), "{:?}", ended.code);
    let devices = said(node, container.name(), &["--", "ip", "-br", "addr"])?;
    ensure!(devices.contains(&container.address()?), "{devices}");
    let processes = said(node, container.name(), &["--pid", "--", "ps", "-o", "comm=", "1"])?;
    ensure!(processes == "curl", "{processes}");
    Ok(())
}

/// The tool is there for whatever it starts; neither the container's files nor its mounts change.
fn tools_leave_no_trace(node: &Node) -> Result<()> {
    let (_image, container) = bare(node)?;
    let mounts = || {
        let path = format!("/proc/{}/mountinfo", container.pid()?);
        Ok::<_, anyhow::Error>(std::fs::read_to_string(path)?)
    };
    let before = mounts()?;
    let script = "ls /usr/bin; sh -c 'cat /proc/1/comm'; readlink /proc/self/root; \
                  busybox true && echo found";
    let tools = ["--mount", "--pid", "--with-tools", "--", "busybox", "sh", "-c", script];
    let got = said(node, container.name(), &tools)?;
    ensure!(got == "curl\ncurl\n/\nfound", "{got}");
    ensure!(mounts()? == before, "{}", mounts()?);
    let changed = tool::run(tool::command("docker", ["diff", container.name()])?)?;
    ensure!(changed.is_empty(), "the container has changed: {changed}");
    let ends = ["--mount", "--with-tools", "--", "busybox", "sh", "-c", "exit 9"];
    let got = status(node, container.name(), &ends)?;
    ensure!(got == "9", "{got}");
    Ok(())
}

fn tools_must_be_static(node: &Node) -> Result<()> {
    let (_image, container) = bare(node)?;
    let with = ["--mount", "--with-tools", "--"];
    for (tool, words) in [("ps", "is not static"), ("/etc/passwd", "ELF")] {
        enter(node, container.name(), &[&with[..], &[tool]].concat())?.refused(&[words])?;
    }
    // The container's own are none.
    let ended = enter(node, container.name(), &[&with[..], &["no-such-tool"]].concat())?;
    ensure!(ended.code == Some(127), "{ended:?}");
    Ok(())
}

/// A folder that the caller has open is a way out of the container's root (CVE-2024-21626).
fn nothing_of_the_host_stays_open(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let open = |namespaces: &[&str]| -> Result<Vec<String>> {
        let enter = ["enter", server.name()];
        let list = ["--", "readlink", "/proc/self/fd/9"];
        let launch = node.tlstap(&[&enter, namespaces, &list].concat())?;
        Ok(launch.through(&["sh", "-c", r#"exec 9</; exec "$@""#, "sh"]).output()?.stdout)
    };
    ensure!(open(&["--mount", "--pid"])?.is_empty(), "{:?}", open(&["--mount", "--pid"])?);
    // A program of the host has it, as from every other command.
    ensure!(open(&["--pid"])? == ["/"], "{:?}", open(&["--pid"])?);
    Ok(())
}

fn as_another_user(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let id = ["--", "sh", "-c", "id -u; id -g; id -G"];
    for (user, expect) in [("1000", "1000\n1000\n1000"), ("1000:7", "1000\n7\n7"), ("0", "0\n0\n0")]
    {
        for namespace in ["--net", "--mount", "--pid"] {
            let flags = [namespace, "--user", user];
            let got = said(node, server.name(), &[&flags[..], &id].concat())?;
            ensure!(got == expect, "{flags:?}: {got}");
        }
    }
    // Where the container has no user namespace of its own nothing changes.
    let got = said(node, server.name(), &[&["--user"], &id[..]].concat())?;
    ensure!(got.starts_with("0\n"), "{got}");
    let usage = node.tlstap(&["enter", server.name(), "--user", "me", "--", "id"])?.output()?;
    ensure!(usage.code == Some(2), "{:?}", usage.code);
    Ok(())
}

/// The set of capabilities in effect.
fn capabilities(node: &Node, container: &Container, flags: &[&str]) -> Result<u64> {
    let command = ["--", "grep", "CapEff", "/proc/self/status"];
    let line = said(node, container.name(), &[flags, &command].concat())?;
    let set = line.split_whitespace().last().context("no set")?;
    Ok(u64::from_str_radix(set, 16)?)
}

fn without_capabilities(node: &Node) -> Result<()> {
    /// `CAP_WAKE_ALARM`: see docs/containers.md.
    const SHIELD: u64 = 1 << 35;
    let server = web::server(node.docker()?)?;
    let ours = tool::run(tool::command("grep", ["CapEff", "/proc/self/status"])?)?;
    let ours = ours.split_whitespace().last().context("no set")?.to_owned();
    let ours = u64::from_str_radix(&ours, 16)?;
    for (flags, expect) in [
        (&["--net"][..], ours),
        (&["--pid"], ours),
        (&["--mount", "--pid"], ours),
        (&["--net", "--drop-caps"], 0),
        (&["--mount", "--pid", "--drop-caps"], 0),
        (&["--net", "--user", "1000"], 0),
        (&["--pid", "--drop-caps"], SHIELD),
        (&["--pid", "--user", "1000", "--drop-caps"], SHIELD),
    ] {
        let got = capabilities(node, &server, flags)?;
        ensure!(got == expect, "{flags:?}: {got:x}, not {expect:x}");
    }
    Ok(())
}
