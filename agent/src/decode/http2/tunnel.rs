//! WebSocket on a stream (RFC 8441): what both sides send is no body but frames, each way for itself.

use crate::{
    capture::ConnectionKey,
    decode::{
        Fields, Options, Role,
        websocket::{Agreement, WebSockets},
    },
};

/// What goes through a stream, if a request and the response to it agreed on WebSocket.
pub(super) fn agreed(
    options: &Options,
    who: (ConnectionKey, Role),
    stream: u32,
    (request, response): (&Fields, &Fields),
) -> Option<Box<WebSockets>> {
    let asked = request.first(":method") == Some(b"CONNECT")
        && request.first(":protocol") == Some(b"websocket");
    let agreement = asked.then(|| Agreement::of_stream(response))??;
    Some(Box::new(WebSockets::on_stream(options, who, agreement, stream)))
}
