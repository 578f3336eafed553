//! `reparo look`: the changes of rows, as they came: the history of a row by its key, or what a condition over old and new values finds.

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::Arc;

use binlog_catalog::{ChangeKind, Event, Row, RowChange, Table, Transaction, Value};
use binlog_sink::key_columns;
use binlog_types::TableId;

use crate::picker::Picker;
use crate::text::{Format, TextWriter};
use crate::undo::shown;
use crate::{Config, Error, Origin, Selection, utc};

/// The text of a key's values.
type Key = Vec<Vec<u8>>;

/// Rows by their key, followed where their key changes.
#[derive(Debug)]
struct Followed {
    first: Key,
    /// Columns whose values are given, as `NAME=VALUE`; none: the key's columns in their order.
    names: Vec<String>,
    /// Keys that the row got later, by database and table.
    later: HashMap<(Arc<str>, TableId, String), HashSet<Key>>,
    /// Changes of tables that lack these columns, or have another number of them in their key.
    unkeyed: u64,
}

impl Followed {
    /// Reads `5,x` or `id=5,name=x`.
    fn parse(text: &str) -> Self {
        let parts: Vec<&str> = text.split(',').map(str::trim).collect();
        let named: Option<Vec<(&str, &str)>> =
            parts.iter().map(|part| part.split_once('=').filter(|(name, _)| is_name(name))).collect();
        let bytes = |value: &str| value.as_bytes().to_vec();
        let (names, first) = match named {
            Some(named) => named.iter().map(|(name, value)| ((*name).to_owned(), bytes(value))).unzip(),
            None => (Vec::new(), parts.into_iter().map(bytes).collect()),
        };
        Followed { first, names, later: HashMap::new(), unkeyed: 0 }
    }

    /// Where the key is in a row of `table`; None: its key is another one.
    fn columns(&self, table: &Table) -> Option<Vec<usize>> {
        if self.names.is_empty() {
            return key_columns(table).filter(|columns| columns.len() == self.first.len());
        }
        let place = |name: &String| table.columns.iter().position(|c| c.name.eq_ignore_ascii_case(name));
        self.names.iter().map(place).collect()
    }

    fn takes(&mut self, change: &RowChange) -> bool {
        let table = &change.table.table;
        let Some(columns) = self.columns(table) else {
            self.unkeyed += 1;
            return false;
        };
        let key = |row: &Row| -> Option<Key> {
            let text = |at: &usize| row.get(*at)?.as_ref()?.to_text(table.columns.get(*at)?);
            columns.iter().map(text).collect()
        };
        let (old, new) = match &change.kind {
            ChangeKind::Insert(row) => (None, key(row)),
            ChangeKind::Delete(row) => (key(row), None),
            ChangeKind::Update { before, after } => (key(before), key(after)),
        };
        // Of binlog files all tables have one id.
        let name = if table.id == TableId(0) { table.name.clone() } else { String::new() };
        let later = self.later.entry((change.table.schema.clone(), table.id, name)).or_default();
        let first = &self.first;
        let known = |later: &HashSet<Key>, key: &Option<Key>| {
            key.as_ref().is_some_and(|key| key == first || later.contains(key))
        };
        let takes = known(later, &old) || known(later, &new);
        if takes
            && let Some(new) = new
            && old.is_some()
        {
            later.insert(new);
        }
        takes
    }

    /// Why nothing was found, where that is the key's fault.
    fn complaint(&self) -> Option<String> {
        let many = (self.unkeyed > 0).then_some(self.unkeyed)?;
        Some(if self.names.is_empty() {
            format!(
                "{many} changes are of tables without a key of {} column(s), which -key gives values for: name the columns, as -key=id=5",
                self.first.len()
            )
        } else {
            format!("{many} changes are of tables without the column(s) {}", self.names.join(", "))
        })
    }
}

/// A column's name as it may stand before `=`; `a.b=c` and the like are values.
fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$');
    !text.is_empty() && text.chars().all(letter)
}

/// How many changes were found and read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Changes that were shown.
    pub shown: u64,
    /// Changes that were read.
    pub read: u64,
    /// There may be more: `-limit` was reached.
    pub cut: bool,
}

/// What is asked for beyond the range.
pub(crate) struct Asked {
    /// None: for people.
    format: Option<Format>,
    limit: u64,
    picker: Picker,
    followed: Option<Followed>,
}

impl Asked {
    /// From the settings.
    ///
    /// # Errors
    /// For values that make no sense.
    pub(crate) fn of(config: &Config) -> Result<Self, Error> {
        let format = match config.dest_type.as_str() {
            "print" => None,
            _ => match Format::of(config)? {
                Some(Format::Nothing) | None => {
                    let text = "look writes print, sql, json or csv, to stdout or -dest-path";
                    return Err(Error::Config(text.to_owned()));
                }
                format => format,
            },
        };
        let limit = match u64::try_from(config.limit) {
            Ok(0) => u64::MAX,
            Ok(limit) => limit,
            Err(_) => return Err(Error::Config("-limit must not be negative".to_owned())),
        };
        let followed = followed(config)?;
        if let Origin::Files(_) = config.origin()?
            && followed.as_ref().is_some_and(|followed| followed.names.is_empty())
        {
            let text = "binlog files do not tell which columns are a table's key: name them, as -key=id=5 or -key=a=1,b=x";
            return Err(Error::Config(text.to_owned()));
        }
        Ok(Asked { format, limit, picker: Picker::of(config)?, followed })
    }
}

/// Shows the changes that `config` asks for on stdout, or in `-dest-path`.
///
/// # Errors
/// As those of a restore.
pub async fn look(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Found, Error> {
    let Asked { format, limit, mut picker, mut followed } = Asked::of(config)?;
    let selection = Selection::open(config).await?;
    let mut found = Found::default();
    if selection.range.is_empty() {
        return Ok(found);
    }
    let mut writer = TextWriter::open(format.unwrap_or(Format::Print), &config.dest_path)?;
    writer.begin(selection.range)?;
    let mut reading = selection.read().await?;
    let all = picker.takes_all();
    selection
        .each(&mut reading, "looking", shutdown, |event| {
            match event {
                Event::Ddl(ddl) if all && format.is_none() && !ddl.ahead => {
                    let (at, time) = (ddl.commit_ts, utc(ddl.commit_ts.ts()));
                    writer.line(&format!("{time}  commit_ts {at}  DDL  {}", ddl.query))?;
                }
                Event::Ddl(_) => {}
                Event::Transaction(txn) => {
                    let mut kept = Vec::new();
                    for change in &txn.changes {
                        found.read += 1;
                        let takes = followed.as_mut().is_none_or(|followed| followed.takes(change));
                        if takes && picker.picks(txn, change)? && found.shown < limit {
                            found.shown += 1;
                            kept.push(change.clone());
                        }
                    }
                    if !kept.is_empty() {
                        let txn = Transaction { changes: kept, ..head_of(txn) };
                        match format {
                            Some(_) => writer.write(&[Event::Transaction(txn)])?,
                            None => writer.line(&described(&txn))?,
                        }
                    }
                }
            }
            found.cut = found.shown >= limit;
            Ok(!found.cut)
        })
        .await?;
    writer.finish()?;
    match followed.as_ref().and_then(Followed::complaint) {
        Some(complaint) if found.shown == 0 => Err(Error::Config(complaint)),
        Some(complaint) => {
            tracing::warn!("{complaint}");
            Ok(found)
        }
        None => Ok(found),
    }
}

fn head_of(txn: &Transaction) -> Transaction {
    Transaction {
        start_ts: txn.start_ts,
        commit_ts: txn.commit_ts,
        schema_version: txn.schema_version,
        part: txn.part,
        changes: Vec::new(),
    }
}

fn followed(config: &Config) -> Result<Option<Followed>, Error> {
    if config.key.is_empty() {
        return Ok(None);
    }
    if config.table.is_empty() && config.replicate_do_table.is_empty() {
        return Err(Error::Config("-key needs -table=DB.TABLE: of which table is it?".to_owned()));
    }
    Ok(Some(Followed::parse(&config.key)))
}

/// A line a change, and a line for its values.
fn described(txn: &Transaction) -> String {
    let mut lines = Vec::new();
    for change in &txn.changes {
        let table = &change.table.table;
        let key = key_columns(table);
        let (kind, row) = match &change.kind {
            ChangeKind::Insert(row) => ("INSERT", row),
            ChangeKind::Delete(row) => ("DELETE", row),
            ChangeKind::Update { before, .. } => ("UPDATE", before),
        };
        lines.push(format!(
            "{}  commit_ts {}  start_ts {}  {kind}  {}.{} {}",
            utc(txn.commit_ts.ts()),
            txn.commit_ts,
            txn.start_ts,
            change.table.schema,
            table.name,
            shown(key.as_deref(), table, row)
        ));
        let values: Vec<String> = match &change.kind {
            ChangeKind::Insert(row) | ChangeKind::Delete(row) => (0..table.columns.len())
                .filter_map(|at| Some(format!("{}: {}", name(table, at)?, value(table, row, at)?)))
                .collect(),
            ChangeKind::Update { before, after } => (0..table.columns.len())
                .filter(|at| before.get(*at) != after.get(*at))
                .filter_map(|at| {
                    let absent = || "(absent)".to_owned();
                    let old = value(table, before, at).unwrap_or_else(absent);
                    let new = value(table, after, at).unwrap_or_else(absent);
                    Some(format!("{}: {old} => {new}", name(table, at)?))
                })
                .collect(),
        };
        lines.push(format!("    {}", values.join(", ")));
    }
    lines.join("\n")
}

fn name(table: &Table, at: usize) -> Option<&str> {
    table.columns.get(at).map(|c| c.name.as_str())
}

fn value(table: &Table, row: &Row, at: usize) -> Option<String> {
    let (column, value) = (table.columns.get(at)?, row.get(at)?.as_ref()?);
    Some(match value {
        Value::Bit(bits) => bits.to_string(),
        value => match value.to_text(column) {
            None => "NULL".to_owned(),
            Some(text) => format!("'{}'", String::from_utf8_lossy(&text).escape_debug()),
        },
    })
}

#[cfg(test)]
mod tests {
    use binlog_catalog::{ColumnType, Part, TableBuilder, TableRef};
    use binlog_types::{CommitTs, SchemaVersion, StartTs};

    use super::*;

    #[test]
    fn a_row_is_followed_to_its_later_keys() {
        let table = TableBuilder::new(TableId(1), "t", SchemaVersion(1))
            .column("id", ColumnType::int())
            .column("v", ColumnType::int())
            .primary_key(&["id"])
            .build();
        let table = TableRef { schema: "d".into(), table: Arc::new(table) };
        let row = |id: i64, v: i64| vec![Some(Value::Int(id)), Some(Value::Int(v))];
        let change = |kind| RowChange { table: table.clone(), kind };
        let update = |a, b| change(ChangeKind::Update { before: a, after: b });
        let mut followed = Followed::parse("1");
        assert!(!followed.takes(&change(ChangeKind::Insert(row(7, 1)))));
        assert!(followed.takes(&change(ChangeKind::Insert(row(1, 1)))));
        assert!(followed.takes(&update(row(1, 1), row(9, 1))));
        assert!(followed.takes(&update(row(9, 1), row(9, 2))));
        assert!(!followed.takes(&change(ChangeKind::Delete(row(7, 1)))));
        assert_eq!(followed.complaint(), None);
        let mut by_value = Followed::parse("v=3");
        assert!(by_value.takes(&change(ChangeKind::Insert(row(5, 3)))));
        assert!(!by_value.takes(&change(ChangeKind::Insert(row(3, 5)))));
        let mut two = Followed::parse("1,2");
        assert!(!two.takes(&change(ChangeKind::Insert(row(1, 2)))));
        assert!(two.complaint().is_some_and(|text| text.contains("key of 2 column(s)")));
        let mut unknown = Followed::parse("w=1");
        assert!(!unknown.takes(&change(ChangeKind::Insert(row(1, 2)))));
        assert!(unknown.complaint().is_some_and(|text| text.contains("w")));
        let txn = Transaction {
            start_ts: StartTs::new(1),
            commit_ts: CommitTs::new(2),
            schema_version: SchemaVersion(1),
            part: Part::WHOLE,
            changes: vec![update(row(9, 1), row(9, 2))],
        };
        let text = described(&txn);
        assert!(text.ends_with("UPDATE  d.t (id = 9)\n    v: '1' => '2'"), "{text}");
    }
}
