//! Databases of this machine over TLS: what a client prints is what is told, on both sides.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    database::Database,
    event::{expect, of_type, text},
    node::Node,
    tool,
};

crate::tests![postgresql_and_psql, postgresql_and_psycopg2, redis_and_redis_cli];

/// The operations of a side, by their text.
fn told<'a>(events: &'a [Value], system: &'a str, kind: &str, query: &str) -> Vec<&'a Value> {
    of_type(events, system)
        .filter(|event| text(event, "/kind") == Some(kind))
        .filter(|event| text(event, "/db/query/text") == Some(query))
        .collect()
}

/// Runs a client, and holds what both sides tell of its statements against this.
fn captured(
    node: &Node,
    system: &str,
    client: Command,
    printed: &[&str],
    wanted: &[(&str, Vec<(&str, Value)>)],
) -> Result<()> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let output = tool::run(client)?;
    for print in printed {
        ensure!(output.contains(print), "the client did not print {print:?}: {output}");
    }
    agent.wait_for("all operations on each side", |events| {
        let sides = ["client", "server"].into_iter();
        let mut all = sides.flat_map(|kind| wanted.iter().map(move |(query, _)| (kind, *query)));
        all.all(|(kind, query)| !told(events, system, kind, query).is_empty()).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    for kind in ["client", "server"] {
        for (query, fields) in wanted {
            let found = told(&events, system, kind, query);
            ensure!(found.len() == 1, "{} times {query:?} of the {kind}", found.len());
            found.iter().try_for_each(|event| expect(event, fields))?;
        }
    }
    let shown = events.iter().any(|event| event.to_string().contains("secret"));
    ensure!(!shown, "a password is shown");
    Ok(())
}

/// A host, a user, and no configuration of this machine's.
pub(crate) fn address(server: &Database) -> String {
    format!(
        "host=127.0.0.1 port={} user=joe password=secret dbname=postgres sslmode=require",
        server.port
    )
}

fn postgresql_and_psql(node: &Node) -> Result<()> {
    let server = Database::postgresql()?;
    let mut client = tool::command("/usr/lib/postgresql/15/bin/psql", ["-X", "-A", "-t"])?;
    client.arg(address(&server));
    for statement in [
        "create table t (a int primary key)",
        "insert into t select generate_series(1, 5)",
        "select * from t order by a",
        "\\set VERBOSITY verbose",
        "\\set ON_ERROR_STOP 0",
        "update t set a = a + 10 where a > 3",
    ] {
        client.args(["-c", statement]);
    }
    captured(
        node,
        "postgresql",
        client,
        &["INSERT 0 5", "1\n2\n3\n4\n5", "UPDATE 2"],
        &[
            (
                "insert into t select generate_series(1, 5)",
                vec![
                    ("/db/response/affected_rows", json!(5)),
                    ("/db/response/message", json!("INSERT 0 5")),
                ],
            ),
            (
                "select * from t order by a",
                vec![
                    ("/db/operation/name", json!("SELECT")),
                    ("/db/response/returned_rows", json!(5)),
                ],
            ),
            ("update t set a = a + 10 where a > 3", vec![("/db/response/affected_rows", json!(2))]),
        ],
    )
}

fn postgresql_and_psycopg2(node: &Node) -> Result<()> {
    let server = Database::postgresql()?;
    let script = "import psycopg2, sys\n\
                  c = psycopg2.connect(sys.argv[1]); c.autocommit = True; q = c.cursor()\n\
                  q.execute('select generate_series(1, 3)'); print('rows', len(q.fetchall()))\n\
                  try: q.execute('select 1/0')\n\
                  except psycopg2.Error as e: print('code', e.pgcode)\n";
    // Debian's package is of Debian's Python.
    let mut client = tool::command("/usr/bin/python3", ["-c", script])?;
    client.arg(address(&server));
    captured(
        node,
        "postgresql",
        client,
        &["rows 3", "code 22012"],
        &[
            ("select generate_series(1, 3)", vec![("/db/response/returned_rows", json!(3))]),
            (
                "select 1/0",
                vec![
                    ("/error/type", json!("22012")),
                    ("/error/message", json!("division by zero")),
                ],
            ),
        ],
    )
}

fn redis_and_redis_cli(node: &Node) -> Result<()> {
    let server = Database::redis()?;
    let script = "printf 'set k \"a b\"\\nget k\\nlpush k 1\\nrpush l 1 2 3\\nlrange l 0 -1\\nauth secret\\n' | \
                  redis-cli --tls --cacert \"$0\" -h 127.0.0.1 -p \"$1\"";
    let mut client = tool::command("sh", ["-c", script])?;
    client.arg(server.certificate()).arg(server.port.to_string());
    captured(
        node,
        "redis",
        client,
        &["OK", "a b", "WRONGTYPE", "3"],
        &[
            ("set k \"a b\"", vec![("/db/response/message", json!("OK"))]),
            ("get k", vec![("/db/operation/name", json!("GET"))]),
            ("lpush k 1", vec![("/error/type", json!("WRONGTYPE"))]),
            ("lrange l 0 -1", vec![("/db/response/returned_rows", json!(3))]),
            ("auth ***", vec![]),
        ],
    )
}
