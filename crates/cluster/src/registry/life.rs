//! Signs of life, beside the registry's entries: who runs now, and under which name.
//!
//! The original's entries have no lease: a node that was killed stays `online` for ever. So each of our nodes also holds a mark
//! outside the prefixes that the original lists: in etcd under a lease, in a directory under the lock of its file. It ends with
//! the process, and keeps a second process from taking the same name.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::Path;
use std::time::Duration;

use binlog_types::NodeId;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use super::{Backend, Registry, blocking, files};
use crate::{Error, NodeKind};

/// The folder of the marks, beside `pumps` and `drainers`.
pub(super) const FOLDER: &str = "alive";

/// What a running node says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Life {
    /// Its name.
    pub node_id: NodeId,
    /// Where it is reached, as `host:port`.
    pub host: String,
    /// What it owns and nobody else may own: the uuid of a pump's store, say.
    pub owner: String,
    /// Rises with each start of the same owner.
    pub incarnation: u64,
}

impl Life {
    /// Whether `other` is an earlier life of the same owner, so that its mark is only left over.
    pub(super) fn follows(&self, other: &Life) -> bool {
        self == other || (self.owner == other.owner && self.incarnation > other.incarnation)
    }

    pub(super) fn taken(other: &Life) -> Error {
        Error::Taken { node: other.node_id.clone(), host: other.host.clone() }
    }
}

/// The mark of this process. Renew it well within its time to live.
#[derive(Debug)]
pub struct LifeMark {
    registry: Registry,
    kind: NodeKind,
    life: Life,
    ttl: Duration,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Lease(i64),
    /// Locked as long as it is open.
    File(#[expect(dead_code, reason = "held for its lock")] File),
}

impl Registry {
    /// Marks a name as taken by this process. In etcd the mark is gone `ttl` after the last renewal; in a directory at once when
    /// the process ends.
    ///
    /// # Errors
    /// [`Error::Taken`] while another process has the name; else when the registry cannot be reached.
    pub async fn claim_life(&self, kind: NodeKind, life: Life, ttl: Duration) -> Result<LifeMark, Error> {
        let held = match &self.backend {
            Backend::Etcd(etcd) => Held::Lease(etcd.claim(kind, &life, ttl).await?),
            Backend::Directory(directory) => {
                let life = life.clone();
                Held::File(blocking(directory, move |d| claim_file(d.root(), kind, &life)).await?)
            }
        };
        Ok(LifeMark { registry: self.clone(), kind, life, ttl, held })
    }

    /// Those who run now and have marked it, by name. The original's nodes are not among them.
    ///
    /// # Errors
    /// When the registry cannot be reached.
    pub async fn lives(&self, kind: NodeKind) -> Result<Vec<Life>, Error> {
        match &self.backend {
            Backend::Etcd(etcd) => etcd.lives(kind).await,
            Backend::Directory(directory) => blocking(directory, move |d| locked_files(d.root(), kind)).await,
        }
    }
}

impl LifeMark {
    /// Says that the process still lives. A mark that was lost meanwhile is made again.
    ///
    /// # Errors
    /// [`Error::Taken`] when another process took the name meanwhile; else when the registry cannot be reached.
    pub async fn renew(&mut self) -> Result<(), Error> {
        let (Held::Lease(lease), Backend::Etcd(etcd)) = (&mut self.held, &self.registry.backend) else {
            return Ok(());
        };
        if !etcd.renew(*lease).await? {
            *lease = etcd.claim(self.kind, &self.life, self.ttl).await?;
        }
        Ok(())
    }

    /// How long it lasts without renewal.
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Gives the name free at once.
    ///
    /// # Errors
    /// When the registry cannot be reached; the mark then ends by itself.
    pub async fn release(self) -> Result<(), Error> {
        match (self.held, &self.registry.backend) {
            (Held::Lease(lease), Backend::Etcd(etcd)) => etcd.release(lease).await,
            _ => Ok(()),
        }
    }
}

fn claim_file(root: &Path, kind: NodeKind, life: &Life) -> Result<File, Error> {
    let folder = root.join(FOLDER).join(kind.folder());
    files::make_dir(&folder)?;
    let path = folder.join(format!("{}.json", life.node_id));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(Error::file(&path, "cannot open"))?;
    if !files::try_lock(&file).map_err(Error::file(&path, "cannot lock"))? {
        return Err(match read_life(&mut file) {
            Some(other) => Life::taken(&other),
            // Its owner is just about to write it.
            None => Error::Taken {
                node: life.node_id.clone(),
                host: "an address that is not known yet".to_owned(),
            },
        });
    }
    let text = serde_json::to_vec(life).expect("our own types have string keys, so they are JSON");
    let write = |file: &mut File| -> io::Result<()> {
        file.set_len(0)?;
        file.rewind()?;
        file.write_all(&text)
    };
    write(&mut file).map_err(Error::file(&path, "cannot write"))?;
    Ok(file)
}

fn locked_files(root: &Path, kind: NodeKind) -> Result<Vec<Life>, Error> {
    let folder = root.join(FOLDER).join(kind.folder());
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::file(&folder, "cannot list")(e)),
    };
    let mut lives = Vec::new();
    for entry in entries {
        let path = entry.map_err(Error::file(&folder, "cannot list"))?.path();
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(Error::file(&path, "cannot open")(e)),
        };
        // A shared lock, so that those who look do not take one another for the owner.
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => lives.extend(read_life(&mut file)),
            Err(errno) => return Err(Error::file(&path, "cannot lock")(errno.into())),
        }
    }
    lives.sort_by(|a: &Life, b: &Life| a.node_id.cmp(&b.node_id));
    Ok(lives)
}

fn read_life(file: &mut File) -> Option<Life> {
    let mut text = String::new();
    file.take(64 << 10).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}
