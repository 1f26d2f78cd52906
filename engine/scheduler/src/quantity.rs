//! Kubernetes quantities as thousandths, rounded up.
//!
//! Source: https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/

/// Thousandths of `text`: `250m` is 250, `1Gi` is 2^30 * 1000. What is no quantity is nothing: the API refuses it.
pub fn thousandths(text: &str) -> i128 {
    let digits = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, suffix) = text.split_at(digits);
    let power = |base: i128, exponent: u32| base.pow(exponent);
    let (multiply, divide) = match suffix {
        "" => (1000, 1),
        "n" => (1, 1_000_000),
        "u" => (1, 1000),
        "m" => (1, 1),
        "k" => (power(10, 6), 1),
        "M" => (power(10, 9), 1),
        "G" => (power(10, 12), 1),
        "T" => (power(10, 15), 1),
        "P" => (power(10, 18), 1),
        "E" => (power(10, 21), 1),
        "Ki" => (power(1024, 1) * 1000, 1),
        "Mi" => (power(1024, 2) * 1000, 1),
        "Gi" => (power(1024, 3) * 1000, 1),
        "Ti" => (power(1024, 4) * 1000, 1),
        "Pi" => (power(1024, 5) * 1000, 1),
        "Ei" => (power(1024, 6) * 1000, 1),
        exponent => match exponent.trim_start_matches(['e', 'E']).parse::<i32>() {
            Ok(exponent @ 0..=18) => (power(10, exponent as u32) * 1000, 1),
            Ok(exponent @ -18..0) => (1000, power(10, exponent.unsigned_abs())),
            _ => return 0,
        },
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = power(10, fraction.len() as u32);
    let value = format!("{whole}{fraction}").parse::<i128>().unwrap_or(0);
    let (top, bottom) = (value * multiply, scale * divide);
    top.div_euclid(bottom) + i128::from(top.rem_euclid(bottom) > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_become_thousandths_rounded_up() {
        let cases = [
            ("1", 1000),
            ("250m", 250),
            ("0.5", 500),
            ("1.5Gi", 1_610_612_736_000),
            ("128Mi", 134_217_728_000),
            ("2k", 2_000_000),
            ("1e3", 1_000_000),
            ("12E-1", 1200),
            ("1n", 1),
            ("1500u", 2),
            ("", 0),
            ("x", 0),
        ];
        for (text, expected) in cases {
            assert_eq!(thousandths(text), expected, "{text}");
        }
    }
}
