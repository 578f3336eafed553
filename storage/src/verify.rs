//! Reads everything and says which stretches of the stream are damaged.

use binlog_types::{CommitTs, Gap, Range};

use crate::Error;
use crate::format::keys::{LogKey, PendingKey, SchemaKey};
use crate::format::{packed, record, sealed};
use crate::overlay::Overlay;
use crate::rocks::{Cf, Cursor, Db, Pass};
use crate::schema;
use crate::shared::Shared;

/// What a whole read found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What was read: from the safe point to the watermark.
    pub range: Range,
    /// Whole records that are as they were written.
    pub records: u64,
    /// Their bytes of payload.
    pub bytes: u64,
    /// Stretches in which something is not what was written, in order.
    pub damage: Vec<Damage>,
    /// Stretches that were never whole.
    pub gaps: Vec<Gap>,
}

/// A damaged stretch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where: everything outside of it can be read.
    pub range: Range,
    /// What is wrong there.
    pub what: String,
}

/// Reads everything: `log`, what a read-only store adds to it, and what the other column families hold.
pub(crate) fn verify(shared: &Shared, gaps: Vec<Gap>) -> Result<Verified, Error> {
    let db = shared.db()?;
    let range = Range { after: shared.safe_point(), through: shared.watermark() };
    let mut found = Verified { range, records: 0, bytes: 0, damage: Vec::new(), gaps };
    let overlay = shared.overlay.as_ref();
    if range.after < range.through {
        Reader { db: &db, found: &mut found, overlay, good: range.after, next: None, bytes: 0 }.read()?;
    }
    let recovered = overlay
        .into_iter()
        .flat_map(|overlay| overlay.records(range.through).map(move |ready| (overlay, ready)));
    for (overlay, ready) in recovered {
        match overlay.fragments(&db, ready) {
            Ok(pieces) => {
                found.records += 1;
                found.bytes += pieces.iter().map(|piece| piece.payload.len() as u64).sum::<u64>();
            }
            Err(error) => found.add(only(ready.commit_ts), error.to_string()),
        }
    }
    found.damage.sort_by_key(|damage| damage.range.after);
    found.damage.extend(overlay.into_iter().flat_map(|overlay| overlay.damage.clone()));
    undecided(shared, &db, &mut found);
    for (cf, name) in [(Cf::Schema, "schema"), (Cf::Meta, "meta")] {
        sealed_values(&db, cf, name, &mut found);
    }
    Ok(found)
}

/// Large prewrites whose outcome is not known: their payloads are read by nobody else until it is. (Bundles are read whole when a store is
/// opened.)
fn undecided(shared: &Shared, db: &Db, found: &mut Verified) {
    let mut cursor = db.cursor(Cf::Pending, &[], None, Pass::Whole);
    // What cannot be reached was found when the store was opened.
    while let Ok(Some((key, value))) = cursor.entry() {
        if let Ok(key) = PendingKey::decode(key)
            && let Ok(value) = packed::record_of(value)
            && let Ok((header, _, payload)) = record::split(&value)
            && record::payload_check(payload) != header.payload_check
            && shared.pairing.lock().is_undecided(key.start_ts)
        {
            let PendingKey { start_ts, fragment } = key;
            let after = found.range.through.max(start_ts.ts().into());
            let what = format!(
                "corrupt data at pending start_ts {start_ts} piece {fragment}: the payload's checksum does not match; whether it \
                 committed is not known"
            );
            found.damage.push(Damage { range: Range { after, through: CommitTs::MAX }, what });
        }
        cursor.advance();
    }
}

/// What every record may need: one that is damaged spoils the whole range.
fn sealed_values(db: &Db, cf: Cf, name: &str, found: &mut Verified) {
    let range = Range { after: CommitTs::ZERO, through: CommitTs::MAX };
    let mut cursor = db.cursor(cf, &[], None, Pass::Whole);
    loop {
        let entry = match cursor.entry() {
            Ok(None) => return,
            Ok(Some((key, value))) => sealed::open(value).err().map(|error| {
                let position = || match SchemaKey::decode(key) {
                    Ok(key) if cf == Cf::Schema => schema::describe(key),
                    _ => format!("{name} {:?}", String::from_utf8_lossy(key)),
                };
                error.at(position)
            }),
            Err(error) => {
                found
                    .damage
                    .push(Damage { range, what: format!("{name}: {error}; what follows is not read") });
                return;
            }
        };
        if let Some(error) = entry {
            found.damage.push(Damage { range, what: error.to_string() });
        }
        cursor.advance();
    }
}

/// The range of one record.
fn only(commit_ts: CommitTs) -> Range {
    Range { after: CommitTs::from(commit_ts.ts().prev()), through: commit_ts }
}

impl Verified {
    fn add(&mut self, range: Range, what: String) {
        // Several pieces of one record are one damage.
        if self.damage.last().is_none_or(|last| last.range != range) {
            self.damage.push(Damage { range, what });
        }
    }
}

struct Reader<'a> {
    db: &'a Db,
    found: &'a mut Verified,
    /// Records that it has are not read here: of the last one, `log` may have a part.
    overlay: Option<&'a Overlay>,
    /// The last place that was read.
    good: CommitTs,
    /// The piece that must follow, inside a record.
    next: Option<LogKey>,
    /// Of the record under way.
    bytes: u64,
}

impl Reader<'_> {
    fn read(mut self) -> Result<(), Error> {
        let through = self.found.range.through;
        let upper = LogKey::above(through);
        let mut cursor =
            self.db.cursor(Cf::Log, &LogKey::above(self.found.range.after), Some(&upper), Pass::Whole);
        loop {
            match cursor.entry() {
                Ok(Some((key, value))) => {
                    let key =
                        LogKey::decode(key).map_err(|error| error.at(|| format!("log key {key:02x?}")))?;
                    self.piece(key, value);
                    cursor.advance();
                }
                Ok(None) => {
                    self.expect_nothing();
                    return Ok(());
                }
                Err(error) => {
                    self.next = None;
                    let after = self.good;
                    let (next, rest) = skip(self.db, after, through);
                    cursor = rest;
                    let through = next.map_or(through, |next| CommitTs::from(next.ts().prev()));
                    self.found.add(Range { after, through }, error.to_string());
                    self.good = through;
                }
            }
        }
    }

    fn piece(&mut self, key: LogKey, value: &[u8]) {
        let follows = self.next == Some(key);
        if !follows {
            self.expect_nothing();
        }
        self.good = key.commit_ts;
        if self.overlay.is_some_and(|overlay| overlay.has(key.commit_ts)) {
            return;
        }
        let (header, _, payload) = match record::verify(value) {
            Ok(parts) => parts,
            Err(error) => {
                let file = self.db.file_of(Cf::Log, &key.encode());
                let position =
                    || format!("piece {} ({})", key.fragment, file.as_deref().unwrap_or("in memory"));
                self.found.add(only(key.commit_ts), error.at(position).to_string());
                self.next = None;
                return;
            }
        };
        if !follows && key.fragment > 0 {
            self.found.add(only(key.commit_ts), format!("a piece before {} is missing", key.fragment));
            return;
        }
        self.bytes = if follows { self.bytes } else { 0 } + payload.len() as u64;
        if header.last {
            self.next = None;
            self.found.records += 1;
            self.found.bytes += self.bytes;
        } else {
            self.next = Some(LogKey { fragment: key.fragment + 1, ..key });
        }
    }

    /// Another record begins, or none: the one before must be whole.
    fn expect_nothing(&mut self) {
        if let Some(key) = self.next.take() {
            self.found.add(only(key.commit_ts), format!("piece {} is missing", key.fragment));
        }
    }
}

/// Finds the first entry behind what cannot be read from `good` on: its place, unless nothing follows, and a cursor there.
fn skip<'db>(db: &'db Db, good: CommitTs, through: CommitTs) -> (Option<CommitTs>, Cursor<'db>) {
    let upper = LogKey::above(through);
    // A cursor that met an error is of no more use.
    let begin =
        |after: u64| db.cursor(Cf::Log, &LogKey::above(CommitTs::new(after)), Some(&upper), Pass::Piece);
    let readable = |after: u64| begin(after).entry().is_ok();
    let (mut low, mut step) = (good.raw(), 1_u64);
    let mut high = loop {
        let at = good.raw().saturating_add(step).min(through.raw());
        if at == through.raw() || readable(at) {
            break at;
        }
        low = at;
        step = step.saturating_mul(2);
    };
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if readable(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    let cursor = begin(high);
    let next = cursor.entry().ok().flatten().and_then(|(key, _)| LogKey::commit_ts_of(key));
    (next, cursor)
}
