//! Quantities in canonical form: no fraction, the largest suffix of the same family that keeps the value whole.
//!
//! Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

pub(crate) const FORMAT_ERROR: &str =
    "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";

#[derive(Clone, Copy, PartialEq)]
enum Family {
    Decimal,
    Binary,
    Exponent,
}

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// The canonical text of a quantity, or nothing if it is none.
pub fn canonical_quantity(text: &str) -> Option<String> {
    let (nanos, family) = parse(text)?;
    Some(print(nanos, family))
}

/// Billionths, rounded away from zero.
fn parse(text: &str) -> Option<(i128, Family)> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let split = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(split);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let (family, binary, exponent) = read_suffix(suffix)?;
    let digits = format!("{whole}{fraction}");
    let mantissa: i128 = digits
        .trim_start_matches('0')
        .parse()
        .or_else(|_| if digits.trim_start_matches('0').is_empty() { Ok(0) } else { Err(()) })
        .ok()?;
    let scaled = mantissa.checked_mul(1i128 << binary)?;
    let power = 9 + exponent - i32::try_from(fraction.len()).ok()?;
    let nanos = if power >= 0 {
        scaled.checked_mul(10i128.checked_pow(power as u32)?)?
    } else {
        let divisor = 10i128.checked_pow(power.unsigned_abs()).unwrap_or(i128::MAX);
        scaled / divisor + i128::from(scaled % divisor != 0)
    };
    // The largest value is that of a 64-bit integer.
    let nanos = nanos.min(i128::from(i64::MAX) * 1_000_000_000);
    Some((if negative { -nanos } else { nanos }, family))
}

/// The family, the power of two and the power of ten.
fn read_suffix(suffix: &str) -> Option<(Family, u32, i32)> {
    if let Some(at) = BINARY.iter().position(|known| *known == suffix && !suffix.is_empty()) {
        return Some((Family::Binary, 10 * at as u32, 0));
    }
    if let Some((_, exponent)) = DECIMAL.iter().find(|(known, _)| *known == suffix) {
        return Some((Family::Decimal, 0, *exponent));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    Some((Family::Exponent, 0, exponent))
}

fn print(nanos: i128, family: Family) -> String {
    const ONE: i128 = 1_000_000_000;
    if family == Family::Binary && nanos.abs() >= 1024 * ONE {
        let mut value = nanos / ONE + nanos.signum() * i128::from(nanos % ONE != 0);
        let mut power = 0;
        while value % 1024 == 0 && power + 1 < BINARY.len() {
            value /= 1024;
            power += 1;
        }
        return format!("{value}{}", BINARY[power]);
    }
    if nanos == 0 {
        return "0".to_string();
    }
    let (mut value, mut exponent) = (nanos, -9);
    while value % 1000 == 0 && (exponent < 18 || family == Family::Exponent) {
        value /= 1000;
        exponent += 3;
    }
    match DECIMAL.iter().find(|(_, known)| *known == exponent) {
        Some((suffix, _)) if family != Family::Exponent => format!("{value}{suffix}"),
        _ if exponent == 0 => value.to_string(),
        _ => format!("{value}e{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_brought_into_canonical_form() {
        for (text, expected) in [
            ("0.5", "500m"),
            ("1024Mi", "1Gi"),
            ("1000m", "1"),
            ("100m", "100m"),
            ("1.5Gi", "1536Mi"),
            ("0", "0"),
            ("0Gi", "0"),
            ("100000", "100k"),
            ("0.5Ki", "512"),
            ("1e3", "1e3"),
            ("1500e0", "1500"),
            ("-1.5", "-1500m"),
            ("1E", "1E"),
            ("123Ki", "123Ki"),
            ("2048", "2048"),
            ("0.0000000001", "1n"),
            (".5", "500m"),
            ("5.", "5"),
            ("+1", "1"),
            ("12e6", "12e6"),
            ("1Ei", "1Ei"),
        ] {
            assert_eq!(canonical_quantity(text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "Mi", "1.2.3", "1 Gi", "1gi", "ten", "--1", "1KB"] {
            assert_eq!(canonical_quantity(text), None, "{text}");
        }
    }
}
