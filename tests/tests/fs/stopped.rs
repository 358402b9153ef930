//! `tlstap fs` on containers that do not run: nothing is mounted, and the layers are read as they are.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use tlstap_tests::{event::text, node::Node};

use super::{PATHS, filled, holds, object, roots, tlstap_fs};

crate::tests![where_the_bytes_are, what_is_hidden_stays_hidden, copied_and_listed];

fn where_the_bytes_are(node: &Node) -> Result<()> {
    let filled = filled(node.docker()?, "")?;
    let container = &filled.container;
    let name = container.name();
    let inside =
        PATHS.map(|(path, _)| container.exec(&["sh", "-c", &format!("cat {path}; echo .")]));
    container.kill()?;
    for ((path, layer), inside) in PATHS.into_iter().zip(inside) {
        let inside = inside?;
        holds(node, name, path, inside.trim_end_matches('.').as_bytes())?;
        let told = object(node, &[name, path])?;
        ensure!(text(&told, "/layer/kind") == layer, "{path}: {told}");
    }
    let told = object(node, &[name])?;
    ensure!(told.pointer("/process").is_none(), "{told}");
    for (kind, key) in [("merged", "MergedDir"), ("upper", "UpperDir"), ("lower", "LowerDir")] {
        let paths = roots(&told, kind);
        let says = container.inspect(&format!("{{{{.GraphDriver.Data.{key}}}}}"))?;
        ensure!(paths.join(":") == says, "{kind}: {paths:?}, docker says {says}");
    }
    Ok(())
}

fn what_is_hidden_stays_hidden(node: &Node) -> Result<()> {
    let secret = node.scratch().join("secret");
    fs::write(&secret, "the host's")?;
    let secret = secret.to_str().context("the scratch folder is not UTF-8")?;
    let script = format!(
        "ln -s {secret} /out; ln -s ../../../../../..{secret} /volume/climb; ln -s {secret} /bound/out;
         ln -s /loop /loop; rm /base/low;"
    );
    let filled = filled(node.docker()?, &script)?;
    let container = &filled.container;
    container.kill()?;
    let name = container.name();
    for path in [
        "/out",
        "/volume/climb",
        "/bound/out",
        secret,
        "/loop",
        "/base/low",
        "/absolute",
        "/base/removed",
        "/base/whole/old",
        "/base/up/x",
    ] {
        let ended = tlstap_fs(node, &[name, path])?;
        ended.refused(&["no such file", "a link that leads on", "no folder"])?;
    }
    tlstap_fs(node, &[name, "/memory/file"])?.refused(&["the container does not run"])
}

fn copied_and_listed(node: &Node) -> Result<()> {
    let filled = filled(node.docker()?, "")?;
    let container = &filled.container;
    container.kill()?;
    let (name, folder) = (container.name(), tempfile::tempdir()?);
    let listed = tlstap_fs(node, &[name, "/base/part", "--ls"])?;
    listed.succeeded()?;
    let names = listed.stdout.iter().filter_map(|line| line.rsplit(' ').next());
    let names: Vec<_> = names.collect();
    ensure!(names == ["new", "old", "up"], "{:?}", listed.stdout);
    let to = folder.path().join("copy");
    let to = to.to_str().context("the scratch folder is not UTF-8")?;
    tlstap_fs(node, &[name, "/base", "--cp", to])?.succeeded()?;
    let has = |path: &str| fs::read_to_string(format!("{to}/{path}")).ok();
    for (path, bytes) in [
        ("low", Some("low\n")),
        ("replaced", Some("again\n")),
        ("removed", None),
        ("whole/old", None),
        ("whole/new", Some("new\n")),
        ("part/old", Some("part\nchanged\n")),
        ("part/up", Some("part\n")),
    ] {
        ensure!(has(path).as_deref() == bytes, "{path}: {:?}", has(path));
    }
    let shown = tlstap_fs(node, &[name, "/volume/file", "--cat"])?;
    ensure!(shown.stdout == ["volume"], "{:?}", shown.stdout);
    Ok(())
}
