//! MySQL's binary decimals, from and to text.
//!
//! Digits stand in groups of nine, four bytes each, counted from the point; a group that is not full takes fewer bytes. The first bit
//! is flipped, and all bits of a negative number are inverted, so that the bytes order as the numbers do.

use bytes::Bytes;

use super::CodecError;

const GROUP: usize = 9;
/// Bytes that 0 to 9 digits take.
const SIZE: [usize; GROUP + 1] = [0, 1, 1, 2, 2, 3, 3, 4, 4, 4];
const MAX_PRECISION: u8 = 81;

/// Bytes that a decimal takes.
pub(crate) fn binary_size(precision: u8, scale: u8) -> Result<usize, CodecError> {
    if precision == 0 || precision > MAX_PRECISION || scale > precision {
        return Err(CodecError::invalid(format!("no decimal has precision {precision} and scale {scale}")));
    }
    let part = |digits: u8| {
        let digits = usize::from(digits);
        digits / GROUP * 4 + SIZE[digits % GROUP]
    };
    Ok(part(precision - scale) + part(scale))
}

/// The text of a binary decimal: no leading zeros, exactly `scale` digits behind the point.
///
/// # Errors
/// When `digits` has not the length that precision and scale ask for, or holds more than nine digits in a group.
pub fn decode_decimal(precision: u8, scale: u8, digits: &[u8]) -> Result<Box<str>, CodecError> {
    let size = binary_size(precision, scale)?;
    if digits.len() != size {
        return Err(CodecError::invalid(format!(
            "a decimal({precision},{scale}) has {size} bytes, not {}",
            digits.len()
        )));
    }
    // All bits of a negative number are inverted.
    let (negative, mask) = match digits.first() {
        Some(first) if first & 0x80 == 0 => (true, 0xff),
        _ => (false, 0),
    };
    // On the stack: sign, whole digits, point, fraction.
    let mut text = [0u8; MAX_PRECISION as usize + 3];
    let mut len = 0;
    let mut put = |byte: u8| {
        if let Some(free) = text.get_mut(len) {
            *free = byte;
            len += 1;
        }
    };
    if negative {
        put(b'-');
    }
    let whole = usize::from(precision - scale);
    let scale = usize::from(scale);
    let mut rest = digits;
    let mut flip = 0x80;
    let mut significant = false;
    let mut nonzero = false;
    let groups = [(whole % GROUP, 1), (GROUP, whole / GROUP), (GROUP, scale / GROUP), (scale % GROUP, 1)];
    for (part, (width, count)) in groups.into_iter().enumerate() {
        if part == 2 {
            if !significant {
                put(b'0');
            }
            significant = true;
            if scale > 0 {
                put(b'.');
            }
        }
        for _ in 0..count {
            let cut = CodecError::Truncated { at: size, wanted: 1 };
            let (head, tail) = SIZE.get(width).and_then(|n| rest.split_at_checked(*n)).ok_or(cut)?;
            rest = tail;
            let value = head.iter().fold(0u32, |value, byte| {
                let byte = byte ^ mask ^ std::mem::take(&mut flip);
                value << 8 | u32::from(byte)
            });
            if value >= 10u32.pow(width as u32) {
                return Err(CodecError::invalid(format!(
                    "a decimal's group of {width} digits holds {value}"
                )));
            }
            nonzero |= value != 0;
            for place in (0..width as u32).rev() {
                let digit = b'0' + (value / 10u32.pow(place) % 10) as u8;
                significant |= digit != b'0';
                if significant {
                    put(digit);
                }
            }
        }
    }
    // There is no negative zero.
    let from = usize::from(negative && !nonzero);
    let text = text.get(from..len).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    Ok(text.into())
}

/// The binary form of a decimal's text. Missing digits behind the point are zeros.
///
/// # Errors
/// When the text is no plain decimal, or has more digits than precision and scale allow.
pub fn encode_decimal(text: &str, precision: u8, scale: u8) -> Result<Bytes, CodecError> {
    let size = binary_size(precision, scale)?;
    let bad = |why: &str| CodecError::invalid(format!("{text:?} is no decimal({precision},{scale}): {why}"));
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    if whole.is_empty() && fraction.is_empty()
        || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit())
    {
        return Err(bad("it is not digits with a point"));
    }
    let whole = whole.trim_start_matches('0');
    let (whole_len, scale) = (usize::from(precision - scale), usize::from(scale));
    if whole.len() > whole_len {
        return Err(bad("too many digits before the point"));
    }
    if fraction.trim_end_matches('0').len() > scale {
        return Err(bad("too many digits behind the point"));
    }
    let fraction = fraction.get(..scale.min(fraction.len())).unwrap_or("");
    let whole = format!("{whole:0>whole_len$}");
    let fraction = format!("{fraction:0<scale$}");
    let mut out = Vec::with_capacity(size);
    let mut group = |digits: &str| {
        let value: u32 = digits.bytes().fold(0, |v, b| v * 10 + u32::from(b - b'0'));
        let bytes = value.to_be_bytes();
        out.extend_from_slice(&bytes[4 - SIZE[digits.len()]..]);
    };
    let (head, groups) = whole.split_at(whole_len % GROUP);
    group(head);
    (0..groups.len()).step_by(GROUP).for_each(|i| group(&groups[i..i + GROUP]));
    let (groups, tail) = fraction.split_at(scale / GROUP * GROUP);
    (0..groups.len()).step_by(GROUP).for_each(|i| group(&groups[i..i + GROUP]));
    group(tail);
    if negative {
        out.iter_mut().for_each(|b| *b = !*b);
    }
    if let Some(first) = out.first_mut() {
        *first ^= 0x80;
    }
    Ok(out.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_bytes() {
        // MySQL's manual: 1234567890.1234 as decimal(14,4).
        let bytes = [0x81, 0x0D, 0xFB, 0x38, 0xD2, 0x04, 0xD2];
        assert_eq!(&*decode_decimal(14, 4, &bytes).unwrap(), "1234567890.1234");
        assert_eq!(encode_decimal("1234567890.1234", 14, 4).unwrap(), bytes[..]);
        let negative: Vec<u8> = bytes.iter().map(|b| !b).collect();
        assert_eq!(&*decode_decimal(14, 4, &negative).unwrap(), "-1234567890.1234");
        assert_eq!(encode_decimal("-1234567890.1234", 14, 4).unwrap(), negative[..]);
    }

    #[test]
    fn the_edges() {
        for (text, precision, scale) in [
            ("0", 1, 0),
            ("0.5", 1, 1),
            ("-0.000000000000000000000000000001", 65, 30),
            ("99999999999999999999999999999999999.999999999999999999999999999999", 65, 30),
        ] {
            let bytes = encode_decimal(text, precision, scale).unwrap();
            assert_eq!(&*decode_decimal(precision, scale, &bytes).unwrap(), text);
        }
        for (bad, precision, scale) in [
            ("", 5, 2),
            ("1e5", 9, 2),
            ("1234", 5, 2),
            ("0.123", 5, 2),
            (".", 5, 2),
            ("1", 0, 0),
            ("1", 2, 3),
        ] {
            assert!(encode_decimal(bad, precision, scale).is_err(), "{bad:?}");
        }
        assert!(decode_decimal(9, 0, &[0xff; 4]).is_err());
        assert!(decode_decimal(9, 0, &[0x80; 3]).is_err());
    }

    proptest! {
        #[test]
        fn texts_come_back(scale in 0u8..=30, extra in 1u8..=35, digits in "[0-9]{65}", negative: bool) {
            let precision = scale + extra;
            let whole = digits[..usize::from(extra)].trim_start_matches('0');
            let whole = if whole.is_empty() { "0" } else { whole };
            let fraction = &digits[35..35 + usize::from(scale)];
            let mut text = if scale == 0 { whole.to_owned() } else { format!("{whole}.{fraction}") };
            if negative && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
                text.insert(0, '-');
            }
            let bytes = encode_decimal(&text, precision, scale).unwrap();
            prop_assert_eq!(&*decode_decimal(precision, scale, &bytes).unwrap(), text.as_str());
        }

        #[test]
        fn no_bytes_make_it_panic(precision: u8, scale: u8, bytes: Vec<u8>) {
            let _ = decode_decimal(precision, scale, &bytes);
        }
    }
}
