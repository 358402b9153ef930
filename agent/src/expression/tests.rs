use serde_json::{Value, json};

use super::*;

fn record() -> Value {
    json!({
        "type": "http",
        "process": {"pid": 41, "command": "nginx"},
        "container": {"name": "web-1"},
        "duration_ns": 1_200_345,
        "http": {
            "request": {"method": "GET", "header": {"host": ["a", "b"], "x-id": ["7"]}},
            "response": {"status_code": 502, "body": {"size": 3}}
        }
    })
}

#[track_caller]
fn holds(source: &str) -> bool {
    Expression::parse(source).unwrap_or_else(|error| panic!("{error}")).holds(record())
}

#[test]
fn what_holds() {
    for source in [
        "http.response.status_code >= 500",
        "http.response.status_code == 502 && container.name.matches('^web')",
        "type == \"http\" && process.pid == 41",
        "container.name.startsWith('web') && duration_ns > 1000000",
        "http.request.header['x-id'][0] == '7'",
        "'b' in http.request.header.host",
        "http.request.header.host.exists(host, host == 'b')",
        "http.request.method in ['GET', 'HEAD']",
        "has(http.response)",
        "!has(http.stream)",
        "!has(k8s.pod)",
        "db.system.name == 'redis' || http.response.body.size < 4",
        "true",
    ] {
        assert!(holds(source), "{source}");
    }
}

/// What needs a field that is absent does not hold, whichever way it is asked.
#[test]
fn what_does_not() {
    for source in [
        "http.response.status_code < 500",
        "db.system.name == 'redis'",
        "db.system.name != 'redis'",
        "!(db.system.name == 'redis')",
        "http.request.body.text.contains('a')",
        "container.name.matches('^web$')",
        "container.name > 5",
        "http.request.header.cookie[0] == 'a'",
        "http.request.header.host[7] == 'a'",
        "false",
    ] {
        assert!(!holds(source), "{source}");
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    for (source, expect) in [
        (
            "http.respnse.status_code >= 500",
            "http.respnse\n  http.respnse.status_code >= 500\n       ^",
        ),
        ("nosuch == 1", "no field is called nosuch\n  nosuch == 1\n  ^"),
        ("container.name =~ 'web'", "=~"),
        ("http.version ==", "\n                 ^"),
        ("http.version", "a field alone is neither true nor false"),
        ("container.name.matches('(')", "unclosed group"),
        ("container.name.matches(http.version)", "a pattern in quotes"),
        ("", ""),
    ] {
        let error = Expression::parse(source).unwrap_err();
        assert!(error.contains(expect), "{source}: {error}");
    }
}

#[test]
fn what_costs_too_much_is_refused() {
    let nested = |open: &str, close: &str, times: usize| {
        format!("{}true{}", open.repeat(times), close.repeat(times))
    };
    let loops = "[1].all(a, [1].all(b, [1].all(c, true)))".to_owned();
    for source in [
        nested("(", ")", 2000),
        nested("[", "]", 2000),
        nested("!(", ")", 1300),
        format!("{}1 == 2", "1+".repeat(2000)),
        format!("{}true", "true||".repeat(600)) + &" ".repeat(5000),
        "-".repeat(4000),
        format!("type{} == ''", ".a".repeat(2000)),
        format!("http.request.header{} == ''", "['a']".repeat(700)),
        "container.name.matches('(a{100}){100}{100}')".to_owned(),
        loops,
    ] {
        assert!(Expression::parse(&source).is_err(), "{}", &source[..source.len().min(60)]);
    }
    // A pattern takes time by the length of the text only.
    let slow = Expression::parse("container.name.matches('^(a+)+$')").unwrap();
    let name = "a".repeat(100_000) + "b";
    assert!(!slow.holds(json!({"container": {"name": name}})));
}

#[test]
fn bodies_are_decoded_when_they_are_asked_for() {
    let needs = |source| Expression::parse(source).unwrap().needs_bodies();
    assert!(needs("http.response.body.text.contains('error')"));
    assert!(needs("graphql.operation.name == 'Cats'"));
    assert!(!needs("http.response.body.size > 5"));
}
