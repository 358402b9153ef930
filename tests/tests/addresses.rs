//! The addresses of connections: as the programs themselves and `ss` say, or absent, never wrong.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use tlstap_tests::{
    agent::Agent,
    child::Child,
    docker::{Container, Docker, Run},
    event::{absent, exchanges, number, text},
    node::Node,
    tool,
};

use crate::web;

crate::tests![
    python_blocking,
    python_asyncio,
    node_js,
    curl,
    servers_with_memory_bios,
    version_6,
    a_connection_of_before_the_agent,
    as_ss_says,
    behind_a_proxy,
    behind_a_proxy_by_tls,
    over_a_unix_socket,
    by_file_descriptors,
];

const LIMIT: Duration = Duration::from_secs(20);
/// Connections of a client.
const COUNT: usize = 200;
/// The same, as an argument.
const COUNT_TEXT: &str = "200";

/// The ends of a connection: (local, peer), each as (address, port).
pub(crate) type Ends = ((String, u64), (String, u64));

/// How many connections must have addresses, of a hundred.
#[derive(Clone, Copy)]
enum Share {
    All,
    Most,
}

/// nginx, which logs the addresses of each request.
pub(crate) fn nginx(docker: &Docker, options: &[&str]) -> Result<Container> {
    let run = docker.run("nginx")?.network(docker.network()).options(options);
    let server = run.start(&["nginx", "-c", "/fixture/nginx.conf"])?;
    server.wait_for_log("start worker process")?;
    Ok(server)
}

/// What a program said of its connections, by path.
pub(crate) fn reported(said: &str) -> Result<BTreeMap<String, Ends>> {
    let lines = said.lines().filter(|line| line.starts_with('{'));
    lines
        .map(|line| {
            let said: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
            let end = |end: &str| {
                let address = text(&said, &format!("/{end}/0")).context("no address")?;
                // A socket for both versions shows version 4 as a part of version 6.
                let address = address.trim_start_matches("::ffff:");
                let port = number(&said, &format!("/{end}/1")).context("no port")?;
                anyhow::Ok((address.to_owned(), port))
            };
            let path = text(&said, "/path").context("no path")?;
            Ok((path.to_owned(), (end("local")?, end("peer")?)))
        })
        .collect()
}

/// The addresses in an event; `None` when they are absent.
pub(crate) fn ends(event: &Value) -> Option<Ends> {
    let end = |end: &str| {
        let address = text(event, &format!("/network/{end}/address"))?.to_owned();
        Some((address, number(event, &format!("/network/{end}/port"))?))
    };
    Some((end("local")?, end("peer")?))
}

/// Holds the events of a container to what it said of its connections.
fn hold(
    events: &[Value],
    container: &Container,
    said: &BTreeMap<String, Ends>,
    share: Share,
) -> Result<()> {
    let mut right = 0;
    for (path, wanted) in said {
        let found = web::with_path(events, container.name(), path);
        ensure!(found.len() == 1, "{} exchanges with {path} of {}", found.len(), container.name());
        for event in found {
            match ends(event) {
                Some(found) if found == *wanted => right += 1,
                Some(found) => bail!("{found:?} for {path}, which is {wanted:?}: {event}"),
                None => {}
            }
        }
    }
    let enough = match share {
        Share::All => said.len(),
        Share::Most => (said.len() * 99).div_ceil(100),
    };
    ensure!(right >= enough, "addresses of {right} connections of {}, not {enough}", said.len());
    Ok(())
}

/// Lets a client ask nginx, with a connection for each request; both sides' addresses must be as
/// they say.
fn ask(node: &Node, client: &[&str], share: Share) -> Result<()> {
    let docker = node.docker()?;
    let server = nginx(docker, &[])?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let command = [client, &[server.name(), web::PORT, COUNT_TEXT]].concat();
    let (said, client) = docker.run("client")?.network(docker.network()).finish(&command)?;
    let said = reported(&said)?;
    ensure!(said.len() == COUNT, "{} reports", said.len());
    wait(&mut agent, &[&server, &client], COUNT)?;
    let events = agent.stop()?.events()?;
    hold(&events, &client, &said, share)?;
    let logged = reported(&server.log()?)?;
    ensure!(logged.len() == COUNT, "{} lines in nginx's log", logged.len());
    hold(&events, &server, &logged, Share::All)
}

fn wait(agent: &mut Agent, sides: &[&Container], count: usize) -> Result<()> {
    agent.wait_for("the exchanges of each side", |events| {
        let enough = |side: &&Container| exchanges(events, side.name()).len() >= count;
        sides.iter().all(enough).then_some(())
    })
}

fn python_blocking(node: &Node) -> Result<()> {
    ask(node, &["python3", "/fixture/addresses.py", "blocking", "ask"], Share::All)
}

fn python_asyncio(node: &Node) -> Result<()> {
    ask(node, &["python3", "/fixture/addresses.py", "asyncio", "ask"], Share::Most)
}

fn node_js(node: &Node) -> Result<()> {
    ask(node, &["node", "/fixture/addresses.js", "ask"], Share::Most)
}

/// curl gives the library a BIO of its own, with which file descriptors tell nothing.
fn curl(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = nginx(docker, &[])?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let script = format!(
        r#"for n in $(seq 20); do
             curl --silent --insecure --output /dev/null --write-out \
               '{{"path":"/'$n'","local":["%{{local_ip}}",%{{local_port}}],"peer":["%{{remote_ip}}",%{{remote_port}}]}}\n' \
               https://{}:{}/$n
           done"#,
        server.name(),
        web::PORT
    );
    let run = docker.run("curl")?.network(docker.network());
    let (said, client) = run.finish(&["sh", "-c", &script])?;
    let said = reported(&said)?;
    ensure!(said.len() == 20, "{} reports", said.len());
    wait(&mut agent, &[&client], said.len())?;
    hold(&agent.stop()?.events()?, &client, &said, Share::All)
}

fn servers_with_memory_bios(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let kinds: [&[&str]; 2] = [
        &["python3", "/fixture/addresses.py", "asyncio", "serve", web::PORT],
        &["node", "/fixture/addresses.js", "serve", web::PORT],
    ];
    for command in kinds {
        let server = docker.run("server")?.network(docker.network()).start(command)?;
        server.wait_for_log("listening")?;
        let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
        let ask = ["python3", "/fixture/addresses.py", "blocking", "ask"];
        let command = [&ask[..], &[server.name(), web::PORT, COUNT_TEXT]].concat();
        let (_, client) = docker.run("client")?.network(docker.network()).finish(&command)?;
        wait(&mut agent, &[&server, &client], COUNT)?;
        let events = agent.stop()?.events()?;
        hold(&events, &server, &reported(&server.log()?)?, Share::Most)?;
    }
    Ok(())
}

fn version_6(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = nginx(docker, &["--sysctl", "net.ipv6.conf.all.disable_ipv6=0"])?;
    let network = format!("container:{}", server.name());
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let mut clients = Vec::new();
    for client in [PYTHON, ASYNCIO] {
        let command = [&client[..], &["ask", "::1", web::PORT, "100"]].concat();
        let (said, client) = docker.run("client")?.network(&network).finish(&command)?;
        let said = reported(&said)?;
        let version_6 = said.values().all(|((local, _), _)| local == "::1");
        ensure!(version_6 && said.len() == 100, "not over IPv6: {said:?}");
        wait(&mut agent, &[&client], said.len())?;
        clients.push((client, said));
    }
    let events = agent.stop()?.events()?;
    clients.iter().try_for_each(|(client, said)| hold(&events, client, said, Share::Most))
}

/// A client in a container that holds one connection to nginx open, and asks when told to.
struct Keeper {
    child: Child,
    container: Container,
}

impl Keeper {
    fn start(run: Run, client: &[&str], server: &Container) -> Result<Self> {
        let command = [client, &["keep", server.name(), web::PORT]].concat();
        let (child, container) = run.attached(&command)?;
        child.says("open", LIMIT)?;
        Ok(Self { child, container })
    }

    /// Asks for a path; what it says of the connection.
    fn ask(&mut self, path: &str) -> Result<Ends> {
        self.child.tell(&format!("{path}\n"))?;
        let line = self.child.says(&format!("\"{path}\""), LIMIT)?;
        reported(&line)?.remove(path).context("no report")
    }
}

const PYTHON: [&str; 3] = ["python3", "/fixture/addresses.py", "blocking"];
const ASYNCIO: [&str; 3] = ["python3", "/fixture/addresses.py", "asyncio"];
const NODE: [&str; 2] = ["node", "/fixture/addresses.js"];

fn a_connection_of_before_the_agent(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = nginx(docker, &[])?;
    for client in [&PYTHON[..], &ASYNCIO, &NODE] {
        let run = docker.run("client")?.network(docker.network());
        let mut keeper = Keeper::start(run, client, &server)?;
        let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
        let name = keeper.container.name().to_owned();
        let mut wanted = None;
        // Programs with memory BIOs are recognised at the first.
        for path in ["/first", "/second", "/third"] {
            wanted = Some(keeper.ask(path)?);
            agent.wait_for(path, |events| web::with_path(events, &name, path).pop().cloned())?;
        }
        let events = agent.stop()?.events()?;
        for event in exchanges(&events, &name) {
            ensure!(ends(event).is_none() || ends(event) == wanted, "wrong addresses: {event}");
        }
        let last = web::with_path(&events, &name, "/third").pop().context("no third")?;
        ensure!(ends(last) == wanted, "not {wanted:?} in {last}");
        // Both containers live, so each is known by its address.
        let server_side = web::with_path(&events, server.name(), "/third").pop().context("none")?;
        for (event, peer) in [(last, server.name()), (server_side, &name)] {
            let found = text(event, "/network/peer/name");
            ensure!(found == Some(peer), "peer {found:?}, not {peer}, in {event}");
        }
    }
    Ok(())
}

fn as_ss_says(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = nginx(docker, &[])?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    for client in [&PYTHON[..], &ASYNCIO, &NODE] {
        let run = docker.run("client")?.network(docker.network());
        let mut keeper = Keeper::start(run, client, &server)?;
        keeper.ask("/ss")?;
        let name = keeper.container.name();
        let event =
            agent.wait_for("/ss", |events| web::with_path(events, name, "/ss").pop().cloned())?;
        let ((local, local_port), (peer, peer_port)) = ends(&event).context("no addresses")?;
        let pid = keeper.container.pid()?;
        let namespace = format!("--net=/proc/{pid}/ns/net");
        let shown = tool::run(tool::command("nsenter", [&namespace, "ss", "-tnHp"])?)?;
        let own: Vec<_> = shown
            .lines()
            .filter(|line| line.contains(&format!("pid={pid},")))
            .map(|line| line.split_whitespace().skip(3).take(2).collect::<Vec<_>>())
            .collect();
        let wanted = [format!("{local}:{local_port}"), format!("{peer}:{peer_port}")];
        ensure!(
            own == [wanted.iter().map(String::as_str).collect::<Vec<_>>()],
            "{wanted:?} but ss says {own:?}"
        );
        let inode = number(&event, "/network/namespace/inode").unwrap_or_default();
        let link = std::fs::read_link(format!("/proc/{pid}/ns/net"))?;
        ensure!(link.to_string_lossy() == format!("net:[{inode}]"), "{link:?} but {inode}");
    }
    Ok(())
}

/// The connection that the process has is the one to the proxy.
fn behind_a_proxy(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = nginx(docker, &[])?;
    let proxy = docker.run("proxy")?.network(docker.network());
    let proxy = proxy.start(&["python3", "/fixture/proxy.py", "3128"])?;
    proxy.wait_for_log("listening")?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let through = format!("http://{}:3128", proxy.name());
    let (body, client) = web::curl(docker, &server, "/tunnel", &["--proxy", &through])?;
    ensure!(body == "hello from nginx", "curl got {body:?}");
    wait(&mut agent, &[&client], 1)?;
    let events = agent.stop()?.events()?;
    let event = web::with_path(&events, client.name(), "/tunnel").pop().context("no event")?;
    let peer = ends(event).map(|(_, peer)| peer);
    ensure!(peer == Some((proxy.address()?, 3128)), "not the proxy but {peer:?}");
    Ok(())
}

/// TLS inside TLS: the tunnel and what is in it have the same socket.
fn behind_a_proxy_by_tls(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = nginx(docker, &[])?;
    let proxy = docker.run("proxy")?.network(docker.network());
    let proxy = proxy.start(&["python3", "/fixture/proxy.py", "3128", "tls"])?;
    proxy.wait_for_log("listening")?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let through = format!("https://{}:3128", proxy.name());
    let options = ["--proxy-insecure", "--proxy", &through];
    let (body, client) = web::curl(docker, &server, "/tunnel", &options)?;
    ensure!(body == "hello from nginx", "curl got {body:?}");
    wait(&mut agent, &[&client], 2)?;
    let events = agent.stop()?.events()?;
    let mut found = exchanges(&events, client.name());
    found.sort_by_key(|event| text(event, "/http/request/method"));
    let methods: Vec<_> =
        found.iter().filter_map(|event| text(event, "/http/request/method")).collect();
    ensure!(methods == ["CONNECT", "GET"], "not the tunnel and what is in it, but {methods:?}");
    let sockets: Vec<_> = found.iter().map(|event| ends(event)).collect();
    let peer = sockets.first().cloned().flatten().map(|(_, peer)| peer);
    ensure!(peer == Some((proxy.address()?, 3128)), "not the proxy but {peer:?}");
    ensure!(sockets.first() == sockets.last(), "two sockets: {sockets:?}");
    Ok(())
}

fn over_a_unix_socket(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let path = "/run/tls.sock";
    let run = docker.run("unix")?;
    let (_, both) = run.finish(&["python3", "/fixture/addresses.py", "unix", path, "10"])?;
    wait(&mut agent, &[&both], 20)?;
    let events = agent.stop()?.events()?;
    for event in exchanges(&events, both.name()) {
        ensure!(text(event, "/network/transport") == Some("unix"), "not unix: {event}");
        let (named, other) = match text(event, "/kind") {
            Some("client") => ("/network/peer", "/network/local"),
            _ => ("/network/local", "/network/peer"),
        };
        let found = text(event, &format!("{named}/address"));
        ensure!(found == Some(path), "{named} is {found:?}");
        absent(event, other)?;
        absent(event, &format!("{named}/port"))?;
    }
    Ok(())
}

/// What is left on a kernel without tracepoints on sockets and without kprobes.
fn by_file_descriptors(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = nginx(docker, &[])?;
    let arguments = ["trace", "-o", "json", "-v", "--sockets", "descriptors"];
    let mut agent = node.tlstap(&arguments)?.ready()?;
    let run = docker.run("client")?.network(docker.network());
    let mut keeper = Keeper::start(run, &PYTHON, &server)?;
    let wanted = keeper.ask("/late")?;
    let name = keeper.container.name();
    let event =
        agent.wait_for("/late", |events| web::with_path(events, name, "/late").pop().cloned())?;
    ensure!(ends(&event) == Some(wanted), "other addresses: {event}");
    let id = text(&event, "/network/connection/id").unwrap_or_default();
    let by = agent.complains(id, LIMIT)?;
    ensure!(by.contains("file descriptor"), "found by {by:?}");
    Ok(())
}
