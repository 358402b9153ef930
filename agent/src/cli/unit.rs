//! Numbers with units, as they are written on the command line.

/// A unit, and how many bytes it is.
pub(super) type Unit = (&'static str, u64);

const KIBI: Unit = ("k", 1 << 10);
const MEBI: Unit = ("m", 1 << 20);
const GIBI: Unit = ("g", 1 << 30);

/// Of what is small.
pub(super) const SMALL: &[Unit] = &[KIBI, MEBI];
/// Of what may be large.
pub(super) const LARGE: &[Unit] = &[KIBI, MEBI, GIBI];

/// A number of bytes, with or without a unit of these, in either case; `None` is what is no number, or too large
/// for one.
pub(super) fn bytes(text: &str, units: &[Unit]) -> Result<Option<u64>, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = text.strip_suffix(unit).unwrap_or(text).parse::<u64>().ok();
    if unit.is_empty() {
        return Ok(number);
    }
    let known = units.iter().find(|(name, _)| unit.eq_ignore_ascii_case(name));
    let (_, factor) = known.ok_or_else(|| format!("unknown unit '{unit}'; use {}", list(units)))?;
    Ok(number.and_then(|number| number.checked_mul(*factor)))
}

/// `k, m or g`
fn list(units: &[Unit]) -> String {
    let names: Vec<_> = units.iter().map(|(name, _)| *name).collect();
    match names.split_last() {
        Some((last, [])) => (*last).to_owned(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_units_and_without() {
        assert_eq!(bytes("70", SMALL), Ok(Some(70)));
        assert_eq!(bytes("2K", SMALL), Ok(Some(2 << 10)));
        assert_eq!(bytes("3g", LARGE), Ok(Some(3 << 30)));
        for none in ["", "k", "99999999999999999999", "99999999999999999999g"] {
            assert_eq!(bytes(none, LARGE), Ok(None), "{none}");
        }
        assert_eq!(bytes("1g", SMALL), Err("unknown unit 'g'; use k or m".to_owned()));
        assert_eq!(bytes("1.5m", LARGE), Err("unknown unit '.5m'; use k, m or g".to_owned()));
    }
}
