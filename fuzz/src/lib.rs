//! What the fuzz targets share: `cargo xtask fuzz`.

pub mod conversation;
pub mod openings;

use tlstap::capture::Direction;

use self::conversation::Conversation;

/// Goes on with a connection by what the bytes say: one byte for direction, loss and length, then as
/// many bytes.
pub fn converse(opening: &[(Direction, Vec<u8>)], data: &[u8]) {
    let mut conversation = Conversation::begin(opening);
    let mut rest = data;
    while let Some((&head, behind)) = rest.split_first() {
        let direction = if head & 1 == 0 { Direction::Transmit } else { Direction::Receive };
        let length = usize::from(head >> 2) + 1;
        // Few, since most decoders have to look for the next message behind one.
        if head & 2 != 0 && head >> 5 == 0 {
            conversation.lose(direction, length as u64);
            rest = behind;
            continue;
        }
        let (piece, next) = behind.split_at_checked(length).unwrap_or((behind, &[]));
        conversation.say(direction, piece);
        rest = next;
    }
    conversation.end();
}
