//! Whether a column of the target can hold what the source's can.

use binlog_catalog::{Column, tp};

/// What the server says of a column's type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Width {
    /// As `varchar(20)`, in lower case.
    pub(super) column_type: String,
    /// Characters (bytes of binary columns) that a string holds.
    pub(super) characters: Option<u64>,
}

/// Whether values that `source` takes may not fit. Types of another family are not judged.
pub(super) fn narrower(target: &Width, source: &Column) -> bool {
    let (name, arguments) = parts(&target.column_type);
    let numbers: Vec<i64> = arguments.split(',').filter_map(|n| n.trim().parse().ok()).collect();
    let first = numbers.first().copied();
    let ty = &source.ty;
    match ty.tp {
        tp::TINY | tp::SHORT | tp::INT24 | tp::LONG | tp::LONGLONG => {
            let unsigned = target.column_type.contains(" unsigned");
            let (Some(there), Some(here)) = (bits(name), source_bits(ty.tp)) else { return false };
            match (ty.is_unsigned(), unsigned) {
                (true, false) => there <= here,
                (false, true) => true,
                (true, true) | (false, false) => there < here,
            }
        }
        tp::NEW_DECIMAL if name == "decimal" => {
            let (digits, scale) = (first.unwrap_or(10), numbers.get(1).copied().unwrap_or(0));
            scale < ty.decimal.max(0) || digits - scale < ty.flen - ty.decimal.max(0)
        }
        tp::DATETIME | tp::TIMESTAMP | tp::DURATION if matches!(name, "datetime" | "timestamp" | "time") => {
            let date_only = name == "time" && ty.tp != tp::DURATION;
            date_only || first.unwrap_or(0) < i64::from(ty.fsp())
        }
        tp::ENUM | tp::SET if matches!(name, "enum" | "set") => {
            // Values go by number: the names must be the same up to there.
            let names: Vec<String> = ty.elems.iter().map(|e| e.replace('\'', "''").to_lowercase()).collect();
            !format!("{},", arguments).starts_with(&format!("'{}',", names.join("','")))
        }
        tp::DOUBLE => name == "float",
        _ if ty.is_string() => match (target.characters, source_characters(source)) {
            (Some(there), Some(here)) => there < here,
            _ => false,
        },
        _ => false,
    }
}

/// `varchar(20) binary` as `varchar` and `20`.
fn parts(column_type: &str) -> (&str, &str) {
    match column_type.split_once('(') {
        Some((name, rest)) => (name.trim(), rest.rsplit_once(')').map_or(rest, |(inner, _)| inner)),
        None => (column_type.split_whitespace().next().unwrap_or_default(), ""),
    }
}

fn bits(name: &str) -> Option<u32> {
    Some(match name {
        "tinyint" => 8,
        "smallint" => 16,
        "mediumint" => 24,
        "int" => 32,
        "bigint" => 64,
        _ => return None,
    })
}

fn source_bits(source: u8) -> Option<u32> {
    Some(match source {
        tp::TINY => 8,
        tp::SHORT => 16,
        tp::INT24 => 24,
        tp::LONG => 32,
        tp::LONGLONG => 64,
        _ => return None,
    })
}

fn source_characters(source: &Column) -> Option<u64> {
    match source.ty.tp {
        tp::TINY_BLOB => Some(255),
        tp::BLOB => Some(65_535),
        tp::MEDIUM_BLOB => Some(16_777_215),
        tp::LONG_BLOB => Some(u64::from(u32::MAX)),
        _ => u64::try_from(source.ty.flen).ok(),
    }
}

#[cfg(test)]
mod tests {
    use binlog_catalog::ColumnType;

    use super::*;

    fn is_narrower(column_type: &str, characters: Option<u64>, ty: ColumnType) -> bool {
        let column = Column { ty, ..Column::default() };
        narrower(&Width { column_type: column_type.to_owned(), characters }, &column)
    }

    #[test]
    fn what_may_be_cut_is_found() {
        let int = ColumnType::int;
        assert!(!is_narrower("int(11)", None, int()) && !is_narrower("bigint(20)", None, int()));
        assert!(is_narrower("smallint(6)", None, int()) && is_narrower("int(10) unsigned", None, int()));
        assert!(is_narrower("int(11)", None, int().unsigned()));
        assert!(!is_narrower("bigint", None, int().unsigned()));
        let text = || ColumnType::varchar(20);
        assert!(is_narrower("varchar(10)", Some(10), text()) && !is_narrower("text", Some(65_535), text()));
        let decimal = || ColumnType { tp: tp::NEW_DECIMAL, flen: 10, decimal: 2, ..ColumnType::default() };
        assert!(
            is_narrower("decimal(10,3)", None, decimal()) && is_narrower("decimal(9,1)", None, decimal())
        );
        assert!(!is_narrower("decimal(12,2)", None, decimal()));
        assert!(is_narrower("datetime", None, ColumnType::datetime(3)));
        assert!(!is_narrower("datetime(6)", None, ColumnType::datetime(3)));
        let names = || ColumnType::enumeration(["a", "it's"]);
        assert!(!is_narrower("enum('a','it''s','c')", None, names()));
        assert!(is_narrower("enum('it''s','a')", None, names()));
        assert!(!is_narrower("json", None, names()));
    }
}
