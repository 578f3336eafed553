//! Partitions in a target that has none: which rows are in one, so that its rows can be dropped or exchanged.
//!
//! Possible where a partition is a range or a list of values over columns or a portable expression, a remainder of one (HASH), or a
//! remainder of the checksum that TiDB takes of values in a form that MySQL shows too (KEY).

use binlog_catalog::{Column, Table, TableRef, tp};
use serde::Deserialize;

use super::change_text::words;
use super::create::visible;
use super::sqlite::is_wide_number;
use crate::names::{backtick, double_quote, mysql_table, sqlite_table, sqlite_table_name};

/// A name in TiDB's JSON.
#[derive(Deserialize)]
struct Name {
    #[serde(rename = "O")]
    original: String,
}

#[derive(Deserialize)]
struct Definition {
    id: i64,
    name: Name,
    #[serde(default)]
    less_than: Option<Vec<String>>,
    #[serde(default)]
    in_values: Option<Vec<Vec<String>>>,
}

#[derive(Deserialize)]
struct Partitions {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    expr: String,
    #[serde(default)]
    columns: Option<Vec<Name>>,
    #[serde(default)]
    definitions: Option<Vec<Definition>>,
    /// How many there are of HASH and KEY.
    #[serde(default)]
    num: u64,
}

#[derive(Deserialize)]
struct Info {
    partition: Option<Partitions>,
}

const RANGE: u8 = 1;
const HASH: u8 = 2;
const LIST: u8 = 3;
const KEY: u8 = 4;
const MAXVALUE: &str = "MAXVALUE";

/// What partitions of LIST hold.
#[derive(Default)]
struct Listed {
    values: Vec<String>,
    null: bool,
    /// All that none lists.
    default: bool,
}

impl Listed {
    fn of(definitions: &[Definition]) -> Option<Self> {
        let mut listed = Listed::default();
        for value in definitions
            .iter()
            .map(|d| d.in_values.as_ref())
            .collect::<Option<Vec<_>>>()?
            .into_iter()
            .flatten()
        {
            match value.as_slice() {
                [one] if one.eq_ignore_ascii_case("NULL") => listed.null = true,
                [one] if one.eq_ignore_ascii_case("DEFAULT") => listed.default = true,
                [one] => listed.values.push(one.clone()),
                _ => return None,
            }
        }
        Some(listed)
    }
}

impl Partitions {
    fn of(table: &Table) -> Option<Self> {
        serde_json::from_slice::<Info>(&table.json).ok()?.partition
    }

    fn definitions(&self) -> &[Definition] {
        self.definitions.as_deref().unwrap_or_default()
    }

    /// What the bounds and values are compared with.
    fn subject(&self, sqlite: bool) -> Option<String> {
        let quote = if sqlite { double_quote } else { backtick };
        match self.columns.as_deref().unwrap_or_default() {
            [] => {
                let column_only = self.expr.starts_with('`')
                    && self.expr.ends_with('`')
                    && !self.expr.trim_matches('`').contains(['`', ' ', '(']);
                // SQLite takes backticks as quotes, but has other functions.
                (!self.expr.is_empty() && (column_only || !sqlite)).then(|| format!("({})", self.expr))
            }
            [column] => Some(quote(&column.original)),
            _ => None,
        }
    }

    /// A condition that holds for the rows of the definition at `at`.
    fn condition(&self, table: &Table, at: usize, sqlite: bool) -> Option<String> {
        match self.kind {
            HASH => return self.remainder(table, at, sqlite),
            KEY => return self.checksum(table, at, sqlite),
            _ => {}
        }
        let subject = self.subject(sqlite)?;
        let definition = self.definitions().get(at)?;
        match self.kind {
            RANGE => {
                let bound = |at: usize| match self.definitions().get(at)?.less_than.as_deref()? {
                    [bound] => Some(bound.clone()),
                    _ => None,
                };
                let upper = bound(at)?;
                let lower = match at.checked_sub(1) {
                    Some(previous) => Some(bound(previous)?),
                    None => None,
                };
                let upper = (!upper.eq_ignore_ascii_case(MAXVALUE)).then(|| format!("{subject} < {upper}"));
                let lower = lower.map(|bound| format!("{subject} >= {bound}"));
                Some(match (lower, upper) {
                    (Some(lower), Some(upper)) => format!("({lower} AND {upper})"),
                    (Some(lower), None) => format!("({lower})"),
                    // NULL lies below all ranges.
                    (None, Some(upper)) => format!("({subject} IS NULL OR {upper})"),
                    (None, None) => "(1 = 1)".to_owned(),
                })
            }
            LIST => {
                let listed = Listed::of(std::slice::from_ref(definition))?;
                let mut parts = Vec::new();
                if !listed.values.is_empty() {
                    parts.push(format!("{subject} IN ({})", listed.values.join(",")));
                }
                let all = Listed::of(self.definitions())?;
                if listed.default {
                    // What no partition lists.
                    parts.push(match all.values.as_slice() {
                        [] => format!("{subject} IS NOT NULL"),
                        values => format!("{subject} NOT IN ({})", values.join(",")),
                    });
                }
                if listed.null || (listed.default && !all.null) {
                    parts.push(format!("{subject} IS NULL"));
                }
                (!parts.is_empty()).then(|| format!("({})", parts.join(" OR ")))
            }
            _ => None,
        }
    }

    /// HASH: TiDB takes the value as a signed number, and its remainder without the sign; NULL lies in the first partition.
    fn remainder(&self, table: &Table, at: usize, sqlite: bool) -> Option<String> {
        let subject = self.subject(sqlite)?;
        let num = Some(self.num).filter(|num| *num > 0)?;
        if !sqlite {
            return Some(format!("(COALESCE(ABS(MOD(CAST({subject} AS SIGNED), {num})), 0) = {at})"));
        }
        let name = match self.columns.as_deref().unwrap_or_default() {
            [column] => column.original.as_str(),
            _ => self.expr.trim_matches('`'),
        };
        let plain = table.column(name).is_some_and(|c| c.ty.is_integer() && !is_wide_number(c));
        plain.then(|| format!("(coalesce(abs({subject} % {num}), 0) = {at})"))
    }

    /// KEY: TiDB takes the CRC-32 of the values as text, one after the other. Text itself goes through its collation first, which
    /// cannot be said in SQL.
    fn checksum(&self, table: &Table, at: usize, sqlite: bool) -> Option<String> {
        let num = Some(self.num).filter(|num| *num > 0 && !sqlite)?;
        let named = self.columns.as_deref().unwrap_or_default();
        let columns: Vec<&Column> = if named.is_empty() {
            let key = table.primary_key()?;
            key.columns.iter().map(|part| table.columns.get(part.offset)).collect::<Option<_>>()?
        } else {
            named.iter().map(|name| table.column(&name.original)).collect::<Option<_>>()?
        };
        let text = |column: &Column| {
            let name = backtick(&column.name);
            let shown = match column.ty.tp {
                tp::DATE | tp::DATETIME | tp::DURATION => name,
                // Not as ZEROFILL shows it.
                _ if column.ty.is_integer() => format!("{name} + 0"),
                _ => return None,
            };
            Some(format!("COALESCE(CAST({shown} AS CHAR), CHAR(0))"))
        };
        let texts: Vec<String> = columns.into_iter().map(text).collect::<Option<_>>()?;
        Some(format!("(MOD(CRC32(CONCAT({})), {num}) = {at})", texts.join(", ")))
    }
}

fn name(table: &TableRef, sqlite: bool) -> String {
    if sqlite {
        sqlite_table(&table.schema, &table.table.name)
    } else {
        mysql_table(&table.schema, &table.table.name)
    }
}

/// Statements that take away the rows of the partitions that `before` has and `after` has not (by id: a truncated partition has a
/// new one). `None`: it cannot be said which rows these are.
pub(super) fn drop_rows(before: &TableRef, after: &TableRef, sqlite: bool) -> Option<Vec<String>> {
    let (old, new) = (Partitions::of(&before.table)?, Partitions::of(&after.table)?);
    let gone =
        old.definitions().iter().enumerate().filter(|(_, d)| !new.definitions().iter().any(|n| n.id == d.id));
    gone.map(|(at, _)| {
        Some(format!(
            "DELETE FROM {} WHERE {}",
            name(before, sqlite),
            old.condition(&before.table, at, sqlite)?
        ))
    })
    .collect()
}

/// Statements that let the rows of `partitioned`'s partition and of `plain` change places. Each may be repeated as long as it is the
/// last one that was begun.
pub(super) fn exchange(
    partitioned: &TableRef,
    plain: &TableRef,
    query: &str,
    sqlite: bool,
) -> Option<Vec<String>> {
    let partitions = Partitions::of(&partitioned.table)?;
    let words = words(query);
    let which = words.windows(3).find_map(|w| match w {
        [exchange, partition, name] if exchange.is("exchange") && partition.is("partition") => {
            Some(&name.text)
        }
        _ => None,
    })?;
    let at = partitions.definitions().iter().position(|d| d.name.original.eq_ignore_ascii_case(which))?;
    let rows = partitions.condition(&partitioned.table, at, sqlite)?;
    let parked = format!("_binlog_exchange_{}", plain.table.id);
    let quote = if sqlite { double_quote } else { backtick };
    let columns: Vec<String> =
        visible(&plain.table).filter(|c| !c.is_generated()).map(|c| quote(&c.name)).collect();
    let columns = columns.join(", ");
    let (whole, part) = (name(partitioned, sqlite), name(plain, sqlite));
    if sqlite {
        let parked = double_quote(&sqlite_table_name(&plain.schema, &parked));
        return Some(vec![
            format!("CREATE TABLE {parked} AS SELECT {columns} FROM {whole} WHERE {rows}"),
            format!("DELETE FROM {whole} WHERE {rows}"),
            format!("INSERT INTO {whole} ({columns}) SELECT {columns} FROM {part}"),
            format!("DELETE FROM {part}"),
            format!("INSERT INTO {part} ({columns}) SELECT {columns} FROM {parked}"),
            format!("DROP TABLE {parked}"),
        ]);
    }
    let old = mysql_table(&plain.schema, &format!("{parked}_old"));
    let parked = mysql_table(&plain.schema, &parked);
    Some(vec![
        format!("CREATE TABLE IF NOT EXISTS {parked} LIKE {part}"),
        format!(
            "TRUNCATE TABLE {parked}; INSERT INTO {parked} ({columns}) SELECT {columns} FROM {whole} WHERE {rows}"
        ),
        format!(
            "DELETE FROM {whole} WHERE {rows}; INSERT INTO {whole} ({columns}) SELECT {columns} FROM {part}"
        ),
        format!("RENAME TABLE {part} TO {old}, {parked} TO {part}"),
        format!("DROP TABLE IF EXISTS {old}"),
    ])
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use binlog_catalog::{ColumnType, TableBuilder};
    use binlog_types::{SchemaVersion, TableId};

    use super::*;

    fn table(json: &str) -> TableRef {
        let table = Table { name: "p".into(), json: json.to_owned().into(), ..Table::default() };
        TableRef { schema: "d".into(), table: Arc::new(table) }
    }

    #[test]
    fn rows_of_ranges_and_lists() {
        let definition = |id, name, bound| {
            format!(
                r#"{{"id":{id},"name":{{"O":"{name}","L":"{name}"}},"less_than":[{bound}],"in_values":null}}"#
            )
        };
        let of = |definitions: &[String]| {
            table(&format!(
                r#"{{"partition":{{"type":1,"expr":"`d`","columns":null,"definitions":[{}]}}}}"#,
                definitions.join(",")
            ))
        };
        let (p0, p1, p2) = (
            definition(1, "p0", "\"10\""),
            definition(2, "p1", "\"20\""),
            definition(3, "p2", "\"MAXVALUE\""),
        );
        let before = of(&[p0, p1.clone(), p2]);
        let after = of(&[definition(9, "p0", "\"10\""), p1]);
        assert_eq!(
            drop_rows(&before, &after, false).unwrap(),
            [
                "DELETE FROM `d`.`p` WHERE ((`d`) IS NULL OR (`d`) < 10)",
                "DELETE FROM `d`.`p` WHERE ((`d`) >= 20)"
            ]
        );
        let list = r#"{"partition":{"type":3,"expr":"","columns":[{"O":"c","L":"c"}],"definitions":[{"id":1,"name":{"O":"a","L":"a"},"in_values":[["1"],["NULL"]]}]}}"#;
        let none = r#"{"partition":{"type":3,"definitions":[]}}"#;
        assert_eq!(
            drop_rows(&table(list), &table(none), true).unwrap(),
            ["DELETE FROM \"d.p\" WHERE (\"c\" IN (1) OR \"c\" IS NULL)"]
        );
    }

    #[test]
    fn rows_of_a_default_hash_or_key_partition() {
        let of = |partition: &str| {
            let mut table = TableBuilder::new(TableId(1), "p", SchemaVersion(1))
                .column("a", ColumnType::int())
                .column("b", ColumnType::varchar(9))
                .build();
            table.json = format!(r#"{{"partition":{partition}}}"#).into();
            TableRef { schema: "d".into(), table: Arc::new(table) }
        };
        let name = |name: &str| format!(r#"{{"O":"{name}","L":"{name}"}}"#);
        let truncated = |head: &str| {
            let numbered = |first: i64| {
                let (p0, p1) = (name("p0"), name("p1"));
                of(&format!(
                    r#"{{{head},"definitions":[{{"id":1,"name":{p0},"in_values":[["1"]]}},{{"id":{first},"name":{p1},"in_values":[["DEFAULT"]]}}]}}"#
                ))
            };
            (numbered(2), numbered(3))
        };
        let rows = |head: &str, sqlite| {
            let (before, after) = truncated(head);
            drop_rows(&before, &after, sqlite)
                .map(|s| s.join(";").split_once(" WHERE ").unwrap().1.to_owned())
        };
        let hash = r#""type":2,"num":2,"expr":"`a`""#;
        assert_eq!(rows(hash, false).unwrap(), "(COALESCE(ABS(MOD(CAST((`a`) AS SIGNED), 2)), 0) = 1)");
        assert_eq!(rows(hash, true).unwrap(), "(coalesce(abs((`a`) % 2), 0) = 1)");
        assert_eq!(rows(r#""type":2,"num":2,"expr":"year(`b`)""#, true), None);
        let key = |column: &str| format!(r#""type":4,"num":2,"expr":"","columns":[{}]"#, name(column));
        assert_eq!(
            rows(&key("a"), false).unwrap(),
            "(MOD(CRC32(CONCAT(COALESCE(CAST(`a` + 0 AS CHAR), CHAR(0)))), 2) = 1)"
        );
        assert_eq!((rows(&key("a"), true), rows(&key("b"), false)), (None, None));
        assert_eq!(rows(r#""type":3,"expr":"`a`""#, false).unwrap(), "((`a`) NOT IN (1) OR (`a`) IS NULL)");
    }
}
