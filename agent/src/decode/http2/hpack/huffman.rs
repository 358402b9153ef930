//! Strings in the Huffman code of RFC 7541, appendix B, in; plain ones out.
//!
//! The code is canonical ("values of the same length are ordered"): how many symbols have a code of
//! each length, and the symbols in the order of their codes, are all of it.

/// The longest code.
const MAX_BITS: u32 = 30;

/// How many symbols have a code of so many bits; one of 30 bits is EOS.
const COUNTS: [u32; MAX_BITS as usize + 1] = [
    0, 0, 0, 0, 0, 10, 26, 32, 6, 0, 5, 3, 2, 6, 2, 3, 0, 0, 0, 3, 8, 13, 26, 29, 12, 4, 15, 19,
    29, 0, 4,
];

/// The symbols in the order of their codes. EOS, the last of all, is missing.
#[rustfmt::skip]
const SYMBOLS: [u8; 256] = [
    48, 49, 50, 97, 99, 101, 105, 111, 115, 116, 32, 37, 45, 46, 47, 51, 52, 53, 54, 55, 56, 57, 61,
    65, 95, 98, 100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58, 66, 67, 68, 69, 70, 71, 72,
    73, 74, 75, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 89, 106, 107, 113, 118, 119, 120,
    121, 122, 38, 42, 44, 59, 88, 90, 33, 34, 40, 41, 63, 39, 43, 124, 35, 62, 0, 36, 64, 91, 93,
    126, 94, 125, 60, 96, 123, 92, 195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167,
    172, 176, 177, 179, 209, 216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160,
    163, 164, 169, 170, 173, 178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1, 135,
    137, 138, 139, 140, 141, 143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175,
    180, 182, 183, 188, 191, 197, 231, 239, 9, 142, 144, 145, 148, 159, 171, 206, 215, 225, 236,
    237, 199, 207, 234, 235, 192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243,
    255, 203, 204, 211, 212, 214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253,
    254, 2, 3, 4, 5, 6, 7, 8, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24, 25, 26, 27, 28, 29,
    30, 31, 127, 220, 249, 10, 13, 22,
];

/// Appends the decoded string. `None` when it is not in the code, or would have more than `limit`
/// bytes.
pub(crate) fn decode(coded: &[u8], limit: usize, out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    // No code is shorter than 5 bits.
    out.reserve((coded.len() * 8 / 5).min(limit));
    let mut bits = Bits { rest: coded, next: 0, held: 0 };
    loop {
        bits.fill();
        let [first, ..] = bits.next.to_be_bytes();
        let (symbol, length) = match SHORT.get(usize::from(first)).copied()? {
            found @ (_, 1..) if found.1 <= bits.held => found,
            // "A padding strictly longer than 7 bits MUST be treated as a decoding error. A padding
            // not corresponding to the most significant bits of the code for the EOS symbol MUST be
            // treated as a decoding error": those are ones.
            _ if bits.held < 8 => return (bits.next.leading_ones() >= bits.held).then_some(()),
            _ => long(&bits)?,
        };
        if out.len() - start >= limit {
            return None;
        }
        out.push(symbol);
        bits.next <<= length;
        bits.held -= length;
    }
}

/// The bits of a string.
struct Bits<'a> {
    /// Bytes that are still to come.
    rest: &'a [u8],
    /// The next bits, the first of them the highest; those that are not there are zero.
    next: u64,
    held: u32,
}

impl Bits<'_> {
    /// Holds as many bits as the longest code has, if there are so many.
    fn fill(&mut self) {
        if self.held >= MAX_BITS {
            return;
        }
        if let Some((four, rest)) = self.rest.split_first_chunk() {
            self.next |= u64::from(u32::from_be_bytes(*four)) << (32 - self.held);
            self.held += 32;
            self.rest = rest;
            return;
        }
        for byte in std::mem::take(&mut self.rest) {
            self.next |= u64::from(*byte) << (56 - self.held);
            self.held += 8;
        }
    }
}

/// The symbol of the next code, and how many bits that has.
fn long(bits: &Bits<'_>) -> Option<(u8, u32)> {
    let mut code = 0_u32;
    // The first code of the length at hand, and where its symbol stands.
    let (mut first, mut place) = (0_u32, 0_u32);
    for length in 1..=bits.held.min(MAX_BITS) {
        code = code << 1 | u32::try_from(bits.next >> (64 - length) & 1).ok()?;
        first <<= 1;
        let count = *COUNTS.get(length as usize)?;
        if let Some(offset) = code.checked_sub(first).filter(|offset| *offset < count) {
            // RFC 7541, section 5.2: "A Huffman-encoded string literal containing the EOS symbol MUST
            // be treated as a decoding error", which has no place here.
            return Some((*SYMBOLS.get(usize::try_from(place + offset).ok()?)?, length));
        }
        first += count;
        place += count;
    }
    None
}

/// For each 8 bits the symbol whose code they begin with, and its bits; 0 where that is longer.
const SHORT: [(u8, u32); 256] = shorts();

#[expect(clippy::indexing_slicing, reason = "what is out of bounds does not compile")]
#[expect(
    clippy::cast_possible_truncation,
    reason = "a symbol is a byte, and no code has more bits than 30"
)]
const fn shorts() -> [(u8, u32); 256] {
    let mut shorts = [(0, 0); 256];
    let mut symbol = 0;
    while symbol < CODES.len() {
        let (code, bits) = CODES[symbol];
        if bits <= 8 {
            let mut behind = 0;
            while behind < 1 << (8 - bits) {
                shorts[(code as usize) << (8 - bits) | behind] = (symbol as u8, bits as u32);
                behind += 1;
            }
        }
        symbol += 1;
    }
    shorts
}

/// The code of a symbol, and of how many bits it is.
pub(crate) fn code(symbol: u8) -> (u32, usize) {
    CODES.get(usize::from(symbol)).copied().unwrap_or_default()
}

const CODES: [(u32, usize); 256] = codes();

#[expect(clippy::indexing_slicing, reason = "what is out of bounds does not compile")]
const fn codes() -> [(u32, usize); 256] {
    let mut codes = [(0, 0); 256];
    let (mut code, mut place, mut bits) = (0, 0, 0);
    while bits < COUNTS.len() {
        code <<= 1;
        let mut count = 0;
        while count < COUNTS[bits] {
            if place < SYMBOLS.len() {
                codes[SYMBOLS[place] as usize] = (code, bits);
            }
            (code, place, count) = (code + 1, place + 1, count + 1);
        }
        bits += 1;
    }
    codes
}

/// The string in the code, for tests.
#[cfg(test)]
pub(crate) fn encode(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let (mut buffer, mut held) = (0_u64, 0);
    for &byte in plain {
        let (code, bits) = code(byte);
        buffer = buffer << bits | u64::from(code);
        held += bits;
        while held >= 8 {
            held -= 8;
            out.push(u8::try_from(buffer >> held & 0xff).unwrap());
        }
    }
    if held > 0 {
        let padded = buffer << (8 - held) | ((1 << (8 - held)) - 1);
        out.push(u8::try_from(padded & 0xff).unwrap());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(coded: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        decode(coded, 1 << 20, &mut out).map(|()| out)
    }

    /// RFC 7541, appendix C.4 and C.6.
    #[test]
    fn strings_of_the_rfc() {
        let check = |hex: &str, plain: &str| {
            let coded = super::super::tests::hex(hex);
            assert_eq!(decoded(&coded).as_deref(), Some(plain.as_bytes()), "{hex}");
            assert_eq!(encode(plain.as_bytes()), coded, "{plain}");
        };
        check("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com");
        check("a8eb10649cbf", "no-cache");
        check("25a849e95ba97d7f", "custom-key");
        check("25a849e95bb8e8b4bf", "custom-value");
        check("6402", "302");
        check("aec3771a4b", "private");
        check("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT");
        check("9d29ad171863c78f0b97c8e9ae82ae43d3", "https://www.example.com");
    }

    #[test]
    fn every_byte_there_and_back() {
        for byte in 0..=255_u8 {
            let plain = [byte, b'a', byte];
            assert_eq!(decoded(&encode(&plain)).as_deref(), Some(&plain[..]), "{byte}");
        }
    }

    /// A bit after the other, as the code is defined.
    fn slowly(coded: &[u8]) -> Option<Vec<u8>> {
        let (mut out, mut bits) = (Vec::new(), Vec::new());
        for byte in coded {
            for shift in (0..8).rev() {
                bits.push(byte >> shift & 1 == 1);
                let value = bits.iter().fold(0, |value, bit| value << 1 | u32::from(*bit));
                let found = (0..=255).find(|symbol| code(*symbol) == (value, bits.len()));
                if let Some(symbol) = found {
                    out.push(symbol);
                    bits.clear();
                }
            }
        }
        (bits.len() < 8 && bits.iter().all(|bit| *bit)).then_some(out)
    }

    #[test]
    fn any_bytes_as_the_code_is_defined() {
        let mut seed = 1_u64;
        let mut known = 0;
        for round in 0..3000 {
            let coded: Vec<u8> = (0..round % 9)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    let [.., high] = seed.to_le_bytes();
                    // Long codes begin with many ones.
                    if round % 2 == 0 { high } else { high | 0xf0 }
                })
                .collect();
            let slow = slowly(&coded);
            known += usize::from(slow.is_some());
            assert_eq!(decoded(&coded), slow, "{coded:x?}");
        }
        assert!(known > 300, "{known}");
    }

    #[test]
    fn what_is_not_in_the_code_is_refused() {
        // Padding of eight ones, of zeros, and EOS itself.
        for coded in [&b"\xff"[..], b"\x00", b"\xff\xff\xff\xff", b"\xff\xff\xff\xfc"] {
            assert_eq!(decoded(coded), None, "{coded:?}");
        }
        assert_eq!(decoded(b""), Some(Vec::new()));
        assert_eq!(decode(&encode(b"abc"), 2, &mut Vec::new()), None);
    }
}
