//! What a record holds in memory, about; and what of it no span has.

use bytes::Bytes;

use crate::{
    decode::{Content, Exchange, Operation, Request, Response},
    enrich::Record,
};

/// What every record takes.
const BASE: usize = 1024;

/// Leaves out what is not exported. The request's body stays: it tells methods of JSON-RPC and
/// operations of GraphQL.
pub(super) fn slim(record: &mut Record) {
    let Content::Http(exchange) = &mut record.message.content else { return };
    if let Some(response) = &mut exchange.response {
        response.body.bytes = Bytes::new();
    }
    if let Some(grpc) = &mut exchange.grpc {
        grpc.sent = Vec::new();
        grpc.received = Vec::new();
    }
}

/// Bytes that a record holds, in the order of magnitude: what is small is not looked at.
pub(super) fn weight(record: &Record) -> usize {
    BASE + match &record.message.content {
        Content::Http(exchange) => of_exchange(exchange),
        Content::Operation(operation) => of_operation(operation),
        _ => 0,
    }
}

fn of_exchange(exchange: &Exchange) -> usize {
    let request = exchange.request.as_ref().map_or(0, |request| {
        let Request { method, target, headers, trailers, body, .. } = request;
        length(method) + length(target) + headers.weight() + trailers.weight() + body.bytes.len()
    });
    let response = exchange.response.as_ref().map_or(0, |response| {
        let Response { headers, trailers, body, .. } = response;
        headers.weight() + trailers.weight() + body.bytes.len()
    });
    request + response + exchange.grpc.as_ref().map_or(0, |grpc| length(&grpc.message))
}

fn of_operation(operation: &Operation) -> usize {
    let Operation { name, namespace, target, text, parameters, outcome, .. } = operation;
    let texts = [name, namespace, target, text].map(length);
    let parameters = parameters.iter().map(|value| size_of::<Option<String>>() + length(value));
    let answer = outcome.as_ref().map_or(0, |outcome| length(&outcome.message));
    texts.iter().sum::<usize>() + parameters.sum::<usize>() + answer
}

fn length(text: &Option<String>) -> usize {
    text.as_ref().map_or(0, String::len)
}
