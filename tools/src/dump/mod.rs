//! `tools dump-range`: the records of a range, decoded or raw, from running pumps or from stores.

mod human;
mod json;
mod raw;

use std::io::{self, BufWriter, Write};

use anyhow::Context as _;
use binlog_catalog::Event;
use binlog_pull::{MergedStream, Record, StreamOptions};
use binlog_reparo::{Bounds, Config, Input, Pumps, Reading, utc};
use binlog_types::Range;
use jiff::tz::TimeZone;

/// Bytes of payload in flight over all pumps.
const BUDGET: usize = 64 << 20;

/// How records are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Rows and statements.
    Decoded {
        /// One object a line.
        json: bool,
    },
    /// As stored.
    Raw {
        /// One object a line.
        json: bool,
    },
}

/// What to dump.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// Bounds, source and filter, as reparo takes them.
    pub config: Config,
    /// How to show records.
    pub style: Style,
    /// Transactions after which to stop.
    pub limit: Option<u64>,
}

/// Dumps to stdout.
///
/// # Errors
/// When the range cannot be read or the output not be written. A reader that went away (`| head`) is no error.
pub async fn run(options: &DumpOptions) -> anyhow::Result<()> {
    let mut printer = Printer::new(BufWriter::new(io::stdout()), options);
    let dumped = dump(options, &mut printer).await;
    let flushed = printer.out.flush().context("write to stdout");
    match dumped.and(flushed) {
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .any(|e| e.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe))
}

async fn dump<W: Write>(options: &DumpOptions, printer: &mut Printer<W>) -> anyhow::Result<()> {
    let config = &options.config;
    let bounds = Bounds::resolve(config, &TimeZone::system())?;
    bounds.notes.iter().for_each(|note| say(note));
    let input = Input::open(config).await?;
    let asked = Range { after: bounds.after, through: bounds.through.unwrap_or_else(|| input.newest()) };
    input.notes(asked).iter().for_each(|note| say(note));
    // Who names no start wants what is there.
    let (range, holes) = input.check(asked, config.allow_gaps || bounds.after.raw() == 0)?;
    for hole in holes {
        say(&format!("HOLE: {hole}"));
    }
    if range.is_empty() {
        say(&format!("nothing lies in {range}, up to {}", utc(range.through.ts())));
        return Ok(());
    }
    input.wait(range.through).await?;
    match (options.style, &input) {
        (Style::Decoded { .. }, input) => decoded(input.read(range, config.filter()?).await?, printer).await,
        (Style::Raw { .. }, Input::Pumps(pumps)) if pumps.beside.is_some() => {
            anyhow::bail!("raw records are those of running pumps or of directories, not of both")
        }
        (Style::Raw { .. }, Input::Pumps(pumps)) => raw_of_pumps(pumps, range, printer).await,
        (Style::Raw { .. }, Input::Files(_)) => anyhow::bail!("binlog files are not shown raw"),
        (Style::Raw { .. }, Input::Stores(stores)) => {
            let mut records = stores.records(range)?;
            while let Some(record) = records.next()? {
                if printer.record(&record)?.is_done() {
                    break;
                }
            }
            Ok(())
        }
    }
}

/// Remarks go to stderr, so that stdout is data alone.
fn say(note: &str) {
    let _ = writeln!(io::stderr(), "{note}");
}

async fn decoded<W: Write>(mut reading: Reading, printer: &mut Printer<W>) -> anyhow::Result<()> {
    loop {
        let batch = reading.next().await?;
        // What goes ahead of a record is none.
        for event in batch.events.iter().filter(|event| !matches!(event, Event::Ddl(ddl) if ddl.ahead)) {
            if printer.event(event)?.is_done() {
                return Ok(());
            }
        }
        if batch.end {
            return Ok(());
        }
    }
}

async fn raw_of_pumps<W: Write>(pumps: &Pumps, range: Range, printer: &mut Printer<W>) -> anyhow::Result<()> {
    let options = StreamOptions {
        cluster: pumps.cluster,
        after: range.after,
        through: Some(range.through),
        budget: BUDGET,
        ledger: pumps.known_holes(),
        ..StreamOptions::default()
    };
    let mut stream = MergedStream::new(options, pumps.members());
    loop {
        let batch = stream.next().await?;
        for record in &batch.records {
            if printer.record(record)?.is_done() {
                return Ok(());
            }
        }
        if batch.end {
            return Ok(());
        }
    }
}

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    More,
    Done,
}

impl Flow {
    pub(crate) fn is_done(self) -> bool {
        self == Flow::Done
    }
}

/// Shows records in the style that was asked for, up to the limit.
pub(crate) struct Printer<W> {
    out: W,
    style: Style,
    left: Option<u64>,
}

impl<W: Write> Printer<W> {
    fn new(out: W, options: &DumpOptions) -> Self {
        Printer { out, style: options.style, left: options.limit }
    }

    fn count(&mut self) -> Flow {
        match &mut self.left {
            None => Flow::More,
            Some(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 { Flow::Done } else { Flow::More }
            }
        }
    }

    /// Shows a record as it is stored.
    pub(crate) fn record(&mut self, record: &Record) -> anyhow::Result<Flow> {
        let json = matches!(self.style, Style::Raw { json: true });
        raw::write(&mut self.out, record, json)?;
        Ok(self.count())
    }

    /// Shows an event.
    pub(crate) fn event(&mut self, event: &Event) -> anyhow::Result<Flow> {
        match self.style {
            Style::Decoded { json: true } | Style::Raw { json: true } => json::write(&mut self.out, event)?,
            Style::Decoded { json: false } | Style::Raw { json: false } => {
                human::write(&mut self.out, event)?
            }
        }
        Ok(self.count())
    }
}

#[cfg(test)]
mod tests;
