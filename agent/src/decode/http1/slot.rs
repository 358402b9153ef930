//! One exchange while it comes in: a request, its response, or both.

use super::framing;
use crate::{
    capture::{Call, ConnectionKey},
    decode::{
        Content, Exchange, Message, Options, Request, Response, Role, body::Gathering, moved,
    },
};

/// A request or a response whose head came.
#[derive(Debug)]
pub(super) struct Half<H> {
    pub(super) head: H,
    body: Gathering,
    /// How much memory the head takes.
    head_length: usize,
    /// When the call returned that moved its last byte so far; `None` when that was not seen.
    last: Option<u64>,
    pub(super) ended: bool,
}

impl<H> Half<H> {
    pub(super) fn new(head: H, head_length: usize, call: &Call, options: &Options) -> Self {
        let body = Gathering::new(options);
        Self { head, body, head_length, last: Some(call.returned), ended: false }
    }

    pub(super) fn push(&mut self, bytes: &[u8], call: &Call) {
        self.body.push(bytes);
        self.last = Some(call.returned);
    }

    pub(super) fn lose(&mut self, length: u64) {
        self.body.lose(length);
        self.last = None;
    }

    /// Its last byte came with this call; `None` when that is not known.
    pub(super) const fn end(&mut self, call: Option<&Call>) {
        self.ended = true;
        if let Some(call) = call {
            self.last = Some(call.returned);
        }
    }

    /// The rest will not come.
    pub(super) const fn cut(&mut self) {
        if !self.ended {
            self.ended = true;
            self.body.cut();
            self.last = None;
        }
    }

    pub(super) const fn body_is_untouched(&self) -> bool {
        self.body.is_untouched()
    }

    const fn weight(&self) -> usize {
        self.head_length + self.body.weight()
    }
}

/// An exchange.
#[derive(Debug)]
pub(super) struct Slot {
    /// The call that moved its first byte.
    pub(super) began: Call,
    pub(super) request: Option<Half<Request>>,
    pub(super) response: Option<Half<Response>>,
    /// Whether the next response that starts may be its own.
    pub(super) awaits: bool,
    /// Whether its request may still come, being seen late.
    pub(super) claimable: bool,
}

impl Slot {
    /// A request that came; `awaits` tells whether its response will be recognised.
    pub(super) const fn request(began: Call, request: Half<Request>, awaits: bool) -> Self {
        Self { began, request: Some(request), response: None, awaits, claimable: false }
    }

    /// A response to a request that is not known.
    pub(super) const fn response(began: Call, response: Half<Response>, claimable: bool) -> Self {
        Self { began, request: None, response: Some(response), awaits: false, claimable }
    }

    /// Whether nothing more can come to it.
    pub(super) fn is_complete(&self) -> bool {
        let response = self.response.as_ref().map_or(!self.awaits, |response| response.ended);
        response && !self.claimable && self.request.as_ref().is_none_or(|request| request.ended)
    }

    /// Whether its connection may turn into something else, once it is answered.
    pub(super) fn may_upgrade(&self) -> bool {
        self.awaits
            && self.request.as_ref().is_some_and(|Half { head, .. }| {
                head.method.as_deref() == Some("CONNECT") || head.headers.first("upgrade").is_some()
            })
    }

    pub(super) fn weight(&self) -> usize {
        self.request.as_ref().map_or(0, Half::weight)
            + self.response.as_ref().map_or(0, Half::weight)
    }

    /// Keeps no more of the bodies.
    pub(super) fn give_up(&mut self) {
        self.request.iter_mut().for_each(|half| half.body.give_up());
        self.response.iter_mut().for_each(|half| half.body.give_up());
    }

    pub(super) fn message(self, role: Role, connection: ConnectionKey) -> Message {
        let began = self.request.as_ref().map(|_| moved(&self.began, role.requests()));
        let ended = self.response.as_ref().and_then(|response| response.last);
        let exchange = Exchange {
            role,
            duration_ns: began.zip(ended).and_then(|(began, ended)| ended.checked_sub(began)),
            request: self.request.map(|Half { head, body, .. }| Request {
                body: body.finish(|| framing::codings(&head.headers)),
                ..head
            }),
            response: self.response.map(|Half { head, body, .. }| Response {
                body: body.finish(|| framing::codings(&head.headers)),
                ..head
            }),
            stream: None,
            error: None,
            grpc: None,
        };
        Message { connection, call: self.began, content: Content::Http(Box::new(exchange)) }
    }
}
