//! The packets of `-o pcapng` as Wireshark reads them: what programs said, and nothing wrong.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{
    agent::Agent,
    content::content,
    database::Database,
    docker::{Container, Docker},
    node::Node,
    tool,
    tshark::{Packets, sha256},
};

use crate::databases;

crate::tests![
    http_as_curl_got_it,
    http2_as_curl_got_it,
    sql_without_decode_as,
    what_was_lost_is_missing
];

const PORT: u16 = 8444;
/// Files of the server: a small one, some of several segments and TLS records.
const FILES: [(&str, usize); 5] =
    [("/a.txt", 23), ("/b.bin", 5_000), ("/c.bin", 70_000), ("/d.bin", 1 << 20), ("/e.bin", 300)];
/// What curl sends.
const UPLOAD: (&str, usize) = ("/upload", 200_000);

/// A trace into a file, on which what is done is shown.
fn packets(
    node: &Node,
    name: &str,
    arguments: &[&str],
    act: impl FnOnce() -> Result<()>,
) -> Result<Packets> {
    let file = node.scratch().join(name);
    let path = file.to_str().context("a path that is not UTF-8")?;
    let agent = node.tlstap(&[&["-o", "pcapng", "-w", path], arguments].concat())?.ready()?;
    act()?;
    settled(agent, &file)?;
    Packets::of(file)
}

fn settled(agent: Agent, file: &Path) -> Result<()> {
    Packets::settled(file)?;
    agent.stop()?;
    Ok(())
}

/// A folder of the containers with the files.
fn files(node: &Node) -> Result<PathBuf> {
    let folder = node.scratch().join("files");
    fs::create_dir_all(&folder)?;
    for (number, (path, size)) in (1..).zip(FILES.into_iter().chain([UPLOAD])) {
        let bytes: Vec<u8> = content(number, 0).take(size).collect();
        fs::write(folder.join(path.trim_start_matches('/')), bytes)?;
    }
    // nginx's worker is nobody in particular.
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
    Ok(folder)
}

/// Runs curl in a container for all files and the upload; the container, and the bodies that curl
/// got and sent.
fn curl(
    docker: &Docker,
    server: &Container,
    files: &Path,
    flags: &[&str],
) -> Result<(Container, Vec<String>)> {
    let got = tempfile::tempdir_in(files)?;
    fs::set_permissions(got.path(), fs::Permissions::from_mode(0o777))?;
    let run = docker.run("client")?.network(docker.network());
    let run = run.mount(files, "/files").mount(got.path(), "/got");
    let url = |path: &str| format!("https://{}:{PORT}{path}", server.name());
    let mut command = [&["curl", "--silent", "--show-error", "--insecure"], flags].concat();
    let asked: Vec<_> = FILES.iter().map(|(path, _)| (url(path), format!("/got{path}"))).collect();
    for (url, output) in &asked {
        command.extend([url.as_str(), "--output", output]);
    }
    let (upload, refusal) = (url(UPLOAD.0), format!("/got{}", UPLOAD.0));
    let sent = format!("@/files{}", UPLOAD.0);
    command.extend(["--next", "--silent", "--insecure"]);
    command.extend(flags.iter().filter(|flag| flag.starts_with("--http")));
    command.extend(["--data-binary", &sent, &upload, "--output", &refusal]);
    let (_, client) = run.finish(&command)?;
    let mut bodies = Vec::new();
    for (path, size) in FILES {
        let body = fs::read(got.path().join(path.trim_start_matches('/')))?;
        ensure!(body.len() == size, "curl got {} bytes of {path}", body.len());
        bodies.push(sha256(&body));
    }
    bodies.push(sha256(&fs::read(got.path().join("upload"))?));
    bodies.push(sha256(&fs::read(files.join("upload"))?));
    Ok((client, bodies))
}

/// The packets of curls with these flags, and for each the container and the bodies.
fn curls(
    node: &Node,
    name: &str,
    flags: [&[&str]; 2],
) -> Result<(Packets, Vec<String>, Vec<String>)> {
    let (docker, files) = (node.docker()?, files(node)?);
    let run = docker.run("nginx")?.network(docker.network()).mount(&files, "/files");
    let server = run.start(&["nginx", "-c", "/fixture/nginx.conf"])?;
    server.wait_for_log("start worker process")?;
    let (mut names, mut bodies) = (Vec::new(), Vec::new());
    // Bytes of files may look like a secret.
    let packets = packets(node, name, &["--show-secrets"], || {
        for flags in flags {
            let (client, got) = curl(docker, &server, &files, flags)?;
            names.push(client.name().to_owned());
            bodies.extend(got);
        }
        Ok(())
    })?;
    names.push(server.name().to_owned());
    Ok((packets, names, bodies))
}

/// How often each is there.
fn counted(all: impl IntoIterator<Item = String>) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    all.into_iter().for_each(|one| *counts.entry(one).or_default() += 1);
    counts
}

/// Holds the requests of each interface, which is a container, against what curl asked for.
fn requests(packets: &Packets, names: &[String], method: &str, uri: &str) -> Result<()> {
    let rows = packets.fields(method, &["frame.interface_name", method, uri])?;
    let (server, clients) = names.split_last().context("no server")?;
    let once = || FILES.map(|(path, _)| format!("GET {path}")).into_iter();
    let once = || once().chain([format!("POST {}", UPLOAD.0)]);
    for name in names {
        let times = if name == server { clients.len() } else { 1 };
        let wanted = counted((0..times).flat_map(|_| once()));
        // Frames may have several requests.
        let mine = rows.iter().filter(|row| row.first().is_some_and(|place| of(place, name)));
        let found = counted(mine.flat_map(|row| {
            let [_, methods, uris] = row.as_slice() else { return Vec::new() };
            let pairs = methods.split(',').zip(uris.split(','));
            pairs.map(|(method, uri)| format!("{method} {uri}")).collect()
        }));
        ensure!(found == wanted, "{name}: {found:?}, not {wanted:?}");
    }
    Ok(())
}

/// Whether an interface stands for a container.
fn of(interface: &str, container: &str) -> bool {
    interface.strip_suffix(" (other side)").unwrap_or(interface) == container
}

/// Holds the first packet of each connection to say whose it is.
fn comments(packets: &Packets, names: &[String]) -> Result<()> {
    let first = "tcp.flags.syn == 1 and tcp.flags.ack == 0";
    let rows = packets.fields(first, &["frame.interface_name", "frame.comment"])?;
    for name in names {
        let program = if name.starts_with("nginx") { "nginx" } else { "curl" };
        let mine = rows.iter().filter(|row| row.first().is_some_and(|place| of(place, name)));
        let comments: Vec<_> = mine.filter_map(|row| row.get(1)).collect();
        ensure!(!comments.is_empty(), "no connection of {name}: {rows:?}");
        for comment in comments {
            for line in [format!("process: {program}"), format!("container: {name}")] {
                ensure!(comment.contains(&line), "no {line:?} in {comment:?}");
            }
        }
    }
    Ok(())
}

/// Holds bodies against those that curl sent and got, seen from both sides.
fn bodies(found: &BTreeMap<String, usize>, got: Vec<String>) -> Result<()> {
    let mut wanted = counted(got);
    wanted.values_mut().for_each(|count| *count *= 2);
    ensure!(*found == wanted, "bodies {found:#?}, not {wanted:#?}");
    Ok(())
}

fn http_as_curl_got_it(node: &Node) -> Result<()> {
    let flags = [&["--http1.1"][..], &["--http1.1", "--parallel"]];
    let (packets, names, got) = curls(node, "http1.pcapng", flags)?;
    packets.flawless()?;
    requests(&packets, &names, "http.request.method", "http.request.uri")?;
    bodies(&packets.objects()?, got)?;
    comments(&packets, &names)
}

fn http2_as_curl_got_it(node: &Node) -> Result<()> {
    let flags = [&["--http2"][..], &["--http2", "--parallel"]];
    let (packets, names, got) = curls(node, "http2.pcapng", flags)?;
    packets.flawless()?;
    requests(&packets, &names, "http2.headers.method", "http2.headers.path")?;
    bodies(&packets.streams()?, got)?;
    comments(&packets, &names)?;
    let streams =
        packets.fields("http2.headers.status", &["tcp.stream", "http2.headers.status"])?;
    let answers: usize =
        streams.iter().filter_map(|row| row.get(1)).map(|all| all.split(',').count()).sum();
    // Both clients and their server, the files and the upload.
    ensure!(answers == 4 * (FILES.len() + 1), "{answers} answers");
    Ok(())
}

fn sql_without_decode_as(node: &Node) -> Result<()> {
    let server = Database::postgresql()?;
    let statements =
        ["create table t (a int)", "insert into t select 1", "select * from t", "select 1/0"];
    let packets = packets(node, "sql.pcapng", &[], || {
        let mut client = tool::command("/usr/lib/postgresql/15/bin/psql", ["-X", "-A", "-t"])?;
        client.arg(databases::address(&server));
        for statement in statements {
            client.args(["-c", statement]);
        }
        // The last statement fails.
        client.output()?;
        Ok(())
    })?;
    packets.flawless()?;
    let rows = packets.fields("pgsql.query", &["tcp.stream", "tcp.dstport", "pgsql.query"])?;
    let streams: BTreeSet<_> = rows.iter().filter_map(|row| row.first()).collect();
    ensure!(streams.len() == 2, "not each side once: {rows:?}");
    for stream in streams {
        let mine = rows.iter().filter(|row| row.first() == Some(stream));
        let told: Vec<_> = mine.filter_map(|row| row.get(2)).collect();
        ensure!(told == statements, "{told:?}");
    }
    let codes = packets.fields("pgsql.code", &["pgsql.code"])?;
    ensure!(codes == [["22012"], ["22012"]], "not the error of each side: {codes:?}");
    Ok(())
}

/// A hole in the sequence numbers, before and behind which everything is right.
fn what_was_lost_is_missing(node: &Node) -> Result<()> {
    const KEPT: usize = 1_000;
    const ROUNDS: usize = 3;
    let head = "POST /lossy HTTP/1.1\r\nContent-Length: 4900\r\n\r\n";
    let body: String = ('a'..='z').cycle().take(4_900).collect();
    let message = format!("{head}{body}").into_bytes();
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    let mut talking =
        node.talk()?.flags(&["--rounds", &ROUNDS.to_string()]).start(&message, answer)?;
    let pid = talking.pid().to_string();
    let arguments = ["--max-call-bytes", &KEPT.to_string(), "--pid", &pid];
    let packets = packets(node, "lossy.pcapng", &arguments, || talking.go())?;
    talking.end()?;
    let lost = packets.fields("tcp.analysis.lost_segment", &["tcp.stream", "tcp.len"])?;
    // One behind each hole; behind the last one there is no data, but an end.
    ensure!(lost.len() == 2 * ROUNDS, "{} missing segments: {lost:?}", lost.len());
    let filter = "tcp.len > 0 and tcp.dstport == 80";
    let sent = packets.fields(filter, &["tcp.stream", "tcp.seq", "tcp.payload"])?;
    ensure!(sent.len() == 2 * ROUNDS, "{} segments of both sides", sent.len());
    for row in &sent {
        let [_, sequence, payload] = row.as_slice() else { continue };
        let at = (sequence.parse::<usize>()? - 1) % message.len();
        let kept = message.get(at..at + KEPT).context("no start of a call")?;
        let wanted: String = kept.iter().map(|byte| format!("{byte:02x}")).collect();
        ensure!(at == 0 && *payload == wanted, "other bytes at {sequence}: {payload}");
    }
    let malformed = packets.fields("_ws.malformed", &["frame.number"])?;
    ensure!(malformed.is_empty(), "malformed: {malformed:?}");
    let bodies = packets.objects()?;
    ensure!(!bodies.contains_key(&sha256(body.as_bytes())), "a body that was not captured");
    Ok(())
}
