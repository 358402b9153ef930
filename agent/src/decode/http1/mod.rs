//! HTTP/1.0 and 1.1 (RFC 9112): bytes of both directions in, exchanges out.

mod chunked;
mod exchanges;
mod framing;
mod head;
mod slot;
mod stream;
#[cfg(test)]
mod tests;

use self::{
    exchanges::Exchanges,
    framing::{Framing, Skip},
    head::{Probe, request_line, status_line},
    slot::Half,
    stream::{Step, Stream},
};
use super::{
    Message, Options, Request, Response, Role,
    protocol::{Family, Flow, Guess, Protocol, Sighting, Start},
    sse::{Events, Origin},
    websocket::{Agreement, WebSockets},
};
use crate::capture::{Call, ConnectionKey, Direction};

pub(super) const FAMILY: Family = Family { guess, start: |start| Box::new(Http1::new(start)) };

fn guess(sighting: &Sighting<'_>) -> Guess {
    let Sighting { bytes, at, .. } = *sighting;
    match (request_line(bytes), status_line(bytes)) {
        (Probe::Start, _) => Guess::Yes(Role::of_requests(at)),
        (_, Probe::Start) => Guess::Yes(Role::of_requests(at.opposite())),
        (Probe::No, Probe::No) => Guess::No,
        _ => Guess::Maybe,
    }
}

/// The HTTP side of one connection.
#[derive(Debug)]
pub(super) struct Http1 {
    options: Options,
    connection: ConnectionKey,
    role: Role,
    requests: Stream<Request>,
    responses: Stream<Response>,
    exchanges: Exchanges,
    /// Bytes that came in the direction of the requests while an upgrade was asked for, and that
    /// are no request.
    early: u64,
    /// Whether an upgrade or a tunnel was agreed upon.
    handed_over: bool,
    /// What an upgrade agreed on.
    agreement: Option<Agreement>,
    /// Those of the open response.
    events: Option<Box<Events>>,
}

impl Http1 {
    fn new(start: &Start<'_>) -> Self {
        let Start { options, connection, role, gap } = *start;
        Self {
            options: *options,
            connection,
            role,
            requests: Stream::new(),
            responses: Stream::new(),
            exchanges: Exchanges::new(connection, role, gap),
            early: 0,
            handed_over: false,
            agreement: None,
            events: None,
        }
    }
}

impl Protocol for Http1 {
    fn hands_over(&self) -> bool {
        self.handed_over
    }

    fn is_begun(&self) -> bool {
        self.exchanges.is_begun()
    }

    fn push(&mut self, call: &Call, at: Direction, bytes: &[u8], out: &mut Vec<Message>) -> Flow {
        let left = if at == self.role.requests() {
            self.push_requests(call, bytes, out)
        } else {
            self.push_responses(call, bytes, out)
        };
        let Some(left) = left else { return Flow::Open };
        self.exchanges.finish(out);
        if let Some(agreement) = self.agreement {
            let who = (self.connection, self.role);
            let early = self.early.saturating_add(self.requests.unread() as u64);
            let next = WebSockets::new(&self.options, who, agreement, early);
            return Flow::Becomes { next: Box::new(next), left };
        }
        let mut bytes = [0; 2];
        for (index, direction) in Direction::BOTH.into_iter().enumerate() {
            let left = if direction == at { left as u64 } else { 0 };
            let early = if direction == self.role.requests() { self.early } else { 0 };
            if let Some(bytes) = bytes.get_mut(index) {
                *bytes = left.saturating_add(early);
            }
        }
        Flow::Over { bytes }
    }

    fn gap(&mut self, at: Direction, length: u64, out: &mut Vec<Message>) {
        if at == self.role.requests() {
            self.requests_lost(length, out);
        } else {
            self.responses_lost(length, out);
        }
    }

    fn held(&self) -> usize {
        let events = self.events.as_ref().map_or(0, |events| events.weight());
        self.requests.unread() + self.responses.unread() + self.exchanges.weight() + events
    }

    fn unread(&self) -> [usize; 2] {
        let (requests, responses) = (self.requests.unread(), self.responses.unread());
        Direction::BOTH.map(|at| if at == self.role.requests() { requests } else { responses })
    }

    fn give_up(&mut self, out: &mut Vec<Message>) {
        if self.requests.unread() > 0 {
            self.requests_lost(0, out);
        }
        if self.responses.unread() > 0 {
            self.responses_lost(0, out);
        }
        self.exchanges.give_up(out);
        self.events.iter_mut().for_each(|events| events.give_up());
    }

    fn shut_down(&mut self, out: &mut Vec<Message>) {
        // RFC 9112, section 9.8: a server's closure alert ends a response that has no other end.
        if self.role == Role::Server && self.responses.ends_with_connection() {
            self.end_without_body(out);
        }
    }

    fn finish(mut self: Box<Self>, complete: bool, out: &mut Vec<Message>) {
        // RFC 9112, section 8: a response with neither chunked transfer coding nor Content-Length
        // "is terminated by closure of the connection".
        if complete && self.responses.ends_with_connection() {
            self.exchanges.end_response(None, out);
        }
        self.exchanges.finish(out);
    }
}

impl Http1 {
    /// Gives how many bytes do not belong to HTTP any more, when that begins here.
    fn push_requests(
        &mut self,
        call: &Call,
        mut input: &[u8],
        out: &mut Vec<Message>,
    ) -> Option<usize> {
        loop {
            match self.requests.step(call, &mut input) {
                Step::More => return None,
                Step::Head { began, head, length } => {
                    let Some(framing) = Framing::of_request(&head) else {
                        return Some(length + input.len());
                    };
                    let no_body =
                        head.method.as_deref() == Some("HEAD") && self.exchanges.may_lack_body();
                    let half = Half::new(head, length, call, &self.options);
                    if self.exchanges.request(began, half, out) && no_body {
                        self.end_without_body(out);
                        self.responses.next_message();
                    }
                    self.requests.body(framing);
                }
                Step::Body(bytes) => {
                    if let Some(request) = self.exchanges.open_request() {
                        request.push(bytes, call);
                    }
                }
                Step::End | Step::NoBody => self.exchanges.end_request(Some(call), out),
                Step::Malformed { held } if self.exchanges.may_upgrade() => {
                    // The threads of a program may use the new protocol before the old one's
                    // last call was seen to return.
                    self.early = self.early.saturating_add((held + input.len()) as u64);
                    self.requests.next_message();
                    self.exchanges.lose_requests(out);
                    return None;
                }
                Step::Malformed { held } => return Some(held + input.len()),
            }
        }
    }

    /// As [`Self::push_requests`].
    fn push_responses(
        &mut self,
        call: &Call,
        mut input: &[u8],
        out: &mut Vec<Message>,
    ) -> Option<usize> {
        loop {
            match self.responses.step(call, &mut input) {
                Step::More => return None,
                Step::Head { began, head, length } => {
                    let method = self.exchanges.awaited_method();
                    let Some(framing) = Framing::of_response(&head, method) else {
                        return Some(length + input.len());
                    };
                    let (interim, last) = (is_interim(&head), is_last(&head, method));
                    let doubtful = method.is_none() && !framing.is_empty();
                    if interim {
                        self.responses.next_message();
                        continue;
                    }
                    let agreement = Agreement::of(&head);
                    let codings =
                        Events::are_in(&head.headers).then(|| framing::codings(&head.headers));
                    let half = Half::new(head, length, call, &self.options);
                    self.exchanges.response(began, half, out);
                    self.events = codings.and_then(|codings| self.listen(&codings));
                    if doubtful {
                        self.responses.body_or_none(framing);
                    } else {
                        self.responses.body(framing);
                    }
                    if last {
                        self.handed_over = true;
                        self.exchanges.end_response(Some(call), out);
                        // A request whose end was not seen hides where frames begin.
                        self.agreement = agreement.filter(|_| self.requests.is_between());
                        return Some(input.len());
                    }
                }
                Step::Body(bytes) => {
                    if let Some(response) = self.exchanges.open_response() {
                        response.push(bytes, call);
                    }
                    self.events.iter_mut().for_each(|events| events.push(call, bytes, out));
                }
                Step::End => {
                    self.events = None;
                    self.exchanges.end_response(Some(call), out);
                }
                Step::NoBody => self.end_without_body(out),
                Step::Malformed { held } => return Some(held + input.len()),
            }
        }
    }

    /// The events of the response that begins.
    fn listen(&mut self, codings: &[String]) -> Option<Box<Events>> {
        let request = self.exchanges.answered().map(Events::request);
        let (connection, role) = (self.connection, self.role);
        let origin = Origin { connection, role, request, stream: None };
        Events::new(codings, &self.options, origin).map(Box::new)
    }

    /// The open response has no body, whatever its head says.
    fn end_without_body(&mut self, out: &mut Vec<Message>) {
        self.events = None;
        self.exchanges.end_response(None, out);
    }

    fn requests_lost(&mut self, length: u64, out: &mut Vec<Message>) {
        let skip = self.requests.skip(length);
        if let (Skip::Within | Skip::ToEnd, Some(request)) = (skip, self.exchanges.open_request()) {
            request.lose(length);
        }
        match skip {
            Skip::Within => {}
            Skip::ToEnd => self.exchanges.end_request(None, out),
            Skip::Lost => self.exchanges.lose_requests(out),
        }
    }

    fn responses_lost(&mut self, length: u64, out: &mut Vec<Message>) {
        let skip = self.responses.skip(length);
        if let (Skip::Within | Skip::ToEnd, Some(response)) = (skip, self.exchanges.open_response())
        {
            response.lose(length);
        }
        self.events.iter_mut().for_each(|events| events.lose());
        if skip != Skip::Within {
            self.events = None;
        }
        match skip {
            Skip::Within => {}
            Skip::ToEnd => self.exchanges.end_response(None, out),
            Skip::Lost => self.exchanges.lose_responses(out),
        }
    }
}

/// RFC 9110, section 15.2: "A client MUST be able to parse one or more 1xx responses received prior
/// to a final response".
const fn is_interim(response: &Response) -> bool {
    matches!(response.status, Some(100..=199)) && !is_upgrade(response)
}

/// RFC 9110, section 15.2.2: 101 (Switching Protocols) is final, the new protocol follows.
const fn is_upgrade(response: &Response) -> bool {
    matches!(response.status, Some(101))
}

/// Whether something else than HTTP follows. RFC 9112, section 6.3: "Any 2xx (Successful) response
/// to a CONNECT request implies that the connection will become a tunnel immediately after the
/// empty line that concludes the header fields."
fn is_last(response: &Response, method: Option<&str>) -> bool {
    let tunnel = method == Some("CONNECT") && matches!(response.status, Some(200..=299));
    tunnel || is_upgrade(response)
}
