//! Floating-point numbers as text: MySQL's text protocol and JSON.

/// A FLOAT or DOUBLE as MySQL shows it: plain digits between 1e-15 and 1e15, else `1.5e20`; the shortest text that reads back as
/// the same number. `shortest` is that number in Rust's scientific notation.
fn plain_or_scientific(magnitude: f64, shortest: String, plain: impl Fn() -> String) -> String {
    if magnitude != 0.0 && !(1e-15..1e15).contains(&magnitude) { shortest } else { plain() }
}

/// The text of a DOUBLE, or of a FLOAT where `single`; `decimals` is the scale of a `FLOAT(M, D)`.
pub fn float_text(value: f64, single: bool, decimals: Option<u8>) -> String {
    if !value.is_finite() {
        return "0".to_owned();
    }
    if let Some(decimals) = decimals {
        return format!("{value:.*}", usize::from(decimals));
    }
    if single {
        let value = value as f32;
        plain_or_scientific(f64::from(value.abs()), format!("{value:e}"), || format!("{value}"))
    } else {
        plain_or_scientific(value.abs(), format!("{value:e}"), || format!("{value}"))
    }
}

/// A double inside JSON, as TiDB writes it: plain digits between 1e-6 and 1e21, else `1e+21`.
pub fn json_number_text(value: f64) -> String {
    let magnitude = value.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        return format!("{value}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((mantissa, exponent)) if !exponent.starts_with('-') => format!("{mantissa}e+{exponent}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_mysql_shows_them() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (-1.7976931348623157e308, "-1.7976931348623157e308"),
            (1e15, "1e15"),
            (123456789012345.0, "123456789012345"),
            (1e-10, "0.0000000001"),
            (1e-16, "1e-16"),
        ] {
            assert_eq!(float_text(value, false, None), text);
        }
        assert_eq!(float_text(f64::from(0.1f32), true, None), "0.1");
        assert_eq!(float_text(f64::from(f32::MAX), true, None), "3.4028235e38");
        assert_eq!(float_text(1.0, false, Some(3)), "1.000");
    }

    #[test]
    fn as_json_shows_them() {
        for (value, text) in [
            (1e23, "1e+23"),
            (1e-10, "1e-10"),
            (-0.0, "-0"),
            (123456789.12345679, "123456789.12345679"),
            (1e20, "100000000000000000000"),
        ] {
            assert_eq!(json_number_text(value), text);
        }
    }
}
