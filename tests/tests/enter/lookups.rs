//! Names are looked up as in the container, whatever the host has, and the host keeps what it has.

use std::{fs, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    agent::{EVENT, Launch},
    child::Child,
    docker::Container,
    node::Node,
    tool,
};

use super::said;
use crate::web;

crate::tests![
    by_programs_of_every_kind,
    the_host_keeps_its_files,
    a_host_that_replaces_its_file,
    a_host_without_a_file,
    a_host_whose_file_is_a_broken_link,
    services_of_the_host_are_not_asked,
    links_inside_the_container,
    as_the_host_does_on_demand,
];

/// Another container in the network of the suite, and its address.
fn other(node: &Node) -> Result<(Container, String)> {
    let other = web::server(node.docker()?)?;
    let address = other.address()?;
    Ok((other, address))
}

/// A program linked to musl, static.
fn static_lookup(folder: &Path) -> Result<String> {
    let program = folder.join("lookup");
    let mut compile = tool::command("musl-gcc", ["-O1", "-static", "-o"])?;
    compile.arg(&program).arg(tool::fixtures().join("lookup.c"));
    tool::run(compile).context("failed to compile the fixture (needs musl-tools)")?;
    Ok(program.to_str().context("a path that is not UTF-8")?.to_owned())
}

fn by_programs_of_every_kind(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let (db, address) = other(node)?;
    let looked = said(node, server.name(), &["--", "getent", "hosts", db.name()])?;
    ensure!(looked.split_whitespace().next() == Some(&address), "getent: {looked}");
    let script = format!("import socket; print(socket.gethostbyname('{}'))", db.name());
    let looked = said(node, server.name(), &["--", "python3", "-c", &script])?;
    ensure!(looked == address, "python: {looked}");
    let folder = tempfile::tempdir()?;
    let musl = static_lookup(folder.path())?;
    ensure!(said(node, server.name(), &["--", &musl, db.name()])? == address);
    let busybox = ["busybox", "nslookup", db.name()];
    let looked = said(node, server.name(), &[&["--"], &busybox[..]].concat())?;
    ensure!(looked.contains(&address), "busybox: {looked}");
    // In /etc/hosts alone.
    let inside = server.exec(&["hostname"])?;
    let looked = said(node, server.name(), &["--", "getent", "hosts", &inside])?;
    ensure!(looked.contains(&server.address()?), "its own name: {looked}");
    Ok(())
}

fn the_host_keeps_its_files(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let files = ["/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"];
    let read = || files.map(|file| fs::read(file).ok());
    let before = read();
    let theirs = said(node, server.name(), &["--", "cat", "/etc/resolv.conf"])?;
    ensure!(theirs == server.exec(&["cat", "/etc/resolv.conf"])?, "{theirs}");
    // The rest of /etc is the host's, and cannot be written by accident.
    let own = tool::run(tool::command("sha256sum", ["/etc/passwd"])?)?;
    ensure!(said(node, server.name(), &["--", "sha256sum", "/etc/passwd"])? == own);
    let write = ["sh", "-c", "echo x >/etc/tlstap-tests"];
    let ended = super::enter(node, server.name(), &[&["--"], &write[..]].concat())?;
    ensure!(ended.code != Some(0), "/etc was written");
    ensure!(!fs::exists("/etc/tlstap-tests")?);
    ensure!(read() == before, "the host's files have changed");
    Ok(())
}

/// A launch on a host of its own, with a copy of /etc in this folder, on which a script is run before.
fn on_a_host(launch: Launch, folder: &Path, script: &str) -> Result<Launch> {
    let script =
        format!(r#"cp -a /etc "$0" && mount --bind "$0/etc" /etc && {{ {script}; }} && exec "$@""#);
    let folder = folder.to_str().context("a path that is not UTF-8")?;
    Ok(launch.through(&["unshare", "--mount", "sh", "-c", &script, folder]))
}

/// The address of a name as seen from a container on such a host.
fn looked_up(node: &Node, script: &str, name: &str) -> Result<String> {
    let server = web::server(node.docker()?)?;
    let folder = tempfile::tempdir()?;
    let launch = node.tlstap(&["enter", server.name(), "--", "getent", "hosts", name])?;
    let ended = on_a_host(launch, folder.path(), script)?.output()?;
    ended.succeeded()?;
    let line = ended.stdout.join("\n");
    Ok(line.split_whitespace().next().unwrap_or_default().to_owned())
}

/// As systemd-resolved and DHCP clients do it: a mount on the file would be gone.
fn a_host_that_replaces_its_file(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let (db, address) = other(node)?;
    let folder = tempfile::tempdir()?;
    let script = format!("echo inside; read line; getent hosts {}", db.name());
    let launch = node.tlstap(&["enter", server.name(), "--", "sh", "-c", &script])?;
    let (command, _): (Command, _) = on_a_host(launch, folder.path(), "true")?.command()?;
    let mut child = Child::start(command)?;
    child.says("inside", EVENT)?;
    let etc = folder.path().join("etc");
    fs::write(etc.join("new"), "nameserver 192.0.2.1\n")?;
    fs::rename(etc.join("new"), etc.join("resolv.conf"))?;
    child.tell("go\n")?;
    child.says(&address, EVENT)?;
    child.finish(EVENT)?;
    Ok(())
}

fn a_host_without_a_file(node: &Node) -> Result<()> {
    let (db, address) = other(node)?;
    ensure!(looked_up(node, "rm /etc/resolv.conf /etc/hosts", db.name())? == address);
    Ok(())
}

fn a_host_whose_file_is_a_broken_link(node: &Node) -> Result<()> {
    let (db, address) = other(node)?;
    let script = "ln -sf ../run/tlstap-tests-nowhere/resolv.conf /etc/resolv.conf";
    ensure!(looked_up(node, script, db.name())? == address);
    Ok(())
}

/// Neither what the host's nsswitch.conf names, nor a cache that the C library asks before.
fn services_of_the_host_are_not_asked(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let (db, address) = other(node)?;
    let folder = tempfile::tempdir()?;
    let script = "echo 'hosts: nosuch [!UNAVAIL=return] resolve' >/etc/nsswitch.conf;
                  mount -t tmpfs none /run; mkdir -p /run/nscd /run/systemd/resolve;
                  touch /run/nscd/socket /run/systemd/resolve/io.systemd.Resolve";
    let inside = format!(
        "getent hosts {}; ls -A /run/nscd /run/systemd/resolve; grep hosts /etc/nsswitch.conf",
        db.name()
    );
    let pid = server.pid()?.to_string();
    let launch = node.tlstap(&["enter", &pid, "--", "sh", "-c", &inside])?;
    let ended = on_a_host(launch, folder.path(), script)?.output()?;
    ended.succeeded()?;
    let said = ended.stdout.join("\n");
    ensure!(said.starts_with(&address), "{said}");
    ensure!(!said.contains("socket") && !said.contains("io.systemd"), "{said}");
    ensure!(said.ends_with("hosts: files dns"), "{said}");
    Ok(())
}

/// They lead to files of the container, never to the host's, and a file that is none is refused.
fn links_inside_the_container(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let run = docker.run("links")?.options(&["--cap-add", "SYS_ADMIN"]);
    let container = run.start(&["sleep", "infinity"])?;
    let link = |to: &str| {
        let script = "umount /etc/resolv.conf; ln -sf \"$0\" /etc/resolv.conf";
        container.exec(&["sh", "-c", script, to]).map(drop)
    };
    container.exec(&["sh", "-c", "echo nameserver 192.0.2.7 >/inside"])?;
    let read = || said(node, container.name(), &["--", "cat", "/etc/resolv.conf"]);
    for to in ["/inside", "../../../../../../inside"] {
        link(to)?;
        ensure!(read()? == "nameserver 192.0.2.7", "{to}: {}", read()?);
    }
    // The host has it, the container has not.
    let secret = node.scratch().join("secret");
    fs::write(&secret, "secret")?;
    link(secret.to_str().context("a path that is not UTF-8")?)?;
    ensure!(read()?.is_empty(), "{}", read()?);
    container.exec(&["mkfifo", "/fifo"])?;
    link("/fifo")?;
    let ended = super::enter(node, container.name(), &["--", "true"])?;
    ended.refused(&["/etc/resolv.conf: not a regular file"])
}

fn as_the_host_does_on_demand(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let read = |file: &str| said(node, server.name(), &["--host-names", "--", "cat", file]);
    let own = fs::read_to_string("/etc/resolv.conf")?;
    ensure!(read("/etc/resolv.conf")? == own.trim_end());
    Ok(())
}
