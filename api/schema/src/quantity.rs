//! Quantities: read, compared, added, and written in canonical form (no fraction, the largest suffix of the same
//! family that keeps the value whole).
//!
//! Invariant: a sum is exact to a billionth, and written in the family of its first summand that is not zero.
//! Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

use std::{cmp::Ordering, fmt, str::FromStr};

use serde_json::Value;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Family {
    #[default]
    Decimal,
    Binary,
    Exponent,
}

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// An amount. Equal amounts are equal however they are written: `1Gi` is `1024Mi`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    family: Family,
}

const ONE: i128 = 1_000_000_000;

impl Quantity {
    pub const ZERO: Quantity = Quantity::whole(0);

    pub const fn whole(number: i64) -> Quantity {
        Quantity { nanos: number as i128 * ONE, family: Family::Decimal }
    }

    /// Of a JSON string or number; nothing else is a quantity.
    pub fn from_value(value: &Value) -> Option<Quantity> {
        match value {
            Value::String(text) => text.parse().ok(),
            Value::Number(number) => number.to_string().parse().ok(),
            _ => None,
        }
    }

    pub fn nanos(self) -> i128 {
        self.nanos
    }

    /// Whole units, rounded up.
    pub fn ceil(self) -> i128 {
        self.nanos.div_euclid(ONE) + i128::from(self.nanos.rem_euclid(ONE) != 0)
    }

    /// The same without a fraction, rounded up.
    pub fn round_up(self) -> Quantity {
        Quantity { nanos: self.ceil() * ONE, ..self }
    }

    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Beyond what 128 bits hold, the product stays at the limit.
    pub fn times(self, factor: i64) -> Quantity {
        Quantity { nanos: self.nanos.saturating_mul(factor.into()), ..self }
    }

    fn with(self, nanos: i128, other: Quantity) -> Quantity {
        Quantity { nanos, family: if self.is_zero() { other.family } else { self.family } }
    }
}

/// Beyond what 128 bits hold, the sum stays at the limit.
impl std::ops::Add for Quantity {
    type Output = Quantity;

    fn add(self, other: Quantity) -> Quantity {
        self.with(self.nanos.saturating_add(other.nanos), other)
    }
}

impl std::ops::Sub for Quantity {
    type Output = Quantity;

    fn sub(self, other: Quantity) -> Quantity {
        self.with(self.nanos.saturating_sub(other.nanos), other)
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Quantity) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Quantity) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Quantity) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Quantity, QuantityError> {
        let Parsed { nanos, family, .. } = parse(text)?;
        Ok(Quantity { nanos, family })
    }
}

/// In canonical form.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&print(self.nanos, self.family))
    }
}

/// As a stock server writes it: as it was read if that is nearly canonical (`+1`, `1.250`), in canonical form otherwise.
pub fn canonical_quantity(text: &str) -> Result<String, QuantityError> {
    let parsed = parse(text)?;
    Ok(if parsed.is_kept { text.to_owned() } else { print(parsed.nanos, parsed.family) })
}

/// A quantity in billionths, rounded away from zero; nothing if it is none.
pub fn quantity_nanos(text: &str) -> Option<i128> {
    parse(text).ok().map(|parsed| parsed.nanos)
}

/// What a text is made of. `number` has no leading zeros; either part may be empty.
struct Parts<'a> {
    negative: bool,
    number: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

fn split(text: &str) -> Result<Parts<'_>, QuantityError> {
    if text.is_empty() {
        return Err(QuantityError::Format);
    }
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text).trim_start_matches('0');
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, rest) = unsigned.split_at(digits(unsigned));
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(digits(rest)),
        None => ("", rest),
    };
    let exponent = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
    if digits(exponent) < exponent.len() {
        return Err(QuantityError::Format);
    }
    Ok(Parts { negative, number, fraction, suffix })
}

struct Parsed {
    /// Billionths, rounded away from zero; at the limit beyond what 128 bits hold.
    nanos: i128,
    family: Family,
    /// Whether the text is written as it was read.
    is_kept: bool,
}

fn parse(text: &str) -> Result<Parsed, QuantityError> {
    let Parts { negative, number, fraction, suffix } = split(text)?;
    let (family, binary, exponent) = read_suffix(suffix).ok_or(QuantityError::Suffix)?;
    let digits = format!("{number}{fraction}");
    let mantissa = if digits.is_empty() { 0 } else { digits.parse().unwrap_or(i128::MAX) };
    let scaled = mantissa.saturating_mul(1_i128 << binary);
    let places = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
    let power = exponent.saturating_sub(places).saturating_add(9);
    let ten = 10_i128.checked_pow(power.unsigned_abs()).unwrap_or(i128::MAX);
    let nanos = match power {
        0.. => scaled.saturating_mul(ten),
        _ => scaled / ten + i128::from(scaled % ten != 0),
    };
    let is_kept = match family {
        Family::Binary => {
            let room = 14 - number.len() as i64 - i64::from(binary) * 3 / 10;
            fraction.is_empty() && room >= 0 && i64::try_from(scaled).is_ok() && mantissa % 8 != 0
        }
        _ => {
            let short = (1..=18).contains(&digits.len()) && power >= 0 && power % 3 == 0;
            short && !digits.ends_with("000") && !digits.starts_with('0') && !number.is_empty()
        }
    };
    let is_kept = is_kept || family != Family::Binary && nanos == i128::MAX;
    // The largest value of the binary suffixes is that of a 64-bit integer.
    let nanos = if family == Family::Binary { nanos.min(i128::from(i64::MAX) * ONE) } else { nanos };
    let family = if family == Family::Binary && nanos < ONE { Family::Decimal } else { family };
    Ok(Parsed { nanos: if negative { -nanos } else { nanos }, family, is_kept })
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
    if family == Family::Binary && nanos.abs() >= 1024 * ONE && nanos % ONE == 0 {
        let mut value = nanos / ONE;
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
            ("1500e0", "1500e0"),
            ("-1.5", "-1500m"),
            ("1E", "1E"),
            ("123Ki", "123Ki"),
            ("2048", "2048"),
            ("0.0000000001", "1n"),
            (".5", "500m"),
            ("12e6", "12e6"),
            ("1Ei", "1Ei"),
            ("16Ei", "9223372036854775807"),
            ("10E", "10E"),
            ("1.1Ki", "1126400m"),
            ("-417.051Mi", "-437309669376m"),
            ("Mi", "0"),
            ("-", "0"),
            // Kept as they are.
            ("5.", "5."),
            ("+1", "+1"),
            ("1.250", "1.250"),
            ("1E3", "1E3"),
            ("00012", "00012"),
            ("07Mi", "07Mi"),
            ("9e30", "9e30"),
        ] {
            assert_eq!(canonical_quantity(text).as_deref(), Ok(expected), "{text}");
        }
        for (text, error) in [
            ("", QuantityError::Format),
            ("1.2.3", QuantityError::Format),
            ("1 Gi", QuantityError::Format),
            ("1gi", QuantityError::Format),
            ("ten", QuantityError::Format),
            ("1KB", QuantityError::Format),
            ("1K", QuantityError::Suffix),
            ("1e", QuantityError::Suffix),
            ("--1", QuantityError::Suffix),
        ] {
            assert_eq!(canonical_quantity(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sums_are_exact_and_keep_the_first_family() {
        let sum = |a: &str, b: &str| -> String {
            let (a, b): (Quantity, Quantity) = (a.parse().expect(a), b.parse().expect(b));
            (a + b).to_string()
        };
        for (a, b, expected) in [
            ("500m", "500m", "1"),
            ("0", "1Gi", "1Gi"),
            ("512Mi", "512Mi", "1Gi"),
            ("1Gi", "1G", "2073741824"),
            ("1G", "1Gi", "2073741824"),
            ("1", "1n", "1000000001n"),
        ] {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn amounts_compare_across_suffixes() {
        let parse = |text: &str| text.parse::<Quantity>().expect(text);
        for (a, b) in [("1Gi", "1024Mi"), ("1", "1000m"), ("0.1", "100m"), ("1k", "1000"), ("1e3", "1k")] {
            assert_eq!(parse(a), parse(b), "{a} {b}");
        }
        assert!(parse("64Mi") > parse("32Mi") && parse("-1") < Quantity::ZERO);
        assert_eq!(parse("1500m").round_up(), Quantity::whole(2));
    }
}
