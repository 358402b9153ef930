//! Looks for hexadecimal digits in the Huffman code of HPACK (RFC 7541, appendix B), at any bit.

/// The codes of `0` to `9` and `a` to `f`, and how many bits they have.
const CODES: [(u32, u32); 16] = [
    (0x0, 5),
    (0x1, 5),
    (0x2, 5),
    (0x19, 6),
    (0x1a, 6),
    (0x1b, 6),
    (0x1c, 6),
    (0x1d, 6),
    (0x1e, 6),
    (0x1f, 6),
    (0x3, 5),
    (0x23, 6),
    (0x4, 5),
    (0x24, 6),
    (0x5, 5),
    (0x25, 6),
];

fn coded(digits: &str) -> Vec<bool> {
    let codes = digits.chars().filter_map(|digit| CODES.get(digit.to_digit(16)? as usize));
    codes.flat_map(|(code, bits)| (0..*bits).rev().map(move |bit| code >> bit & 1 == 1)).collect()
}

/// Whether the coded digits are somewhere in the bytes.
pub(super) fn is_in(bytes: &[u8], digits: &str) -> bool {
    let bits = coded(digits);
    (0..8).any(|shift| {
        // Its whole bytes, when it begins behind so many bits of one.
        let whole: Vec<u8> = bits
            .get((8 - shift) % 8..)
            .unwrap_or_default()
            .chunks_exact(8)
            .map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | u8::from(*bit)))
            .collect();
        super::find(bytes, &whole).is_some()
    })
}
