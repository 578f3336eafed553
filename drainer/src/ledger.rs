//! `pumps.json` in the data directory: which store each pump had, which holes in their streams the operator has accepted, and what is
//! left out at an operator's wish.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use binlog_cli::replace_file;
use binlog_pull::{Hole, Identity, PumpLedger};
use binlog_types::{CommitTs, NodeId, StoreUuid};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::Error;

/// What the settings accept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) holes: Vec<Hole>,
    pub(crate) stores: Vec<(NodeId, String)>,
}

impl Accepted {
    /// `accept-gap` as `PUMP:AFTER-THROUGH`, `accept-store` as `PUMP:UUID`. A pump's name may hold colons itself.
    pub(crate) fn parse(gaps: &[String], stores: &[String]) -> Result<Self, Error> {
        let hole = |text: &str| -> Option<Hole> {
            let (pump, range) = text.trim().rsplit_once(':')?;
            let (after, through) = range.split_once('-')?;
            let (after, through): (u64, u64) = (after.parse().ok()?, through.parse().ok()?);
            let pump = NodeId::new(pump).ok()?;
            (after < through).then(|| Hole {
                pump,
                after: CommitTs::new(after),
                through: CommitTs::new(through),
            })
        };
        let store = |text: &str| -> Option<(NodeId, String)> {
            let (pump, uuid) = text.trim().rsplit_once(':')?;
            let hex = uuid.len() == 32 && uuid.chars().all(|c| c.is_ascii_hexdigit());
            Some((NodeId::new(pump).ok().filter(|_| hex)?, uuid.to_ascii_lowercase()))
        };
        let holes = gaps.iter().map(|text| {
            hole(text).ok_or_else(|| {
                Error::Config(format!(
                    "invalid accept-gap {text:?}: write PUMP:AFTER-THROUGH, as the error named it"
                ))
            })
        });
        let stores = stores.iter().map(|text| {
            store(text).ok_or_else(|| {
                Error::Config(format!(
                    "invalid accept-store {text:?}: write PUMP:UUID, as the error named it"
                ))
            })
        });
        Ok(Accepted { holes: holes.collect::<Result<_, _>>()?, stores: stores.collect::<Result<_, _>>()? })
    }
}

/// The file's content.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Book {
    #[serde(default)]
    stores: BTreeMap<String, Store>,
    #[serde(default)]
    accepted: Vec<AcceptedHole>,
    #[serde(default)]
    skips: Vec<Skip>,
}

/// A transaction or DDL that an operator wants to be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Skip {
    commit_ts: u64,
    /// When it was asked for, in milliseconds since 1970.
    asked_at: u64,
}

impl Skip {
    pub(crate) fn commit_ts(self) -> CommitTs {
        CommitTs::new(self.commit_ts)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Store {
    uuid: String,
    incarnation: u64,
    watermark: u64,
}

/// A hole that was passed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AcceptedHole {
    pump: String,
    after: u64,
    through: u64,
    reason: String,
}

#[derive(Debug)]
pub(crate) struct FileLedger {
    path: PathBuf,
    accepted: Accepted,
    book: Mutex<Book>,
    /// Whose turn it is to write the file; readers do not wait for the disk.
    turn: Mutex<()>,
}

impl FileLedger {
    pub(crate) fn open(data_dir: &Path, accepted: Accepted) -> Result<Self, Error> {
        let path = data_dir.join("pumps.json");
        let unreadable = |why: String| {
            Error::Config(format!(
                "{} is unreadable ({why}); move it away to forget which stores the pumps had",
                path.display()
            ))
        };
        let book: Book = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| unreadable(e.to_string()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Book::default(),
            Err(error) => return Err(Error::file("read", &path)(error)),
        };
        // A store that cannot be told from another must not pass for one that was never met.
        if let Some((pump, store)) = book.stores.iter().find(|(_, store)| unhex(&store.uuid).is_none()) {
            return Err(unreadable(format!("the uuid {:?} of {pump}", store.uuid)));
        }
        Ok(FileLedger { path, accepted, book: Mutex::new(book), turn: Mutex::new(()) })
    }

    /// Holes that were passed, the newest last.
    pub(crate) fn passed(&self) -> Vec<AcceptedHole> {
        self.book.lock().accepted.clone()
    }

    /// What is to be left out, in the order in which it was asked for.
    pub(crate) fn skips(&self) -> Vec<Skip> {
        self.book.lock().skips.clone()
    }

    /// Puts on record that `commit_ts` is to be left out.
    ///
    /// # Errors
    /// A text for people.
    pub(crate) fn skip(&self, commit_ts: CommitTs, asked_at: u64) -> Result<(), String> {
        let commit_ts = commit_ts.raw();
        if self.skips().iter().any(|skip| skip.commit_ts == commit_ts) {
            return Ok(());
        }
        self.change(|book| book.skips.push(Skip { commit_ts, asked_at }))
    }

    /// A pump that is offline holds nothing any more: one that comes under its name later is another.
    pub(crate) fn forget(&self, pump: &NodeId) {
        let known = self.book.lock().stores.contains_key(pump.as_str());
        if known
            && let Err(error) = self.change(|book| {
                book.stores.remove(pump.as_str());
            })
        {
            tracing::warn!(%pump, error, "its store is still on record");
        }
    }

    /// Changes the file, then what is in memory.
    fn change(&self, change: impl FnOnce(&mut Book)) -> Result<(), String> {
        let _turn = self.turn.lock();
        let mut next = self.book.lock().clone();
        change(&mut next);
        let bytes = serde_json::to_vec_pretty(&next).map_err(|e| e.to_string())?;
        replace_file(&self.path, &bytes).map_err(|e| format!("cannot write {}: {e}", self.path.display()))?;
        *self.book.lock() = next;
        Ok(())
    }
}

impl PumpLedger for FileLedger {
    fn known(&self, pump: &NodeId) -> Option<Identity> {
        let book = self.book.lock();
        let store = book.stores.get(pump.as_str())?;
        let watermark = CommitTs::new(store.watermark);
        Some(Identity { uuid: StoreUuid(unhex(&store.uuid)?), incarnation: store.incarnation, watermark })
    }

    fn met(&self, pump: &NodeId, identity: Identity) -> Result<(), String> {
        let store = Store {
            uuid: identity.uuid.to_string(),
            incarnation: identity.incarnation,
            watermark: identity.watermark.raw(),
        };
        self.change(|book| {
            book.stores.insert(pump.as_str().to_owned(), store);
        })
    }

    fn accepts_store(&self, pump: &NodeId, uuid: StoreUuid) -> bool {
        let uuid = uuid.to_string();
        self.accepted.stores.iter().any(|(known, accepted)| known == pump && *accepted == uuid)
    }

    fn accepts(&self, hole: &Hole, reason: &str) -> Result<bool, String> {
        let covers = |pump: &str, after: u64, through: u64| {
            pump == hole.pump.as_str() && after <= hole.after.raw() && through >= hole.through.raw()
        };
        let recorded = self.book.lock().accepted.iter().any(|h| covers(&h.pump, h.after, h.through));
        if recorded {
            return Ok(true);
        }
        let asked =
            self.accepted.holes.iter().any(|h| covers(h.pump.as_str(), h.after.raw(), h.through.raw()));
        if asked {
            self.change(|book| {
                book.accepted.push(AcceptedHole {
                    pump: hole.pump.to_string(),
                    after: hole.after.raw(),
                    through: hole.through.raw(),
                    reason: reason.to_owned(),
                });
            })?;
        }
        Ok(asked)
    }
}

fn unhex(text: &str) -> Option<[u8; 16]> {
    let mut bytes = [0; 16];
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (text.len() == 32).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_and_accepted_holes_outlive_the_process() {
        let dir = tempfile::tempdir().unwrap();
        let pump = NodeId::new("host:8250").unwrap();
        let hole = Hole { pump: pump.clone(), after: CommitTs::new(10), through: CommitTs::new(20) };
        let identity = Identity { uuid: StoreUuid([7; 16]), incarnation: 3, watermark: CommitTs::new(9) };
        let none = FileLedger::open(dir.path(), Accepted::default()).unwrap();
        assert!(!none.accepts(&hole, "purged").unwrap());
        none.met(&pump, identity).unwrap();
        let other = StoreUuid([8; 16]);
        let accepted = Accepted::parse(&[hole.to_string()], &[format!("{pump}:{other}")]).unwrap();
        let some = FileLedger::open(dir.path(), accepted).unwrap();
        assert_eq!(some.known(&pump), Some(identity));
        assert!(some.accepts_store(&pump, other) && !some.accepts_store(&pump, identity.uuid));
        assert!(some.accepts(&hole, "purged").unwrap());
        let wider = Hole { through: CommitTs::new(21), ..hole.clone() };
        assert!(!some.accepts(&wider, "purged").unwrap(), "more is gone than was accepted");
        let again = FileLedger::open(dir.path(), Accepted::default()).unwrap();
        assert!(again.accepts(&hole, "purged").unwrap(), "it is on record");
        assert_eq!(again.passed().len(), 1);
        again.forget(&pump);
        assert_eq!(again.known(&pump), None);
        for asked_at in [5, 6] {
            again.skip(CommitTs::new(30), asked_at).unwrap();
        }
        let last = FileLedger::open(dir.path(), Accepted::default()).unwrap();
        assert_eq!(last.skips(), [Skip { commit_ts: 30, asked_at: 5 }]);
    }

    #[test]
    fn a_file_that_names_no_store_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        for uuid in ["", "07", "zz070707070707070707070707070707", "070707070707070707070707070707070707"] {
            let store = Store { uuid: uuid.to_owned(), incarnation: 1, watermark: 9 };
            let stores = BTreeMap::from([("host:8250".to_owned(), store)]);
            let book = Book { stores, ..Book::default() };
            fs::write(dir.path().join("pumps.json"), serde_json::to_vec(&book).unwrap()).unwrap();
            let refused = FileLedger::open(dir.path(), Accepted::default()).unwrap_err().to_string();
            assert!(refused.contains("host:8250") && refused.contains("pumps.json"), "{refused}");
        }
    }

    #[test]
    fn what_is_accepted_is_written_exactly() {
        for gap in ["p:5", "p:9-5", "p:a-5", "5-9"] {
            assert!(Accepted::parse(&[gap.to_owned()], &[]).is_err(), "{gap}");
        }
        assert!(Accepted::parse(&[], &["p:77".to_owned()]).is_err());
    }
}
