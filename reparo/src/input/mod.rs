//! Where the binlogs of a range come from.

mod asking;
mod files;
mod missing;
mod pumps;
mod reading;
mod stores;

use std::fmt;

use binlog_catalog::TableFilter;
use binlog_types::{ClusterId, CommitTs, Range};

use crate::{Config, DestType, Error, Origin};

pub use files::Files;
pub(crate) use missing::Survey;
use missing::judge;
pub use pumps::{PumpInfo, Pumps, Unreachable};
pub use reading::Reading;
pub use stores::{StoreRecords, Stores};

/// A stretch that a source does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Who lacks it, such as `pump p1`.
    pub holder: String,
    /// What.
    pub range: Range,
    /// Why, for people.
    pub reason: String,
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.range, self.reason, self.holder)
    }
}

/// A source, open.
#[derive(Debug)]
pub enum Input {
    /// Running pumps.
    Pumps(Pumps),
    /// Directories of pumps that do not run.
    Stores(Stores),
    /// The original drainer's binlog files.
    Files(Files),
}

impl Input {
    /// Opens what the configuration names.
    ///
    /// # Errors
    /// When a part of it cannot be read: a range without one of the pumps would have holes.
    pub async fn open(config: &Config) -> Result<Self, Error> {
        match config.origin()? {
            // As the original prints them; elsewhere as pumps would give them.
            Origin::Files(dir) => {
                let typed = config.dest()? != DestType::Print;
                let zone = typed.then(|| config.archive_zone()).transpose()?;
                if let Some(zone) = &zone {
                    let name = zone.iana_name().unwrap_or("local");
                    tracing::info!(
                        "TIMESTAMPs of the files are taken to be in the zone {name} (-archive-timezone)"
                    );
                }
                Ok(Input::Files(Box::pin(Files::open(&dir, zone, config.allow_gaps)).await?))
            }
            Origin::Stores(dirs) => {
                let mut stores = Box::pin(Stores::open(&dirs, config.allow_gaps)).await?;
                stores.unknown_ddl = config.unknown_ddl()?;
                Ok(Input::Stores(stores))
            }
            origin @ (Origin::Registry | Origin::Addresses(_)) => {
                let mut pumps = Box::pin(Pumps::connect(&origin, config)).await?;
                pumps.unknown_ddl = config.unknown_ddl()?;
                Ok(Input::Pumps(pumps))
            }
        }
    }

    /// The cluster that the binlogs are of.
    pub fn cluster(&self) -> ClusterId {
        match self {
            Input::Pumps(pumps) => pumps.cluster,
            Input::Stores(stores) => stores.cluster(),
            Input::Files(_) => ClusterId(0),
        }
    }

    /// What tells it apart from other sources of binlogs.
    pub(crate) fn identity(&self) -> String {
        match self {
            Input::Pumps(_) | Input::Stores(_) => format!("cluster {}", self.cluster()),
            Input::Files(files) => format!("binlog files that begin at {}", files.first()),
        }
    }

    /// Who is read, for people.
    pub fn names(&self) -> Vec<String> {
        match self {
            Input::Pumps(pumps) => pumps.names(),
            Input::Stores(stores) => stores.names(),
            Input::Files(files) => files.names(),
        }
    }

    /// What is to be said about the completeness of the source for `range`.
    pub fn notes(&self, range: Range) -> Vec<String> {
        match self {
            Input::Pumps(pumps) => pumps.notes(range),
            Input::Stores(stores) => stores.notes(),
            Input::Files(files) => files.notes(range),
        }
    }

    /// Where a range without a stop ends.
    pub fn newest(&self) -> CommitTs {
        match self {
            Input::Pumps(pumps) => pumps.newest(),
            Input::Stores(stores) => stores.newest(),
            Input::Files(files) => files.newest(),
        }
    }

    /// Checks that all of `range` is there. With `allow`, it shrinks to what is there, and the holes are returned.
    ///
    /// # Errors
    /// [`Error::Purged`], [`Error::Unknown`], [`Error::Missing`], [`Error::PeerAbsent`], [`Error::Unreachable`] and [`Error::NotYet`], unless allowed.
    pub fn check(&self, range: Range, allow: bool) -> Result<(Range, Vec<Hole>), Error> {
        judge(self.survey(range), allow)
    }

    /// What of a range is there, and all that is not.
    pub(crate) fn survey(&self, range: Range) -> Survey {
        match self {
            Input::Pumps(pumps) => pumps.survey(range),
            Input::Stores(stores) => stores.survey(range),
            Input::Files(files) => files.survey(range),
        }
    }

    /// Waits until the source is complete through `through`.
    ///
    /// # Errors
    /// [`Error::NotYet`] when it does not come that far in time.
    pub async fn wait(&self, through: CommitTs) -> Result<(), Error> {
        match self {
            Input::Pumps(pumps) => pumps.wait(through).await,
            Input::Stores(_) | Input::Files(_) => Ok(()),
        }
    }

    /// Starts reading a range that was checked.
    ///
    /// # Errors
    /// When it cannot begin; what goes wrong later comes out of [`Reading::next`].
    pub async fn read(&self, range: Range, filter: TableFilter) -> Result<Reading, Error> {
        match self {
            Input::Pumps(pumps) => pumps.read(range, filter).await,
            Input::Stores(stores) => stores.read(range, filter),
            Input::Files(files) => Ok(files.read(range, filter)),
        }
    }
}
