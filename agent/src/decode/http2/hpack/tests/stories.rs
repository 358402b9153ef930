//! Header blocks of other encoders, from the beginning of a connection and joined late.

use tlstap_tests::stories::{self, Case};

use super::*;

/// Blocks that are decoded behind each place where a connection is joined.
const BEHIND: usize = 12;

/// Decodes blocks that follow each other; how many fields are unknown. None is wrong.
fn unknown(decoder: &mut Decoder, blocks: &[(Vec<u8>, &Case)]) -> usize {
    let mut unknown = 0;
    for (block, case) in blocks {
        let mut sent = case.fields();
        let right = |known: Option<&[u8]>, sent: &str| known.is_none_or(|k| k == sent.as_bytes());
        decoder
            .decode(block, |(name, value)| {
                let (wanted, content) = sent.next().unwrap();
                assert!(right(name, wanted) && right(value, content), "{wanted}: {content}");
                unknown += usize::from(name.is_none() || value.is_none());
            })
            .unwrap();
        assert_eq!(sent.next(), None);
    }
    unknown
}

/// What 14 encoders made of the same connections, with and without Huffman coding, and with tables
/// that change their sizes.
#[test]
fn stories_of_other_encoders() {
    let (mut blocks_in_all, mut unknown_in_all) = (0, 0);
    for story in stories::all().unwrap() {
        let story = story.unwrap();
        let blocks: Vec<_> = story.cases.iter().map(|case| (hex(&case.wire), case)).collect();
        assert_eq!(unknown(&mut Decoder::initial(), &blocks), 0, "{}", story.file.display());
        for start in 0..blocks.len() {
            let end = (start + BEHIND).min(blocks.len());
            unknown_in_all += unknown(&mut Decoder::joined(), &blocks[start..end]);
        }
        for part in [0, 1, 2, 3] {
            unknown(&mut Decoder::joined(), &blocks[part * blocks.len() / 4..]);
        }
        blocks_in_all += blocks.len();
    }
    assert!(blocks_in_all > 40_000 && unknown_in_all > 0, "{blocks_in_all} {unknown_in_all}");
}

/// Blocks that were lost: the decoder is told, and what follows is right or unknown.
#[test]
fn stories_with_lost_blocks() {
    for story in stories::all().unwrap().step_by(7) {
        let story = story.unwrap();
        let mut decoder = Decoder::initial();
        for (number, case) in story.cases.iter().enumerate() {
            if number % 17 == 11 {
                decoder.forget();
            } else {
                unknown(&mut decoder, &[(hex(&case.wire), case)]);
            }
        }
    }
}
