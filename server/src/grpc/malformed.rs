//! What is wrong with bytes that are no `binlog.Binlog`, in the words of the original's decoder.

/// The names of the message's fields there, by number, and whether they are numbers.
const FIELDS: [(&str, bool); 8] = [
    ("Tp", true),
    ("StartTs", true),
    ("CommitTs", true),
    ("PrewriteKey", false),
    ("PrewriteValue", false),
    ("DdlQuery", false),
    ("DdlJobId", true),
    ("DdlSchemaState", true),
];

/// Ways in which a field may be written.
const VARINT: u64 = 0;
const BYTES: u64 = 2;
const GROUP_END: u64 = 4;

const CUT_OFF: &str = "unexpected EOF";

/// The first thing that is wrong; None: the original would take them.
pub(super) fn complaint(payload: &[u8]) -> Option<String> {
    let mut rest = payload;
    while !rest.is_empty() {
        if let Err(complaint) = field(&mut rest) {
            return Some(complaint);
        }
    }
    None
}

fn field(rest: &mut &[u8]) -> Result<(), String> {
    let tag = varint(rest)?;
    // As there: a number of 32 bits, with a sign.
    let (number, wire_type) = ((tag >> 3) as i32, tag & 7);
    if wire_type == GROUP_END {
        return Err("proto: Binlog: wiretype end group for non-group".to_owned());
    }
    if number <= 0 {
        return Err(format!("proto: Binlog: illegal tag {number} (wire type {tag})"));
    }
    let known = usize::try_from(number - 1).ok().and_then(|at| FIELDS.get(at));
    match known {
        None => skip(rest, wire_type),
        Some((name, is_number)) if wire_type != if *is_number { VARINT } else { BYTES } => {
            Err(format!("proto: wrong wireType = {wire_type} for field {name}"))
        }
        Some(_) => skip(rest, wire_type),
    }
}

/// Passes over one value; a group with all that is inside.
fn skip(rest: &mut &[u8], wire_type: u64) -> Result<(), String> {
    let (mut wire_type, mut depth) = (wire_type, 0u64);
    loop {
        match wire_type {
            VARINT => drop(varint(rest)?),
            1 => pass(rest, 8)?,
            BYTES => {
                let length = varint(rest)?;
                let length = i64::try_from(length)
                    .map_err(|_| "proto: negative length found during unmarshaling".to_owned())?;
                pass(rest, length.unsigned_abs())?;
            }
            3 => depth += 1,
            GROUP_END => depth = depth.saturating_sub(1),
            5 => pass(rest, 4)?,
            other => return Err(format!("proto: illegal wireType {other}")),
        }
        if depth == 0 {
            return Ok(());
        }
        wire_type = varint(rest)? & 7;
    }
}

fn pass(rest: &mut &[u8], bytes: u64) -> Result<(), String> {
    let after = usize::try_from(bytes).ok().and_then(|bytes| rest.get(bytes..));
    *rest = after.ok_or_else(|| CUT_OFF.to_owned())?;
    Ok(())
}

fn varint(rest: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first().ok_or_else(|| CUT_OFF.to_owned())?;
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err("proto: integer overflow".to_owned())
}

#[cfg(test)]
mod tests {
    use binlog_proto::binlog::Binlog;
    use prost::Message as _;

    use super::*;

    #[test]
    fn complaints_are_the_originals() {
        for (bytes, words) in [
            (&[0xff, 0xff, 0xff][..], "unexpected EOF"),
            (&[0x08], "unexpected EOF"),
            (&[0x2a, 5, 1], "unexpected EOF"),
            (&[0xff; 12], "proto: integer overflow"),
            (
                &[0x2a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
                "proto: negative length found during unmarshaling",
            ),
            (&[0x0c], "proto: Binlog: wiretype end group for non-group"),
            (&[0x00], "proto: Binlog: illegal tag 0 (wire type 0)"),
            (&[0x0a, 0], "proto: wrong wireType = 2 for field Tp"),
            (&[0x28, 0], "proto: wrong wireType = 0 for field PrewriteValue"),
            (&[0x7e], "proto: illegal wireType 6"),
            (&[0x7b, 0x08], "unexpected EOF"),
            (b"not a binlog", "proto: illegal wireType 6"),
        ] {
            assert_eq!(complaint(bytes).as_deref(), Some(words), "{bytes:?}");
        }
        // Fields that nobody knows are passed over, groups too.
        assert_eq!(
            complaint(&[0x7b, 0x0b, 0x08, 5, 0x0c, 0x7c, 0x08, 1, 0x79, 0, 0, 0, 0, 0, 0, 0, 0]),
            None
        );
        let binlog = Binlog { start_ts: 1, prewrite_value: Some(vec![1, 2].into()), ..Binlog::default() };
        assert_eq!(complaint(&binlog.encode_to_vec()), None);
    }
}
