//! Bytes of a file, unpacked where it is packed.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;

const BUFFER: usize = 1 << 20;
const GZIP: [u8; 2] = [0x1f, 0x8b];
const TAR_BLOCK: usize = 512;
const TAR_MARK: (usize, &[u8]) = (257, b"ustar");
/// Name, mode and owner come first; the size is twelve octal digits from here.
const TAR_SIZE: std::ops::Range<usize> = 124..136;

/// What the records are read from.
pub(crate) type Bytestream = Box<dyn Read + Send>;

/// Opens a file; whether it is gzip, and whether a tar archive of one file is in it, is seen from its first bytes.
pub(crate) fn open(path: &Path) -> io::Result<Bytestream> {
    let mut file = BufReader::with_capacity(BUFFER, File::open(path)?);
    let head = read_head(&mut file, GZIP.len())?;
    if head != GZIP {
        return Ok(Box::new(io::Cursor::new(head).chain(file)));
    }
    let packed = io::Cursor::new(head).chain(file);
    let mut unpacked = BufReader::with_capacity(BUFFER, MultiGzDecoder::new(packed));
    let head = read_head(&mut unpacked, TAR_BLOCK)?;
    let mark = head.get(TAR_MARK.0..TAR_MARK.0 + TAR_MARK.1.len());
    if mark != Some(TAR_MARK.1) {
        return Ok(Box::new(io::Cursor::new(head).chain(unpacked)));
    }
    let size = head.get(TAR_SIZE).and_then(|digits| {
        let text = std::str::from_utf8(digits).ok()?.trim_matches(['\0', ' ']);
        u64::from_str_radix(text, 8).ok()
    });
    match size {
        Some(size) => Ok(Box::new(unpacked.take(size))),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "the tar header has no size")),
    }
}

fn read_head(from: &mut impl Read, len: usize) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(len);
    from.by_ref().take(len as u64).read_to_end(&mut head)?;
    Ok(head)
}
