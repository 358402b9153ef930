//! Strings in the Huffman code of HPACK (RFC 7541, section 5.2), whose secrets are replaced by other
//! symbols that together have as many bits, so that all else stays where it is.

use std::ops::Range;

use crate::decode::http2::huffman::{self, code};

/// The code of the mask, which has 8 bits: a string of it alone needs no padding.
pub(super) const MASKED: u8 = 0xf9;
const BITS: usize = 8;
/// Longer strings are no fields.
const LIMIT: usize = 1 << 20;

/// The string; `None` when it is not in the code.
pub(super) fn plain(coded: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    huffman::decode(coded, LIMIT, &mut out)?;
    Some(out)
}

/// The coded string with the places of its plain form masked.
pub(super) fn masked(coded: &[u8], plain: &[u8], places: &[Range<usize>]) -> Vec<u8> {
    let mut out = coded.to_vec();
    let bits = |range: &[u8]| range.iter().map(|symbol| code(*symbol).1).sum::<usize>();
    for place in places {
        let before = bits(plain.get(..place.start).unwrap_or_default());
        let length = bits(plain.get(place.clone()).unwrap_or_default());
        fill(&mut out, before, length);
    }
    out
}

/// Writes symbols into so many bits: masks, and behind them others where they do not fit.
fn fill(out: &mut [u8], from: usize, length: usize) {
    // Symbols of 5, 6 and 7 bits. No symbol has fewer, so that a rest of fewer takes masks with it.
    let (five, six, seven): ((u32, usize), _, _) = ((0b0_0000, 5), (0b01_0110, 6), (0b101_1100, 7));
    let (taken, rest): (usize, &[(u32, usize)]) = match length % BITS {
        0 => (0, &[]),
        1 => (2, &[five, six, six]),
        2 => (1, &[five, five]),
        3 => (1, &[five, six]),
        4 => (1, &[six, six]),
        5 => (0, &[five]),
        6 => (0, &[six]),
        _ => (0, &[seven]),
    };
    let masks = (length / BITS).saturating_sub(taken);
    let symbols = std::iter::repeat_n((u32::from(MASKED), BITS), masks);
    let mut at = from;
    for (code, bits) in symbols.chain(rest.iter().copied()) {
        for bit in (0..bits).rev().take(from + length - at) {
            set(out, at, code >> bit & 1 == 1);
            at += 1;
        }
    }
}

fn set(out: &mut [u8], at: usize, bit: bool) {
    let mask = 0x80 >> (at % BITS);
    if let Some(byte) = out.get_mut(at / BITS) {
        *byte = if bit { *byte | mask } else { *byte & !mask };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is masked is in the code, as long as before, and says nothing of what it was; what is
    /// beside it stays.
    #[test]
    fn secrets_give_way_to_symbols_that_fit() {
        for secret in
            ["a", "ab", "Z9", "hunter2", "!", "~{", "0", "aa", "\u{e9}", "!!!", "a1B2c3D4"]
        {
            let text = format!("Bearer {secret}; x=y");
            let coded = huffman::encode(text.as_bytes());
            let place = 7..7 + secret.len();
            let changed = masked(&coded, text.as_bytes(), &[place]);
            assert_eq!(changed.len(), coded.len());
            let shown = String::from_utf8(plain(&changed).unwrap()).unwrap();
            let inner = shown.strip_prefix("Bearer ").unwrap().strip_suffix("; x=y").unwrap();
            assert!(inner.bytes().all(|byte| b"*0-:".contains(&byte)), "{secret}: {shown}");
            assert!(secret.len() == 1 || !inner.contains(secret), "{shown}");
        }
    }

    #[test]
    fn whole_strings_of_masks_are_in_the_code() {
        assert_eq!(plain(&[MASKED; 3]).as_deref(), Some(&b"***"[..]));
    }
}
