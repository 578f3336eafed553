//! Columns and their types.

/// MySQL's type bytes, as TiDB's JSON and binlogs hold them.
pub mod tp {
    #![allow(missing_docs, reason = "the names say it")]
    pub const TINY: u8 = 1;
    pub const SHORT: u8 = 2;
    pub const LONG: u8 = 3;
    pub const FLOAT: u8 = 4;
    pub const DOUBLE: u8 = 5;
    pub const NULL: u8 = 6;
    pub const TIMESTAMP: u8 = 7;
    pub const LONGLONG: u8 = 8;
    pub const INT24: u8 = 9;
    pub const DATE: u8 = 10;
    /// TIME.
    pub const DURATION: u8 = 11;
    pub const DATETIME: u8 = 12;
    pub const YEAR: u8 = 13;
    pub const NEW_DATE: u8 = 14;
    pub const VARCHAR: u8 = 15;
    pub const BIT: u8 = 16;
    /// TiDB's VECTOR of 32-bit floats.
    pub const VECTOR_FLOAT32: u8 = 0xe1;
    pub const JSON: u8 = 0xf5;
    pub const NEW_DECIMAL: u8 = 0xf6;
    pub const ENUM: u8 = 0xf7;
    pub const SET: u8 = 0xf8;
    pub const TINY_BLOB: u8 = 0xf9;
    pub const MEDIUM_BLOB: u8 = 0xfa;
    pub const LONG_BLOB: u8 = 0xfb;
    pub const BLOB: u8 = 0xfc;
    pub const VAR_STRING: u8 = 0xfd;
    /// CHAR and BINARY.
    pub const STRING: u8 = 0xfe;
    pub const GEOMETRY: u8 = 0xff;
}

/// Bits of [`ColumnType::flag`].
pub mod flag {
    #![allow(missing_docs, reason = "the names say it")]
    pub const NOT_NULL: u64 = 1;
    pub const PRI_KEY: u64 = 2;
    pub const UNIQUE_KEY: u64 = 4;
    pub const MULTIPLE_KEY: u64 = 8;
    pub const BLOB: u64 = 16;
    pub const UNSIGNED: u64 = 32;
    pub const ZEROFILL: u64 = 64;
    pub const BINARY: u64 = 128;
    pub const AUTO_INCREMENT: u64 = 512;
    pub const NO_DEFAULT_VALUE: u64 = 4096;
    pub const ON_UPDATE_NOW: u64 = 8192;
}

/// MySQL type byte, flags and attributes of a column.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ColumnType {
    /// MySQL's type byte: one of [`tp`].
    pub tp: u8,
    /// Bits of [`flag`].
    pub flag: u64,
    /// Display length, precision, length in characters or bits; -1: not given.
    pub flen: i64,
    /// Scale of a number, digits of a fraction of a second; -1: not given.
    pub decimal: i64,
    /// Character set; `binary` for bytes and for everything that is no text.
    pub charset: String,
    /// Collation.
    pub collate: String,
    /// Names of an ENUM or SET.
    pub elems: Vec<String>,
    /// An array column: only hidden columns of multi-valued indexes are.
    pub array: bool,
}

impl ColumnType {
    /// UNSIGNED.
    pub fn is_unsigned(&self) -> bool {
        self.flag & flag::UNSIGNED != 0
    }
    /// NOT NULL.
    pub fn is_not_null(&self) -> bool {
        self.flag & flag::NOT_NULL != 0
    }
    /// Digits of a fraction of a second: 0 to 6.
    pub fn fsp(&self) -> u8 {
        self.decimal.clamp(0, 6) as u8
    }
    /// CHAR, VARCHAR, the TEXTs and their binary sisters.
    pub fn is_string(&self) -> bool {
        matches!(
            self.tp,
            tp::VARCHAR
                | tp::VAR_STRING
                | tp::STRING
                | tp::TINY_BLOB
                | tp::MEDIUM_BLOB
                | tp::LONG_BLOB
                | tp::BLOB
        )
    }
    /// BINARY, VARBINARY and the BLOBs: bytes, not characters.
    pub fn is_bytes(&self) -> bool {
        self.is_string() && self.charset == "binary"
    }
    /// CHAR, VARCHAR and the TEXTs.
    pub fn is_text(&self) -> bool {
        self.is_string() && self.charset != "binary"
    }
    /// TINYINT to BIGINT.
    pub fn is_integer(&self) -> bool {
        matches!(self.tp, tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG)
    }
}

/// One column of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Column {
    /// Unique inside its table, never used again.
    pub id: i64,
    /// As it was written.
    pub name: String,
    /// Position in [`crate::Table::columns`].
    pub offset: usize,
    /// Type and attributes.
    pub ty: ColumnType,
    /// State is public: readers see it.
    pub public: bool,
    /// Made by TiDB for an expression index: no reader sees it.
    pub hidden: bool,
    /// Text of the expression; empty: not generated.
    pub generated_expr: String,
    /// STORED, not VIRTUAL.
    pub generated_stored: bool,
    /// DEFAULT as text, decoded (BIT: its big-endian bytes); None: no default.
    pub default: Option<Vec<u8>>,
    /// The default's text is an expression.
    pub default_is_expr: bool,
    /// What rows written before the column existed hold, in the same form.
    pub origin_default: Option<Vec<u8>>,
    /// COMMENT.
    pub comment: String,
}

/// A default that is the moment of the insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
    /// CURRENT_TIMESTAMP, of TIMESTAMP and DATETIME columns.
    Timestamp,
    /// CURRENT_DATE, of DATE and DATETIME columns.
    Date,
}

impl Column {
    /// Which moment a default's text stands for, which TiDB does not mark as an expression; `None`: it is a value.
    pub fn moment(&self, default: &[u8]) -> Option<Moment> {
        let begins = |word: &str| {
            default.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
        };
        match self.ty.tp {
            tp::TIMESTAMP | tp::DATETIME if begins("CURRENT_TIMESTAMP") => Some(Moment::Timestamp),
            tp::DATE | tp::NEW_DATE | tp::DATETIME if begins("CURRENT_DATE") => Some(Moment::Date),
            _ => None,
        }
    }
    /// Whether its value is computed.
    pub fn is_generated(&self) -> bool {
        !self.generated_expr.is_empty()
    }
    /// Whether a row of the table has it: public and not hidden.
    pub fn is_visible(&self) -> bool {
        self.public && !self.hidden
    }
    /// Whether a sink writes it: visible and not generated.
    pub fn is_writable(&self) -> bool {
        self.is_visible() && !self.is_generated()
    }
}
