//! Schema objects and small named values: written rarely, each with a sync of its own.

use std::sync::atomic::Ordering;

use binlog_types::SchemaVersion;
use bytes::Bytes;

use crate::format::keys::SchemaKey;
use crate::format::{meta, sealed};
use crate::record::{Behind, SchemaEntry};
use crate::rocks::{Batch, Cf, Durability, Pass};
use crate::shared::Shared;
use crate::{Error, identity};

/// Where an entry stands.
pub(crate) fn describe(key: SchemaKey) -> String {
    format!("schema kind {} id {} version {}", key.kind, key.id, key.version)
}

fn sealed_body(key: SchemaKey, value: &[u8]) -> Result<&[u8], Error> {
    sealed::open(value).map_err(|error| error.at(|| describe(key)))
}

fn write(shared: &Shared, db: &crate::rocks::Db, batch: Batch<'_>) -> Result<(), Error> {
    db.write(batch, Durability::Synced).map_err(|error| shared.health.poison(&error))
}

pub(crate) fn put(shared: &Shared, entries: Vec<SchemaEntry>, complete: SchemaVersion) -> Result<(), Error> {
    let _one_at_a_time = shared.schema_lock.lock();
    let db = shared.writable_db()?;
    let mut batch = db.batch(1 << 10);
    for (at, entry) in entries.iter().enumerate() {
        let key = SchemaKey { kind: entry.kind, id: entry.id, version: entry.schema_version };
        let conflict =
            || Error::SchemaConflict { kind: entry.kind, id: entry.id, version: entry.schema_version };
        let earlier = &entries[..at];
        if earlier.iter().any(|e| {
            (e.kind, e.id, e.schema_version) == (entry.kind, entry.id, entry.schema_version)
                && e.value != entry.value
        }) {
            return Err(conflict());
        }
        match db.get(Cf::Schema, &key.encode())? {
            Some(stored) if sealed_body(key, stored.as_ref())? == &entry.value[..] => {}
            Some(_) => return Err(conflict()),
            None => batch.put(Cf::Schema, &key.encode(), &sealed::seal(&entry.value)),
        }
    }
    let known = shared.schema_version.load(Ordering::Acquire);
    if complete.0 > known {
        batch.put(Cf::Meta, meta::SCHEMA_COMPLETE, &sealed::seal(&meta::signed(complete.0)));
    }
    if !batch.is_empty() {
        write(shared, &db, batch)?;
    }
    shared.schema_version.fetch_max(complete.0, Ordering::AcqRel);
    Ok(())
}

pub(crate) fn read(
    shared: &Shared,
    lower: Option<SchemaKey>,
    keep: impl Fn(&SchemaKey) -> bool,
    upper: Option<SchemaKey>,
) -> Result<Vec<SchemaEntry>, Error> {
    let mut entries = Vec::new();
    visit(shared, lower, keep, upper, |entry| entries.push(entry))?;
    Ok(entries)
}

/// As [`read`], without what lies behind a reader; see [`crate::Store::schema_above`].
pub(crate) fn read_above(
    shared: &Shared,
    after: SchemaVersion,
    behind: impl Fn(&SchemaEntry) -> Behind,
    forgotten: u8,
) -> Result<Vec<SchemaEntry>, Error> {
    let mut entries = Vec::new();
    sift(shared, after, behind, forgotten, |entry, kept| {
        if kept {
            entries.push(entry);
        }
    })?;
    Ok(entries)
}

/// Deletes what [`read_above`] leaves out; see [`crate::Store::collect_schema`].
pub(crate) fn collect(
    shared: &Shared,
    behind: impl Fn(&SchemaEntry) -> Behind,
    forgotten: u8,
) -> Result<usize, Error> {
    let _one_at_a_time = shared.schema_lock.lock();
    let db = shared.writable_db()?;
    let mut batch = db.batch(1 << 10);
    let mut deleted = 0;
    // No version is that low.
    sift(shared, SchemaVersion(i64::MIN), behind, forgotten, |entry, kept| {
        if !kept {
            let key = SchemaKey { kind: entry.kind, id: entry.id, version: entry.schema_version };
            batch.delete(Cf::Schema, &key.encode());
            deleted += 1;
        }
    })?;
    if deleted > 0 {
        write(shared, &db, batch)?;
        shared.counters.collected_schema_entries.add(deleted);
    }
    Ok(deleted)
}

/// Hands on every entry above `after`, and whether it matters to a reader.
fn sift(
    shared: &Shared,
    after: SchemaVersion,
    behind: impl Fn(&SchemaEntry) -> Behind,
    forgotten: u8,
    mut take: impl FnMut(SchemaEntry, bool),
) -> Result<(), Error> {
    // The last entry behind the reader, until it is clear whether another one of its object follows. Versions of an object ascend.
    let mut last: Option<SchemaEntry> = None;
    visit(
        shared,
        None,
        |key| key.version > after,
        None,
        |entry| {
            let place = behind(&entry);
            if let Some(previous) = last.take() {
                let superseded =
                    (previous.kind, previous.id) == (entry.kind, entry.id) && place != Behind::No;
                take(previous, !superseded);
            }
            match place {
                Behind::No => take(entry, true),
                Behind::Yes if entry.kind != forgotten => last = Some(entry),
                Behind::Yes | Behind::Gone => take(entry, false),
            }
        },
    )?;
    if let Some(last) = last {
        take(last, true);
    }
    Ok(())
}

fn visit(
    shared: &Shared,
    lower: Option<SchemaKey>,
    keep: impl Fn(&SchemaKey) -> bool,
    upper: Option<SchemaKey>,
    mut take: impl FnMut(SchemaEntry),
) -> Result<(), Error> {
    let db = shared.db()?;
    let lower = lower.map(SchemaKey::encode);
    let upper = upper.map(SchemaKey::encode);
    let lower = lower.as_ref().map_or(&[][..], |key| key);
    let mut cursor = db.cursor(Cf::Schema, lower, upper.as_ref().map(|key| &key[..]), Pass::Few);
    while let Some((key, value)) = cursor.entry()? {
        let key = SchemaKey::decode(key).map_err(|error| error.at(|| format!("schema key {key:02x?}")))?;
        if keep(&key) {
            let value = Bytes::copy_from_slice(sealed_body(key, value)?);
            take(SchemaEntry { kind: key.kind, id: key.id, schema_version: key.version, value });
        }
        cursor.advance();
    }
    Ok(())
}

pub(crate) fn put_meta(shared: &Shared, name: &str, value: &[u8]) -> Result<(), Error> {
    let db = shared.writable_db()?;
    let mut batch = db.batch(64 + value.len());
    batch.put(Cf::Meta, &meta::user_key(name), &sealed::seal(value));
    write(shared, &db, batch)
}

pub(crate) fn get_meta(shared: &Shared, name: &str) -> Result<Option<Bytes>, Error> {
    identity::read_meta(&*shared.db()?, &meta::user_key(name), |body| Ok(Bytes::copy_from_slice(body)))
}
