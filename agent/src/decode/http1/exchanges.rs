//! Requests and responses as they come in, exchanges out: which response belongs to which request.
//!
//! RFC 9112, section 9.3.2: a server sends its responses "in the same order that the requests were
//! received". That pairs them as long as every message is seen. Once some may have been missed,
//! they are handed out unpaired until the order is known again; a wrong pair is never made of them.

use std::collections::VecDeque;

use super::slot::{Half, Slot};
use crate::{
    capture::{Call, ConnectionKey},
    decode::{Message, Request, Response, Role},
};

/// Exchanges that a connection may have open.
const MAX_OPEN: usize = 1024;
/// Bytes of heads and bodies that the open exchanges of a connection may hold.
const MAX_WEIGHT: usize = 16 << 20;

/// The open exchanges of one connection.
#[derive(Debug)]
pub(super) struct Exchanges {
    connection: ConnectionKey,
    role: Role,
    /// Oldest first.
    slots: VecDeque<Slot>,
    doubt: Option<Doubt>,
    /// A request was seen to be sent before the last one was answered.
    pipelined: bool,
    begun: bool,
}

/// Messages may have been missed: requests that come are not paired. A client that does not
/// pipeline sends its next request when the last one is answered, and that shows the order again.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    /// Requests seen since, less the responses.
    unanswered: usize,
    /// A whole response was seen since.
    answered: bool,
    /// When the call returned that received the first byte of the last response: requests sent
    /// before are answered.
    last_answer: u64,
}

impl Exchanges {
    pub(super) fn new(connection: ConnectionKey, role: Role, gap: bool) -> Self {
        Self {
            connection,
            role,
            slots: VecDeque::new(),
            doubt: gap.then(Doubt::default),
            pipelined: false,
            begun: false,
        }
    }

    /// A request starts. Whether its response started before, as far as was seen.
    pub(super) fn request(
        &mut self,
        began: Call,
        half: Half<Request>,
        out: &mut Vec<Message>,
    ) -> bool {
        // A client's call that sends a request may be seen to return after the one that receives
        // its response. Nobody sends the next request before that.
        let claimed = |slot: &&mut Slot| slot.claimable && began.entered < slot.began.returned;
        if let Some(slot) = self.slots.iter_mut().find(claimed) {
            slot.request = Some(half);
            slot.began = began;
            slot.claimable = false;
            return true;
        }
        self.begun = true;
        self.release(out);
        self.bound(out);
        let awaits = self.order_is_known(&began);
        self.push(Slot::request(began, half, awaits));
        false
    }

    /// Makes room for another exchange.
    fn bound(&mut self, out: &mut Vec<Message>) {
        if self.slots.len() >= MAX_OPEN || self.weight() >= MAX_WEIGHT {
            self.let_go(out);
        }
    }

    /// Most connections have one exchange at a time.
    fn push(&mut self, slot: Slot) {
        if self.slots.is_empty() {
            self.slots.reserve_exact(1);
        }
        self.slots.push_back(slot);
    }

    /// Hands out requests whose responses have not come: they will be unpaired.
    fn let_go(&mut self, out: &mut Vec<Message>) {
        self.forget_awaited();
        self.doubt = Some(Doubt::default());
        self.emit(out);
    }

    /// Bytes that are kept.
    pub(super) fn weight(&self) -> usize {
        self.slots.iter().map(Slot::weight).sum()
    }

    /// Gives up what is kept: complete requests are handed out, bodies are cut.
    pub(super) fn give_up(&mut self, out: &mut Vec<Message>) {
        self.let_go(out);
        self.slots.iter_mut().for_each(Slot::give_up);
    }

    /// Whether the response to a request that starts now will be recognised.
    fn order_is_known(&mut self, began: &Call) -> bool {
        let Some(doubt) = &mut self.doubt else {
            return true;
        };
        if began.entered < doubt.last_answer {
            return false;
        }
        if doubt.answered && doubt.unanswered == 0 && self.slots.is_empty() && !self.pipelined {
            self.doubt = None;
            return true;
        }
        doubt.unanswered = doubt.unanswered.saturating_add(1);
        false
    }

    /// The method of the request that the next response answers, if it is known.
    pub(super) fn awaited_method(&self) -> Option<&str> {
        let slot = self.slots.iter().find(|slot| slot.awaits && slot.response.is_none())?;
        slot.request.as_ref()?.head.method.as_deref()
    }

    /// A final response starts.
    pub(super) fn response(&mut self, began: Call, half: Half<Response>, out: &mut Vec<Message>) {
        self.begun = true;
        self.release(out);
        match self.slots.iter_mut().find(|slot| slot.awaits && slot.response.is_none()) {
            Some(slot) => slot.response = Some(half),
            None => {
                if let Some(doubt) = &mut self.doubt {
                    doubt.last_answer = began.returned;
                }
                let claimable = self.role == Role::Client && self.doubt.is_none();
                self.push(Slot::response(began, half, claimable));
            }
        }
    }

    /// The request whose end did not come yet.
    pub(super) fn open_request(&mut self) -> Option<&mut Half<Request>> {
        let mut requests = self.slots.iter_mut().rev().filter_map(|slot| slot.request.as_mut());
        requests.find(|request| !request.ended)
    }

    /// The response whose end did not come yet.
    pub(super) fn open_response(&mut self) -> Option<&mut Half<Response>> {
        self.open_response_slot()?.response.as_mut()
    }

    /// The request that the open response answers, if it is known.
    pub(super) fn answered(&mut self) -> Option<&Request> {
        Some(&self.open_response_slot()?.request.as_ref()?.head)
    }

    fn open_response_slot(&mut self) -> Option<&mut Slot> {
        self.slots.iter_mut().find(|slot| slot.response.as_ref().is_some_and(|half| !half.ended))
    }

    /// The open request ended; `None` when its last byte was lost.
    pub(super) fn end_request(&mut self, call: Option<&Call>, out: &mut Vec<Message>) {
        if let Some(request) = self.open_request() {
            request.end(call);
        }
        self.emit(out);
    }

    /// The open response ended; `None` when its last byte was lost.
    pub(super) fn end_response(&mut self, call: Option<&Call>, out: &mut Vec<Message>) {
        // When the last byte was lost, the next request may have been seen before that was known.
        let others_wait = self.slots.iter().any(|slot| slot.awaits && slot.response.is_none());
        self.pipelined |= others_wait && call.is_some();
        let Some(slot) = self.open_response_slot() else {
            return;
        };
        let paired = slot.request.is_some();
        if let Some(response) = &mut slot.response {
            response.end(call);
        }
        self.count_answer(paired);
        self.emit(out);
    }

    fn count_answer(&mut self, paired: bool) {
        if let (Some(doubt), false) = (&mut self.doubt, paired) {
            doubt.answered = true;
            doubt.unanswered = doubt.unanswered.saturating_sub(1);
        }
    }

    /// Requests were lost, at least in part. Those seen before are answered first all the same.
    pub(super) fn lose_requests(&mut self, out: &mut Vec<Message>) {
        self.release(out);
        if let Some(request) = self.open_request() {
            request.cut();
        }
        self.doubt = Some(Doubt::default());
        self.emit(out);
    }

    /// Responses were lost, at least in part.
    pub(super) fn lose_responses(&mut self, out: &mut Vec<Message>) {
        self.release(out);
        // When only the rest of one response can have been lost, the next one seen answers the
        // next request. Otherwise it may be anyone's.
        let only_its_rest = self.slots.len() == 1 && self.open_response().is_some();
        if only_its_rest {
            self.count_answer(self.slots.iter().all(|slot| slot.request.is_some()));
        } else {
            self.doubt = Some(Doubt::default());
        }
        if let Some(response) = self.open_response() {
            response.cut();
        }
        self.forget_awaited();
        self.emit(out);
    }

    /// Whether a response to an unknown request lacks its whole body so far: the request may have
    /// been a HEAD, so that there is none.
    pub(super) fn may_lack_body(&mut self) -> bool {
        self.open_response_slot().is_some_and(|slot| {
            slot.request.is_none() && slot.response.as_ref().is_some_and(Half::body_is_untouched)
        })
    }

    /// Whether any message started yet.
    pub(super) const fn is_begun(&self) -> bool {
        self.begun
    }

    /// Whether bytes that are no request may be what the connection is to turn into.
    pub(super) fn may_upgrade(&self) -> bool {
        self.slots.iter().any(Slot::may_upgrade)
    }

    /// Nothing more comes.
    pub(super) fn finish(&mut self, out: &mut Vec<Message>) {
        self.release(out);
        for slot in &mut self.slots {
            slot.request.iter_mut().for_each(Half::cut);
            slot.response.iter_mut().for_each(Half::cut);
        }
        self.forget_awaited();
        self.emit(out);
    }

    /// Hands out the responses whose requests might have come.
    fn release(&mut self, out: &mut Vec<Message>) {
        self.slots.iter_mut().for_each(|slot| slot.claimable = false);
        self.emit(out);
    }

    fn forget_awaited(&mut self) {
        self.slots.iter_mut().for_each(|slot| slot.awaits = false);
    }

    fn emit(&mut self, out: &mut Vec<Message>) {
        while let Some(index) = self.slots.iter().position(Slot::is_complete) {
            let slot = self.slots.remove(index);
            out.extend(slot.map(|slot| slot.message(self.role, self.connection)));
        }
        // Most connections are idle most of the time.
        if self.slots.is_empty() {
            self.slots.shrink_to_fit();
        }
    }
}
