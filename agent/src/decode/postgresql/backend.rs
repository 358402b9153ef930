//! Messages of the server.

use super::{
    Asked, Kind, Postgresql,
    fields::{Fields, complete, error, text},
    frames::kind,
};
use crate::{
    capture::Call,
    decode::{
        Message, Outcome, Role, System,
        frames::Frame,
        pending::{Pending, Queue},
    },
};

impl Postgresql {
    /// Whether the connection can be followed further.
    pub(super) fn answered(
        &mut self,
        awaiting: &mut Queue<Asked>,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> bool {
        match kind(frame) {
            // Notices, parameters, the key for cancelling, a version.
            b'N' | b'S' | b'K' | b'v' => return true,
            b'A' => {
                awaiting.tell(notification(frame, awaiting.role), Some(call), out);
                return true;
            }
            b'Z' if self.starting => {
                self.starting = false;
                return true;
            }
            b'E' if awaiting.is_empty() => {
                awaiting.tell(unasked_error(frame, awaiting.role), Some(call), out);
                return true;
            }
            _ => {}
        }
        let Some(front) = awaiting.front_mut() else { return false };
        let operation = &mut front.pending.operation;
        operation.response_size = operation.response_size.saturating_add(frame.size);
        operation.truncated |= frame.lost;
        if kind(frame) == b'E' {
            operation.outcome = Some(error(&frame.body));
            return self.fail(awaiting, call, out);
        }
        self.progress(awaiting, call, frame, out)
    }

    fn progress(
        &mut self,
        awaiting: &mut Queue<Asked>,
        call: &Call,
        frame: &Frame,
        out: &mut Vec<Message>,
    ) -> bool {
        let Some(front) = awaiting.front_mut() else { return false };
        let (asked, operation) = (front.note.kind, &mut front.pending.operation);
        let outcome = operation.outcome.get_or_insert_default();
        match (asked, kind(frame)) {
            // AuthenticationSASLFinal: AuthenticationOk follows without another message.
            (Kind::Authentication, b'R') if Fields(&frame.body).int32() == Some(12) => {}
            (Kind::Authentication, b'R') => {
                self.starting |= Fields(&frame.body).int32() == Some(0);
                awaiting.end_front(Some(call), out);
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
                    awaiting.end_front(Some(call), out);
                }
            }
            (Kind::Query | Kind::Execute, b'G') => {
                (self.copies_in, self.copied_in) = (true, true);
                return ignore_syncs(awaiting);
            }
            (Kind::Query | Kind::Execute, b'd' | b'c' | b'H') | (Kind::Query, b'I' | b'V') => {}
            (Kind::Execute, b'I' | b's') | (Kind::Query | Kind::Sync, b'Z') => {
                awaiting.end_front(Some(call), out);
            }
            (Kind::Describe, b't') => {}
            (Kind::Parse, b'1') | (Kind::Bind, b'2') | (Kind::Close, b'3') => {
                awaiting.end_front(Some(call), out);
            }
            (Kind::Describe, b'T' | b'n') => awaiting.end_front(Some(call), out),
            _ => return false,
        }
        true
    }

    /// "the backend issues ErrorResponse, then reads and discards messages until a Sync is
    /// reached".
    fn fail(&mut self, awaiting: &mut Queue<Asked>, call: &Call, out: &mut Vec<Message>) -> bool {
        (self.copies_in, self.copied_in) = (false, false);
        let Some(front) = awaiting.front() else { return false };
        match front.note.kind {
            // ReadyForQuery follows.
            Kind::Query | Kind::Sync => return true,
            Kind::Authentication => {
                awaiting.end_front(Some(call), out);
                return true;
            }
            _ => {}
        }
        let skipped = awaiting.notes().take_while(|next| next.kind != Kind::Sync).count();
        let undone = awaiting.notes().take(skipped).rev().filter_map(|next| next.undo.take());
        for (name, before) in undone {
            self.statements.set(name, before);
        }
        for number in 0..skipped {
            awaiting.end_front((number == 0).then_some(call), out);
        }
        true
    }
}

/// What came before the server asked for data to copy, it ignores.
fn ignore_syncs(awaiting: &mut Queue<Asked>) -> bool {
    awaiting.drop_behind_front(|next| next.kind == Kind::Sync);
    awaiting.len() == 1
}

fn notification(frame: &Frame, role: Role) -> Pending {
    let (began, size) = (frame.began, frame.size);
    let mut pending = Pending::unasked(System::Postgresql, role, began, size);
    let mut fields = Fields(frame.body.get(4..).unwrap_or_default());
    pending.operation.name = Some("NotificationResponse".to_owned());
    pending.operation.target = fields.string().map(text);
    let message = fields.string().map(text);
    pending.operation.outcome = Some(Outcome { message, ..Outcome::default() });
    pending.operation.truncated = !frame.whole;
    pending
}

/// Such as that the server shuts down.
fn unasked_error(frame: &Frame, role: Role) -> Pending {
    let (began, size) = (frame.began, frame.size);
    let mut pending = Pending::unasked(System::Postgresql, role, began, size);
    pending.operation.name = Some("ErrorResponse".to_owned());
    pending.operation.outcome = Some(error(&frame.body));
    pending
}
