//! What became of the tables whose rows are to go back.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use binlog_catalog::{Ddl, Projection, Row, RowChange, SchemaChange, TableFilter, TableRef};
use binlog_types::{CommitTs, TableId, Zone};

use super::report::{Loss, UndoReport};
use crate::fold::{Image, Version, Versions};

/// One table.
#[derive(Debug)]
struct Track {
    /// When the first selected change came.
    first: Version,
    /// As it stands now.
    now: TableRef,
    /// The zone of the session in which TIMESTAMPs became other types, or the reverse, where it is not UTC; outer none: none did.
    zone: Option<Option<Zone>>,
    /// Why its rows cannot go back.
    gone: Option<String>,
}

/// All tables that selected changes touched, by id: names change.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    tracks: HashMap<TableId, Track>,
    projections: HashMap<u32, Option<Projection>>,
    /// Rows without a key are followed where the columns of their table change.
    follows: bool,
}

impl Tables {
    /// For who counts rows without a key as rows of the table that it has become.
    pub(crate) fn following() -> Self {
        Tables { follows: true, ..Tables::default() }
    }

    /// A row was changed.
    pub(crate) fn row(&mut self, _at: CommitTs, change: &RowChange, selected: bool) {
        match self.tracks.entry(change.table.table.id) {
            Entry::Occupied(mut track) => track.get_mut().becomes(&change.table, self.follows),
            Entry::Vacant(slot) if selected => {
                slot.insert(Track {
                    first: Version::new(&change.table),
                    now: change.table.clone(),
                    zone: None,
                    gone: None,
                });
            }
            Entry::Vacant(_) => {}
        }
    }

    /// A table is of interest before any row of it was.
    pub(crate) fn meet(&mut self, table: &TableRef) {
        let track = || Track { first: Version::new(table), now: table.clone(), zone: None, gone: None };
        self.tracks.entry(table.table.id).or_insert_with(track);
    }

    /// Those that are there now.
    pub(crate) fn all(&self) -> impl Iterator<Item = &TableRef> {
        self.tracks.values().filter(|track| track.gone.is_none()).map(|track| &track.now)
    }

    /// The schema changed.
    pub(crate) fn ddl(&mut self, ddl: &Ddl, inside: bool, filter: &TableFilter, report: &mut UndoReport) {
        let at = ddl.commit_ts;
        for change in &ddl.changes {
            match change {
                SchemaChange::DropTable(table) => self.lose(table, at, "was dropped", inside, filter, report),
                SchemaChange::DropDatabase { tables, .. } => {
                    for table in tables {
                        self.lose(table, at, "was dropped with its database", inside, filter, report);
                    }
                }
                SchemaChange::TruncateTable { before, .. } => {
                    self.lose(before, at, "was truncated", inside, filter, report);
                }
                SchemaChange::DropPartitions { before, after } => {
                    self.lose(before, at, "lost partitions", inside, filter, report);
                    self.becomes(after);
                }
                SchemaChange::ExchangePartition { partitioned, plain } => {
                    for table in [partitioned, plain] {
                        self.lose(table, at, "exchanged a partition", inside, filter, report);
                    }
                    self.give_away(plain, at);
                }
                SchemaChange::AlterTable { before, after } => {
                    self.becomes(after);
                    if let Some(track) = self.tracks.get_mut(&after.table.id) {
                        track.converts(before, ddl.zone.as_ref());
                    }
                }
                SchemaChange::RenameTable { after, .. } => self.becomes(after),
                SchemaChange::RecoverTable(table) => {
                    if let Some(track) = self.tracks.get_mut(&table.table.id) {
                        track.gone = None;
                        track.becomes(table, self.follows);
                    }
                }
                SchemaChange::CreateDatabase(_)
                | SchemaChange::AlterDatabase { .. }
                | SchemaChange::CreateTable(_) => {}
            }
        }
        if inside && !ddl.changes.is_empty() && !ddl.ahead {
            report.ddl(ddl);
        }
    }

    fn becomes(&mut self, table: &TableRef) {
        if let Some(track) = self.tracks.get_mut(&table.table.id) {
            track.becomes(table, self.follows);
        }
    }

    fn lose(
        &mut self,
        table: &TableRef,
        at: CommitTs,
        what: &'static str,
        inside: bool,
        filter: &TableFilter,
        report: &mut UndoReport,
    ) {
        let name = format!("{}.{}", table.schema, table.table.name);
        if let Some(track) = self.tracks.get_mut(&table.table.id) {
            track.gone = Some(format!("{name} {what} at {at}"));
            report.losses.push(Loss { table: name, what, at });
        } else if inside && filter.allows(&table.schema, &table.table.name) {
            report.losses.push(Loss { table: name, what, at });
        }
    }

    /// `plain` has taken a partition's id: what it was until now, under another id, are rows of the partitioned table.
    fn give_away(&mut self, plain: &TableRef, at: CommitTs) {
        let same = |track: &&mut Track| {
            track.gone.is_none()
                && track.now.table.id != plain.table.id
                && track.now.schema == plain.schema
                && track.now.table.name.eq_ignore_ascii_case(&plain.table.name)
        };
        for track in self.tracks.values_mut().filter(same) {
            let (schema, name) = (&plain.schema, &plain.table.name);
            track.gone = Some(format!("{schema}.{name} exchanged a partition at {at}"));
        }
    }

    /// Says which columns came and went.
    pub(super) fn report(&self, report: &mut UndoReport) {
        for track in self.tracks.values().filter(|t| t.gone.is_none()) {
            let (from, to) = (&track.first.table.table, &track.now.table);
            let name = format!("{}.{}", track.now.schema, to.name);
            let old = format!("{}.{}", track.first.table.schema, from.name);
            if old != name {
                report.notes.push(format!("{old} is {name} now"));
            }
            match Projection::new(Arc::clone(from), Arc::clone(to)) {
                Ok(projection) => {
                    for column in projection.dropped() {
                        report.notes.push(format!(
                            "{name}: column {} is gone; what it held does not come back",
                            column.name
                        ));
                    }
                    for column in projection.added() {
                        report.notes.push(format!(
                            "{name}: column {} came since; rows that come back get its default",
                            column.name
                        ));
                    }
                }
                Err(error) => report.notes.push(format!("{name}: {error}")),
            }
        }
        report.notes.sort();
    }

    /// The table as it stands now, or why its rows cannot go back.
    pub(crate) fn now(&self, id: TableId) -> Result<&TableRef, &str> {
        match self.tracks.get(&id) {
            Some(Track { gone: Some(why), .. }) => Err(why),
            Some(track) => Ok(&track.now),
            None => Err("the table is not known"),
        }
    }

    /// An image as a row of the table as it stands now. `exists`: the row is there, and so took the values that columns which came since
    /// gave to existing rows; else such columns are left unbound.
    pub(crate) fn project(
        &mut self,
        versions: &Versions,
        image: &Image,
        exists: bool,
    ) -> Result<Row, String> {
        let unknown = || "the table's version is not known".to_owned();
        let from = versions.table(image.version).ok_or_else(unknown)?;
        let to = Arc::clone(&self.now(from.id).map_err(str::to_owned)?.table);
        let zone = self.tracks.get(&from.id).and_then(|track| track.zone.clone().flatten());
        let projection = self
            .projections
            .entry(image.version)
            .or_insert_with(|| Some(Projection::new(Arc::clone(from), to).ok()?.in_zone(zone)));
        match projection {
            Some(projection) if projection.is_identity() => Ok(image.row.clone()),
            Some(projection) => projection.row(&image.row, exists).map_err(|e| e.to_string()),
            None => Err("a default of the table's present columns cannot be read".to_owned()),
        }
    }
}

impl Track {
    fn becomes(&mut self, table: &TableRef, follows: bool) {
        if Arc::ptr_eq(&self.now.table, &table.table) && self.now.schema == table.schema {
            return;
        }
        self.now = table.clone();
        let now = Version::new(table);
        if self.gone.is_some() || self.first.same_identity(&now) {
            return;
        }
        let name = format!("{}.{}", table.schema, table.table.name);
        let hint = if follows { "" } else { "; undo works on either side of that change" };
        self.gone = match (&self.first.key, &now.key) {
            (None, None) if follows => None,
            (None, None) => {
                Some(format!("{name} has no key, and its columns changed, which tell its rows apart{hint}"))
            }
            _ => {
                let (from, to) = (self.first.identity_names(), now.identity_names());
                Some(format!("{name}: what identifies a row changed from {from} to {to}{hint}"))
            }
        };
    }

    /// It was altered from `before`, in a session of this zone.
    fn converts(&mut self, before: &TableRef, zone: Option<&Zone>) {
        let projection = Projection::new(Arc::clone(&before.table), Arc::clone(&self.now.table));
        if !projection.is_ok_and(|projection| projection.turns_stamps()) {
            return;
        }
        match &self.zone {
            Some(other) if other.as_ref() != zone => {
                let shown = |zone: Option<&Zone>| zone.map_or("UTC", Zone::name).to_owned();
                let (first, second) = (shown(other.as_ref()), shown(zone));
                let name = format!("{}.{}", self.now.schema, self.now.table.name);
                self.gone.get_or_insert(format!(
                    "{name}: TIMESTAMPs became other types, or the reverse, in sessions of different zones, {first} and {second}"
                ));
            }
            _ => self.zone = Some(zone.cloned()),
        }
    }
}
