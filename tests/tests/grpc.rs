//! gRPC: what a client prints of its calls is what is told.
//!
//! grpcio has a BoringSSL without symbols.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use tlstap_tests::{
    event::{absent, expect, of_type, text},
    node::Node,
    packages,
    server::Server,
    tool,
};

use crate::addresses::ends;

crate::tests![
    node_and_node,
    grpcio_calls_node,
    node_calls_grpcio,
    grpcio_and_grpcio,
    grpcio_in_containers,
    messages_by_name_and_number
];

const GRPCIO: &str = "grpcio==1.71.0";

/// In containers.
const PORT: &str = "8443";

/// Unary, with streams of the server, of the client, of both, and one that fails.
const CALLS: [&str; 5] = ["Add", "List", "Fill", "Chat", "Fail"];

/// Whose calls are told.
const BOTH: [&str; 2] = ["client", "server"];

/// A call as a client prints it.
#[derive(Deserialize)]
struct Call {
    method: String,
    status: u32,
    message: String,
    /// The sizes of the messages.
    sent: Vec<u64>,
    got: Vec<u64>,
}

impl Call {
    fn is_told(&self, event: &Value) -> Result<()> {
        let messages =
            |sizes: &[u64]| json!({"count": sizes.len(), "size": sizes.iter().sum::<u64>()});
        let mut fields = vec![
            ("/rpc/system", json!("grpc")),
            ("/rpc/service", json!("shop.Cart")),
            ("/rpc/grpc/status_code", json!(self.status)),
            ("/rpc/request/messages", messages(&self.sent)),
            ("/rpc/response/messages", messages(&self.got)),
            ("/http/response/status_code", json!(200)),
        ];
        if self.status > 0 {
            fields.push(("/rpc/grpc/status_message", json!(self.message)));
        }
        expect(event, &fields)?;
        absent(event, "/error")
    }
}

fn script(mut program: Command, name: &str) -> Command {
    program.arg(tool::fixtures().join("grpc").join(name));
    program
}

fn node(name: &str) -> Result<Command> {
    Ok(script(packages::node(&["@grpc/grpc-js@1.13.0"])?, name))
}

fn grpcio(name: &str) -> Result<Command> {
    Ok(script(packages::python(&[GRPCIO])?, name))
}

/// Traces a client's calls, and holds what is told of these sides against what it prints.
fn captured(tlstap: &Node, server: Command, mut client: Command, sides: &[&str]) -> Result<()> {
    let server = Server::program(server)?;
    client.arg(server.port.to_string()).arg(server.certificate());
    let mut agent = tlstap.tlstap(&["trace", "-o", "json"])?.ready()?;
    let printed = tool::run(client)?;
    let calls: Vec<Call> =
        printed.lines().map(serde_json::from_str).collect::<Result<_, _>>().context(printed)?;
    ensure!(calls.iter().map(|call| call.method.as_str()).eq(CALLS), "other calls are printed");
    agent.wait_for("all calls", |events| {
        (of_type(events, "grpc").count() >= sides.len() * calls.len()).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    for side in sides {
        let of_side = |event: &&Value| text(event, "/kind") == Some(side);
        let told: Vec<&Value> = of_type(&events, "grpc").filter(of_side).collect();
        ensure!(told.len() == calls.len(), "{} calls of the {side}", told.len());
        for call in &calls {
            let of_call = |event: &&&Value| text(event, "/rpc/method") == Some(&call.method);
            call.is_told(told.iter().find(of_call).with_context(|| call.method.clone())?)?;
        }
    }
    Ok(())
}

/// What the clients send, in the order of their numbers.
const ITEMS: [(&str, u64); 3] = [("tea", 1), ("a kettle", 2), ("cups", 3)];

/// With the types of the messages their members have names, and one that is named like a secret is
/// masked; without, they have numbers.
fn messages_by_name_and_number(tlstap: &Node) -> Result<()> {
    let types = tlstap.scratch().join("shop.pb");
    let mut write = script(packages::python(&["protobuf==5.29.3"])?, "descriptors.py");
    write.arg(&types);
    tool::run(write)?;
    let types = types.to_str().context("a path that is not UTF-8")?;
    let named = |(name, count)| json!({"name": name, "count": count, "password": "*******"});
    let numbered = |(name, count)| json!({"1": [name], "2": [count], "3": ["hunter2"]});
    messages(tlstap, &["--proto", types], &ITEMS.map(named))?;
    messages(tlstap, &[], &ITEMS.map(numbered))
}

/// Holds what is told of a call with streams of both sides against these messages.
fn messages(tlstap: &Node, options: &[&str], items: &[Value]) -> Result<()> {
    let server = Server::program(node("server.js")?)?;
    let mut client = node("client.js")?;
    client.arg(server.port.to_string()).arg(server.certificate());
    let arguments = [&["trace", "-o", "json", "--body"], options].concat();
    let mut agent = tlstap.tlstap(&arguments)?.ready()?;
    tool::run(client)?;
    let chats = agent.wait_for_count("the calls of Chat", 2, |event| {
        text(event, "/rpc/method") == Some("Chat")
    })?;
    for event in &chats {
        expect(
            event,
            &[
                ("/rpc/request/messages/content", json!(items)),
                ("/rpc/response/messages/content", json!(items)),
            ],
        )?;
        absent(event, "/http/request/body/text")?;
        absent(event, "/http/request/body/base64")?;
    }
    let events = agent.stop()?.events()?;
    let shown = events.iter().any(|event| event.to_string().contains("hunter2"));
    ensure!(shown == options.is_empty(), "a member named like a secret is shown");
    Ok(())
}

fn node_and_node(tlstap: &Node) -> Result<()> {
    captured(tlstap, node("server.js")?, node("client.js")?, &BOTH)
}

fn grpcio_calls_node(tlstap: &Node) -> Result<()> {
    captured(tlstap, node("server.js")?, grpcio("client.py")?, &BOTH)
}

fn node_calls_grpcio(tlstap: &Node) -> Result<()> {
    captured(tlstap, grpcio("server.py")?, node("client.js")?, &BOTH)
}

fn grpcio_and_grpcio(tlstap: &Node) -> Result<()> {
    captured(tlstap, grpcio("server.py")?, grpcio("client.py")?, &BOTH)
}

/// A client and a server in containers of their own: the calls, and the only connection there is.
fn grpcio_in_containers(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let packages = packages::of_python(&[GRPCIO])?;
    let run = |role| {
        let run = docker.run(role)?.network(docker.network()).mount(&packages, "/packages");
        let run = run.mount(&tool::fixtures().join("grpc"), "/grpc");
        let environment =
            ["PYTHONPATH=/packages", "PYTHONDONTWRITEBYTECODE=1", "GRPC_LISTEN=0.0.0.0"];
        anyhow::Ok(environment.iter().fold(run, |run, set| run.options(&["--env", set])))
    };
    let key = ["/fixture/key.pem", "/fixture/certificate.pem"];
    let server = run("server")?.start(&["python3", "/grpc/server.py", PORT, key[0], key[1]])?;
    server.wait_for_log("ready")?;
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let name = ["GRPC_SERVER", server.name()].join("=");
    let client = run("client")?.options(&["--env", &name, "--env", "GRPC_NAME=tlstap-tests"]);
    let (printed, client) = client.finish(&["python3", "/grpc/client.py", PORT, key[1]])?;
    let calls: Vec<Call> =
        printed.lines().map(serde_json::from_str).collect::<Result<_, _>>().context(printed)?;
    ensure!(calls.iter().map(|call| call.method.as_str()).eq(CALLS), "other calls are printed");
    agent.wait_for("all calls", |events| {
        (of_type(events, "grpc").count() >= 2 * calls.len()).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    let listens = (server.address()?, PORT.parse()?);
    for (side, container) in [("client", &client), ("server", &server)] {
        let told: Vec<_> =
            of_type(&events, "grpc").filter(|event| text(event, "/kind") == Some(side)).collect();
        ensure!(told.len() == calls.len(), "{} calls of the {side}", told.len());
        for call in &calls {
            let of_call = |event: &&&Value| text(event, "/rpc/method") == Some(&call.method);
            let event = told.iter().find(of_call).with_context(|| call.method.clone())?;
            call.is_told(event)?;
            expect(event, &[("/container/name", json!(container.name()))])?;
            let (local, peer) = ends(event).with_context(|| format!("no addresses: {event}"))?;
            let server = if side == "client" { peer } else { local };
            ensure!(server == listens, "{server:?}, not {listens:?}");
        }
    }
    Ok(())
}
