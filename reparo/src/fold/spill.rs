//! Folded rows in temporary files.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use binlog_types::CommitTs;
use bytes::{BufMut, Bytes};

use super::codec::{put_row, take_bytes, take_row, take_u8, take_u32, take_u64};
use super::{ENTRY, Image, Net, Others};
use crate::Error;

/// Files: each holds that part of the rows that must fit into memory at once.
const PARTS: usize = 64;

/// Temporary files without names: they are gone when the program is, however it ends.
#[derive(Debug)]
pub(super) struct Spill {
    directory: PathBuf,
    files: Vec<BufWriter<File>>,
}

impl Spill {
    pub(super) fn new(directory: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Temporary { directory: directory.to_owned(), source };
        let file = |_| tempfile::tempfile_in(directory).map(BufWriter::new).map_err(failed);
        Ok(Spill { directory: directory.to_owned(), files: (0..PARTS).map(file).collect::<Result<_, _>>()? })
    }

    pub(super) fn parts(&self) -> usize {
        self.files.len()
    }

    fn failed(&self) -> impl Fn(io::Error) -> Error + use<> {
        let directory = self.directory.clone();
        move |source| Error::Temporary { directory: directory.clone(), source }
    }

    /// Appends what is known of a row; what is put later came later.
    pub(super) fn put(&mut self, key: &[u8], net: &Net) -> Result<(), Error> {
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        let part = hasher.finish() as usize % self.files.len().max(1);
        let mut out = Vec::with_capacity(256);
        out.put_u32(key.len() as u32);
        out.put_slice(key);
        put_net(&mut out, net);
        let failed = self.failed();
        let Some(file) = self.files.get_mut(part) else { return Ok(()) };
        let len = u32::try_from(out.len()).map_err(|_| failed(io::ErrorKind::FileTooLarge.into()))?;
        file.write_all(&len.to_be_bytes()).and_then(|()| file.write_all(&out)).map_err(failed)
    }

    /// One file's rows, put together.
    pub(super) fn read(&mut self, part: usize, memory: usize) -> Result<HashMap<Box<[u8]>, Net>, Error> {
        let failed = self.failed();
        let mut rows: HashMap<Box<[u8]>, Net> = HashMap::new();
        let Some(writer) = self.files.get_mut(part) else { return Ok(rows) };
        writer.flush().map_err(&failed)?;
        let file = writer.get_mut();
        let len = file.seek(SeekFrom::End(0)).map_err(&failed)?;
        file.seek(SeekFrom::Start(0)).map_err(&failed)?;
        let mut file = BufReader::with_capacity(1 << 16, file);
        let (mut at, mut bytes) = (0, 0);
        while at < len {
            let mut header = [0; 4];
            file.read_exact(&mut header).map_err(&failed)?;
            let size = u64::from(u32::from_be_bytes(header));
            at += 4 + size;
            let torn = || {
                failed(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a temporary file was changed by another program",
                ))
            };
            if at > len {
                return Err(torn());
            }
            let mut record = vec![0; size as usize];
            file.read_exact(&mut record).map_err(&failed)?;
            let (key, net) = take(Bytes::from(record)).ok_or_else(torn)?;
            match rows.get_mut(&*key) {
                Some(known) => {
                    let old = known.size();
                    known.then(net);
                    bytes = (bytes + known.size()).saturating_sub(old);
                }
                None => {
                    bytes += ENTRY + key.len() + net.size();
                    rows.insert(key.to_vec().into_boxed_slice(), net);
                }
            }
            if bytes > memory {
                return Err(Error::TooManyRows { memory, parts: PARTS });
            }
        }
        Ok(rows)
    }
}

fn take(mut record: Bytes) -> Option<(Bytes, Net)> {
    let key = take_bytes(&mut record)?;
    let net = take_net(&mut record)?;
    record.is_empty().then_some((key, net))
}

fn put_net(out: &mut Vec<u8>, net: &Net) {
    for image in [&net.before, &net.now] {
        match image {
            None => out.put_u8(0),
            Some(image) => {
                out.put_u8(1);
                out.put_u32(image.version);
                put_row(out, &image.row);
            }
        }
    }
    for number in [net.selected, net.copies as u64, net.first.raw(), net.last.raw()] {
        out.put_u64(number);
    }
    for others in [&net.prior, &net.others] {
        for number in [others.count, others.copies as u64, others.first.raw(), others.last.raw()] {
            out.put_u64(number);
        }
    }
}

fn take_net(from: &mut Bytes) -> Option<Net> {
    let image = |from: &mut Bytes| match take_u8(from)? {
        0 => Some(None),
        _ => Some(Some(Image { version: take_u32(from)?, row: take_row(from)? })),
    };
    let (before, now) = (image(from)?, image(from)?);
    let (selected, copies) = (take_u64(from)?, take_u64(from)? as i64);
    let ts = |from: &mut Bytes| take_u64(from).map(CommitTs::new);
    let (first, last) = (ts(from)?, ts(from)?);
    let others = |from: &mut Bytes| {
        Some(Others {
            count: take_u64(from)?,
            copies: take_u64(from)? as i64,
            first: ts(from)?,
            last: ts(from)?,
        })
    };
    Some(Net { before, now, selected, copies, first, last, prior: others(from)?, others: others(from)? })
}
