//! Issue 9: the agent in a container of its own image, with the privileges that `deploy/` asks for.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    deadline,
    docker::Container,
    event::{number, text},
    manifests::{self, Variant, of_kind},
    network::Network,
    node::Node,
    tshark::Packets,
};

use crate::{pair, web};

crate::tests![
    docker_takes_the_image,
    manifests_are_valid,
    the_chart_says_what_the_kustomization_says,
    the_chart_exports_spans,
    sees_what_it_sees_on_the_host,
    lists_what_it_lists_on_the_host,
    checks_from_within,
    packets_to_standard_output,
    starts_and_answers_as_the_manifests_say,
    each_capability_is_needed,
];

/// The oldest that knows all fields, and the newest that there are schemas of.
const KUBERNETES: [&str; 2] = ["1.30", "1.37"];

fn docker_takes_the_image(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let image = node.image()?;
    let (said, _container) = docker.run("image")?.of_image(image.name()).finish(&["--version"])?;
    ensure!(said.starts_with("tlstap "), "{said:?}");
    Ok(())
}

fn manifests_are_valid(_node: &Node) -> Result<()> {
    for variant in Variant::ALL {
        for manifests in [variant.kustomized()?, variant.charted()?] {
            for version in KUBERNETES {
                manifests::valid(&manifests, version)
                    .with_context(|| format!("{variant:?} on {version}"))?;
            }
        }
    }
    Ok(())
}

fn the_chart_says_what_the_kustomization_says(_node: &Node) -> Result<()> {
    for variant in Variant::ALL {
        let (kustomized, mut charted) = (variant.kustomized()?, variant.charted()?);
        let pods = [&kustomized, &charted].map(|all| manifests::pod(all));
        let [kustomized_pod, charted_pod] = pods;
        let mut charted_pod = charted_pod?.clone();
        // Whoever installs a chart says how images are pulled.
        let pull = charted_pod.pointer_mut("/containers/0").and_then(Value::as_object_mut);
        pull.and_then(|container| container.remove("imagePullPolicy")).context("no pull policy")?;
        ensure!(*kustomized_pod? == charted_pod, "{variant:?}: {charted_pod}");
        charted.iter_mut().for_each(unlabelled);
        let mut account = of_kind(&kustomized, "ServiceAccount")?.clone();
        unlabelled(&mut account);
        ensure!(*of_kind(&charted, "ServiceAccount")? == account, "another service account");
    }
    Ok(())
}

fn the_chart_exports_spans(_node: &Node) -> Result<()> {
    let values = r#"{"otlp": {"endpoint": "http://collector:4317"},
        "env": [{"name": "OTEL_RESOURCE_ATTRIBUTES", "value": "a=b"}]}"#;
    let charted = manifests::charted(values)?;
    KUBERNETES.into_iter().try_for_each(|version| manifests::valid(&charted, version))?;
    let container = manifests::pod(&charted)?.pointer("/containers/0").context("no container")?;
    let arguments = container["args"].as_array().context("no arguments")?;
    ensure!(arguments.ends_with(&["--otlp".into(), "http://collector:4317".into()]), "{container}");
    ensure!(text(container, "/env/0/value") == Some("a=b"), "{container}");
    Ok(())
}

/// Takes the labels away, by which each tool marks its own.
fn unlabelled(object: &mut Value) {
    if let Some(metadata) = object.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        metadata.remove("labels");
    }
}

fn sees_what_it_sees_on_the_host(node: &Node) -> Result<()> {
    for variant in Variant::ALL {
        // The host's cgroup namespace, and a new one, as on nodes with the second version only.
        for namespaces in [&[][..], &["--with-ns=cgroup:".to_owned()]] {
            let options = [&variant.options()?, namespaces].concat();
            let launch = node.tlstap_in_container(&options, &["trace", "-o", "json"])?;
            pair::seen_once_on_each_side(node.docker()?, launch)
                .with_context(|| format!("{variant:?}, {namespaces:?}"))?;
        }
    }
    Ok(())
}

fn lists_what_it_lists_on_the_host(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let servers = [web::server(docker)?, web::server(docker)?];
    let talking = node.talk()?.start(b"", b"")?;
    let mut pids = vec![u64::from(talking.pid())];
    for server in &servers {
        pids.push(server.pid()?.into());
    }
    let ours = |row: &Value| number(row, "/process/pid").is_some_and(|pid| pids.contains(&pid));
    let of_ours = |rows: Vec<Value>| rows.into_iter().filter(ours).collect::<Vec<_>>();
    let host = of_ours(node.tlstap(&["list", "-o", "json"])?.output()?.rows()?);
    ensure!(host.len() == 3, "{} rows on the host: {host:?}", host.len());
    for variant in Variant::ALL {
        let options = variant.options()?;
        let inside = node.tlstap_in_container(&options, &["list", "-o", "json"])?.output()?;
        inside.succeeded()?;
        let inside = of_ours(inside.rows()?);
        ensure!(inside == host, "{variant:?}: {inside:#?}\non the host: {host:#?}");
    }
    Ok(())
}

fn checks_from_within(node: &Node) -> Result<()> {
    for variant in Variant::ALL {
        let ended = node.tlstap_in_container(&variant.options()?, &["check"])?.output()?;
        ended.succeeded()?;
        let said = ended.stdout.join("\n");
        for word in ["/sys/kernel/btf/vmlinux", "side-band", "seen through", "docker.sock"] {
            ensure!(said.contains(word), "{variant:?}: nothing of {word:?} in:\n{said}");
        }
        ensure!(!said.contains("FAILS") && !said.contains("missing"), "{variant:?}:\n{said}");
    }
    Ok(())
}

fn packets_to_standard_output(node: &Node) -> Result<()> {
    let docker = node.docker()?;
    let server = web::server(docker)?;
    let path = node.scratch().join("contained.pcapng");
    let options = Variant::Least.options()?;
    let launch = node.tlstap_in_container(&options, &["trace", "-o", "pcapng"])?;
    let agent = launch.into_file(&path).ready()?;
    web::curl(docker, &server, "/hello?packets", &[])?;
    Packets::settled(&path)?;
    agent.stop()?;
    let packets = Packets::of(path)?;
    packets.flawless()?;
    let uris = packets.fields("http.request", &["http.request.uri"])?;
    ensure!(
        !uris.is_empty() && uris.concat().iter().all(|uri| uri == "/hello?packets"),
        "{uris:?}"
    );
    Ok(())
}

/// Its arguments, and what asks it for its health, with the port of the manifests and another one.
fn starts_and_answers_as_the_manifests_say(node: &Node) -> Result<()> {
    let other = json!({"metrics": {"port": 9999}});
    for (variant, manifests) in [
        (Variant::Privileged, Variant::Privileged.kustomized()?),
        (Variant::Least, Variant::Least.kustomized()?),
        (Variant::Least, Variant::Least.charted_with(other)?),
    ] {
        starts_and_answers(node, variant, &manifests)
            .with_context(|| format!("{variant:?}: {:?}", manifests::arguments(&manifests)))?;
    }
    Ok(())
}

fn starts_and_answers(node: &Node, variant: Variant, manifests: &[Value]) -> Result<()> {
    const LIMIT: Duration = Duration::from_secs(60);
    let network = Network::new()?;
    let options = [variant.options()?, vec![network.option()]].concat();
    let agent = node.tlstap_in_container(&options, &manifests::arguments(manifests)?)?.start()?;
    let scraped = (manifests::scraped_at(manifests)?, "/metrics".to_owned());
    let asked = [
        manifests::asked_by(manifests, "readinessProbe")?,
        manifests::asked_by(manifests, "livenessProbe")?,
        scraped,
    ];
    for (port, path) in asked {
        deadline::until(&format!("an answer at {path}"), LIMIT, || {
            Ok((network.status(port, &path)? == "200").then_some(()))
        })
        .with_context(|| agent.complaints().join("\n"))?;
    }
    ensure!(agent.is_ready(), "ready before it says so: {:?}", agent.complaints());
    agent.stop().map(drop)
}

/// What the agent cannot do without one of them.
fn each_capability_is_needed(node: &Node) -> Result<()> {
    for capability in ["BPF", "PERFMON"] {
        let launch =
            node.tlstap_in_container(&least_without(capability)?, &["trace", "-o", "json"])?;
        launch.output()?.refused(&[&format!("CAP_{capability}")])?;
    }
    let docker = node.docker()?;
    let server = web::server(docker)?;
    is_seen_only_with(node, &server, "SYS_PTRACE")?;
    server.exec(&["sh", "-c", "rm /usr/lib/*/libssl.so.3"])?;
    is_seen_only_with(node, &server, "CHECKPOINT_RESTORE")?;
    let server = web::server(docker)?;
    let keep = "file=$(ls /usr/lib/*/libssl.so.3) && chown 1000 $file && chmod 400 $file";
    server.exec(&["sh", "-c", keep])?;
    is_seen_only_with(node, &server, "DAC_READ_SEARCH")
}

fn is_seen_only_with(node: &Node, server: &Container, capability: &str) -> Result<()> {
    let pid = u64::from(server.pid()?);
    let hooked = |options: &[String]| -> Result<bool> {
        let ended = node.tlstap_in_container(options, &["list", "-o", "json"])?.output()?;
        let of_server = |row: &&Value| number(row, "/process/pid") == Some(pid);
        let rows = ended.rows()?;
        let mut rows = rows.iter().filter(of_server);
        Ok(rows.any(|row| {
            text(row, "/status") == Some("hooked") && text(row, "/tls/library") == Some("openssl")
        }))
    };
    ensure!(hooked(&Variant::Least.options()?)?, "not seen with CAP_{capability}");
    ensure!(!hooked(&least_without(capability)?)?, "seen without CAP_{capability}, too");
    Ok(())
}

fn least_without(capability: &str) -> Result<Vec<String>> {
    let mut options = Variant::Least.options()?;
    let all = options.len();
    options.retain(|option| *option != format!("--cap-add=CAP_{capability}"));
    ensure!(options.len() + 1 == all, "{capability} is not among {options:?}");
    Ok(options)
}
