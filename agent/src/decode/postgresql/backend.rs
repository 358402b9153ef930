//! Messages of the server.

use super::{
    Kind, Postgresql,
    fields::{Fields, complete, error, text},
    frames::kind,
};
use crate::{
    capture::Call,
    decode::{Message, Outcome, System, frames::Frame, pending::Pending},
};

impl Postgresql {
    /// Whether the connection can be followed further.
    pub(super) fn answered(&mut self, call: &Call, frame: &Frame, out: &mut Vec<Message>) -> bool {
        match kind(frame) {
            // Notices, parameters, the key for cancelling, a version.
            b'N' | b'S' | b'K' | b'v' => return true,
            b'A' => {
                self.awaiting.tell(self.notification(frame), Some(call), out);
                return true;
            }
            b'Z' if self.starting => {
                self.starting = false;
                return true;
            }
            b'E' if self.awaiting.is_empty() => {
                self.awaiting.tell(self.unasked_error(frame), Some(call), out);
                return true;
            }
            _ => {}
        }
        let Some(front) = self.awaiting.front_mut() else { return false };
        let operation = &mut front.pending.operation;
        operation.response_size = operation.response_size.saturating_add(frame.size);
        operation.truncated |= frame.lost;
        if kind(frame) == b'E' {
            operation.outcome = Some(error(&frame.body));
            return self.fail(call, out);
        }
        self.progress(call, frame, out)
    }

    fn progress(&mut self, call: &Call, frame: &Frame, out: &mut Vec<Message>) -> bool {
        let Some(front) = self.awaiting.front_mut() else { return false };
        let (asked, operation) = (front.note.kind, &mut front.pending.operation);
        let outcome = operation.outcome.get_or_insert_default();
        match (asked, kind(frame)) {
            // AuthenticationSASLFinal: AuthenticationOk follows without another message.
            (Kind::Authentication, b'R') if Fields(&frame.body).int32() == Some(12) => {}
            (Kind::Authentication, b'R') => {
                self.starting |= Fields(&frame.body).int32() == Some(0);
                self.awaiting.end_front(Some(call), out);
            }
            (Kind::Query | Kind::Execute, b'D') => {
                outcome.returned = Some(outcome.returned.unwrap_or(0).saturating_add(1));
            }
            (Kind::Query | Kind::Execute, b'T') => {
                outcome.returned.get_or_insert(0);
            }
            (Kind::Query | Kind::Execute, b'C') => {
                let tag = Fields(&frame.body).string().unwrap_or_default();
                complete(outcome, tag, std::mem::take(&mut self.copied_in));
                self.copies_in = false;
                if asked == Kind::Execute {
                    self.awaiting.end_front(Some(call), out);
                }
            }
            (Kind::Query | Kind::Execute, b'G') => {
                (self.copies_in, self.copied_in) = (true, true);
                return self.ignore_syncs();
            }
            (Kind::Query | Kind::Execute, b'd' | b'c' | b'H') | (Kind::Query, b'I' | b'V') => {}
            (Kind::Execute, b'I' | b's') | (Kind::Query | Kind::Sync, b'Z') => {
                self.awaiting.end_front(Some(call), out);
            }
            (Kind::Describe, b't') => {}
            (Kind::Parse, b'1') | (Kind::Bind, b'2') | (Kind::Close, b'3') => {
                self.awaiting.end_front(Some(call), out);
            }
            (Kind::Describe, b'T' | b'n') => self.awaiting.end_front(Some(call), out),
            _ => return false,
        }
        true
    }

    /// What came before the server asked for data to copy, it ignores.
    fn ignore_syncs(&mut self) -> bool {
        self.awaiting.drop_behind_front(|next| next.kind == Kind::Sync);
        self.awaiting.len() == 1
    }

    /// "the backend issues ErrorResponse, then reads and discards messages until a Sync is
    /// reached".
    fn fail(&mut self, call: &Call, out: &mut Vec<Message>) -> bool {
        (self.copies_in, self.copied_in) = (false, false);
        let Some(front) = self.awaiting.front() else { return false };
        match front.note.kind {
            // ReadyForQuery follows.
            Kind::Query | Kind::Sync => return true,
            Kind::Authentication => {
                self.awaiting.end_front(Some(call), out);
                return true;
            }
            _ => {}
        }
        let skipped = self.awaiting.notes().take_while(|next| next.kind != Kind::Sync).count();
        let undone = self.awaiting.notes().take(skipped).rev().filter_map(|next| next.undo.take());
        for (name, before) in undone {
            self.statements.set(name, before);
        }
        for number in 0..skipped {
            self.awaiting.end_front((number == 0).then_some(call), out);
        }
        true
    }

    fn notification(&self, frame: &Frame) -> Pending {
        let (began, size) = (frame.began, frame.size);
        let mut pending = Pending::unasked(System::Postgresql, self.awaiting.role, began, size);
        let mut fields = Fields(frame.body.get(4..).unwrap_or_default());
        pending.operation.name = Some("NotificationResponse".to_owned());
        pending.operation.target = fields.string().map(text);
        let message = fields.string().map(text);
        pending.operation.outcome = Some(Outcome { message, ..Outcome::default() });
        pending.operation.truncated = !frame.whole;
        pending
    }

    /// Such as that the server shuts down.
    fn unasked_error(&self, frame: &Frame) -> Pending {
        let (began, size) = (frame.began, frame.size);
        let mut pending = Pending::unasked(System::Postgresql, self.awaiting.role, began, size);
        pending.operation.name = Some("ErrorResponse".to_owned());
        pending.operation.outcome = Some(error(&frame.body));
        pending
    }
}
