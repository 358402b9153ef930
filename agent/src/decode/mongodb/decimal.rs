//! A decimal128 of BSON (IEEE 754-2008, binary integer significand) in, its text out, as the
//! specification of BSON's decimal128 writes it.

/// The exponent is stored with this added.
const BIAS: i32 = 6176;
const LARGEST: u128 = 10_u128.pow(34) - 1;

pub(super) fn show(bits: u128) -> String {
    let sign = if bits >> 127 == 1 { "-" } else { "" };
    let top = (bits >> 122) & 0x1f;
    if top == 0x1f {
        return "NaN".to_owned();
    }
    if top == 0x1e {
        return format!("{sign}Infinity");
    }
    // With "11" in front, the significand would be larger than the largest, which counts as 0.
    let large = (bits >> 125) & 3 == 3;
    let exponent = (bits >> if large { 111 } else { 113 }) & 0x3fff;
    let exponent = i32::try_from(exponent).unwrap_or_default() - BIAS;
    let significand = bits & ((1 << 113) - 1);
    let significand = if large || significand > LARGEST { 0 } else { significand };
    format!("{sign}{}", scaled(&significand.to_string(), exponent))
}

/// Scientific notation for what would need zeros in front or behind.
fn scaled(digits: &str, exponent: i32) -> String {
    let count = i32::try_from(digits.len()).unwrap_or_default();
    let scientific = exponent + count - 1;
    if exponent > 0 || scientific < -6 {
        let (first, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
        let point = if rest.is_empty() { "" } else { "." };
        return format!("{first}{point}{rest}E{scientific:+}");
    }
    let behind = usize::try_from(-exponent).unwrap_or_default();
    if behind == 0 {
        return digits.to_owned();
    }
    let digits = format!("{digits:0>width$}", width = behind + 1);
    let (whole, part) = digits.split_at_checked(digits.len() - behind).unwrap_or((&digits, ""));
    format!("{whole}.{part}")
}

#[cfg(test)]
mod tests {
    use super::show;

    #[test]
    fn numbers_as_the_specification_writes_them() {
        let of = |significand: u128, exponent: i32| {
            significand | (u128::try_from(exponent + 6176).unwrap() << 113)
        };
        for (significand, exponent, expect) in [
            (0, 0, "0"),
            (1, 0, "1"),
            (12345, -2, "123.45"),
            (1, -3, "0.001"),
            (1, -7, "1E-7"),
            (12, -8, "1.2E-7"),
            (1, 3, "1E+3"),
            (123, 4, "1.23E+6"),
            (super::LARGEST, 0, "9999999999999999999999999999999999"),
            (super::LARGEST + 1, 0, "0"),
        ] {
            assert_eq!(show(of(significand, exponent)), expect);
            assert_eq!(show(of(significand, exponent) | 1 << 127), format!("-{expect}"));
        }
        assert_eq!((show(0x7c << 120), show(0x78 << 120)), ("NaN".into(), "Infinity".into()));
        assert_eq!(show(0x6c10 << 112), "0");
    }
}
