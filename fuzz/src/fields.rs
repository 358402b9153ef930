//! Parts of different lengths in one input: each with its length before it, in two bytes.

/// Takes the parts out, as far as they are whole; the last may be cut off.
pub(crate) fn parts(mut data: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = data.split_first_chunk()?;
        let length = usize::from(u16::from_le_bytes(*length));
        let (part, behind) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        data = behind;
        Some(part)
    })
}

/// Puts parts together. What is longer than a length can say is cut off.
pub(crate) fn join(parts: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let mut all = Vec::new();
    for mut part in parts {
        part.truncate(usize::from(u16::MAX));
        all.extend_from_slice(&u16::try_from(part.len()).unwrap_or_default().to_le_bytes());
        all.extend_from_slice(&part);
    }
    all
}
