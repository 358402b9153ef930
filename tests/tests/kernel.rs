//! What must hold on every kernel that the agent supports: `cargo xtask vm` runs these tests on another one than
//! this. They need nothing but the agent, OpenSSL, curl, and fixtures in C.

use std::{net::TcpStream, path::Path, time::Duration};

use anyhow::{Result, ensure};
use tlstap_tests::{
    child::Child,
    deadline,
    event::{number, text},
    node::Node,
    tool,
};

use crate::{Test, seccomp};

crate::tests![curl_and_openssl];

/// Tests of other modules that belong here.
const OTHERS: [&str; 16] = [
    "listing::list_as_json",
    "listing::list_as_table",
    "plaintext::plain_calls",
    "plaintext::ex_calls",
    "plaintext::a_call_of_a_mebibyte",
    "calls::each_in_its_way",
    "calls::deeper_than_is_followed",
    "gaps::beyond_the_limit_of_a_call",
    "gaps::of_a_ring_that_overflows",
    "exact::by_other_links",
    "exact::ring::that_nobody_reads",
    "links::nothing_is_left_in_the_code",
    "links::nothing_is_left_by_a_kill",
    "links::others_are_not_probed",
    "endings::by_interrupt",
    "endings::by_kill",
];

/// Chooses the tests of this tier, if the environment asks for it.
pub(crate) fn chosen(all: Vec<(&'static str, Test)>) -> Result<Vec<(&'static str, Test)>> {
    if std::env::var_os("TLSTAP_TIER").is_none_or(|tier| tier != "kernel") {
        return Ok(all);
    }
    let own = TESTS.iter().map(|(name, _)| *name);
    let names: Vec<_> = own.chain(OTHERS).chain(seccomp::ON_ANY_KERNEL).collect();
    let count = names.len();
    let is_named = |full: &str| {
        names
            .iter()
            .any(|name| full.trim_start_matches("suite::") == name.trim_start_matches("suite::"))
    };
    let chosen: Vec<_> = all.into_iter().filter(|(name, _)| is_named(name)).collect();
    ensure!(chosen.len() == count, "{} of {count} tests of the tier are there", chosen.len());
    Ok(chosen)
}

const LIMIT: Duration = Duration::from_secs(30);

/// Both ends of an exchange between programs of the machine, with its addresses.
fn curl_and_openssl(node: &Node) -> Result<()> {
    let folder = node.scratch().join("kernel");
    std::fs::create_dir_all(&folder)?;
    let (_server, port) = server(&folder)?;
    let mut agent = node.tlstap(&["trace", "-o", "json", "--body", "--show-secrets"])?.ready()?;
    let url = format!("https://localhost:{port}/?kernel");
    let page = tool::run(tool::command("curl", ["--silent", "--insecure", "--ipv4", &url])?)?;
    let ends = agent
        .wait_for_count("both ends", 2, |event| text(event, "/url/query") == Some("kernel"))?;
    for (kind, address) in [("client", "/network/peer"), ("server", "/network/local")] {
        let end = ends.iter().find(|end| text(end, "/kind") == Some(kind));
        let end = end.ok_or_else(|| anyhow::anyhow!("no {kind}: {ends:?}"))?;
        ensure!(number(end, &format!("{address}/port")) == Some(u64::from(port)), "{end}");
        let body = text(end, "/http/response/body/text").map(str::trim);
        ensure!(body == Some(&page), "another page than curl's: {end}");
    }
    let ended = agent.stop()?;
    ensure!(ended.summary()?.contains("nothing lost"), "{}", ended.summary()?);
    Ok(())
}

/// A server of `openssl` that tells of each connection in a page.
fn server(folder: &Path) -> Result<(Child, u16)> {
    let [key, certificate] = ["key.pem", "certificate.pem"].map(|name| folder.join(name));
    let mut command = tool::command(
        "openssl",
        ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
    )?;
    command.args(["-subj", "/CN=localhost", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    tool::run(command)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = tool::command("openssl", ["s_server", "-www", "-quiet", "-accept"])?;
    command.arg(format!("127.0.0.1:{port}")).arg("-key").arg(key).arg("-cert").arg(certificate);
    let server = Child::start(command)?;
    deadline::until("a server", LIMIT, || Ok(TcpStream::connect(("127.0.0.1", port)).ok()))?;
    Ok((server, port))
}
