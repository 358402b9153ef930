//! MongoDB's client for Python against a server of our own: Debian has none.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{database::Database, event::text, node::Node, packages, tool};

use super::{captured, told};

crate::tests![debian_pymongo, newer_pymongo];

/// Debian's, which says where it reads.
fn debian_pymongo(node: &Node) -> Result<()> {
    let python = Command::new("/usr/bin/python3");
    let preference = |mode| format!(r#","$readPreference":{{"mode":"{mode}"}}"#);
    talk(node, python, "", [preference("primary"), preference("primaryPreferred")])
}

/// One of PyPI, with compressed messages.
fn newer_pymongo(node: &Node) -> Result<()> {
    talk(node, packages::python(&["pymongo==4.10.1"])?, "zlib", [String::new(), String::new()])
}

fn talk(
    node: &Node,
    mut python: Command,
    compressors: &str,
    [primary, preferred]: [String; 2],
) -> Result<()> {
    let server = Database::mongodb()?;
    python.arg(tool::fixtures().join("mongodb_client.py"));
    python.arg(server.port.to_string()).arg(server.certificate()).arg(compressors);
    let of_cats = |fields: &[(&'static str, Value)]| {
        let place = [("/db/namespace", json!("shop")), ("/db/collection/name", json!("cats"))];
        [&place[..], fields].concat()
    };
    let (returned, affected) = ("/db/response/returned_rows", "/db/response/affected_rows");
    let duplicate = [
        ("/error/type", json!("11000")),
        ("/error/message", json!("E11000 duplicate key error")),
        (affected, json!(0)),
    ];
    let nothing = vec![
        ("/db/operation/name", json!("nothing")),
        ("/db/response/status_code", json!("59")),
        ("/error/message", json!("(CommandNotFound) no such command: 'nothing'")),
    ];
    let all = [
        (
            r#"{"insert":"cats","ordered":true,"documents":[{"_id":"int","name":"string"},"4 more"]}"#
                .to_owned(),
            of_cats(&[(affected, json!(5))]),
        ),
        (
            format!(r#"{{"insert":"cats","ordered":true{primary},"documents":[{{"_id":"int"}}]}}"#),
            of_cats(&duplicate),
        ),
        (
            format!(r#"{{"find":"cats","filter":{{}},"batchSize":3{preferred}}}"#),
            of_cats(&[(returned, json!(3))]),
        ),
        (
            r#"{"getMore":7,"collection":"cats","batchSize":3}"#.to_owned(),
            of_cats(&[(returned, json!(2))]),
        ),
        (
            format!(r#"{{"find":"cats","filter":{{"_id":2}}{preferred}}}"#),
            of_cats(&[(returned, json!(1))]),
        ),
        (
            format!(
                r#"{{"update":"cats","ordered":true{primary},"updates":[{{"q":{{}},"u":{{"$set":{{"name":"own 2"}}}},"multi":true,"upsert":false}}]}}"#
            ),
            of_cats(&[(affected, json!(4))]),
        ),
        (
            format!(
                r#"{{"delete":"cats","ordered":true{primary},"deletes":[{{"q":{{"_id":4}},"limit":1}}]}}"#
            ),
            of_cats(&[(affected, json!(1))]),
        ),
        (format!(r#"{{"nothing":7{preferred}}}"#), nothing),
        (
            format!(
                r#"{{"insert":"cats","ordered":true,"writeConcern":{{"w":0}}{primary},"documents":[{{"_id":"int"}}]}}"#
            ),
            of_cats(&[("/db/operation/name", json!("insert"))]),
        ),
        (format!(r#"{{"ping":1{preferred}}}"#), vec![("/db/namespace", json!("shop"))]),
    ];
    let wanted: Vec<_> = all.iter().map(|(text, fields)| (text.as_str(), fields.clone())).collect();
    let printed = [
        "inserted 5",
        "code 11000",
        "found 5 1",
        "updated 5 4",
        "deleted 1",
        "failed 59 CommandNotFound no such command: 'nothing'",
        "authenticated 1.0",
        "refused 18",
    ];
    let events = captured(node, "mongodb", python, &printed, &wanted)?;
    for kind in ["client", "server"] {
        let told = told(&events, "mongodb", kind, "***********************************");
        let codes: Vec<_> = told.iter().map(|event| text(event, "/error/type")).collect();
        ensure!(codes == [None, Some("18")], "{kind}: {codes:?} of saslStart");
    }
    Ok(())
}
