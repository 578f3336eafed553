//! Many changes become what they did to each row, within a budget of memory.
//!
//! A row is found by its key (its table's id and the bytes of the key's columns); without a key by all its values, and copies are counted.
//! A change of the key is one row less and another more. When the budget is used up, everything goes to unnamed temporary files, spread by
//! the hash of the key, and is put together again one file at a time.

pub(crate) mod codec;
mod net;
mod spill;
mod versions;

use std::collections::HashMap;
use std::path::PathBuf;

use binlog_catalog::{ChangeKind, Row, RowChange, TableRef};
use binlog_types::CommitTs;

pub(crate) use net::{Image, Net, Others, VersionId};
use spill::Spill;
pub(crate) use versions::{Version, Versions};

use crate::Error;

/// Memory, and where to go when it is used up.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes that folded rows may take, about.
    pub memory: usize,
    /// Where temporary files go.
    pub directory: PathBuf,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { memory: 512 << 20, directory: std::env::temp_dir() }
    }
}

/// What an entry of the map takes beside its key and images.
const ENTRY: usize = size_of::<(Box<[u8]>, Net)>() + 48;

/// Changes on their way to their net effect.
#[derive(Debug)]
pub(crate) struct Fold {
    limits: Limits,
    versions: Versions,
    rows: HashMap<Box<[u8]>, Net>,
    bytes: usize,
    spill: Option<Spill>,
}

impl Fold {
    pub(crate) fn new(limits: Limits) -> Self {
        Fold { limits, versions: Versions::default(), rows: HashMap::new(), bytes: 0, spill: None }
    }

    /// Adds a change. Changes come in the order of the stream; those that are not selected matter only to rows that one selected has touched.
    pub(crate) fn change(&mut self, at: CommitTs, change: &RowChange, selected: bool) -> Result<(), Error> {
        let version = self.versions.number(&change.table);
        let Some(known) = self.versions.get(version) else { return Ok(()) };
        let keyed = known.key.is_some();
        let step = |key, before: Option<_>, after: Option<_>| {
            let copies = i64::from(after.is_some()) - i64::from(before.is_some());
            Step { key, keyed, version, before, after, copies, at, selected }
        };
        match &change.kind {
            ChangeKind::Insert(row) => self.step(step(known.key_of(row), None, Some(row))),
            ChangeKind::Delete(row) => self.step(step(known.key_of(row), Some(row), None)),
            ChangeKind::Update { before, after } => {
                let (old, new) = (known.key_of(before), known.key_of(after));
                if old == new {
                    // Without a key, a row that becomes itself changes no count.
                    return if keyed { self.step(step(new, Some(before), Some(after))) } else { Ok(()) };
                }
                let (less, more) = (step(old, Some(before), None), step(new, None, Some(after)));
                self.step(less)?;
                self.step(more)
            }
        }
    }

    /// Adds copies of a row without a key.
    pub(crate) fn count(&mut self, table: &TableRef, row: &Row, copies: i64) -> Result<(), Error> {
        let version = self.versions.number(table);
        let Some(known) = self.versions.get(version) else { return Ok(()) };
        let (key, before, after, at) = (known.key_of(row), None, Some(row), CommitTs::ZERO);
        self.step(Step { key, keyed: false, version, before, after, copies, at, selected: true })
    }

    fn step(&mut self, step: Step<'_>) -> Result<(), Error> {
        let Step { key, keyed, version, before, after, copies, at, selected } = step;
        let key = key.into_boxed_slice();
        let known = self.rows.get_mut(&key);
        if known.is_none() && !selected && self.spill.is_none() {
            return Ok(());
        }
        let (before, after) = if keyed { (before, after) } else { (None, after.or(before)) };
        let image = |row: Option<&Row>| row.map(|row| Image { version, row: codec::compact(row) });
        // Only a first selected change has a use for the image before it.
        let needed = known.as_ref().is_none_or(|net| net.selected == 0);
        let one = Net::one(image(before.filter(|_| needed)), image(after), copies, at, selected);
        match known {
            Some(net) => {
                let old = net.size();
                net.then(one);
                self.bytes = (self.bytes + net.size()).saturating_sub(old);
            }
            None => {
                self.bytes += ENTRY + key.len() + one.size();
                self.rows.insert(key, one);
            }
        }
        if self.bytes > self.limits.memory { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> Result<(), Error> {
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => {
                tracing::info!(
                    memory = self.limits.memory,
                    directory = %self.limits.directory.display(),
                    "folded rows exceed the memory for them and go to temporary files"
                );
                self.spill.insert(Spill::new(&self.limits.directory)?)
            }
        };
        for (key, net) in self.rows.drain() {
            spill.put(&key, &net)?;
        }
        self.bytes = 0;
        Ok(())
    }

    /// No more changes come.
    pub(crate) fn finish(mut self) -> Result<Folded, Error> {
        if self.spill.is_some() {
            self.spill()?;
        }
        let memory = self.limits.memory;
        Ok(Folded { versions: self.versions, rows: self.rows, spill: self.spill, memory })
    }
}

/// What a change does under one key.
struct Step<'a> {
    key: Vec<u8>,
    keyed: bool,
    version: VersionId,
    before: Option<&'a Row>,
    after: Option<&'a Row>,
    /// How many more there are of it.
    copies: i64,
    at: CommitTs,
    selected: bool,
}

impl Net {
    fn size(&self) -> usize {
        let size = |image: &Option<Image>| image.as_ref().map_or(0, |i| codec::row_size(&i.row));
        size(&self.before) + size(&self.now)
    }
}

/// The net effect of all changes.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) versions: Versions,
    rows: HashMap<Box<[u8]>, Net>,
    spill: Option<Spill>,
    memory: usize,
}

impl Folded {
    /// Calls `each` for every row that a selected change touched, newest last change first as far as memory reaches. May be called again.
    pub(crate) fn for_each(
        &mut self,
        mut each: impl FnMut(&Versions, &Net) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let versions = &self.versions;
        let mut part = |rows: &HashMap<Box<[u8]>, Net>| -> Result<(), Error> {
            let mut list: Vec<(&Box<[u8]>, &Net)> = rows.iter().filter(|(_, net)| net.selected > 0).collect();
            list.sort_unstable_by(|(a, x), (b, y)| y.last.cmp(&x.last).then_with(|| a.cmp(b)));
            list.into_iter().try_for_each(|(_, net)| each(versions, net))
        };
        match &mut self.spill {
            None => part(&self.rows),
            Some(spill) => (0..spill.parts()).try_for_each(|at| part(&spill.read(at, self.memory)?)),
        }
    }

    /// Whether temporary files were needed.
    #[cfg(test)]
    pub(crate) fn spilled(&self) -> bool {
        self.spill.is_some()
    }
}

#[cfg(test)]
mod tests;
