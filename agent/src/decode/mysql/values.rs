//! The values of a COM_STMT_EXECUTE packet.

use super::fields::Fields;

const TEXT_LIMIT: usize = crate::decode::pending::TEXT_LIMIT;

/// `None` when they cannot all be read. `types` are those of an earlier execution, or become those
/// of this one.
pub(super) fn read(
    fields: &mut Fields<'_>,
    count: usize,
    types: &mut Vec<[u8; 2]>,
) -> Option<Vec<Option<String>>> {
    let flags = fields.byte()?;
    fields.take(4)?;
    // PARAMETER_COUNT_AVAILABLE: names and attributes come with the values.
    if flags & 8 != 0 {
        types.clear();
        return None;
    }
    let nulls = fields.take(count.div_ceil(8))?;
    if fields.byte()? == 1 {
        let (pairs, _) = fields.take(2 * count)?.as_chunks();
        *types = pairs.to_vec();
    }
    let mut values = Vec::new();
    let mut room = TEXT_LIMIT;
    for (index, kind) in types.iter().enumerate() {
        let null = nulls.get(index / 8).is_some_and(|bits| bits & (1 << (index % 8)) != 0);
        let value = if null { None } else { value(fields, *kind)? };
        room = room.checked_sub(size_of_val(&value) + value.as_ref().map_or(0, String::len))?;
        values.push(value);
    }
    (values.len() == count).then_some(values)
}

fn value(fields: &mut Fields<'_>, [kind, flags]: [u8; 2]) -> Option<Option<String>> {
    let unsigned = flags & 0x80 != 0;
    let mut int = |bytes: usize| {
        let shift = 64 - 8 * u32::try_from(bytes).ok()?;
        let value = fields.int(bytes)?;
        let signed = (value << shift).cast_signed() >> shift;
        Some(if unsigned { value.to_string() } else { signed.to_string() })
    };
    Some(Some(match kind {
        0x01 => int(1)?,
        0x02 | 0x0d => int(2)?,
        0x03 | 0x09 => int(4)?,
        0x08 => int(8)?,
        0x04 => f32::from_le_bytes(fields.take(4)?.try_into().ok()?).to_string(),
        0x05 => f64::from_le_bytes(fields.take(8)?.try_into().ok()?).to_string(),
        0x06 => return Some(None),
        0x07 | 0x0a | 0x0c => moment(fields)?,
        0x0b => span(fields)?,
        _ => text(fields.counted()?),
    }))
}

fn moment(fields: &mut Fields<'_>) -> Option<String> {
    let length = fields.byte()?;
    if length == 0 {
        return Some("0000-00-00".to_owned());
    }
    let (year, month, day) = (fields.int(2)?, fields.byte()?, fields.byte()?);
    let mut text = format!("{year:04}-{month:02}-{day:02}");
    if length >= 7 {
        text += &format!(" {:02}:{:02}:{:02}", fields.byte()?, fields.byte()?, fields.byte()?);
    }
    if length >= 11 {
        text += &format!(".{:06}", fields.int(4)?);
    }
    Some(text)
}

fn span(fields: &mut Fields<'_>) -> Option<String> {
    let length = fields.byte()?;
    if length == 0 {
        return Some("00:00:00".to_owned());
    }
    let sign = if fields.byte()? == 1 { "-" } else { "" };
    let hours = fields.int(4)?.checked_mul(24)?.checked_add(u64::from(fields.byte()?))?;
    let mut text = format!("{sign}{hours:02}:{:02}:{:02}", fields.byte()?, fields.byte()?);
    if length >= 12 {
        text += &format!(".{:06}", fields.int(4)?);
    }
    Some(text)
}

fn text(bytes: &[u8]) -> String {
    match str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => crate::decode::postgresql::hexadecimal(bytes),
    }
}
