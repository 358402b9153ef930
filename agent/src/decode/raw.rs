//! Segments in, the same bytes out as messages: what `--raw` shows. Knows no protocol.

use super::{Content, Message};
use crate::reassemble::{Segment, SegmentContent};

/// The segment as a message.
pub fn message(segment: &Segment) -> Message {
    let content = match &segment.content {
        SegmentContent::Data { direction, offset, bytes } => {
            Content::Data { direction: *direction, offset: *offset, bytes: bytes.clone() }
        }
        SegmentContent::Gap { direction, offset, length, reason } => Content::Gap {
            direction: *direction,
            offset: *offset,
            length: *length,
            reason: *reason,
        },
        SegmentContent::Shutdown => Content::Closed { whole: false },
        SegmentContent::End => Content::Closed { whole: true },
    };
    Message { connection: segment.connection, call: segment.call, content }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::capture::{Call, ConnectionKey, Direction, GapReason};

    fn check(content: SegmentContent, expect: Content) {
        let connection = ConnectionKey { pid: 1, object: 2, birth: 3 };
        let call = Call { tid: 1, thread_name: [0; 16], library: 0, entered: 4, returned: 5 };
        let expect = Message { connection, call, content: expect };
        assert_eq!(message(&Segment { connection, call, content }), expect);
    }

    #[test]
    fn shows_segments_as_they_are() {
        let direction = Direction::Receive;
        let bytes = Bytes::from_static(b"ab");
        check(
            SegmentContent::Data { direction, offset: 7, bytes: bytes.clone() },
            Content::Data { direction, offset: 7, bytes },
        );
        let reason = GapReason::Fault;
        check(
            SegmentContent::Gap { direction, offset: 9, length: 3, reason },
            Content::Gap { direction, offset: 9, length: 3, reason },
        );
        check(SegmentContent::Shutdown, Content::Closed { whole: false });
        check(SegmentContent::End, Content::Closed { whole: true });
    }
}
