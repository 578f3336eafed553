//! The subject's common name of an X.509 certificate: just enough DER to find it. The certificate was verified before.

/// `SEQUENCE` of DER.
const SEQUENCE: u8 = 0x30;
/// `[0] EXPLICIT`: the version, which old certificates leave out.
const VERSION: u8 = 0xa0;
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

/// The first common name of the certificate's subject.
pub(super) fn of(certificate: &[u8]) -> Option<String> {
    let (certificate, _) = sequence(certificate)?;
    let (signed, _) = sequence(certificate)?;
    let (tag, _, after_version) = element(signed)?;
    // Serial number, algorithm, issuer, validity; then the subject.
    let mut rest = if tag == VERSION { after_version } else { signed };
    for _ in 0..4 {
        (_, _, rest) = element(rest)?;
    }
    let (mut names, _) = sequence(rest)?;
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

    fn certificate(with_version: bool, subject: &[u8]) -> Vec<u8> {
        let version = wrap(VERSION, &[&[2, 1, 2]]);
        let filler = wrap(SEQUENCE, &[]);
        let serial = [2, 1, 7];
        let head: &[u8] = if with_version { &version } else { &[] };
        let signed = wrap(SEQUENCE, &[head, &serial, &filler, &filler, &filler, subject]);
        wrap(SEQUENCE, &[&signed])
    }

    fn name(oid: &[u8], text: &str) -> Vec<u8> {
        let attribute = wrap(SEQUENCE, &[&wrap(6, &[oid]), &wrap(0x0c, &[text.as_bytes()])]);
        wrap(0x31, &[&attribute])
    }

    #[test]
    fn the_subjects_common_name_is_found() {
        let subject = wrap(SEQUENCE, &[&name(&[0x55, 0x04, 0x0a], "PingCAP"), &name(&COMMON_NAME, "binlog")]);
        for with_version in [true, false] {
            assert_eq!(of(&certificate(with_version, &subject)).as_deref(), Some("binlog"));
        }
        assert_eq!(of(&certificate(true, &wrap(SEQUENCE, &[]))), None);
    }

    #[test]
    fn torn_bytes_have_no_name() {
        let subject = wrap(SEQUENCE, &[&name(&COMMON_NAME, "binlog")]);
        let whole = certificate(true, &subject);
        for end in 0..whole.len() {
            assert_eq!(of(&whole[..end]), None, "{end}");
        }
        assert_eq!(of(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
