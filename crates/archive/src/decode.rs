//! Records to the events that pumps give, as far as the files tell.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use binlog_catalog::{ChangeKind, Column, Ddl, Event, Part, Row, RowChange, Table, TableRef, Transaction};
use binlog_proto::pb_binlog;
use binlog_types::{CommitTs, JobId, SchemaVersion, StartTs, TableId};
use bytes::Bytes;
use jiff::tz::TimeZone;
use prost::Message as _;

use crate::column::{Reading, column};
use crate::{Change, Error, Name, RawRecord, Statement, Subject};

/// Makes events of records.
///
/// Tables have the columns of the row that is being read and no keys; start_ts and schema version are not known (0). A DDL is its text as it stands in the
/// file, `use …` included, without what it did.
#[derive(Debug)]
pub struct Decoder {
    reading: Reading,
    tables: HashMap<(String, String), Vec<TableRef>>,
    /// Generated columns of the tables whose DDL went by, all in lower case.
    generated: HashMap<(String, String), HashSet<String>>,
}

/// Shapes of one table that are kept: a row of each kind has its own set of columns.
const SHAPES: usize = 8;

impl Decoder {
    /// Values as they stand in the file: what the original prints.
    pub fn as_written() -> Self {
        Self::new(Reading::Text)
    }

    /// Values as pumps give them. TIMESTAMPs, which the files hold in the zone of the drainer's host, become UTC.
    pub fn typed(zone: TimeZone) -> Self {
        Self::new(Reading::Typed(zone))
    }

    fn new(reading: Reading) -> Self {
        Decoder { reading, tables: HashMap::new(), generated: HashMap::new() }
    }

    /// Keeps in mind which columns are generated: rows hold them, and no statement may write them.
    fn ddl(&mut self, query: &str) {
        let statement = Statement::parse(query);
        let lower = |(schema, table): &Name| {
            (schema.clone().unwrap_or_default().to_lowercase(), table.to_lowercase())
        };
        for change in statement.changes() {
            match change {
                Change::DropDatabase(schema) => {
                    self.generated.retain(|(known, _), _| *known != schema.to_lowercase());
                }
                Change::CreateTable(name) | Change::CreateOther(name) | Change::Drop(name) => {
                    self.generated.remove(&lower(&name));
                }
                Change::Rename { from, to } => {
                    if let Some(columns) = self.generated.remove(&lower(&from)) {
                        self.generated.insert(lower(&to), columns);
                    }
                }
                Change::Columns(name, columns) => {
                    if let Some(known) = self.generated.get_mut(&lower(&name)) {
                        known.retain(|known| !columns.iter().any(|c| c.eq_ignore_ascii_case(known)));
                    }
                }
                _ => {}
            }
        }
        let (columns, like) = statement.generated();
        let copied = like.and_then(|like| self.generated.get(&lower(&like)).cloned()).unwrap_or_default();
        if let Subject::Tables(tables) = &statement.subject
            && let Some(table) = tables.first()
            && !(columns.is_empty() && copied.is_empty())
        {
            let known = self.generated.entry(lower(table)).or_default();
            known.extend(columns.iter().map(|column| column.to_lowercase()).chain(copied));
        }
        self.tables.clear();
    }

    /// Reads one record of the file at `path`.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn event(
        &mut self,
        path: &Path,
        record: &RawRecord,
        binlog: pb_binlog::Binlog,
    ) -> Result<Event, Error> {
        let commit_ts = CommitTs::new(binlog.commit_ts as u64);
        let unreadable = |what: String| Error::Unreadable {
            path: path.to_owned(),
            offset: record.offset,
            commit_ts,
            what,
        };
        match pb_binlog::BinlogType::try_from(binlog.tp) {
            Ok(pb_binlog::BinlogType::Ddl) => {
                let query = String::from_utf8(binlog.ddl_query.unwrap_or_default().into());
                let query = query.map_err(|error| unreadable(format!("the DDL is not UTF-8: {error}")))?;
                self.ddl(&query);
                Ok(Event::Ddl(Ddl {
                    start_ts: StartTs::ZERO,
                    commit_ts,
                    job_id: JobId(0),
                    job_type: 0,
                    schema: String::new(),
                    schema_version: SchemaVersion(0),
                    query,
                    typed: String::new(),
                    zone: None,
                    changes: Vec::new(),
                    ahead: false,
                }))
            }
            Ok(pb_binlog::BinlogType::Dml) => {
                let events = binlog.dml_data.unwrap_or_default().events;
                let changes = events.into_iter().map(|event| self.change(event));
                Ok(Event::Transaction(Transaction {
                    start_ts: StartTs::ZERO,
                    commit_ts,
                    schema_version: SchemaVersion(0),
                    part: Part::WHOLE,
                    changes: changes.collect::<Result<_, String>>().map_err(unreadable)?,
                }))
            }
            Err(_) => Err(unreadable(format!("unknown type: {}", binlog.tp))),
        }
    }

    fn change(&mut self, event: pb_binlog::Event) -> Result<RowChange, String> {
        let (schema, table) = (event.schema_name.unwrap_or_default(), event.table_name.unwrap_or_default());
        let place = format!("{schema}.{table}");
        let kind = pb_binlog::EventType::try_from(event.tp)
            .map_err(|_| format!("{place}: unknown kind of event {}", event.tp))?;
        let columns: Vec<pb_binlog::Column> = event
            .row
            .into_iter()
            .map(|bytes| pb_binlog::Column::decode(bytes).map_err(|e| format!("{place}: a column: {e}")))
            .collect::<Result<_, String>>()?;
        let table = self.table(schema, table, &columns)?;
        let update = kind == pb_binlog::EventType::Update;
        let (mut before, mut after): (Row, Row) = (Vec::new(), Vec::new());
        for (column, pb) in table.table.columns.iter().zip(columns) {
            let read = |bytes: Option<Bytes>| {
                let value = self.reading.value(column, bytes.unwrap_or_default());
                value.map_err(|e| format!("{place}, column {}: {e}", column.name))
            };
            before.push(Some(read(pb.value)?));
            if update {
                after.push(Some(read(pb.changed_value)?));
            }
        }
        let kind = match kind {
            pb_binlog::EventType::Insert => ChangeKind::Insert(before),
            pb_binlog::EventType::Update => ChangeKind::Update { before, after },
            pb_binlog::EventType::Delete => ChangeKind::Delete(before),
        };
        Ok(RowChange { table, kind })
    }

    /// The table of these columns; rows of one shape share it.
    fn table(
        &mut self,
        schema: String,
        name: String,
        columns: &[pb_binlog::Column],
    ) -> Result<TableRef, String> {
        let made = |(at, pb): (usize, &pb_binlog::Column)| {
            let type_byte = pb.tp.as_ref().and_then(|tp| tp.first().copied());
            let type_byte =
                type_byte.ok_or_else(|| format!("{schema}.{name}, column {}: no type", pb.name))?;
            Ok(column(at, &pb.name, type_byte, &pb.mysql_type))
        };
        let mut columns: Vec<Column> = columns.iter().enumerate().map(made).collect::<Result<_, String>>()?;
        if let Some(generated) = self.generated.get(&(schema.to_lowercase(), name.to_lowercase())) {
            for column in columns.iter_mut().filter(|c| generated.contains(&c.name.to_lowercase())) {
                "(in the table's definition)".clone_into(&mut column.generated_expr);
            }
        }
        let shapes = self.tables.entry((schema.clone(), name.clone())).or_default();
        if let Some(known) = shapes.iter().find(|known| known.table.columns == columns) {
            return Ok(known.clone());
        }
        let table = Table { id: TableId(0), name, columns, ..Table::default() };
        let table = TableRef { schema: schema.into(), table: Arc::new(table) };
        if shapes.len() == SHAPES {
            shapes.remove(0);
        }
        shapes.push(table.clone());
        Ok(table)
    }
}
