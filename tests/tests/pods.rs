//! Issue 3: pods of containerd, made through its Kubernetes interface, and containers of Podman.

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    agent::Agent,
    containerd::Pod,
    docker::Container,
    event::{absent, expect, of_type, text},
    node::Node,
};

use crate::{odd, web};

crate::tests![a_pod_is_named, by_pod, by_namespace_and_image, podman_names_its_containers];

/// Asks from within a pod.
fn ask(pod: &Pod, server: &Container, query: &str) -> Result<()> {
    let url = format!("https://{}:{}/hello?{query}", server.address()?, web::PORT);
    pod.exec(&["curl", "--silent", "--insecure", &url]).map(drop)
}

/// Waits for the server's side, which is captured from the first request on: then the client's
/// cannot come any more, or is there.
fn served(agent: &mut Agent, query: &str) -> Result<()> {
    agent.wait_for(&format!("{query} on both sides"), |events| {
        let asked = |event: &&Value| text(event, "/url/query") == Some(query);
        (of_type(events, "http").filter(asked).count() >= 2).then_some(())
    })
}

/// The pod comes after the agent, and again after containerd was started anew.
fn a_pod_is_named(node: &Node) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let mut containerd = node.containerd()?.borrow_mut();
    let mut agent =
        node.tlstap(&["trace", "-o", "json"])?.environment(containerd.endpoint()).ready()?;
    let (uid, id) = {
        let pod = containerd.pod("shop", "web-0", "web")?;
        // The first may come before the new image's library is known.
        ask(&pod, &server, "n=1")?;
        ask(&pod, &server, "n=2")?;
        served(&mut agent, "n=2")?;
        (pod.uid().to_owned(), pod.container().to_owned())
    };
    containerd.restart()?;
    let pod = containerd.pod("shop", "web-1", "web")?;
    ask(&pod, &server, "n=3")?;
    served(&mut agent, "n=3")?;
    let events = agent.stop()?.events()?;
    let image = containerd.image();
    for (query, name, uid, id) in
        [("n=2", "web-0", uid.as_str(), id.as_str()), ("n=3", "web-1", pod.uid(), pod.container())]
    {
        let event = client_side(&events, query)?;
        expect(
            event,
            &[
                ("/k8s/namespace/name", json!("shop")),
                ("/k8s/pod/name", json!(name)),
                ("/k8s/pod/uid", json!(uid)),
                ("/k8s/container/name", json!("web")),
                ("/container/id", json!(id)),
                ("/container/name", json!("web")),
                ("/container/runtime", json!("containerd")),
                ("/container/image/name", json!(image)),
            ],
        )?;
    }
    Ok(())
}

fn client_side<'a>(events: &'a [Value], query: &str) -> Result<&'a Value> {
    let found: Vec<_> = of_type(events, "http")
        .filter(|event| text(event, "/url/query") == Some(query))
        .filter(|event| text(event, "/kind") == Some("client"))
        .collect();
    match found.as_slice() {
        [event] => Ok(event),
        _ => anyhow::bail!("{} events of the client with {query}: {found:?}", found.len()),
    }
}

/// Holds these filters to show the pod `shop/web-0`, and not `shop/db-0` nor `test/web-0`.
fn only_one(node: &Node, filters: &[&str]) -> Result<()> {
    let server = web::server(node.docker()?)?;
    let containerd = node.containerd()?.borrow();
    let pods = [("test", "web-0", "web"), ("shop", "db-0", "db"), ("shop", "web-0", "web")];
    let pods = pods
        .map(|(namespace, name, container)| containerd.pod(namespace, name, container))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let arguments = [&["trace", "-o", "json"], filters].concat();
    let mut agent = node.tlstap(&arguments)?.environment(containerd.endpoint()).ready()?;
    for pod in &pods {
        ask(pod, &server, "n=1")?;
    }
    agent.wait_for_count("the wanted pod", 1, |_| true)?;
    let events = agent.stop()?.events()?;
    let names: Vec<_> = events
        .iter()
        .map(|event| (text(event, "/k8s/namespace/name"), text(event, "/k8s/pod/name")))
        .collect();
    ensure!(names == [(Some("shop"), Some("web-0"))], "{names:?}");
    Ok(())
}

fn by_pod(node: &Node) -> Result<()> {
    only_one(node, &["--pod", "nobody", "--pod", "shop/web-0"])
}

fn by_namespace_and_image(node: &Node) -> Result<()> {
    let image = "*/tlstap-tests-*";
    only_one(node, &["--namespace", "shop", "--image", image, "--container", "web"])
}

fn podman_names_its_containers(node: &Node) -> Result<()> {
    let (docker, podman) = (node.docker()?, node.podman()?);
    let (built, server) = (odd::bare_curl(docker)?, web::server(docker)?);
    let image = podman.load(&built)?;
    let launch = node.tlstap(&["trace", "-o", "json"])?.environment(podman.endpoint());
    let event = odd::client_event_of(launch, &server, |command| {
        podman.run("asking", &image, command).map(drop)
    })?;
    expect(
        &event,
        &[
            ("/container/name", json!("asking")),
            ("/container/runtime", json!("podman")),
            ("/container/image/name", json!(image)),
        ],
    )?;
    absent(&event, "/k8s")
}
