//! Values against literals and against one another.

use std::borrow::Cow;
use std::cmp::Ordering;

use binlog_catalog::{Column, Value};

/// A literal of a condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Null,
    /// Digits, a point, an exponent.
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
}

/// One side of a comparison.
#[derive(Debug)]
pub(super) enum Operand<'a> {
    Null,
    Literal(&'a Literal),
    /// An exact number as text.
    Number(Cow<'a, str>),
    Double(f64),
    /// Text, and whether case is to be left out of account.
    Text(Cow<'a, [u8]>, bool),
    /// A date and time as `YYYY-MM-DD hh:mm:ss.ffffff`.
    Time(String),
    Duration(i64),
}

impl<'a> Operand<'a> {
    pub(super) fn value(value: &'a Value, column: &Column) -> Self {
        match value {
            Value::Null => Operand::Null,
            Value::Int(v) | Value::Year(v) => Operand::Number(v.to_string().into()),
            Value::UInt(v) | Value::Bit(v) => Operand::Number(v.to_string().into()),
            Value::Float(v) => Operand::Double(f64::from(*v)),
            Value::Double(v) => Operand::Double(*v),
            Value::Decimal(text) => Operand::Number(Cow::Borrowed(text)),
            Value::Text(bytes) => Operand::Text(Cow::Borrowed(bytes), column.ty.collate.ends_with("_ci")),
            Value::Bytes(bytes) => Operand::Text(Cow::Borrowed(bytes), false),
            Value::Time { .. } => match value.to_text(column).and_then(|t| time(&t)) {
                Some(time) => Operand::Time(time),
                None => Operand::Null,
            },
            Value::Duration { nanos, .. } => Operand::Duration(*nanos),
            Value::Enum(_) | Value::Set(_) | Value::Json(_) => {
                let ci = column.ty.collate.ends_with("_ci") && !matches!(value, Value::Json(_));
                Operand::Text(Cow::Owned(value.to_text(column).unwrap_or_default()), ci)
            }
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Operand::Null | Operand::Literal(Literal::Null))
    }

    /// Whether it is not zero.
    pub(super) fn truth(&self) -> Option<bool> {
        if self.is_null() {
            return None;
        }
        match self {
            Operand::Double(number) => Some(*number != 0.0),
            other => match other.number() {
                Some(number) => Some(decimal(&number)?.digits.is_some()),
                None => Some(false),
            },
        }
    }

    fn number(&self) -> Option<Cow<'_, str>> {
        match self {
            Operand::Number(text) => Some(Cow::Borrowed(text)),
            Operand::Literal(Literal::Number(text)) => Some(Cow::Borrowed(text)),
            // '5' is the number 5, as in MySQL; a text that is none is no number here.
            Operand::Literal(Literal::Text(text)) => Some(Cow::Borrowed(text.trim())),
            Operand::Text(bytes, _) => std::str::from_utf8(bytes).ok().map(|t| Cow::Borrowed(t.trim())),
            _ => None,
        }
    }

    fn double(&self) -> Option<f64> {
        match self {
            Operand::Double(number) => Some(*number),
            other => other.number()?.parse().ok(),
        }
    }

    fn text(&self) -> Option<(Cow<'_, [u8]>, bool)> {
        match self {
            Operand::Text(bytes, ci) => Some((Cow::Borrowed(bytes), *ci)),
            Operand::Literal(Literal::Text(text) | Literal::Number(text)) => {
                Some((Cow::Borrowed(text.as_bytes()), false))
            }
            Operand::Literal(Literal::Bytes(bytes)) => Some((Cow::Borrowed(bytes), false)),
            Operand::Number(text) => Some((Cow::Borrowed(text.as_bytes()), false)),
            Operand::Double(number) => Some((Cow::Owned(number.to_string().into_bytes()), false)),
            Operand::Time(text) => Some((Cow::Borrowed(text.as_bytes()), false)),
            _ => None,
        }
    }

    fn time(&self) -> Option<String> {
        match self {
            Operand::Time(time) => Some(time.clone()),
            Operand::Literal(Literal::Text(text)) => time(text.as_bytes()),
            Operand::Text(bytes, _) => time(bytes),
            _ => None,
        }
    }

    fn duration(&self) -> Option<i64> {
        match self {
            Operand::Duration(nanos) => Some(*nanos),
            Operand::Literal(Literal::Text(text)) => duration(text),
            Operand::Text(bytes, _) => duration(std::str::from_utf8(bytes).ok()?),
            _ => None,
        }
    }
}

/// How two operands order; `None` where one is NULL, or they cannot be compared.
pub(super) fn compare(left: &Operand<'_>, right: &Operand<'_>) -> Option<Ordering> {
    use Operand as O;
    if left.is_null() || right.is_null() {
        return None;
    }
    match (left, right) {
        (O::Double(_), _) | (_, O::Double(_)) => left.double()?.partial_cmp(&right.double()?),
        (O::Number(_) | O::Literal(Literal::Number(_)), _)
        | (_, O::Number(_) | O::Literal(Literal::Number(_)))
            if !matches!(
                (left, right),
                (O::Time(_) | O::Duration(_), _) | (_, O::Time(_) | O::Duration(_))
            ) =>
        {
            Some(decimal(&left.number()?)?.cmp(&decimal(&right.number()?)?))
        }
        (O::Time(_), _) | (_, O::Time(_)) => Some(left.time()?.cmp(&right.time()?)),
        (O::Duration(_), _) | (_, O::Duration(_)) => Some(left.duration()?.cmp(&right.duration()?)),
        _ => {
            let ((left, a), (right, b)) = (left.text()?, right.text()?);
            Some(if a || b { folded(&left).cmp(&folded(&right)) } else { left.cmp(&right) })
        }
    }
}

fn folded(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).to_lowercase()
}

/// SQL's LIKE: `%` any characters, `_` one, `\` makes the next one plain.
pub(super) fn like(operand: &Operand<'_>, pattern: &str) -> Option<bool> {
    let (text, ci) = if operand.is_null() { return None } else { operand.text()? };
    let text = String::from_utf8_lossy(&text);
    let (text, pattern) =
        if ci { (text.to_lowercase(), pattern.to_lowercase()) } else { (text.into(), pattern.into()) };
    let text: Vec<char> = text.chars().collect();
    let pattern: Vec<char> = pattern.chars().collect();
    // Greedy with one step back: time is at most the product of both lengths.
    let (mut t, mut p) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        let literal = pattern.get(p) == Some(&'\\') && p + 1 < pattern.len();
        let wanted = if literal { pattern.get(p + 1) } else { pattern.get(p) };
        let one = !literal && wanted == Some(&'_');
        if !literal && wanted == Some(&'%') {
            star = Some((p + 1, t));
            p += 1;
        } else if one || wanted.is_some() && wanted == text.get(t) {
            p += if literal { 2 } else { 1 };
            t += 1;
        } else if let Some((after, from)) = star {
            star = Some((after, from + 1));
            (p, t) = (after, from + 1);
        } else {
            return Some(false);
        }
    }
    Some(pattern.iter().skip(p).all(|c| *c == '%'))
}

/// A decimal number: its sign, where its first digit stands, and its digits without zeros around.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Power of ten of the first digit, and the digits; `None`: zero.
    digits: Option<(i64, Vec<u8>)>,
}

impl Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |d: &Decimal| match (&d.digits, d.negative) {
            (None, _) => 0,
            (_, true) => -1,
            (_, false) => 1,
        };
        let signs = sign(self).cmp(&sign(other));
        if signs != Ordering::Equal {
            return signs;
        }
        let magnitude = self.digits.cmp(&other.digits);
        if self.negative { magnitude.reverse() } else { magnitude }
    }
}

fn decimal(text: &str) -> Option<Decimal> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (rest, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).collect();
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let Some(first) = digits.iter().position(|d| *d != b'0') else {
        return Some(Decimal { negative, digits: None });
    };
    let last = digits.iter().rposition(|d| *d != b'0').unwrap_or(first);
    let power = whole.len() as i64 - 1 - first as i64 + i64::from(exponent);
    Some(Decimal { negative, digits: Some((power, digits.get(first..=last)?.to_vec())) })
}

/// A date, or a date and time, in the form that orders as times do.
fn time(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim().replace('T', " ");
    let (date, clock) = text.split_once(' ').unwrap_or((&text, "00:00:00"));
    let (seconds, fraction) = clock.split_once('.').unwrap_or((clock, ""));
    let numbers =
        |text: &str, by: char| text.split(by).map(|n| n.parse::<u32>().ok()).collect::<Option<Vec<_>>>();
    let (date, mut clock) = (numbers(date, '-')?, numbers(seconds, ':')?);
    clock.resize(3, 0);
    let plain = fraction.len() <= 6 && fraction.bytes().all(|b| b.is_ascii_digit());
    match (date.as_slice(), clock.as_slice(), plain) {
        ([y, m, d], [hour, minute, second], true) => {
            Some(format!("{y:04}-{m:02}-{d:02} {hour:02}:{minute:02}:{second:02}.{fraction:0<6}"))
        }
        _ => None,
    }
}

/// `[-]hh:mm[:ss[.ffffff]]` in nanoseconds.
fn duration(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (clock, fraction) = rest.split_once('.').unwrap_or((rest, ""));
    let mut seconds: i64 = 0;
    let mut unit = 3600;
    for part in clock.split(':') {
        if unit == 0 {
            return None;
        }
        seconds = seconds.checked_add(i64::from(part.parse::<u32>().ok()?).checked_mul(unit)?)?;
        unit /= 60;
    }
    if fraction.len() > 9 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let nanos: i64 = format!("{fraction:0<9}").parse().ok()?;
    let total = seconds.checked_mul(1_000_000_000)?.checked_add(nanos)?;
    Some(if negative { -total } else { total })
}
