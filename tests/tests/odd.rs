//! Issue 3: containers that share namespaces with the host, have next to nothing in them, or no
//! runtime behind them.

use std::{collections::BTreeSet, fs, path::Path};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    agent::{EVENT, Launch},
    deadline,
    docker::{Container, Derived, Docker},
    event::{exchanges, expect, number, text},
    musl,
    node::Node,
    rooted::{self, Rooted},
    scrape::{ANYWHERE, Site},
    talk::Talk,
    tool,
};

use crate::web;

crate::tests![
    in_the_pid_namespace_of_the_host,
    in_the_network_of_the_host,
    read_only,
    one_binary_and_its_libraries,
    one_static_binary,
    linked_to_musl,
    without_a_runtime,
    in_a_user_namespace,
    roots_one_after_the_other,
];

/// Holds a server in such a container to be captured and named.
fn a_server(node: &Node, options: &[&str]) -> Result<()> {
    let docker = node.docker()?;
    let run = docker.run("odd")?.options(options);
    let server = run.start(&["python3", "/fixture/https_server.py", web::PORT])?;
    server.wait_for_log("listening")?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let url = format!("https://localhost:{}/hello", web::PORT);
    server.exec(&["curl", "--silent", "--insecure", &url])?;
    agent.wait_for("both sides", |events| {
        (exchanges(events, server.name()).len() >= 2).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    ensure!(exchanges(&events, server.name()).len() == 2, "not once a side");
    Ok(())
}

fn in_the_pid_namespace_of_the_host(node: &Node) -> Result<()> {
    a_server(node, &["--pid", "host"])
}

fn in_the_network_of_the_host(node: &Node) -> Result<()> {
    a_server(node, &["--network", "host"])
}

fn read_only(node: &Node) -> Result<()> {
    a_server(node, &["--read-only"])
}

/// curl and what it is linked to: no shell, no cache of libraries, no name service.
pub(crate) fn bare_curl(docker: &Docker) -> Result<Derived> {
    let dockerfile = format!(
        "FROM {} AS full\n\
         RUN mkdir /bare && ldd /usr/bin/curl | grep -o '/[^ ]*' | \
             xargs cp --dereference --parents --target-directory /bare /usr/bin/curl\n\
         FROM scratch\n\
         COPY --from=full /bare /\n",
        docker.image()?
    );
    docker.derive(&dockerfile, tempfile::tempdir()?.path())
}

fn ask(server: &Container) -> Result<[String; 4]> {
    let url = format!("https://{}:{}/hello", server.address()?, web::PORT);
    Ok(["/usr/bin/curl", "--silent", "--insecure", &url].map(str::to_owned))
}

/// Traces `asking`, done twice because the first may come before the library is known; holds
/// the second to be seen once on the client's side, and returns that event.
fn client_event(
    node: &Node,
    server: &Container,
    asking: impl Fn(&[&str]) -> Result<()>,
) -> Result<Value> {
    client_event_of(node.tlstap(&["trace", "-o", "json"])?, server, asking)
}

/// The same with an agent that is told more.
pub(crate) fn client_event_of(
    launch: Launch,
    server: &Container,
    asking: impl Fn(&[&str]) -> Result<()>,
) -> Result<Value> {
    let mut agent = launch.ready()?;
    let mut command = ask(server)?;
    for query in ["?n=1", "?n=2"] {
        if let Some(url) = command.last_mut() {
            *url = format!("{}{query}", url.trim_end_matches("?n=1"));
        }
        asking(&command.each_ref().map(String::as_str))?;
        agent.wait_for("the server's side", |events| {
            let found = exchanges(events, server.name());
            let asked = |event: &&Value| text(event, "/url/query") == query.strip_prefix('?');
            found.into_iter().find(asked).map(drop)
        })?;
    }
    let events = agent.stop()?.events()?;
    let second = |event: &&Value| {
        text(event, "/kind") == Some("client") && text(event, "/url/query") == Some("n=2")
    };
    let found: Vec<_> = events.iter().filter(second).collect();
    ensure!(found.len() == 1, "{} events on the client's side: {found:?}", found.len());
    Ok((*found.first().context("none")?).clone())
}

fn one_binary_and_its_libraries(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let (image, server) = (bare_curl(docker)?, web::server(docker)?);
    let event = client_event(node, &server, |command| {
        let run = docker.run("bare")?.of_image(image.name()).network(docker.network());
        run.finish(command).map(drop)
    })?;
    let name = text(&event, "/container/name").unwrap_or_default();
    ensure!(name.starts_with("bare-"), "container {name:?}");
    expect(&event, &[("/container/image/name", json!(image.name()))])
}

fn one_static_binary(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    Talk::compile_static(folder.path())?;
    from_scratch(node, folder.path(), &[("/tls/path", json!("/talk"))])
}

fn linked_to_musl(node: &Node) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let library = musl::root(folder.path())?;
    let tls = [
        ("/tls/path", json!(format!("/{library}"))),
        ("/tls/library", json!("openssl")),
        ("/tls/version", json!(musl::VERSION)),
    ];
    from_scratch(node, folder.path(), &tls)
}

/// Holds `/talk` to be captured and named in a container that has these files and no others.
pub(crate) fn from_scratch(node: &Node, root: &Path, tls: &[(&str, Value)]) -> Result<()> {
    let docker = node.docker()?;
    fs::write(root.join("text"), "ping")?;
    let image = docker.derive("FROM scratch\nCOPY . /\n", root)?;
    let run = docker.run("scratch")?.of_image(image.name());
    let (mut child, container) = run.attached(&["/talk", "/text", "/text"])?;
    let pid = u64::from(container.pid()?);
    let mut agent = node.tlstap(&["trace", "--raw", "-o", "json"])?.ready()?;
    child.tell("go\n")?;
    let mine = |event: &Value| number(event, "/process/pid") == Some(pid);
    for event in agent.wait_for_count("its pieces", 4, mine)? {
        expect(&event, &[("/container/name", json!(container.name())), ("/text", json!("ping"))])?;
        expect(&event, tls)?;
    }
    agent.stop()?;
    Ok(())
}

/// Runs the command in the folder as its root, in namespaces of its own.
fn pivoted(unshare: &[&str], root: &str, command: &[&str]) -> Result<()> {
    let script = r#"mount --bind "$0" "$0" && cd "$0" && mkdir -p old &&
                    pivot_root . old && cd / && exec "$@""#;
    let arguments = [unshare, &["--mount", "sh", "-c", script, root], command].concat();
    tool::run(tool::command("unshare", arguments)?).map(drop)
}

/// A container by hand, whose root is the bare image's.
fn by_hand(node: &Node, unshare: &[&str]) -> Result<()> {
    let docker = node.docker()?;
    let (image, server) = (bare_curl(docker)?, web::server(docker)?);
    let (_, source) =
        docker.run("source")?.of_image(image.name()).finish(&["/usr/bin/curl", "-V"])?;
    let root = tempfile::tempdir()?;
    source.export(root.path())?;
    let path = root.path().to_str().context("the scratch folder is not UTF-8")?;
    let event = client_event(node, &server, |command| pivoted(unshare, path, command))?;
    ensure!(text(&event, "/container/name").is_some(), "no name in {event}");
    expect(&event, &[("/process/command", json!("curl"))])
}

fn without_a_runtime(node: &Node) -> Result<()> {
    by_hand(node, &[])
}

fn in_a_user_namespace(node: &Node) -> Result<()> {
    by_hand(node, &["--user", "--map-root-user"])
}

/// Libraries that no process has mapped yet are probed in each of them, though the kernel gives the number of
/// a mount namespace that is gone to the next one.
fn roots_one_after_the_other(node: &Node) -> Result<()> {
    const MOST: u32 = 20;
    let library = node.talk()?.shared_library()?;
    let inside = library.strip_prefix("/")?;
    let agent = node.tlstap(&[&["trace", "-o", "none"], &ANYWHERE[..]].concat())?.ready()?;
    let site = Site::of(&agent)?;
    let hooked = || -> Result<f64> {
        Ok(site.metrics()?.sum("tlstap_libraries_hooked", &[("tls_library", "openssl")]))
    };
    let (before, mut roots, mut numbers) = (hooked()?, Vec::new(), BTreeSet::new());
    for count in 1..=MOST {
        let root = rooted::folder()?;
        let copy = root.path().join(inside);
        fs::create_dir_all(copy.parent().context("no folder")?)?;
        fs::copy(&library, copy)?;
        let process = Rooted::unshared(root.path())?;
        deadline::until(&format!("the library of root {count} to be probed"), EVENT, || {
            Ok((hooked()? > before + f64::from(count) - 0.5).then_some(()))
        })?;
        let number = fs::read_link(format!("/proc/{}/ns/mnt", process.pid()))?;
        if !numbers.insert(number) {
            return agent.stop().map(drop);
        }
        // A file that is removed gives its inode to the next one.
        roots.push(root);
    }
    bail!("no number came again: {numbers:?}")
}
