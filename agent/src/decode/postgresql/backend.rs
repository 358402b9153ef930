//! Messages of the server.

use super::{
    Kind, Postgresql,
    fields::{Fields, complete, error, text},
    frames::Frame,
};
use crate::{
    capture::Call,
    decode::{Message, Outcome, System, pending::Pending},
};

impl Postgresql {
    /// Whether the connection can be followed further.
    pub(super) fn answer(&mut self, call: &Call, frame: &Frame, out: &mut Vec<Message>) -> bool {
        match frame.kind {
            // Notices, parameters, the key for cancelling, a version.
            b'N' | b'S' | b'K' | b'v' => return true,
            b'A' => {
                out.push(self.notification(frame).message(self.connection, Some(call)));
                self.begun = true;
                return true;
            }
            b'Z' if self.starting => {
                self.starting = false;
                return true;
            }
            b'E' if self.awaiting.is_empty() => {
                out.push(self.unasked_error(frame).message(self.connection, Some(call)));
                self.begun = true;
                return true;
            }
            _ => {}
        }
        let Some(front) = self.awaiting.front_mut() else { return false };
        let operation = &mut front.pending.operation;
        operation.response_size = operation.response_size.saturating_add(frame.size);
        operation.truncated |= frame.lost;
        if frame.kind == b'E' {
            operation.outcome = Some(error(&frame.body));
            return self.fail(call, out);
        }
        self.progress(call, frame, out)
    }

    fn progress(&mut self, call: &Call, frame: &Frame, out: &mut Vec<Message>) -> bool {
        let Some(front) = self.awaiting.front_mut() else { return false };
        let (kind, operation) = (front.kind, &mut front.pending.operation);
        let outcome = operation.outcome.get_or_insert_default();
        match (kind, frame.kind) {
            // AuthenticationSASLFinal: AuthenticationOk follows without another message.
            (Kind::Authentication, b'R') if Fields(&frame.body).int32() == Some(12) => {}
            (Kind::Authentication, b'R') => {
                self.starting |= Fields(&frame.body).int32() == Some(0);
                self.end_front(Some(call), out);
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
                if kind == Kind::Execute {
                    self.end_front(Some(call), out);
                }
            }
            (Kind::Query | Kind::Execute, b'G') => {
                (self.copies_in, self.copied_in) = (true, true);
                return self.ignore_syncs();
            }
            (Kind::Query | Kind::Execute, b'd' | b'c' | b'H') | (Kind::Query, b'I' | b'V') => {}
            (Kind::Execute, b'I' | b's') | (Kind::Query | Kind::Sync, b'Z') => {
                self.end_front(Some(call), out);
            }
            (Kind::Describe, b't') => {}
            (Kind::Parse, b'1') | (Kind::Bind, b'2') | (Kind::Close, b'3') => {
                self.end_front(Some(call), out);
            }
            (Kind::Describe, b'T' | b'n') => self.end_front(Some(call), out),
            _ => return false,
        }
        true
    }

    /// What came before the server asked for data to copy, it ignores.
    fn ignore_syncs(&mut self) -> bool {
        let mut first = true;
        self.awaiting.retain(|next| std::mem::take(&mut first) || next.kind != Kind::Sync);
        self.awaiting.len() == 1
    }

    /// "the backend issues ErrorResponse, then reads and discards messages until a Sync is
    /// reached".
    fn fail(&mut self, call: &Call, out: &mut Vec<Message>) -> bool {
        (self.copies_in, self.copied_in) = (false, false);
        let Some(front) = self.awaiting.front() else { return false };
        match front.kind {
            // ReadyForQuery follows.
            Kind::Query | Kind::Sync => return true,
            Kind::Authentication => {
                self.end_front(Some(call), out);
                return true;
            }
            _ => {}
        }
        let skipped = self.awaiting.iter().take_while(|next| next.kind != Kind::Sync).count();
        for undone in (0..skipped).rev() {
            let undo = self.awaiting.get_mut(undone).and_then(|awaiting| awaiting.undo.take());
            if let Some((name, before)) = undo {
                self.statements.set(name, before);
            }
        }
        for number in 0..skipped {
            self.end_front((number == 0).then_some(call), out);
        }
        true
    }

    fn notification(&self, frame: &Frame) -> Pending {
        let (began, size) = (frame.began, frame.size);
        let mut pending = Pending::unasked(System::Postgresql, self.role, began, size);
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
        let mut pending = Pending::unasked(System::Postgresql, self.role, began, size);
        pending.operation.name = Some("ErrorResponse".to_owned());
        pending.operation.outcome = Some(error(&frame.body));
        pending
    }
}
