//! The bytes of keys and values. Nothing outside this folder knows them.
//!
//! Every value begins with a format version. A reader refuses what is newer than it knows, and within one format it
//! skips an *extension* that a later version may have put behind the fixed header. All integers are big-endian.
//!
//! | column family | key | value |
//! |---|---|---|
//! | `bundle` | number u64 | [`bundle`]: small prewrites, as those in `pending`, and commits |
//! | | number u64 ‖ start_ts u64 | [`sealed`], empty: this prewrite of the bundle is of no more use |
//! | `pending` | start_ts u64 ‖ fragment u32 | [`packed`] [`record`]: the primary key as attachment, a piece of the prewrite's body |
//! | `commit` | start_ts u64 | [`marker`]: what is no ordinary commit, and what was one and stays |
//! | `log` | commit_ts u64 ‖ start_ts u64 ‖ fragment u32 | [`record`]: what C added as attachment, a piece of the body |
//! | `schema` | kind u8 ‖ id i64, order-preserving ‖ version i64, order-preserving | [`sealed`]: the object |
//! | `meta` | name | [`sealed`]: see [`meta`] |

pub(crate) mod bundle;
pub(crate) mod keys;
pub(crate) mod marker;
pub(crate) mod meta;
pub(crate) mod packed;
mod reader;
pub(crate) mod record;
pub(crate) mod sealed;

/// CRC-32 of a value's head, around the place where it stands itself.
fn check(before: &[u8], behind: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(before);
    hasher.update(behind);
    hasher.finalize()
}

/// Why bytes are not what they should be; the caller knows where they lay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FormatError {
    /// Damaged.
    Corrupt(&'static str),
    /// Written by a later version.
    Newer { found: u32, supported: u32 },
}

impl FormatError {
    /// The public error, with the position.
    pub(crate) fn at(self, position: impl FnOnce() -> String) -> crate::Error {
        match self {
            FormatError::Corrupt(what) => {
                crate::Error::Corrupt { position: position(), what: what.to_owned() }
            }
            FormatError::Newer { found, supported } => {
                crate::Error::NewerFormat { what: position(), found, supported }
            }
        }
    }
}
