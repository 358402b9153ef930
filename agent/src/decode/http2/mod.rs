//! HTTP/2 (RFC 9113) and gRPC over it: bytes of both directions in, exchanges out.

mod blocks;
mod chain;
mod errors;
mod frames;
mod grpc;
mod half;
mod hpack;
mod streams;
#[cfg(test)]
mod tests;
mod tunnel;

pub use self::grpc::{Grpc, Messages};
use self::{
    blocks::Block,
    frames::{Frames, Part},
    hpack::{Decoder, List},
    streams::Streams,
};
pub(crate) use self::{
    chain::{Verdict, look},
    hpack::{TABLE, huffman},
};
use super::{
    Message, Role,
    protocol::{Family, Flow, Guess, Protocol, Sighting, Start},
};
use crate::capture::{Call, Direction};

pub(super) const FAMILY: Family = Family { guess, start: |start| Box::new(Http2::new(start)) };

fn guess(sighting: &Sighting<'_>) -> Guess {
    match look(sighting.bytes) {
        Verdict::No => Guess::No,
        Verdict::Maybe => Guess::Maybe,
        // The header blocks tell whether it is so.
        Verdict::Sure => Guess::Yes(Role::of_requests(sighting.at)),
    }
}

/// One direction.
#[derive(Debug)]
struct Side {
    frames: Frames,
    hpack: Decoder,
    /// Whether a header block came, or may have been lost.
    touched: bool,
}

#[derive(Debug)]
pub(super) struct Http2 {
    /// By [`Direction::index`].
    sides: [Side; 2],
    streams: Streams,
    /// Whether a preface or a pseudo-header field told which direction has the requests.
    directed: bool,
}

impl Http2 {
    fn new(start: &Start<'_>) -> Self {
        let side = || Side { frames: Frames::new(), hpack: Decoder::joined(), touched: start.gap };
        let streams = Streams::new(start.options, start.connection, start.role);
        Self { sides: [side(), side()], streams, directed: false }
    }

    fn side(&mut self, at: Direction) -> &mut Side {
        at.of_mut(&mut self.sides)
    }

    /// How many bytes do not belong to HTTP any more, when that begins here.
    fn read(
        &mut self,
        call: &Call,
        at: Direction,
        mut input: &[u8],
        out: &mut Vec<Message>,
    ) -> Option<usize> {
        loop {
            let requests = at == self.streams.role.requests();
            match self.side(at).frames.step(call, &mut input) {
                Part::More => return None,
                Part::Preface => self.preface(at),
                Part::Block(block) => {
                    if self.block(block, call, at, out).is_err() {
                        return Some(input.len());
                    }
                }
                Part::Data { stream, bytes } => {
                    self.streams.data(stream, requests, (call, bytes), out);
                }
                Part::End { stream } => self.streams.end(stream, requests, call, out),
                Part::Reset { stream, code } => self.streams.reset(stream, code, out),
                Part::GoAway { last } if !requests => self.streams.go_away(last, out),
                Part::GoAway { .. } => {}
                Part::Malformed { held } => return Some(held + input.len()),
            }
        }
    }

    /// RFC 9113, section 3.4: with it a client begins; no response came before.
    fn preface(&mut self, at: Direction) {
        self.streams.role = Role::of_requests(at);
        self.directed = true;
        for side in &mut self.sides {
            if !side.touched {
                side.hpack = Decoder::initial();
            }
        }
        self.side(at).hpack = Decoder::initial();
    }

    fn block(
        &mut self,
        block: Block,
        call: &Call,
        at: Direction,
        out: &mut Vec<Message>,
    ) -> Result<(), hpack::Malformed> {
        let side = self.side(at);
        side.touched = true;
        let fields = match &block.bytes {
            Some(bytes) => {
                let mut list = List::new();
                side.hpack.decode(bytes, |field| list.push(field))?;
                list.fields()
            }
            None => {
                side.hpack.forget();
                half::lost()
            }
        };
        let end = block.end || block.promised.is_some();
        if let Some(id) = block.promised {
            // A server promises the response to a request that nobody sent.
            self.streams.block(id, true, (block.began, call), (fields, end), out);
            return Ok(());
        }
        if !self.directed
            && let Some(role) = streams::direction(&fields, at)
        {
            self.streams.role = role;
            self.directed = true;
        }
        if !self.directed {
            return Ok(());
        }
        let requests = at == self.streams.role.requests();
        self.streams.block(block.stream, requests, (block.began, call), (fields, end), out);
        Ok(())
    }
}

impl Protocol for Http2 {
    fn is_begun(&self) -> bool {
        self.streams.is_begun()
    }

    fn push(&mut self, call: &Call, at: Direction, bytes: &[u8], out: &mut Vec<Message>) -> Flow {
        let mut left = None;
        if self.side(at).frames.is_sought() {
            for (call, bytes) in self.side(at).frames.seek(call, bytes) {
                left = left.or_else(|| self.read(&call, at, &bytes, out));
            }
        } else {
            left = self.read(call, at, bytes, out);
        }
        let Some(left) = left else { return Flow::Open };
        self.streams.finish(out);
        Flow::Over { bytes: Direction::BOTH.map(|side| if side == at { left as u64 } else { 0 }) }
    }

    fn gap(&mut self, at: Direction, length: u64, out: &mut Vec<Message>) {
        let requests = at == self.streams.role.requests();
        match self.side(at).frames.skip(length) {
            Some(Some(stream)) => self.streams.lose_data(stream, requests, length, out),
            Some(None) => {}
            None => {
                self.side(at).hpack.forget();
                self.side(at).touched = true;
                self.streams.lose_frames(requests, out);
            }
        }
    }

    fn finish(mut self: Box<Self>, _complete: bool, out: &mut Vec<Message>) {
        self.streams.finish(out);
    }

    fn held(&self) -> usize {
        let sides = self.sides.iter().map(|side| side.frames.held() + side.hpack.weight());
        sides.sum::<usize>() + self.streams.weight()
    }

    fn unread(&self) -> [usize; 2] {
        self.sides.each_ref().map(|side| side.frames.unread())
    }

    fn give_up(&mut self, out: &mut Vec<Message>) {
        for at in Direction::BOTH {
            if self.side(at).frames.unread() > 0 {
                self.gap(at, 0, out);
            }
            // The tables may be most of it; what refers to them is unknown then.
            self.side(at).hpack.forget();
        }
        self.streams.give_up();
    }
}
