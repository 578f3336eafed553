//! What was asked for, resolved: the source, the range, and what of it is missing.

use binlog_catalog::TableFilter;
use binlog_types::Range;
use jiff::tz::TimeZone;

use crate::{Bounds, Config, Error, Hole, Input, Reading, utc};

/// A checked range of an open source.
#[derive(Debug)]
pub struct Selection {
    /// Where it is read from.
    pub input: Input,
    /// What is read.
    pub range: Range,
    /// What is missing in it and was allowed to be.
    pub holes: Vec<Hole>,
    filter: TableFilter,
}

impl Selection {
    /// Opens the source that `config` names, echoes the range that it means, and waits until it is there.
    ///
    /// # Errors
    /// For contradictions, sources that cannot be read, and ranges that are not all there.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        config.origin()?;
        let filter = config.filter()?;
        let bounds = Bounds::resolve(config, &TimeZone::system())?;
        for note in &bounds.notes {
            tracing::info!("{note}");
        }
        let input = Input::open(config).await?;
        let through = bounds.through.unwrap_or_else(|| {
            let newest = input.newest();
            tracing::info!("no stop was given: what there is now, through {newest} ({})", utc(newest.ts()));
            newest
        });
        let asked = Range { after: bounds.after, through };
        let (range, holes) = input.check(asked, config.allow_gaps)?;
        if range.is_empty() {
            tracing::warn!("nothing lies in {range}");
        } else {
            input.wait(range.through).await?;
        }
        Ok(Selection { input, range, holes, filter })
    }

    /// Starts reading the range.
    ///
    /// # Errors
    /// When it cannot begin.
    pub async fn read(&self) -> Result<Reading, Error> {
        self.input.read(self.range, self.filter.clone()).await
    }
}
