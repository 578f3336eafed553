//! Metrics as text, with the bounds of histograms written as Go writes numbers.
//!
//! A bound is a label, so a string: where `5e-05` and `0.00005` come together, from pumps of two programs say, a dashboard takes them for two buckets.

use std::fmt::Write as _;

const BOUND: &str = "le=\"";

/// Rewrites the bounds in a text exposition.
pub fn with_go_bounds(exposition: &str) -> String {
    let mut out = String::with_capacity(exposition.len());
    for line in exposition.split_inclusive('\n') {
        match line.rfind(BOUND).filter(|_| !line.starts_with('#')) {
            Some(at) => {
                let (head, rest) = line.split_at(at + BOUND.len());
                let (bound, tail) = rest.split_at(rest.find('"').unwrap_or(rest.len()));
                out.push_str(head);
                match bound.parse::<f64>() {
                    Ok(number) => out.push_str(&go_number(number)),
                    Err(_) => out.push_str(bound),
                }
                out.push_str(tail);
            }
            None => out.push_str(line),
        }
    }
    out
}

/// As Go's `%g`: the shortest digits, with an exponent of two digits or more below 1e-4 and from 1e6 on.
fn go_number(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return scientific };
    match exponent.parse::<i32>() {
        Ok(exponent) if number != 0.0 && !(-4..6).contains(&exponent) => {
            let mut out = digits.to_owned();
            let sign = if exponent < 0 { '-' } else { '+' };
            let _ = write!(out, "e{sign}{:02}", exponent.unsigned_abs());
            out
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        for (number, text) in [
            (0.000_05, "5e-05"),
            (0.000_1, "0.0001"),
            (0.001, "0.001"),
            (0.409_6, "0.4096"),
            (16.0, "16"),
            (524_288.0, "524288"),
            (1_048_576.0, "1.048576e+06"),
            (1_000_000.0, "1e+06"),
            (268_435_456.0, "2.68435456e+08"),
            (1e100, "1e+100"),
            (0.0, "0"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(go_number(number), text);
        }
    }

    #[test]
    fn only_bounds_are_rewritten() {
        let text = "# HELP x le=\"0.00005\"\nx_bucket{a=\"0.00005\",le=\"0.00005\"} 0.00005\nx_bucket{le=\"+Inf\"} 3\nx_sum 0.00005\n";
        let expected = "# HELP x le=\"0.00005\"\nx_bucket{a=\"0.00005\",le=\"5e-05\"} 0.00005\nx_bucket{le=\"+Inf\"} 3\nx_sum 0.00005\n";
        assert_eq!(with_go_bounds(text), expected);
    }
}
