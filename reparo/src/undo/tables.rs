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
    /// The zone of the session that changed it last, in which TIMESTAMPs became other types, or the reverse.
    zone: Option<Zone>,
    /// Why its rows cannot go back.
    gone: Option<String>,
}

/// All tables that selected changes touched, by id: names change.
#[derive(Debug, Default)]
pub(crate) struct Tables {
    tracks: HashMap<TableId, Track>,
    projections: HashMap<u32, Option<Projection>>,
}

impl Tables {
    /// A row was changed.
    pub(crate) fn row(&mut self, _at: CommitTs, change: &RowChange, selected: bool) {
        match self.tracks.entry(change.table.table.id) {
            Entry::Occupied(mut track) => track.get_mut().becomes(&change.table),
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
                SchemaChange::AlterTable { after, .. } => {
                    self.becomes(after);
                    if let (Some(zone), Some(track)) = (&ddl.zone, self.tracks.get_mut(&after.table.id)) {
                        track.zone = Some(zone.clone());
                    }
                }
                SchemaChange::RenameTable { after, .. } => self.becomes(after),
                SchemaChange::RecoverTable(table) => {
                    if let Some(track) = self.tracks.get_mut(&table.table.id) {
                        track.gone = None;
                        track.becomes(table);
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
            track.becomes(table);
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
        let zone = self.tracks.get(&from.id).and_then(|track| track.zone.clone());
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
    fn becomes(&mut self, table: &TableRef) {
        if Arc::ptr_eq(&self.now.table, &table.table) && self.now.schema == table.schema {
            return;
        }
        self.now = table.clone();
        let now = Version::new(table);
        if self.gone.is_none() && !self.first.same_identity(&now) {
            self.gone = Some(format!(
                "{}.{}: what identifies a row changed from {} to {}; undo works on either side of that change",
                table.schema,
                table.table.name,
                self.first.identity_names(),
                now.identity_names()
            ));
        }
    }
}
