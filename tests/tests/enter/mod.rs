//! Issue 8: programs of the host in the network of a container, and what they end with.

pub(crate) mod files;
pub(crate) mod job;
pub(crate) mod lookups;
pub(crate) mod odd;
pub(crate) mod processes;
pub(crate) mod refused;

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{agent::EVENT, child::Child, cli::Ended, node::Node, tool};

use crate::web;

crate::tests![
    the_addresses_of_its_network,
    its_listeners,
    its_packets,
    its_devices,
    arguments_and_streams_pass,
    as_the_command_ends,
    as_a_shell_that_finds_none,
    its_host_name_and_control_group,
];

/// Runs `tlstap enter` to its end.
fn enter(node: &Node, target: &str, arguments: &[&str]) -> Result<Ended> {
    node.tlstap(&[&["enter", target], arguments].concat())?.output()
}

/// What the command wrote, which must succeed and complain of nothing.
fn said(node: &Node, target: &str, arguments: &[&str]) -> Result<String> {
    let ended = enter(node, target, arguments)?;
    ended.succeeded()?;
    ensure!(ended.stderr.is_empty(), "it complains: {:?}", ended.stderr);
    Ok(ended.stdout.join("\n"))
}

/// What a shell says that the command ended with.
fn status(node: &Node, target: &str, arguments: &[&str]) -> Result<String> {
    let launch = node.tlstap(&[&["enter", target], arguments].concat())?;
    let ended = launch.through(&["sh", "-c", r#""$@"; echo $?"#, "sh"]).output()?;
    ended.no_accident()?;
    ended.stdout.last().cloned().context("the shell says nothing")
}

fn the_addresses_of_its_network(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let address = server.address()?;
    // The same container by its name, by its id, by its process; the network named or not.
    let (id, pid) = (server.id()?, server.pid()?.to_string());
    let short = id.get(..12).context("a short id")?;
    for (target, net) in
        [(server.name(), &["--net"][..]), (server.name(), &[]), (short, &[]), (&pid, &[])]
    {
        let addresses = said(node, target, &[net, &["--", "ip", "-br", "addr"]].concat())?;
        let lines: Vec<_> = addresses.lines().collect();
        ensure!(lines.len() == 2, "not two devices: {addresses}");
        ensure!(addresses.contains(&format!(" {address}/")), "no {address} in {addresses}");
    }
    Ok(())
}

fn its_listeners(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let listeners = said(node, server.name(), &["--net", "--", "ss", "-tlnp"])?;
    let pid = format!("pid={},", server.pid()?);
    let listens = |line: &&str| line.contains(":8443") && line.contains(&pid);
    listeners.lines().find(listens).with_context(|| format!("not in {listeners}"))?;
    Ok(())
}

fn its_packets(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let dump = ["tcpdump", "-n", "-l", "-i", "any", "-c", "3", "tcp port 8443"];
    let enter = ["enter", server.name(), "--net", "--"];
    let tcpdump = node.tlstap(&[&enter[..], &dump].concat())?.start()?;
    tcpdump.complains("listening on", EVENT)?;
    // Within the container alone: no other device carries it.
    server.exec(&["curl", "--silent", "--insecure", "https://localhost:8443/hello"])?;
    tcpdump.says(".8443", EVENT)?;
    tcpdump.finish(EVENT)?.succeeded()
}

/// As /sys shows them, which is the network namespace's where it was mounted; other mounts in it stay.
fn its_devices(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let devices = said(node, server.name(), &["--", "ls", "/sys/class/net"])?;
    ensure!(devices == "eth0\nlo", "{devices}");
    let below = ["ls", "/sys/fs/cgroup"];
    let ours = tool::run(tool::command("ls", ["/sys/fs/cgroup"])?)?;
    let theirs = said(node, server.name(), &[&["--"][..], &below].concat())?;
    ensure!(ours == theirs, "{ours} is now {theirs}");
    Ok(())
}

fn arguments_and_streams_pass(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let script = r#"read line; printf '<%s>' "$line" "$@"; echo; echo oops >&2"#;
    let arguments = ["enter", server.name(), "--", "sh", "-c", script, "sh", "a  b", "", "--net"];
    for pid in [&[][..], &["--pid", "--net"]] {
        let (head, tail) = arguments.split_at(2);
        let (command, _) = node.tlstap(&[head, pid, tail].concat())?.command()?;
        let mut child = Child::start(command)?;
        child.tell("in\n")?;
        let status = child.finish(EVENT)?;
        ensure!(status.success(), "{status}: {:?}", child.stderr.lines());
        child.says("<in><a  b><><--net>", EVENT)?;
        child.complains("oops", EVENT)?;
    }
    Ok(())
}

fn as_the_command_ends(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    for namespace in ["--net", "--pid"] {
        for (script, expect) in
            [("exit 0", "0"), ("exit 7", "7"), ("kill -TERM $$", "143"), ("kill -KILL $$", "137")]
        {
            let got = status(node, server.name(), &[namespace, "--", "sh", "-c", script])?;
            ensure!(got == expect, "{namespace}: '{script}' ends with {got}");
        }
        // A pipe that nobody reads ends a program, as everywhere.
        let yes = ["bash", "-c", "yes | head -1 >/dev/null; echo ${PIPESTATUS[0]}"];
        let got = said(node, server.name(), &[&[namespace, "--"], &yes[..]].concat())?;
        ensure!(got == "141", "{namespace}: {got}");
    }
    Ok(())
}

fn as_a_shell_that_finds_none(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let script = node.scratch().join("without-interpreter");
    fs::write(&script, "#!/no/such/interpreter\n")?;
    tool::run(tool::command("chmod", ["+x".as_ref(), script.as_os_str()])?)?;
    let script = script.to_str().context("a path that is not UTF-8")?;
    for namespace in ["--net", "--pid", "--mount"] {
        for (command, code, words) in [
            ("no-such-program", 127, "not found"),
            ("/no/such/program", 127, "not found"),
            ("/etc/passwd", 126, "Permission denied"),
            ("/etc", 126, "Permission denied"),
            (script, 127, "interpreter"),
        ] {
            if namespace == "--mount" && command == script {
                continue;
            }
            let ended = enter(node, server.name(), &[namespace, "--", command])?;
            ensure!(ended.code == Some(code), "{namespace} {command}: {:?}", ended.code);
            let [line] = &ended.stderr[..] else { anyhow::bail!("{:?}", ended.stderr) };
            ensure!(line.contains(command) && line.contains(words), "{line}");
        }
    }
    Ok(())
}

fn its_host_name_and_control_group(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let inside = server.exec(&["hostname"])?;
    ensure!(said(node, server.name(), &["--uts", "--", "hostname"])? == inside);
    ensure!(said(node, server.name(), &["--net", "--", "hostname"])? != inside);
    let namespaces = ["net", "uts", "ipc", "cgroup"];
    let links = namespaces.map(|name| format!("/proc/self/ns/{name}"));
    let links = links.each_ref().map(String::as_str);
    let read =
        |flags: &[&str]| said(node, server.name(), &[flags, &["--", "readlink"], &links].concat());
    let theirs: BTreeSet<_> = links
        .iter()
        .map(|link| Ok(fs::read_link(link.replace("self", &server.pid()?.to_string()))?))
        .collect::<Result<_>>()?;
    let entered = read(&["--net", "--uts", "--ipc", "--cgroup"])?;
    let entered: BTreeSet<_> = entered.lines().map(Into::into).collect();
    ensure!(entered == theirs, "{entered:?} are not {theirs:?}");
    // And no others.
    let first = read(&["--ipc"])?;
    let own = |name: &str| Ok::<_, anyhow::Error>(fs::read_link(format!("/proc/self/ns/{name}"))?);
    ensure!(first.lines().next().map(Into::into) == Some(own("net")?), "{first}");
    Ok(())
}
