//! Decoders of binlog files, as functions of any bytes: none may panic, hang, or allocate what a length merely claims.

use std::fs;
use std::path::{Path, PathBuf};

use binlog_archive::{Archive, Decoder, FileName, MAGIC, RawRecord, Statement};
use binlog_proto::pb_binlog;
use binlog_types::{CommitTs, Range};
use bytes::Bytes;
use jiff::tz::TimeZone;
use prost::Message as _;

/// A function of any bytes.
pub type Target = fn(&[u8]);

/// Name and function of each target.
pub const TARGETS: [(&str, Target); 3] =
    [("archive_record", record), ("archive_file", file), ("archive_statement", statement)];

/// The payload of a record, in either reading.
pub fn record(data: &[u8]) {
    let Ok(binlog) = pb_binlog::Binlog::decode(data) else { return };
    let record = RawRecord { offset: 0, payload: Bytes::copy_from_slice(data) };
    for mut decoder in [Decoder::as_written(), Decoder::typed(TimeZone::UTC)] {
        let _ = decoder.event(Path::new("f"), &record, binlog.clone());
    }
}

thread_local! {
    static DIR: PathBuf = std::env::temp_dir().join(format!("binlog-fuzz-{}-{:?}", std::process::id(), std::thread::current().id()));
}

/// A file: as it is, and as the payload of a record whose checksum is right; damage is passed over.
pub fn file(data: &[u8]) {
    let _ = FileName::parse(&String::from_utf8_lossy(data));
    let mut whole = MAGIC.to_le_bytes().to_vec();
    whole.extend((data.len() as u64).to_le_bytes());
    whole.extend(data);
    whole.extend(crc32c::crc32c(data).to_le_bytes());
    whole.extend(data);
    DIR.with(|dir| {
        for bytes in [data, &whole] {
            let written = fs::create_dir_all(dir)
                .and_then(|()| fs::write(dir.join("binlog-0000000000000000-20190101010101"), bytes));
            if written.is_err() {
                return;
            }
            let Ok(archive) = Archive::open(dir) else { continue };
            let mut records = archive.records(Range { after: CommitTs::ZERO, through: CommitTs::MAX });
            // Each byte can end one record at most.
            for _ in 0..=bytes.len() {
                match records.next() {
                    Ok(Some(_)) => {}
                    Ok(None) => break,
                    Err(_) if records.skip_damage().is_err() => break,
                    Err(_) => {}
                }
            }
        }
    });
}

/// What a statement is about.
pub fn statement(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = Statement::parse(&text).changes();
}
