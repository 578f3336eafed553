//! A column's definition, MySQL dialect.

use binlog_catalog::{Column, Moment, Value, codec::PackedTime, flag, tp};
use binlog_catalog::{Ddl, TimeKind};

use super::dialect::{Dialect, Kind};
use crate::literal;
use crate::names::backtick;
use crate::notices::Notices;

/// Which default a definition carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DefaultOf {
    /// The column's own.
    Column,
    /// What rows hold that were there before the column: for ADD COLUMN, where the own default would be evaluated anew.
    Origin,
}

/// What the indexes of a table mean for one of its columns.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Keyed {
    /// An index leads with it, as AUTO_INCREMENT asks for.
    pub(super) leads: bool,
    /// A unique index with it would be too long if its characters took four bytes.
    pub(super) too_wide: bool,
}

/// `` `name` TYPE … `` as in CREATE TABLE. `whose` names the table in reports.
pub(super) fn definition(
    dialect: &Dialect,
    column: &Column,
    whose: &str,
    keyed: Keyed,
    default: DefaultOf,
    notices: &mut Notices,
) -> String {
    let mut out = backtick(&column.name);
    out.push(' ');
    out.push_str(&type_text(dialect, column, whose, keyed, notices));
    if column.is_generated() {
        let kind = if column.generated_stored { "STORED" } else { "VIRTUAL" };
        out.push_str(&format!(" GENERATED ALWAYS AS ({}) {kind}", column.generated_expr));
        if column.ty.is_not_null() && dialect.generated_not_null() {
            out.push_str(" NOT NULL");
        }
    } else {
        out.push_str(if column.ty.is_not_null() { " NOT NULL" } else { " NULL" });
        if column.ty.flag & flag::AUTO_INCREMENT != 0 {
            if keyed.leads {
                out.push_str(" AUTO_INCREMENT");
            } else {
                notices.report(format!(
                    "{whose}: AUTO_INCREMENT of `{}` is left out: no index leads with it",
                    column.name
                ));
            }
        } else {
            out.push_str(&default_text(dialect, column, whose, default, notices));
        }
        if column.ty.flag & flag::ON_UPDATE_NOW != 0 {
            out.push_str(&format!(" ON UPDATE {}", now(column)));
        }
    }
    if !column.comment.is_empty() {
        out.push_str(&format!(" COMMENT {}", literal::text(&column.comment)));
    }
    out
}

fn now(column: &Column) -> String {
    match column.ty.fsp() {
        0 => "CURRENT_TIMESTAMP".to_owned(),
        fsp => format!("CURRENT_TIMESTAMP({fsp})"),
    }
}

/// The moment of a DDL as a value of the column, for rows that were there before the column and whose default is the time of an insert. `None`:
/// the column is no time.
pub(super) fn moment_of(ddl: &Ddl, column: &Column) -> Option<Value> {
    let millis = ddl.commit_ts.raw() >> 18;
    let utc = i64::try_from(millis / 1000).ok()?;
    let kind = match column.ty.tp {
        tp::TIMESTAMP => TimeKind::Timestamp,
        tp::DATETIME => TimeKind::DateTime,
        tp::DATE | tp::NEW_DATE => TimeKind::Date,
        _ => return None,
    };
    let shift = match (kind, &ddl.zone) {
        (TimeKind::Timestamp, _) | (_, None) => 0,
        (_, Some(zone)) => zone.offset_at(utc).unwrap_or(0),
    };
    let mut time = PackedTime::of_seconds(utc + shift, (millis % 1000) as u32 * 1000)?;
    let moment = column.origin_default.as_deref().and_then(|text| column.moment(text));
    if kind == TimeKind::Date || moment == Some(Moment::Date) {
        time = PackedTime { hour: 0, minute: 0, second: 0, micros: 0, ..time };
    }
    Some(Value::Time { kind, packed: time.pack(), fsp: column.ty.fsp() })
}

fn default_text(
    dialect: &Dialect,
    column: &Column,
    whose: &str,
    which: DefaultOf,
    notices: &mut Notices,
) -> String {
    let (value, expression) = match which {
        DefaultOf::Column => (column.default.as_deref(), column.default_is_expr),
        DefaultOf::Origin => (column.origin_default.as_deref(), false),
    };
    let Some(value) = value else {
        // MariaDB gives the first TIMESTAMP a default of its own where none is said.
        return if column.ty.is_not_null() { String::new() } else { " DEFAULT NULL".to_owned() };
    };
    match column.moment(value) {
        Some(Moment::Timestamp) => return format!(" DEFAULT {}", now(column)),
        Some(Moment::Date) if dialect.has_expression_defaults() => {
            return " DEFAULT (CURRENT_DATE)".to_owned();
        }
        Some(Moment::Date) => {
            report_expression(dialect, column, whose, notices);
            return String::new();
        }
        None => {}
    }
    let text = String::from_utf8_lossy(value);
    if expression {
        let lower = text.to_ascii_lowercase();
        if lower.contains("nextval") || lower.contains("next value") {
            notices.report(format!(
                "{whose}: the default of `{}` is left out: {} does not hold the sequence",
                column.name,
                dialect.name()
            ));
            return String::new();
        }
        if !dialect.has_expression_defaults() {
            report_expression(dialect, column, whose, notices);
            return String::new();
        }
        return format!(" DEFAULT ({text})");
    }
    let takes_none = column.ty.tp == tp::JSON
        || matches!(column.ty.tp, tp::TINY_BLOB | tp::BLOB | tp::MEDIUM_BLOB | tp::LONG_BLOB);
    if takes_none && dialect.kind != Kind::MariaDb {
        return String::new();
    }
    let mut out = " DEFAULT ".to_owned();
    if column.ty.tp == tp::BIT {
        out.push_str(&format!("b'{:b}'", bit_value(value)));
    } else if column.ty.is_bytes() {
        literal::push_hex(&mut out, value);
    } else if column.ty.tp == tp::ENUM || column.ty.tp == tp::SET || std::str::from_utf8(value).is_ok() {
        literal::push_text(&mut out, &text);
    } else {
        literal::push_hex(&mut out, value);
    }
    out
}

fn report_expression(dialect: &Dialect, column: &Column, whose: &str, notices: &mut Notices) {
    notices.report(format!(
        "{whose}: the default of `{}` is left out: it is an expression, which this {} does not take",
        column.name,
        dialect.name()
    ));
}

/// A BIT default's number, from its big-endian bytes.
pub(super) fn bit_value(bytes: &[u8]) -> u64 {
    bytes.iter().rev().take(8).rev().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

fn type_text(dialect: &Dialect, column: &Column, whose: &str, keyed: Keyed, notices: &mut Notices) -> String {
    let ty = &column.ty;
    let bytes = ty.charset == "binary";
    let length = |name: &str| if ty.flen > 0 { format!("{name}({})", ty.flen) } else { name.to_owned() };
    let fraction = |name: &str| if ty.fsp() > 0 { format!("{name}({})", ty.fsp()) } else { name.to_owned() };
    let scaled = |name: &str| {
        if ty.flen > 0 && ty.decimal >= 0 {
            format!("{name}({},{})", ty.flen, ty.decimal)
        } else {
            name.to_owned()
        }
    };
    let names = |kind: &str| {
        let list: Vec<String> = ty.elems.iter().map(|e| literal::text(e)).collect();
        format!("{kind}({})", list.join(","))
    };
    let base = match ty.tp {
        tp::TINY => length("TINYINT"),
        tp::SHORT => length("SMALLINT"),
        tp::INT24 => length("MEDIUMINT"),
        tp::LONG => length("INT"),
        tp::LONGLONG => length("BIGINT"),
        tp::FLOAT => scaled("FLOAT"),
        tp::DOUBLE => scaled("DOUBLE"),
        tp::NEW_DECIMAL => {
            if ty.flen > 0 {
                format!("DECIMAL({},{})", ty.flen, ty.decimal.max(0))
            } else {
                "DECIMAL".to_owned()
            }
        }
        tp::BIT => length("BIT"),
        tp::YEAR => "YEAR".to_owned(),
        tp::DATE | tp::NEW_DATE => "DATE".to_owned(),
        tp::DURATION => fraction("TIME"),
        tp::DATETIME => fraction("DATETIME"),
        tp::TIMESTAMP => fraction("TIMESTAMP"),
        tp::JSON => "JSON".to_owned(),
        tp::ENUM => names("ENUM"),
        tp::SET => names("SET"),
        tp::VARCHAR | tp::VAR_STRING if bytes => format!("VARBINARY({})", ty.flen.max(0)),
        tp::VARCHAR | tp::VAR_STRING => format!("VARCHAR({})", ty.flen.max(0)),
        tp::STRING if bytes => format!("BINARY({})", ty.flen.max(0)),
        tp::STRING => format!("CHAR({})", ty.flen.max(0)),
        tp::TINY_BLOB => if bytes { "TINYBLOB" } else { "TINYTEXT" }.to_owned(),
        tp::BLOB => if bytes { "BLOB" } else { "TEXT" }.to_owned(),
        tp::MEDIUM_BLOB => if bytes { "MEDIUMBLOB" } else { "MEDIUMTEXT" }.to_owned(),
        tp::LONG_BLOB => if bytes { "LONGBLOB" } else { "LONGTEXT" }.to_owned(),
        other => {
            notices.report(format!(
                "{whose}: column `{}` of type {other:#x} becomes LONGBLOB: {} has no such type",
                column.name,
                dialect.name()
            ));
            return "LONGBLOB".to_owned();
        }
    };
    let mut out = base;
    if ty.is_unsigned() && (ty.is_integer() || matches!(ty.tp, tp::FLOAT | tp::DOUBLE | tp::NEW_DECIMAL)) {
        out.push_str(" UNSIGNED");
        if ty.flag & flag::ZEROFILL != 0 {
            out.push_str(" ZEROFILL");
        }
    }
    let has_charset = ty.is_text() || matches!(ty.tp, tp::ENUM | tp::SET);
    if has_charset && !bytes && !ty.charset.is_empty() {
        let whose = format!("{whose}, column `{}`", column.name);
        let (charset, collate) = if keyed.too_wide && dialect.widens(&ty.charset) {
            notices.report(format!(
                "{whose}: it stays in character set {}, for its unique index would be too long in utf8mb4: characters that {} does not hold in it are lost",
                ty.charset,
                dialect.name()
            ));
            (ty.charset.to_ascii_lowercase(), format!("{}_bin", ty.charset.to_ascii_lowercase()))
        } else {
            dialect.collation(&ty.charset, &ty.collate, &whose, notices)
        };
        out.push_str(&format!(" CHARACTER SET {charset}"));
        if !collate.is_empty() {
            out.push_str(&format!(" COLLATE {collate}"));
        }
    }
    out
}
