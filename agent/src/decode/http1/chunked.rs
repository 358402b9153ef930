//! The chunked transfer coding (RFC 9112, section 7.1), read incrementally: framed bytes in, the
//! pieces of the body out. Chunk extensions and trailers are skipped within bounds.

use super::framing::BodyStep;

/// Bytes of one chunk's extension, and of all trailers, that are skipped.
const SKIP_LIMIT: usize = 64 << 10;

/// Where the decoder stands.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    skipped: usize,
}

#[derive(Debug)]
enum State {
    /// In the hexadecimal digits; the size so far, `None` before the first digit.
    Size(Option<u64>),
    /// Behind the digits, up to the line's end.
    Extension(u64),
    /// At the LF behind the size.
    SizeEnd(u64),
    /// In the chunk's data, of which so many bytes are left.
    Data(u64),
    /// At the CR behind the data.
    DataCr,
    /// At the LF behind the data.
    DataLf,
    /// At the first byte of a trailer line.
    Trailer,
    /// Within a trailer line.
    TrailerLine,
    /// At the LF of the empty line that ends the message.
    LastLf,
}

impl Chunked {
    pub(super) const fn new() -> Self {
        Self { state: State::Size(None), skipped: 0 }
    }

    /// Reads on, up to the next piece of the body.
    pub(super) fn step<'a>(&mut self, input: &mut &'a [u8]) -> BodyStep<'a> {
        loop {
            if let State::Data(left) = &mut self.state {
                if !input.is_empty() {
                    return BodyStep::Data(self.data(input));
                }
                debug_assert_ne!(*left, 0, "an ended chunk is in DataCr");
            }
            let Some((&byte, rest)) = input.split_first() else {
                return BodyStep::More;
            };
            let Some(next) = self.next(byte) else {
                return BodyStep::Malformed;
            };
            *input = rest;
            match next {
                Some(state) => self.state = state,
                None => return BodyStep::End,
            }
        }
    }

    /// Passes over bytes that were lost. Whether the place behind them is known: it is only within
    /// the data of one chunk.
    pub(super) const fn skip(&mut self, length: u64) -> bool {
        match &mut self.state {
            State::Data(left) if length < *left => *left -= length,
            State::Data(left) if length == *left => self.state = State::DataCr,
            _ => return false,
        }
        true
    }

    fn data<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let State::Data(left) = &mut self.state else {
            return &[];
        };
        let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
        let (data, rest) = input.split_at_checked(taken).unwrap_or((input, &[]));
        *left = left.saturating_sub(taken as u64);
        if *left == 0 {
            self.state = State::DataCr;
        }
        *input = rest;
        data
    }

    /// The state behind `byte`: `None` when it must not stand here, `Some(None)` when it ends the
    /// body.
    fn next(&mut self, byte: u8) -> Option<Option<State>> {
        Some(Some(match (&self.state, byte) {
            (State::Size(size), b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                // RFC 9112, section 7.1: "A recipient MUST anticipate potentially large
                // hexadecimal numerals and prevent parsing errors due to integer conversion
                // overflows".
                let digit = char::from(byte).to_digit(16)?;
                let size = size.unwrap_or(0).checked_mul(16)?.checked_add(digit.into())?;
                State::Size(Some(size))
            }
            (&State::Size(Some(size)) | &State::Extension(size), b'\r') => State::SizeEnd(size),
            // Some servers pad the size with spaces.
            (&State::Size(Some(size)), b' ' | b'\t' | b';') => State::Extension(size),
            // RFC 9112, section 7.1.1: "A recipient MUST ignore unrecognized chunk extensions." A
            // bare LF in one is read differently by different programs: who is right is not known.
            (&State::Extension(size), byte) if byte != b'\n' => {
                self.skip_one()?;
                State::Extension(size)
            }
            (State::SizeEnd(0), b'\n') => State::Trailer,
            (&State::SizeEnd(size), b'\n') => {
                self.skipped = 0;
                State::Data(size)
            }
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size(None),
            (State::Trailer, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => return Some(None),
            (State::Trailer | State::TrailerLine, byte) => {
                self.skip_one()?;
                if byte == b'\n' { State::Trailer } else { State::TrailerLine }
            }
            _ => return None,
        }))
    }

    const fn skip_one(&mut self) -> Option<()> {
        self.skipped += 1;
        if self.skipped <= SKIP_LIMIT { Some(()) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body and what is left behind it; `Err` with the body so far when malformed.
    fn read(pieces: &[&[u8]]) -> Result<(String, usize), String> {
        let mut decoder = Chunked::new();
        let mut body = String::new();
        for mut input in pieces.iter().copied() {
            loop {
                match decoder.step(&mut input) {
                    BodyStep::More => break,
                    BodyStep::Data(data) => body.push_str(std::str::from_utf8(data).unwrap()),
                    BodyStep::End => return Ok((body, input.len())),
                    BodyStep::Malformed => return Err(body),
                }
            }
        }
        Ok((body, usize::MAX))
    }

    fn check(input: &str, expect: Result<(&str, usize), &str>) {
        let expect = match expect {
            Ok((body, left)) => Ok((body.to_owned(), left)),
            Err(body) => Err(body.to_owned()),
        };
        assert_eq!(read(&[input.as_bytes()]), expect, "{input:?}");
        let single: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        match (read(&single), expect) {
            (Ok((body, _)), Ok((expect, _))) | (Err(body), Err(expect)) => assert_eq!(body, expect),
            other => panic!("{input:?} byte by byte: {other:?}"),
        }
    }

    const UNFINISHED: usize = usize::MAX;

    #[test]
    fn reads_chunks_to_the_end_of_the_trailers() {
        check("5\r\nhello\r\n0\r\n\r\n", Ok(("hello", 0)));
        check("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nHTTP", Ok(("hello world", 4)));
        check("0005\r\nhello\r\n000\r\n\r\n", Ok(("hello", 0)));
        check("A\r\n0123456789\r\n0\r\n\r\n", Ok(("0123456789", 0)));
        check("a  \r\n0123456789\r\n0\r\n\r\n", Ok(("0123456789", 0)));
        check("1;a=b;c=\"d\"\r\nx\r\n0;last\r\n\r\n", Ok(("x", 0)));
        check("1\r\nx\r\n0\r\nExpires: never\r\nB: c\r\n\r\nGET", Ok(("x", 3)));
    }

    #[test]
    fn waits_for_more() {
        check("", Ok(("", UNFINISHED)));
        check("5", Ok(("", UNFINISHED)));
        check("5\r\nhel", Ok(("hel", UNFINISHED)));
        check("1\r\nx\r\n0\r\n", Ok(("x", UNFINISHED)));
        check("1\r\nx\r\n0\r\nA: b\r\n", Ok(("x", UNFINISHED)));
    }

    #[test]
    fn refuses_what_is_no_chunk() {
        check("\r\n", Err(""));
        check("g\r\n", Err(""));
        check("-1\r\n", Err(""));
        check("0x5\r\nhello", Err(""));
        check("5\nhello\r\n", Err(""));
        check("5;a\nhello\r\n", Err(""));
        check("5\r\nhelloX\r\n", Err("hello"));
        check("5\r\nhello\n0\r\n\r\n", Err("hello"));
    }

    #[test]
    fn refuses_a_size_that_overflows() {
        check("ffffffffffffffff\r\nx", Ok(("x", UNFINISHED)));
        check("10000000000000000\r\nx", Err(""));
        check("fffffffffffffffff\r\nx", Err(""));
    }

    #[test]
    fn refuses_endless_extensions_and_trailers() {
        let endless = "a".repeat(SKIP_LIMIT + 1);
        check(&format!("5;{endless}"), Err(""));
        check(&format!("0\r\n{endless}"), Err(""));
        check(&format!("0\r\n{}", "a:b\r\n".repeat(SKIP_LIMIT)), Err(""));
    }

    #[test]
    fn skips_lost_bytes_within_one_chunk_only() {
        let at = |input: &[u8]| {
            let mut decoder = Chunked::new();
            let mut input = input;
            while matches!(decoder.step(&mut input), BodyStep::Data(_)) {}
            decoder
        };
        assert!(at(b"5\r\nhe").skip(2));
        assert!(at(b"5\r\nhe").skip(3));
        assert!(!at(b"5\r\nhe").skip(4));
        assert!(!at(b"5\r\nhello").skip(1));
        assert!(!at(b"5").skip(1));
        let mut decoder = at(b"5\r\nhe");
        assert!(decoder.skip(3));
        assert!(matches!(decoder.step(&mut b"\r\n0\r\n\r\n".as_slice()), BodyStep::End));
    }
}
