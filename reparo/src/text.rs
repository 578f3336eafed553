//! Text destinations: the original's print format, and SQL.

use std::fs::OpenOptions;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use binlog_catalog::Event;
use binlog_sink::{SESSION_SQL, SqlDialect, render_ddl_sql, render_dml_sql};
use binlog_types::{JobId, Range};

use crate::{Config, DestType, Error, print, records, utc};

/// Which text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// The original's.
    Print,
    /// SQL of the MySQL dialect, with the DDL of this server.
    Sql(SqlDialect),
    /// One JSON object a line.
    Json,
    /// One line a column.
    Csv,
    /// Nothing: what is asked for is read and checked.
    Nothing,
}

impl Format {
    /// The text that the configuration asks for; None: its destination is a database.
    pub(crate) fn of(config: &Config) -> Result<Option<Self>, Error> {
        Ok(match config.dest()? {
            DestType::Print => Some(Format::Print),
            DestType::Sql => Some(Format::Sql(config.sql_dialect()?)),
            DestType::Json => Some(Format::Json),
            DestType::Csv => Some(Format::Csv),
            DestType::Memory => Some(Format::Nothing),
            DestType::MySql | DestType::Sqlite => None,
        })
    }
}

/// Writes events as text.
pub(crate) struct TextWriter {
    format: Format,
    path: String,
    out: Box<dyn Write + Send>,
}

impl TextWriter {
    /// To a new file, or to stdout where `path` is empty.
    pub(crate) fn open(format: Format, path: &Path) -> Result<Self, Error> {
        let stdout = path.as_os_str().is_empty();
        let name = if stdout { "stdout".to_owned() } else { path.display().to_string() };
        let out: Box<dyn Write + Send> = if stdout {
            Box::new(BufWriter::with_capacity(1 << 16, io::stdout()))
        } else {
            // An existing file is never overwritten: it may be the only copy of an earlier restore.
            let file = OpenOptions::new().write(true).create_new(true).open(path);
            let file = file.map_err(|source| Error::Output { path: name.clone(), source })?;
            Box::new(BufWriter::with_capacity(1 << 16, file))
        };
        Ok(TextWriter { format, path: name, out })
    }

    /// What stands before the first event.
    pub(crate) fn begin(&mut self, range: Range) -> Result<(), Error> {
        let text = match self.format {
            Format::Print | Format::Json | Format::Nothing => return Ok(()),
            Format::Csv => format!("{}\n", records::CSV_HEADER),
            Format::Sql(_) => {
                format!("-- binlogs of {range}, up to {}\n{SESSION_SQL}", utc(range.through.ts()))
            }
        };
        self.out.write_all(text.as_bytes()).map_err(|source| self.error(source))
    }

    /// Writes events.
    pub(crate) fn write(&mut self, events: &[Event]) -> Result<(), Error> {
        for event in events {
            let written = match self.format {
                Format::Print => print::write_event(&mut self.out, event),
                Format::Sql(dialect) => write_sql(&mut self.out, event, dialect),
                Format::Nothing => Ok(()),
                Format::Json => records::write_json(&mut self.out, event),
                Format::Csv => records::write_csv(&mut self.out, event),
            };
            written.map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Writes a line.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Error> {
        writeln!(self.out, "{text}").map_err(|source| self.error(source))
    }

    /// Hands everything to the system.
    pub(crate) fn finish(&mut self) -> Result<(), Error> {
        self.out.flush().map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Output { path: self.path.clone(), source }
    }
}

fn write_sql(out: &mut dyn Write, event: &Event, dialect: SqlDialect) -> io::Result<()> {
    let ts = event.commit_ts();
    writeln!(out, "-- commit_ts {ts}, {}", utc(ts.ts()))?;
    match event {
        // Of binlog files: all that is known is its text.
        Event::Ddl(ddl) if ddl.job_id == JobId(0) && !ddl.ahead => {
            writeln!(out, "{};", ddl.query.trim_end().trim_end_matches(';'))
        }
        Event::Ddl(ddl) => render_ddl_sql(ddl, dialect).iter().try_for_each(|line| writeln!(out, "{line}")),
        Event::Transaction(txn) => {
            writeln!(out, "BEGIN;")?;
            render_dml_sql(txn).iter().try_for_each(|line| writeln!(out, "{line}"))?;
            writeln!(out, "COMMIT;")
        }
    }
}
