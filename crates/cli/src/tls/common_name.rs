//! The common name in a subject of an X.509 certificate: just enough DER to find it.

/// `SEQUENCE` of DER.
const SEQUENCE: u8 = 0x30;
/// `2.5.4.3`.
const COMMON_NAME: [u8; 3] = [0x55, 0x04, 0x03];

/// One element: its tag, what is in it, and what comes after it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

fn sequence(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == SEQUENCE).then_some((content, rest))
}

/// The first common name of a subject: the content of its sequence of names.
pub(super) fn of(mut names: &[u8]) -> Option<String> {
    while !names.is_empty() {
        let (_, mut set, after) = element(names)?;
        names = after;
        while !set.is_empty() {
            let (attribute, next) = sequence(set)?;
            set = next;
            let (_, kind, value) = element(attribute)?;
            if kind == COMMON_NAME {
                let (_, text, _) = element(value)?;
                return String::from_utf8(text.to_vec()).ok();
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrap(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let mut out = vec![tag];
        match u8::try_from(content.len()) {
            Ok(short @ 0..=0x7f) => out.push(short),
            Ok(long) => out.extend([0x81, long]),
            Err(_) => panic!("too long for a test"),
        }
        out.extend(content);
        out
    }

    fn name(oid: &[u8], text: &str) -> Vec<u8> {
        let attribute = wrap(SEQUENCE, &[&wrap(6, &[oid]), &wrap(0x0c, &[text.as_bytes()])]);
        wrap(0x31, &[&attribute])
    }

    #[test]
    fn the_subjects_common_name_is_found() {
        let subject = [name(&[0x55, 0x04, 0x0a], "PingCAP"), name(&COMMON_NAME, "binlog")].concat();
        assert_eq!(of(&subject).as_deref(), Some("binlog"));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&name(&[0x55, 0x04, 0x0a], "PingCAP")), None);
    }

    #[test]
    fn torn_bytes_have_no_name() {
        let subject = name(&COMMON_NAME, "binlog");
        for end in 0..subject.len() {
            assert_eq!(of(&subject[..end]), None, "{end}");
        }
        assert_eq!(of(&[0x31, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
