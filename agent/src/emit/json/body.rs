//! What a request's JSON body asks for: a method of JSON-RPC, an operation of GraphQL.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::decode::Request;

/// By OpenTelemetry's names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked {
    JsonRpc { method: String },
    GraphQl(GraphQl),
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct GraphQl {
    operation: Operation,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Operation {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
}

#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow)]
    jsonrpc: Option<Cow<'a, str>>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    query: Option<Cow<'a, str>>,
    #[serde(rename = "operationName", borrow)]
    name: Option<Cow<'a, str>>,
}

impl Asked {
    /// `None` also when the body is not known to its end.
    pub(super) fn of(request: &Request) -> Option<Self> {
        if request.body.truncated || request.body.bytes.is_empty() {
            return None;
        }
        let kind = request.headers.first("content-type")?.to_ascii_lowercase();
        memchr::memmem::find(&kind, b"json")?;
        let members: Members<'_> = serde_json::from_slice(&request.body.bytes).ok()?;
        match members {
            Members { jsonrpc: Some(version), method: Some(method), .. } if version == "2.0" => {
                Some(Self::JsonRpc { method: method.into_owned() })
            }
            Members { query: Some(query), name, .. } => {
                let operation = Operation::of(&query, name.as_deref())?;
                Some(Self::GraphQl(GraphQl { operation }))
            }
            _ => None,
        }
    }
}

impl Operation {
    /// Of a document whose first definition is an operation. What it has behind that one is not
    /// read: when another one may be meant, its type is not known.
    fn of(document: &str, name: Option<&str>) -> Option<Self> {
        let document = document.trim();
        if !document.ends_with('}') {
            return None;
        }
        let name = name.filter(|name| !name.is_empty());
        let (kind, own) = if document.starts_with('{') {
            ("query", None)
        } else {
            let word = |text: &str| {
                text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len())
            };
            let (kind, rest) = document.split_at_checked(word(document))?;
            let kind =
                ["query", "mutation", "subscription"].into_iter().find(|one| *one == kind)?;
            let rest = rest.trim_start();
            let own = rest.get(..word(rest)).filter(|own| !own.is_empty());
            (kind, own)
        };
        let same = name.is_none() || name == own;
        Some(Self { name: name.or(own).map(str::to_owned), kind: same.then_some(kind) })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::decode::{Body, Fields, Version};

    fn asked(kind: &'static str, body: &'static str, truncated: bool) -> Option<Asked> {
        let bytes = Bytes::from_static(body.as_bytes());
        Asked::of(&Request {
            method: Some("POST".to_owned()),
            target: Some("/".to_owned()),
            version: Version::Http11,
            headers: [("content-type", kind.as_bytes())].into_iter().collect(),
            trailers: Fields::default(),
            body: Body { size: 1, bytes, truncated },
        })
    }

    #[track_caller]
    fn graphql(body: &'static str, expect: Option<(Option<&str>, Option<&'static str>)>) {
        let expect = expect.map(|(name, kind)| {
            Asked::GraphQl(GraphQl { operation: Operation { name: name.map(str::to_owned), kind } })
        });
        assert_eq!(asked("application/json; charset=utf-8", body, false), expect, "{body}");
    }

    #[test]
    fn operations_of_graphql() {
        graphql(r#"{"query":"{ a }"}"#, Some((None, Some("query"))));
        graphql(r#"{"query":"query  Cats($a: Int) { a }"}"#, Some((Some("Cats"), Some("query"))));
        graphql(r#"{"query":"mutation{a}","operationName":null}"#, Some((None, Some("mutation"))));
        graphql(
            r#"{"query":"query A {a} mutation B {b}","operationName":"B"}"#,
            Some((Some("B"), None)),
        );
        graphql(r#"{"query":"select 1"}"#, None);
        graphql(r#"{"query":"query cats"}"#, None);
        graphql(r#"{"query":"fragment F on A { a } query { ...F }"}"#, None);
        graphql(r#"{"query":7}"#, None);
    }

    #[test]
    fn methods_of_json_rpc() {
        let call = r#"{"jsonrpc":"2.0","method":"eth_call\u0021","params":[1],"id":1}"#;
        let expect = Some(Asked::JsonRpc { method: "eth_call!".to_owned() });
        assert_eq!(asked("application/json", call, false), expect);
        assert_eq!(asked("application/json", call, true), None);
        assert_eq!(asked("text/plain", call, false), None);
        assert_eq!(asked("application/json", r#"{"method":"a"}"#, false), None);
        assert_eq!(asked("application/json", "[1", false), None);
    }
}
