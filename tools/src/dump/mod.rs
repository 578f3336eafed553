//! `tools dump-range`: the records of a range, decoded or raw, from running pumps or from stores.

mod human;
mod json;
mod raw;
mod stores;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::Context as _;
use binlog_catalog::{Event, Start};
use binlog_pull::{EventStream, MergedStream, Record, StreamOptions};
use binlog_reparo::{Bounds, Config, Source, utc};
use binlog_types::Range;
use jiff::tz::TimeZone;

use stores::Stores;

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
    /// Bounds, pumps and filter, as reparo takes them.
    pub config: Config,
    /// Directories to read instead of asking pumps.
    pub stores: Vec<PathBuf>,
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
    let bounds = Bounds::resolve(&options.config, &TimeZone::system())?;
    bounds.notes.iter().for_each(|note| say(note));
    if options.stores.is_empty() {
        from_pumps(options, &bounds, printer).await
    } else {
        let mut stores = Stores::open(&options.stores, &bounds, options.config.allow_gaps)?;
        stores.notes().iter().for_each(|note| say(note));
        stores.dump(&options.config.filter()?, printer)
    }
}

/// Remarks go to stderr, so that stdout is data alone.
fn say(note: &str) {
    let _ = writeln!(io::stderr(), "{note}");
}

async fn from_pumps<W: Write>(
    options: &DumpOptions,
    bounds: &Bounds,
    printer: &mut Printer<W>,
) -> anyhow::Result<()> {
    let config = &options.config;
    let source = Source::connect(&config.validate()?, config).await?;
    let through = bounds.through.unwrap_or_else(|| source.newest());
    let asked = Range { after: bounds.after, through };
    // Who names no start wants what is there.
    let allow = config.allow_gaps || bounds.after.raw() == 0;
    let (range, holes) = source.check(asked, allow)?;
    if !source.registered {
        say("only the pumps that were named are read; others of the cluster may hold more");
    }
    for hole in holes {
        say(&format!("HOLE: {hole}"));
    }
    if range.is_empty() {
        say(&format!("nothing lies in {range}, up to {}", utc(range.through.ts())));
        return Ok(());
    }
    source.wait(range.through).await?;
    let stream = StreamOptions {
        cluster: source.cluster,
        after: range.after,
        through: Some(range.through),
        budget: BUDGET,
        ..StreamOptions::default()
    };
    match options.style {
        Style::Raw { .. } => {
            let mut stream = MergedStream::new(stream, source.members());
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
        Style::Decoded { .. } => {
            let start = Start::At(range.after);
            let mut stream = EventStream::open(stream, source.members(), start, config.filter()?).await?;
            loop {
                let batch = stream.next().await?;
                for event in &batch.events {
                    if printer.event(event)?.is_done() {
                        return Ok(());
                    }
                }
                if batch.end {
                    return Ok(());
                }
            }
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

    /// Whether records are shown as they are stored.
    pub(crate) fn is_raw(&self) -> bool {
        matches!(self.style, Style::Raw { .. })
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
