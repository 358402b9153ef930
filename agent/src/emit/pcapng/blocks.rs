//! Sections, interfaces and packets in, the blocks of a pcapng file out
//! (draft-ietf-opsawg-pcapng). Knows nothing of what is in a packet.

/// Section 4.1.
const SECTION: u32 = 0x0a0d_0d0a;
const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const VERSION: [u16; 2] = [1, 0];
/// The length of the section is not known.
const UNKNOWN: u64 = u64::MAX;
/// Section 4.2.
const INTERFACE: u32 = 1;
/// `LINKTYPE_RAW`: IPv4 or IPv6, whichever its first byte says.
const RAW_IP: u16 = 101;
/// Section 4.3.
const PACKET: u32 = 6;

/// Codes of options, sections 3.5 and 4.
mod option {
    pub(super) const END: u16 = 0;
    pub(super) const COMMENT: u16 = 1;
    pub(super) const SECTION_OS: u16 = 3;
    pub(super) const SECTION_APPLICATION: u16 = 4;
    pub(super) const INTERFACE_NAME: u16 = 2;
    pub(super) const INTERFACE_DESCRIPTION: u16 = 3;
    pub(super) const INTERFACE_RESOLUTION: u16 = 9;
    pub(super) const PACKET_FLAGS: u16 = 2;
}

/// Most bytes of an option: its length has 16 bits. Names are longer only to do harm.
const OPTION_LIMIT: usize = 4096;

/// Which way a packet went, seen from its interface (section 4.3, `epb_flags`).
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    In,
    Out,
}

/// A packet with what is known about it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packet<'a> {
    /// The number of its interface, in the order in which they were written, from 0.
    pub(super) interface: u32,
    /// Nanoseconds since the epoch.
    pub(super) time: u64,
    pub(super) way: Way,
    pub(super) bytes: &'a [u8],
    pub(super) comment: Option<&'a str>,
}

/// The beginning of a file.
pub(super) fn section(out: &mut Vec<u8>) {
    block(SECTION, out, |out| {
        out.extend(BYTE_ORDER.to_le_bytes());
        out.extend(VERSION.into_iter().flat_map(u16::to_le_bytes));
        out.extend(UNKNOWN.to_le_bytes());
        put(option::SECTION_OS, b"Linux", out);
        let application = concat!("tlstap ", env!("CARGO_PKG_VERSION"));
        put(option::SECTION_APPLICATION, application.as_bytes(), out);
        put(option::END, b"", out);
    });
}

/// An interface, before its first packet.
pub(super) fn interface(name: &str, description: &str, out: &mut Vec<u8>) {
    block(INTERFACE, out, |out| {
        out.extend(RAW_IP.to_le_bytes());
        out.extend([0, 0]);
        // No limit to the length of packets.
        out.extend(0_u32.to_le_bytes());
        put(option::INTERFACE_NAME, name.as_bytes(), out);
        put(option::INTERFACE_DESCRIPTION, description.as_bytes(), out);
        // Times are in units of 10^-9 s.
        put(option::INTERFACE_RESOLUTION, &[9], out);
        put(option::END, b"", out);
    });
}

/// A packet.
pub(super) fn packet(packet: &Packet<'_>, out: &mut Vec<u8>) {
    let Packet { interface, time, way, bytes, comment } = *packet;
    let Ok(length) = u32::try_from(bytes.len()) else { return };
    block(PACKET, out, |out| {
        out.extend(interface.to_le_bytes());
        let [a, b, c, d, high @ ..] = time.to_le_bytes();
        out.extend(high);
        out.extend([a, b, c, d]);
        // Captured, and as it was.
        out.extend(length.to_le_bytes());
        out.extend(length.to_le_bytes());
        out.extend(bytes);
        pad(out);
        if let Some(comment) = comment {
            put(option::COMMENT, comment.as_bytes(), out);
        }
        let flags: u32 = match way {
            Way::In => 0b01,
            Way::Out => 0b10,
        };
        put(option::PACKET_FLAGS, &flags.to_le_bytes(), out);
        put(option::END, b"", out);
    });
}

/// A block: its length stands before and behind what is in it (section 3.1). Blocks begin at
/// multiples of 4 in `out` only if all of it is blocks.
fn block(kind: u32, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let mut inside = Vec::new();
    body(&mut inside);
    // Far below: a packet has at most 64 KiB, an option 4.
    let length = u32::try_from(inside.len() + 12).unwrap_or(u32::MAX);
    out.extend(kind.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.append(&mut inside);
    out.extend(length.to_le_bytes());
}

fn put(code: u16, value: &[u8], out: &mut Vec<u8>) {
    let value = value.get(..OPTION_LIMIT).map_or(value, whole_characters);
    let length = u16::try_from(value.len()).unwrap_or(0);
    out.extend(code.to_le_bytes());
    out.extend(length.to_le_bytes());
    out.extend(value);
    pad(out);
}

/// The part of a cut text before the character that was cut.
fn whole_characters(cut: &[u8]) -> &[u8] {
    let valid = std::str::from_utf8(cut).map_or_else(|error| error.valid_up_to(), str::len);
    cut.get(..valid).unwrap_or_default()
}

/// Zeros up to the next multiple of 4; `out` is what is in a block, which begins at one.
fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    /// The blocks of a file, by kind, without what frames them.
    fn blocks(mut bytes: &[u8]) -> Vec<(u32, &[u8])> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length = u32_at(bytes, 4) as usize;
            assert_eq!((length % 4, u32_at(bytes, length - 4) as usize), (0, length));
            found.push((u32_at(bytes, 0), &bytes[8..length - 4]));
            bytes = &bytes[length..];
        }
        found
    }

    #[test]
    fn blocks_are_framed() {
        let mut out = Vec::new();
        section(&mut out);
        interface("web", "a container", &mut out);
        let time = 0x0102_0304_0506_0708;
        let bytes = b"abcde";
        let one = Packet { interface: 3, time, way: Way::Out, bytes, comment: Some("hi") };
        packet(&one, &mut out);
        let found = blocks(&out);
        let kinds: Vec<_> = found.iter().map(|(kind, _)| *kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, PACKET]);
        assert_eq!(u32_at(found[0].1, 0), BYTE_ORDER);
        let body = found[2].1;
        let words: Vec<_> = (0..5).map(|at| u32_at(body, 4 * at)).collect();
        assert_eq!(words, [3, 0x0102_0304, 0x0506_0708, 5, 5]);
        assert_eq!(&body[20..28], b"abcde\0\0\0");
        assert_eq!(&body[28..36], b"\x01\0\x02\0hi\0\0");
        assert_eq!(&body[36..], b"\x02\0\x04\0\x02\0\0\0\0\0\0\0");
    }

    #[test]
    fn long_names_are_cut_between_characters() {
        let mut out = Vec::new();
        interface(&"é".repeat(100_000), &format!("x{}", "é".repeat(100_000)), &mut out);
        let [(INTERFACE, body)] = blocks(&out)[..] else { panic!() };
        assert_eq!(&body[8..12], [2, 0, 0, 16]);
        assert_eq!(&body[12 + 4096..][..4], [3, 0, 0xff, 15]);
    }
}
