//! Databases of this machine over TLS: what a client prints is what is told, on both sides.

pub(crate) mod mongodb;

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tlstap_tests::{
    database::Database,
    event::{expect, of_type, text},
    node::Node,
    tool,
};

crate::tests![
    postgresql_and_psql,
    postgresql_and_psycopg2,
    mariadb_and_its_client,
    mariadb_and_perl,
    redis_and_redis_cli,
];

/// The operations of a side, by their text.
pub(crate) fn told<'a>(
    events: &'a [Value],
    system: &'a str,
    kind: &str,
    query: &str,
) -> Vec<&'a Value> {
    of_type(events, system)
        .filter(|event| text(event, "/kind") == Some(kind))
        .filter(|event| text(event, "/db/query/text") == Some(query))
        .collect()
}

/// Runs a client until both sides have told these statements, and returns all that was told.
fn watched(
    node: &Node,
    system: &str,
    client: Command,
    printed: &[&str],
    wanted: &[&str],
) -> Result<Vec<Value>> {
    let mut agent = node.tlstap(&["trace", "-o", "json"])?.ready()?;
    let output = tool::run(client)?;
    for print in printed {
        ensure!(output.contains(print), "the client did not print {print:?}: {output}");
    }
    agent.wait_for("all operations on each side", |events| {
        let sides = ["client", "server"].into_iter();
        let mut all = sides.flat_map(|kind| wanted.iter().map(move |query| (kind, *query)));
        all.all(|(kind, query)| !told(events, system, kind, query).is_empty()).then_some(())
    })?;
    let events = agent.stop()?.events()?;
    let shown = events.iter().any(|event| event.to_string().contains("secret"));
    ensure!(!shown, "a password is shown");
    Ok(events)
}

/// Runs a client, and holds what both sides tell of its statements against this. Returns all that
/// was told.
fn captured(
    node: &Node,
    system: &str,
    client: Command,
    printed: &[&str],
    wanted: &[(&str, Vec<(&str, Value)>)],
) -> Result<Vec<Value>> {
    let queries: Vec<&str> = wanted.iter().map(|(query, _)| *query).collect();
    let events = watched(node, system, client, printed, &queries)?;
    for kind in ["client", "server"] {
        for (query, fields) in wanted {
            let found = told(&events, system, kind, query);
            ensure!(found.len() == 1, "{} times {query:?} of the {kind}", found.len());
            found.iter().try_for_each(|event| expect(event, fields))?;
        }
    }
    Ok(events)
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
    .map(drop)
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
    .map(drop)
}

fn mariadb_and_its_client(node: &Node) -> Result<()> {
    let server = Database::mariadb()?;
    let script = "mariadb --no-defaults --host=127.0.0.1 --port=\"$0\" --user=joe --password=secret --ssl \
                  --force --verbose --verbose shop 2>&1 <<'end' || true\n\
                  create table t (a int primary key, b text);\n\
                  insert into t values (1, 'one'), (2, 'two'), (3, null);\n\
                  select a, b from t order by a;\n\
                  select nothing from t;\n\
                  update t set b = 'x' where a > 1;\n\
                  set password = password('secret');\n\
                  select 4 where 1 = 0;\n\
                  end\n";
    let mut client = tool::command("sh", ["-c", script])?;
    client.arg(server.port.to_string());
    captured(
        node,
        "mysql",
        client,
        &[
            "a\tb\n1\tone\n2\ttwo\n3\tNULL",
            "3 rows in set",
            "ERROR 1054 (42S22) at line 4: Unknown column 'nothing' in 'SELECT'",
            "2 rows affected",
        ],
        &[
            ("HandshakeResponse41 user=joe", vec![]),
            (
                "insert into t values (1, 'one'), (2, 'two'), (3, null)",
                vec![
                    ("/db/operation/name", json!("INSERT")),
                    ("/db/response/affected_rows", json!(3)),
                ],
            ),
            ("select a, b from t order by a", vec![("/db/response/returned_rows", json!(3))]),
            (
                "select nothing from t",
                vec![
                    ("/error/type", json!("1054")),
                    ("/error/message", json!("(42S22) Unknown column 'nothing' in 'SELECT'")),
                ],
            ),
            ("update t set b = 'x' where a > 1", vec![("/db/response/affected_rows", json!(2))]),
            ("set password = ******************", vec![]),
            ("select 4 where 1 = 0", vec![("/db/response/returned_rows", json!(0))]),
        ],
    )
    .map(drop)
}

/// Statements that the server prepares, with values apart from the text.
fn mariadb_and_perl(node: &Node) -> Result<()> {
    let server = Database::mariadb()?;
    let script = r#"
        use DBI;
        my $at = "host=127.0.0.1;port=$ARGV[0];database=shop";
        my $tls = "mariadb_ssl=1;mariadb_ssl_optional=1";
        my $c = DBI->connect("DBI:MariaDB:$at;$tls;mariadb_server_prepare=1", "joe", "secret",
            { PrintError => 0, mariadb_server_prepare_disable_fallback => 1 }) or die $DBI::errstr;
        $c->do("create table t (a int primary key, b text)");
        my $q = $c->prepare("insert into t values (?, ?)");
        print "rows ", $q->execute(7, "seven"), "
", "rows ", $q->execute(8, undef), "
";
        defined $q->execute(7, "again") or print "error ", $q->err, " ", $q->state, "
";
        $q = $c->prepare("select b from t where a >= ? order by a");
        $q->execute(7);
        print "first ", ($q->fetchrow_array)[0], ", all ", $q->rows, "
";
    "#;
    let mut client = tool::command("perl", ["-e", script])?;
    client.arg(server.port.to_string());
    let insert = "insert into t values (?, ?)";
    let values = |events: &[Value], kind: &str, values: Value| -> Result<Value> {
        let told = told(events, "mysql", kind, insert);
        let mut all = told.iter();
        let found = all.find(|event| event.pointer("/db/query/parameter") == Some(&values));
        let found = found.map(|&event| event.clone());
        found.with_context(|| format!("no insert of {values} by the {kind} but {told:?}"))
    };
    let events = watched(
        node,
        "mysql",
        client,
        &[
            "rows 1
rows 1",
            "error 1062 23000",
            "first seven, all 2",
        ],
        &["select b from t where a >= ? order by a"],
    )?;
    for kind in ["client", "server"] {
        let inserted = values(&events, kind, json!({"0": "7", "1": "seven"}))?;
        expect(&inserted, &[("/db/response/affected_rows", json!(1))])?;
        let null = values(&events, kind, json!({"0": "8", "1": null}))?;
        expect(&null, &[("/db/response/affected_rows", json!(1))])?;
        let failed = values(&events, kind, json!({"0": "7", "1": "again"}))?;
        expect(&failed, &[("/error/type", json!("1062"))])?;
        let selected = told(&events, "mysql", kind, "select b from t where a >= ? order by a");
        let selected = selected.iter().find(|event| event.pointer("/db/query/parameter").is_some());
        let selected = selected.context("the execution was not told")?;
        expect(
            selected,
            &[("/db/query/parameter/0", json!("7")), ("/db/response/returned_rows", json!(2))],
        )?;
    }
    Ok(())
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
            ("auth ******", vec![]),
        ],
    )
    .map(drop)
}
