//! `reparo prove`: counts and digests of a range, and whether a destination holds what the range leaves.
//!
//! The digest of a table is a chain over its changes in their order: it is equal wherever the same changes came from. The comparison folds the
//! range to the last state of each row, and lets the server count the rows that are so; tables that the range dropped must be gone. What the range did
//! not touch is not looked at, but for tables that began in the range: of those all rows are known. What cannot be compared is counted and said.

mod compare;
mod digest;
mod expected;
mod files;
mod lineage;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;

use binlog_catalog::Event;
use binlog_sink::{Session, Target};

pub use compare::Compared;
pub use digest::Proof;
use expected::Expected;
use files::Binding;
use lineage::Lineage;

use crate::{Config, Error, Input, Selection, Summary, database};

/// All that was proved.
#[derive(Clone, Debug)]
pub struct Proofs {
    /// Range, sources, holes and counts.
    pub summary: Summary,
    /// By table, as it was called when its rows were written.
    pub tables: BTreeMap<String, Proof>,
    /// By table, as it is called now; None: no destination was given.
    pub compared: Option<BTreeMap<String, Compared>>,
    /// Tables that the range dropped or renamed, of whose names it was looked that they are free.
    pub gone_tables: u64,
    /// Rows that could not be compared; `notes` say why.
    pub not_compared: u64,
    /// The first rows that differ.
    pub differences: Vec<String>,
    /// What could not be compared.
    pub notes: Vec<String>,
}

impl Proofs {
    fn new(summary: Summary) -> Self {
        Proofs {
            summary,
            tables: BTreeMap::new(),
            compared: None,
            gone_tables: 0,
            not_compared: 0,
            differences: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Whether the destination is as it should be, as far as it was compared; where there were rows, some must have been.
    pub fn holds(&self) -> bool {
        self.compared.as_ref().is_none_or(|tables| tables.values().all(Compared::holds)) && !self.is_void()
    }

    /// There was something to compare, and nothing could be.
    fn is_void(&self) -> bool {
        let rows =
            |c: &Compared| c.expected + c.gone + c.whole.map_or(0, |(expected, found)| expected.max(found));
        let compared = |tables: &BTreeMap<String, Compared>| tables.values().map(rows).sum::<u64>();
        self.not_compared > 0 && self.compared.as_ref().is_some_and(|tables| compared(tables) == 0)
    }

    /// The outcome in a sentence.
    pub fn verdict(&self) -> String {
        if self.compared.is_none() {
            return "no destination was compared".to_owned();
        }
        let differs = self.compared.iter().flat_map(BTreeMap::values).any(|c| !c.holds());
        let part = match (differs, self.is_void()) {
            (true, _) => "THE DESTINATION DIFFERS from what the binlogs leave",
            (false, true) => "NOTHING WAS COMPARED",
            (false, false) => "the destination is as it should be",
        };
        match self.not_compared {
            0 => part.to_owned(),
            rows => format!("{part}; {rows} row(s) were NOT compared"),
        }
    }

    fn count(&mut self, event: &Event) {
        self.summary.counts.add(event);
        if let Event::Transaction(txn) = event {
            for change in &txn.changes {
                let name = format!("{}.{}", change.table.schema, change.table.table.name);
                self.tables.entry(name).or_default().add(txn.commit_ts, change);
            }
        }
    }
}

/// The database to compare; None: there is none, and counts and digests are all that is asked for.
///
/// # Errors
/// [`Error::Config`] for a destination that cannot be compared.
pub(crate) fn target(config: &Config) -> Result<Option<Target>, Error> {
    let refuse = |text: &str| Err(Error::Config(text.to_owned()));
    match (database::target(config)?, config.dest_type.as_str()) {
        (Some(target), _) => Ok(Some(target)),
        (None, "print") if config.dest_path.as_os_str().is_empty() => Ok(None),
        (None, "print") => {
            refuse("-dest-path has no use here: prove writes to stdout; -dest-type=sqlite compares that file")
        }
        (None, _) => refuse("prove compares -dest-type=mysql, tidb or sqlite; without one it counts"),
    }
}

/// Reads the range that `config` asks for, and compares the destination where it is a database.
///
/// # Errors
/// As those of a restore. Differences are no errors: they are in the result.
pub async fn prove(config: &Config, shutdown: impl Future<Output = ()>) -> Result<Proofs, Error> {
    let target = target(config)?;
    if let Some(Target::Sqlite(path)) = &target
        && !path.is_file()
    {
        return Err(Error::Config(format!("{}: there is no such file to compare", path.display())));
    }
    let selection = Selection::open(config).await?;
    let position = selection.range.through;
    let mut proofs = Proofs::new(Summary::new(&selection));
    tokio::pin!(shutdown);
    let Some(target) = target else {
        read(&selection, shutdown, &mut proofs, |_| Ok(())).await?;
        return Ok(proofs);
    };
    let mut expected = Expected::new(selection.range, config.filter()?, config.limits()?);
    let failed = |source| Error::Sink { position, source };
    let mut session = Session::open(&target).await.map_err(failed)?;
    match &selection.input {
        Input::Files(_) => {
            // What a table is called in the end is known only then.
            let mut lineage = Lineage::default();
            let follow = |event: &Event| {
                files::follow(&mut lineage, event);
                Ok(())
            };
            read(&selection, shutdown.as_mut(), &mut proofs, follow).await?;
            let filter = config.filter()?;
            let binding = Binding::open(lineage, &mut session, &filter, &mut expected).await;
            let mut binding = binding.map_err(failed)?;
            let bind = |event: &Event| binding.event(event, &mut expected);
            read(&selection, shutdown, &mut Proofs::new(Summary::new(&selection)), bind).await?;
        }
        Input::Pumps(_) | Input::Stores(_) => {
            read(&selection, shutdown, &mut proofs, |event| expected.event(event)).await?;
        }
    }
    let proofs = compare::compare(expected, &mut session, proofs, position).await;
    session.close().await;
    proofs
}

/// Reads the range, and counts it.
async fn read(
    selection: &Selection,
    shutdown: impl Future<Output = ()>,
    proofs: &mut Proofs,
    mut each: impl FnMut(&Event) -> Result<(), Error>,
) -> Result<(), Error> {
    if selection.range.is_empty() {
        return Ok(());
    }
    let mut reading = selection.read().await?;
    let count = |event: &Event| {
        proofs.count(event);
        each(event).map(|()| true)
    };
    selection.each(&mut reading, "reading", shutdown, count).await?;
    proofs.summary.holes.extend_from_slice(reading.holes());
    Ok(())
}

impl fmt::Display for Proofs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.summary;
        writeln!(f, "proof of {}", s.range_text())?;
        writeln!(f, "{}", s.counts)?;
        s.write_remarks(f)?;
        for (name, Proof { rows: [inserted, updated, deleted], digest }) in &self.tables {
            let digest = digest.iter().take(16).map(|b| format!("{b:02x}")).collect::<String>();
            writeln!(
                f,
                "{name}: {inserted} inserted, {updated} updated, {deleted} deleted, digest {digest}"
            )?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        for (name, c) in self.compared.iter().flatten() {
            let (expected, gone, wrong) = (c.expected, c.gone, c.wrong);
            if *c == Compared::default() {
                writeln!(f, "{name}: there is no such table, as it should be")?;
                continue;
            }
            write!(f, "{name}: of {expected} rows to be there and {gone} not to be there, {wrong} differ")?;
            match c.whole {
                Some((expected, found)) => writeln!(f, "; in all {found} rows, expected {expected}")?,
                None => writeln!(f)?,
            }
        }
        if self.gone_tables > 0 {
            writeln!(
                f,
                "{} name(s) of tables that were dropped or renamed were looked for",
                self.gone_tables
            )?;
        }
        for line in &self.differences {
            writeln!(f, "DIFFERENT: {line}")?;
        }
        f.write_str(&self.verdict())
    }
}

#[cfg(test)]
mod tests;
