//! One direction: bytes in, however they are split, messages out.

use super::{
    Close, Opcode, Unreadable, WebSocket,
    frame::{Head, Parsed, Rules},
    handshake::Agreement,
    inflate::{self, Inflater},
    open::{Open, Window},
};
use crate::{
    capture::{Call, Direction},
    decode::{Body, Options, Role},
};

/// Bytes of a call that may be proof of where frames begin.
const PROOF_LIMIT: usize = 64 << 10;

/// What is told, with the call that moved its first byte.
type Told = Vec<(Call, WebSocket)>;

#[derive(Debug)]
pub(super) struct Side {
    options: Options,
    role: Role,
    direction: Direction,
    rules: Rules,
    /// Whether each message begins with an empty window.
    forgets: bool,
    window: Window,
    /// Of a head that is not complete, and the call that moved the first of it.
    head: (Vec<u8>, Option<Call>),
    frame: Option<Frame>,
    message: Option<Open>,
    control: Option<Open>,
    place: Place,
    /// Bytes of which nothing is told, and the first call that moved some.
    skipped: (u64, Option<Call>),
}

/// Whether it is known where frames begin.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Known,
    /// It is, but a message may go on whose first frame was not seen.
    Within,
    /// A call whose bytes are whole frames is kept: the next one like it proves both.
    Lost(Option<(Call, Vec<u8>)>),
}

/// A frame whose payload is coming.
#[derive(Debug)]
struct Frame {
    head: Head,
    /// Of the payload.
    done: u64,
}

impl Side {
    pub(super) fn new(options: Options, role: Role, at: Direction, agreed: Agreement) -> Self {
        let masked = at == role.requests();
        let forgets = agreed.deflate.is_some_and(|deflate| match masked {
            true => deflate.client_forgets,
            false => deflate.server_forgets,
        });
        Self {
            options,
            role,
            direction: at,
            rules: Rules { masked, deflate: agreed.deflate.is_some() },
            forgets,
            window: Window::Empty,
            head: (Vec::new(), None),
            frame: None,
            message: None,
            control: None,
            place: Place::Known,
            skipped: (0, None),
        }
    }

    /// So many bytes were seen before, and are gone.
    pub(super) fn seen_before(&mut self, bytes: u64) {
        if bytes > 0 {
            self.lose_place(&mut Vec::new());
        }
        self.skipped.0 = bytes;
    }

    pub(super) const fn skipped(&self) -> (u64, Option<Call>) {
        self.skipped
    }

    /// Gives how many of the bytes were not read, when they are malformed.
    pub(super) fn push(&mut self, call: &Call, bytes: &[u8], told: &mut Told) -> Result<(), u64> {
        let Place::Lost(proof) = &mut self.place else { return self.read(call, bytes, told) };
        let proof = proof.take();
        if bytes.len() > PROOF_LIMIT || !self.rules.are_whole(bytes) {
            if let Some((call, proof)) = proof {
                self.skip(&call, proof.len());
            }
            self.skip(call, bytes.len());
            return Ok(());
        }
        match proof {
            Some((first, proof)) if first.entered != call.entered => {
                self.place = Place::Within;
                self.read(&first, &proof, told)?;
                self.read(call, bytes, told)
            }
            _ => {
                self.place = Place::Lost(Some((*call, bytes.to_vec())));
                Ok(())
            }
        }
    }

    fn skip(&mut self, call: &Call, bytes: usize) {
        self.skipped.0 = self.skipped.0.saturating_add(bytes as u64);
        self.skipped.1.get_or_insert(*call);
    }

    fn read(&mut self, call: &Call, mut bytes: &[u8], told: &mut Told) -> Result<(), u64> {
        while let Some((&first, rest)) = bytes.split_first() {
            match &mut self.frame {
                Some(frame) => {
                    let room = frame.head.length.saturating_sub(frame.done);
                    let length = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
                    let (payload, behind) = bytes.split_at_checked(length).unwrap_or((bytes, &[]));
                    self.payload(call, payload);
                    bytes = behind;
                }
                None => {
                    let (head, began) = &mut self.head;
                    let began = *began.get_or_insert(*call);
                    head.push(first);
                    match self.rules.head(head) {
                        Parsed::More => {}
                        Parsed::Malformed => {
                            let head = std::mem::take(head);
                            return Err((head.len() + rest.len()) as u64);
                        }
                        Parsed::Head(head, length) => {
                            self.head = (Vec::new(), None);
                            if !self.begin(head, began) {
                                return Err((length + rest.len()) as u64);
                            }
                        }
                    }
                    bytes = rest;
                }
            }
            self.end_frame(told);
        }
        Ok(())
    }

    /// A frame begins; whether it may.
    fn begin(&mut self, head: Head, began: Call) -> bool {
        match head.opcode {
            Some(opcode) if head.is_control() => {
                self.control = Some(Open::new(&self.options, opcode, false, began));
            }
            Some(opcode) => {
                if self.message.is_some() {
                    return false;
                }
                self.place = Place::Known;
                let mut open = Open::new(&self.options, opcode, head.compressed, began);
                if head.compressed && self.options.keep_bodies {
                    open.unreadable = self.open_window();
                }
                self.message = Some(open);
            }
            None => match &mut self.message {
                Some(message) => message.frames = message.frames.saturating_add(1),
                None if self.place == Place::Within => {}
                None => return false,
            },
        }
        self.frame = Some(Frame { head, done: 0 });
        true
    }

    fn open_window(&mut self) -> Option<Unreadable> {
        match self.window {
            Window::Lost if !self.forgets => return Some(Unreadable::ContextLost),
            Window::Open(_) if !self.forgets => {}
            _ => self.window = Window::Open(Box::new(Inflater::new())),
        }
        None
    }

    fn payload(&mut self, call: &Call, payload: &[u8]) {
        let Some(frame) = &mut self.frame else { return };
        let mask = frame.head.mask;
        let from = usize::try_from(frame.done % 4).unwrap_or_default();
        let keys = mask.iter().cycle().skip(from);
        frame.done = frame.done.saturating_add(payload.len() as u64);
        let control = frame.head.is_control();
        let open = if control { &mut self.control } else { &mut self.message };
        let Some(open) = open else {
            // Of a message whose beginning was lost.
            self.skip(call, payload.len());
            return;
        };
        open.size = open.size.saturating_add(payload.len() as u64);
        if !control && !self.options.keep_bodies {
            return;
        }
        let plain: Vec<u8> = payload.iter().zip(keys).map(|(byte, key)| byte ^ key).collect();
        open.push(&plain, &mut self.window, !self.forgets);
    }

    fn end_frame(&mut self, told: &mut Told) {
        let Some(frame) = self.frame.take_if(|frame| frame.done >= frame.head.length) else {
            return;
        };
        if frame.head.is_control() {
            let control = self.control.take();
            told.extend(control.map(|open| self.told(open)));
        } else if frame.head.last {
            let message = self.message.take();
            if let Some(mut open) = message {
                open.end(&mut self.window, !self.forgets);
                told.push(self.told(open));
            }
            if self.forgets {
                self.window = Window::Empty;
            }
            self.place = Place::Known;
        }
    }

    fn told(&self, open: Open) -> (Call, WebSocket) {
        let Open { began, opcode, compressed, frames, size, body, unreadable } = open;
        let mut body = Body { size, ..body.finish(Vec::new) };
        let close = (opcode == Opcode::Close).then(|| Close::of(&body));
        if !self.options.keep_bodies {
            body.bytes.clear();
        }
        let websocket = WebSocket {
            role: self.role,
            direction: self.direction,
            stream: None,
            opcode,
            frames,
            compressed,
            body,
            unreadable,
            close,
        };
        (began, websocket)
    }

    /// The next bytes were lost; 0 when nobody knows how many.
    pub(super) fn gap(&mut self, length: u64, told: &mut Told) {
        let within = |frame: &&mut Frame| {
            length > 0 && length <= frame.head.length.saturating_sub(frame.done)
        };
        let Some(frame) = self.frame.as_mut().filter(within) else {
            return self.lose_place(told);
        };
        frame.done = frame.done.saturating_add(length);
        let control = frame.head.is_control();
        let open = if control { &mut self.control } else { &mut self.message };
        match open {
            Some(open) => open.lose(length, &mut self.window),
            None => self.skipped.0 = self.skipped.0.saturating_add(length),
        }
        self.end_frame(told);
    }

    fn lose_place(&mut self, told: &mut Told) {
        self.cut(told);
        self.place = Place::Lost(None);
        self.window = Window::Lost;
    }

    /// The rest of what is coming will not come.
    pub(super) fn cut(&mut self, told: &mut Told) {
        let (head, began) = std::mem::take(&mut self.head);
        if let Some(call) = began {
            self.skip(&call, head.len());
        }
        if let Place::Lost(Some((call, proof))) = &mut self.place {
            let (call, length) = (*call, proof.len());
            self.skip(&call, length);
        }
        self.frame = None;
        for mut open in [self.control.take(), self.message.take()].into_iter().flatten() {
            open.body.cut();
            told.push(self.told(open));
        }
    }

    /// Bytes that are kept.
    pub(super) fn held(&self) -> usize {
        let window = if matches!(self.window, Window::Open(_)) { inflate::WEIGHT } else { 0 };
        let proof = match &self.place {
            Place::Lost(Some((_, proof))) => proof.len(),
            _ => 0,
        };
        window + proof + self.message.as_ref().map_or(0, |open| open.body.weight())
    }

    pub(super) fn give_up(&mut self) {
        if let Place::Lost(proof) = &mut self.place
            && let Some((call, proof)) = proof.take()
        {
            self.skip(&call, proof.len());
        }
        if let Some(open) = &mut self.message {
            open.body.give_up();
        }
        if matches!(self.window, Window::Open(_)) {
            self.window = Window::Lost;
        }
    }
}
