//! How much room the disk of the data directory has.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Bytes of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FreeSpace {
    /// Free to use.
    pub available: u64,
    /// In all.
    pub capacity: u64,
}

type Measure = dyn Fn(&Path) -> std::io::Result<FreeSpace> + Send + Sync;

/// Asks how much there is: the system, unless a test says otherwise.
#[derive(Clone)]
pub struct SpaceProbe(Arc<Measure>);

impl SpaceProbe {
    /// Asks `measure`.
    pub fn new(measure: impl Fn(&Path) -> std::io::Result<FreeSpace> + Send + Sync + 'static) -> Self {
        SpaceProbe(Arc::new(measure))
    }

    /// The file system that holds `dir`.
    pub(crate) fn measure(&self, dir: &Path) -> std::io::Result<FreeSpace> {
        (self.0)(dir)
    }
}

impl Default for SpaceProbe {
    fn default() -> Self {
        Self::new(|dir| {
            let stat = rustix::fs::statvfs(dir)?;
            Ok(FreeSpace {
                available: stat.f_bavail * stat.f_frsize,
                capacity: stat.f_blocks * stat.f_frsize,
            })
        })
    }
}

impl fmt::Debug for SpaceProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SpaceProbe")
    }
}
