//! Secrets in what real clients say to real servers; most are refused for it.

use std::process::Command;

use anyhow::Result;
use serde_json::json;
use tlstap_tests::{database::Database, packages, server::Server, tool};

use super::Said;

const CURL: [&str; 6] =
    ["--insecure", "--http2", "--silent", "--show-error", "--output", "/dev/null"];

/// Servers of which clients ask something.
pub(super) struct Programs {
    web: Server,
    passwords: Database,
    scram: Database,
    mariadb: Database,
    redis: Database,
    websockets: Server,
}

impl Programs {
    pub(super) fn new() -> Result<Self> {
        let mut websockets = packages::python(&["websockets==15.0.1"])?;
        websockets.arg(tool::fixtures().join("websockets_echo.py")).arg("server");
        Ok(Self {
            web: Server::nghttpd(&[])?,
            passwords: Database::postgresql_by("password")?,
            scram: Database::postgresql()?,
            mariadb: Database::mariadb()?,
            redis: Database::redis()?,
            websockets: Server::program(websockets)?,
        })
    }

    /// For a sink with these arguments: what it never shows is not said.
    pub(super) fn said(&self, sink: &[&str]) -> Result<Said> {
        let (decoded, in_lines) = (sink.contains(&"--body"), sink.contains(&"text"));
        let mut said = self.common()?;
        self.form(&mut said)?;
        if !(decoded && in_lines) {
            self.values(&mut said)?;
        }
        if !decoded {
            self.passwords(&mut said)?;
        }
        Ok(said)
    }

    /// What Wireshark finds nothing wrong with: forms are sent back without their boundary.
    pub(super) fn flawless(&self) -> Result<Said> {
        let mut said = self.common()?;
        self.values(&mut said)?;
        self.passwords(&mut said)?;
        Ok(said)
    }

    fn common(&self) -> Result<Said> {
        let mut said = Said::default();
        self.http2(&mut said)?;
        self.redis(&mut said)?;
        self.websockets(&mut said)?;
        self.sql(&mut said)?;
        Ok(said)
    }

    /// curl has Huffman's code for each field that is shorter with it.
    fn http2(&self, said: &mut Said) -> Result<()> {
        let url = |path: &str| self.web.url(path);
        let mut curl = tool::command("curl", CURL)?;
        for field in [
            "Authorization: Bearer @@",
            "Proxy-Authorization: Basic @@",
            "Cookie: sid=@@; b=@@",
            "X-Api-Key: @@",
            "X-Auth-Token: @@",
            "Referer: https://joe:@@@talk/?access_token=@@",
            "Set-Cookie: sid=@@; Path=/",
        ] {
            curl.args(["--header", &said.fill(field)]);
        }
        curl.args(["--data", &said.fill(r#"{"password":"@@","deep":[{"token":"@@"}]}"#)]);
        // The second request refers to the fields of the first one.
        curl.arg(url(&said.fill("/hello?api_key=@@&x=1"))).arg(url("/hello"));
        said.programs.push(curl);
        Ok(())
    }

    fn form(&self, said: &mut Said) -> Result<()> {
        let mut form = tool::command("curl", CURL)?;
        form.args([
            "--form",
            &said.fill("password=@@"),
            "--form",
            "user=joe",
            &self.web.url("/hello"),
        ]);
        said.programs.push(form);
        Ok(())
    }

    fn redis(&self, said: &mut Said) -> Result<()> {
        let script = "printf 'auth joe %s\\nconfig set masterauth %s\\nconfig get masterauth\\n' \"$2\" \"$3\" | \
                      redis-cli --tls --cacert \"$0\" -h 127.0.0.1 -p \"$1\"";
        let mut client = tool::command("sh", ["-c", script])?;
        client.arg(self.redis.certificate()).arg(self.redis.port.to_string());
        client.args([said.secret(), said.secret()]);
        said.programs.push(client);
        Ok(())
    }

    fn websockets(&self, said: &mut Said) -> Result<()> {
        let mut client = packages::python(&["websockets==15.0.1"])?;
        client.arg(tool::fixtures().join("websockets_echo.py")).arg("client");
        client.arg(self.websockets.port.to_string()).arg("-").arg(self.websockets.certificate());
        let message =
            json!({"user": "joe", "password": said.secret(), "deep": {"token": said.secret()}});
        client.arg(message.to_string());
        said.programs.push(client);
        Ok(())
    }

    /// SQL that names secrets.
    fn sql(&self, said: &mut Said) -> Result<()> {
        let mut client = psql(&self.scram, "secret")?;
        client.args([
            "-c",
            &said.fill(
                "alter user joe password 'secret' valid until 'infinity'; set my.password = '@@'",
            ),
        ]);
        said.programs.push(client);
        let script = "import psycopg2, sys\n\
                      c = psycopg2.connect(sys.argv[1]); q = c.cursor()\n\
                      q.execute('create temp table t (name text, password text)')\n\
                      q.execute('insert into t (name, password) values (%s, %s)', ('joe', sys.argv[2]))\n";
        let mut client = tool::command("/usr/bin/python3", ["-c", script])?;
        client.arg(crate::databases::address(&self.scram)).arg(said.secret());
        said.programs.push(client);
        Ok(())
    }

    /// Values that are bound to SQL.
    fn values(&self, said: &mut Said) -> Result<()> {
        let script = r#"
            use DBI;
            my $at = "host=127.0.0.1;port=$ARGV[0];database=shop";
            my $tls = "mariadb_ssl=1;mariadb_ssl_optional=1";
            my $c = DBI->connect("DBI:MariaDB:$at;$tls;mariadb_server_prepare=1", "joe", "secret") or die;
            $c->do("create table if not exists u (name text, password text)");
            $c->prepare("insert into u (name, password) values (?, ?)")->execute("joe", $ARGV[1]);
        "#;
        let mut client = tool::command("perl", ["-e", script])?;
        client.arg(self.mariadb.port.to_string()).arg(said.secret());
        said.programs.push(client);
        Ok(())
    }

    fn passwords(&self, said: &mut Said) -> Result<()> {
        let client = psql(&self.passwords, &said.secret())?;
        said.programs.push(client);
        // What a client proves its password with is no text that is known before.
        said.programs.push(psql(&self.scram, "secret")?);
        said.marks.push(",p=".to_owned());
        let mut client = tool::command("mariadb", ["--no-defaults", "--host=127.0.0.1", "--ssl"])?;
        client.args(["--user=clear", &format!("--port={}", self.mariadb.port)]);
        client.arg(format!("--password={}", said.secret()));
        said.programs.push(client);
        Ok(())
    }
}

fn psql(server: &Database, password: &str) -> Result<Command> {
    let mut client = tool::command("/usr/lib/postgresql/15/bin/psql", ["-X", "-c", "select 1"])?;
    client.arg(format!(
        "host=127.0.0.1 port={} user=joe password={password} dbname=postgres sslmode=require",
        server.port
    ));
    Ok(client)
}
