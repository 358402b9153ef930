//! The streams that the fixtures exchange: every byte follows from the stream's number and the
//! offset in it, so that bytes of another stream, or of another place, are told apart. `tls.h`
//! makes the same.

/// The bytes of a stream from an offset on, without end.
pub fn content(stream: u64, offset: u64) -> impl Iterator<Item = u8> {
    let seed = mixed(stream);
    let word = move |number: u64| mixed(seed.wrapping_add(number)).to_le_bytes();
    let skip = usize::try_from(offset % 8).unwrap_or_default();
    (offset / 8..).flat_map(word).skip(skip)
}

/// Whether a stream has these bytes at this offset.
pub fn has(stream: u64, offset: u64, bytes: &[u8]) -> bool {
    bytes.iter().copied().eq(content(stream, offset).take(bytes.len()))
}

/// The finalizer of SplitMix64.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_is_a_part_of_the_whole() {
        let whole: Vec<u8> = content(7, 0).take(100).collect();
        for offset in 0..60 {
            for length in 0..40 {
                let part = &whole[offset..offset + length];
                assert!(has(7, offset as u64, part), "{offset}+{length}");
            }
        }
        assert!(!has(8, 0, &whole[..8]));
        assert!(!has(7, 1, &whole[..8]));
    }
}
