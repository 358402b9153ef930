//! Coded body bytes in, plain ones out: gzip, deflate, br and zstd, within a limit. Knows nothing
//! of messages.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// More codings than this on one body are not honest; each costs a pass over the limit.
const MAX_CODINGS: usize = 4;

/// RFC 9659, section 3: the window of the zstd content coding is at most 8 MB. A larger one is an
/// attempt at the reader's memory.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Removes the codings, the last applied first. Gives the bytes and whether they are the whole
/// body; `None` when a coding is unknown or the bytes are not in it, so that they stay as they are.
pub(super) fn remove(codings: &[String], raw: Bytes, limit: usize) -> Option<(Bytes, bool)> {
    let applied = || codings.iter().filter(|coding| *coding != "identity");
    if raw.is_empty() || applied().count() > MAX_CODINGS {
        return None;
    }
    applied().rev().try_fold((raw, true), |(bytes, whole), coding| {
        let decoded = decode(coding, &bytes, limit)?;
        Some((Bytes::from(decoded.bytes), whole && decoded.whole))
    })
}

pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    pub(super) whole: bool,
}

/// RFC 9110, section 8.4.1: "All content codings are case-insensitive"; names arrive in lower case.
pub(super) fn decode(coding: &str, bytes: &[u8], limit: usize) -> Option<Decoded> {
    match coding {
        // "A recipient SHOULD consider "x-gzip" to be equivalent to "gzip"."
        "gzip" | "x-gzip" => read(MultiGzDecoder::new(bytes), limit),
        // RFC 9110, section 8.4.1.2: "Some non-conformant implementations send the "deflate"
        // compressed data without the zlib wrapper."
        "deflate" => {
            read(ZlibDecoder::new(bytes), limit).or_else(|| read(DeflateDecoder::new(bytes), limit))
        }
        "br" => read(brotli::Decompressor::new(bytes, 4096), limit),
        "zstd" => read(zstd(bytes)?, limit),
        _ => None,
    }
}

fn zstd(bytes: &[u8]) -> Option<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::new(bytes).ok()?;
    decoder.window_log_max(ZSTD_WINDOW_LOG).ok()?;
    Some(decoder)
}

/// Reads up to the limit. Input that ends too early gives what it held; other errors give `None`.
fn read(decoder: impl Read, limit: usize) -> Option<Decoded> {
    let mut bytes = Vec::new();
    let one_more = (limit as u64).saturating_add(1);
    let mut whole = match decoder.take(one_more).read_to_end(&mut bytes) {
        Ok(_) => true,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !bytes.is_empty() => false,
        Err(_) => return None,
    };
    if bytes.len() > limit {
        bytes.truncate(limit);
        whole = false;
    }
    Some(Decoded { bytes, whole })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{Compression, write};

    use super::*;

    const TEXT: &[u8] = b"the quick brown fox jumps over the lazy dog; the lazy dog sleeps on.";

    fn encode(coding: &str, bytes: &[u8]) -> Vec<u8> {
        match coding {
            "gzip" | "x-gzip" => {
                let mut encoder = write::GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "deflate" => {
                let mut encoder = write::ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "raw-deflate" => {
                let mut encoder = write::DeflateEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(bytes).unwrap();
                encoder.finish().unwrap()
            }
            "br" => {
                let mut encoder = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                encoder.write_all(bytes).unwrap();
                encoder.into_inner()
            }
            "zstd" => zstd::encode_all(bytes, 3).unwrap(),
            other => panic!("unknown coding {other}"),
        }
    }

    fn removed(codings: &[&str], raw: &[u8], limit: usize) -> Option<(Vec<u8>, bool)> {
        let codings: Vec<String> = codings.iter().map(|&c| c.to_owned()).collect();
        remove(&codings, Bytes::copy_from_slice(raw), limit)
            .map(|(bytes, whole)| (bytes.to_vec(), whole))
    }

    #[test]
    fn removes_every_coding() {
        for coding in ["gzip", "x-gzip", "deflate", "br", "zstd"] {
            let raw = encode(coding, TEXT);
            assert_eq!(removed(&[coding], &raw, 1000), Some((TEXT.to_vec(), true)), "{coding}");
        }
        let raw = encode("raw-deflate", TEXT);
        assert_eq!(removed(&["deflate"], &raw, 1000), Some((TEXT.to_vec(), true)));
        assert_eq!(removed(&["identity"], TEXT, 1000), Some((TEXT.to_vec(), true)));
    }

    #[test]
    fn joins_the_members_of_a_gzip_file() {
        let raw = [encode("gzip", b"one "), encode("gzip", b"two")].concat();
        assert_eq!(removed(&["gzip"], &raw, 1000), Some((b"one two".to_vec(), true)));
    }

    #[test]
    fn removes_the_last_applied_first() {
        let raw = encode("br", &encode("gzip", TEXT));
        assert_eq!(removed(&["gzip", "br"], &raw, 1000), Some((TEXT.to_vec(), true)));
        assert_eq!(removed(&["br", "gzip"], &raw, 1000), None);
        assert_eq!(removed(&["gzip", "compress", "br"], &raw, 1000), None);
        assert_eq!(removed(&["identity", "gzip", "identity", "br"], &raw, 1000).unwrap().0, TEXT);
    }

    #[test]
    fn stops_a_bomb_at_the_limit() {
        let zeros = vec![0; 10 << 20];
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let raw = encode(coding, &zeros);
            let expect = Some((vec![0; 5000], false));
            assert_eq!(removed(&[coding], &raw, 5000), expect, "{coding}");
        }
        assert_eq!(removed(&["gzip"; MAX_CODINGS + 1], b"x", 5000), None);
    }

    #[test]
    fn shows_what_input_cut_short_held() {
        let noise: Vec<u8> = (0..20_000_u32)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0])
            .collect();
        for coding in ["gzip", "deflate", "br", "zstd"] {
            let raw = encode(coding, &noise);
            let half = &raw[..raw.len() / 2];
            match removed(&[coding], half, 1 << 20) {
                Some((bytes, whole)) => {
                    assert!(!whole, "{coding}");
                    assert!(noise.starts_with(&bytes), "{coding}");
                }
                // A decoder that buffers a whole block gives nothing: the raw bytes stay.
                None => assert_ne!(coding, "gzip"),
            }
        }
    }

    #[test]
    fn leaves_what_is_not_in_the_coding() {
        for coding in ["gzip", "deflate", "br", "zstd", "compress", ""] {
            assert_eq!(removed(&[coding], b"\xffnot coded at all", 1000), None, "{coding}");
        }
        let mut raw = encode("gzip", TEXT);
        let middle = raw.len() / 2;
        raw[middle] ^= 0xff;
        raw[middle + 1] ^= 0xff;
        assert_eq!(removed(&["gzip"], &raw, 1000), None);
    }
}
