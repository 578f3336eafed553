//! What becomes of the tables that binlog files name: the files know names only, and a name may be another table's later.

use std::collections::{BTreeSet, HashMap};

use binlog_archive::{Change, Name as Written, Statement};
use binlog_catalog::{Ddl, TableFilter};
use binlog_types::CommitTs;

use super::expected::Name;

/// One table from where the files begin to tell of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Life {
    /// What it is called in the end; None: it is gone.
    pub(super) name: Option<Name>,
    /// It began in the files, so that all its rows are known.
    pub(super) born: bool,
    /// A view or a sequence, which has no rows of its own.
    pub(super) other: bool,
    /// Until then rows came or went that are in no binlog.
    pub(super) known_after: CommitTs,
    /// Names of columns that mean something else from then on.
    columns: Vec<(CommitTs, String)>,
    /// When keys changed, and whether it was the primary one.
    keys: Vec<(CommitTs, bool)>,
}

impl Life {
    /// Whether `column` of a row of that time is what the table's column of that name is in the end.
    pub(super) fn keeps_column(&self, column: &str, at: CommitTs) -> bool {
        !self.columns.iter().any(|(changed, name)| at < *changed && name.eq_ignore_ascii_case(column))
    }

    /// Whether rows of that time were told apart by the key that the table has in the end.
    pub(super) fn keeps_key(&self, primary: bool, at: CommitTs) -> bool {
        // Where there is a primary key, no other matters.
        !self.keys.iter().any(|(changed, of_primary)| at < *changed && (*of_primary || !primary))
    }
}

/// All tables. Read twice, the same stream gives the same numbers.
#[derive(Debug, Default)]
pub(super) struct Lineage {
    lives: Vec<Life>,
    /// By name in lower case.
    live: HashMap<Name, usize>,
    /// Names that were a table's and are nobody's.
    absent: HashMap<Name, Name>,
}

fn key(name: &Name) -> Name {
    (name.0.to_lowercase(), name.1.to_lowercase())
}

impl Lineage {
    /// The table that is called so now.
    pub(super) fn of(&mut self, schema: &str, table: &str) -> usize {
        let name = (schema.to_owned(), table.to_owned());
        match self.live.get(&key(&name)) {
            Some(at) => {
                // The case of rows is the table's own; a statement may have another.
                if let Some(life) = self.lives.get_mut(*at) {
                    life.name = Some(name);
                }
                *at
            }
            None => self.begin(name, Life::default()),
        }
    }

    pub(super) fn get(&self, at: usize) -> Option<&Life> {
        self.lives.get(at)
    }

    pub(super) fn lives(&self) -> &[Life] {
        &self.lives
    }

    /// Names that no table may have in the end, of those that take part.
    pub(super) fn absent(&self, filter: &TableFilter) -> BTreeSet<Name> {
        let names = self.absent.iter().filter(|(key, _)| !self.live.contains_key(*key)).map(|(_, name)| name);
        names.filter(|(schema, table)| filter.allows(schema, table)).cloned().collect()
    }

    fn begin(&mut self, name: Name, life: Life) -> usize {
        self.end(&name);
        let at = self.lives.len();
        self.live.insert(key(&name), at);
        self.lives.push(Life { name: Some(name), ..life });
        at
    }

    /// The table of this name is gone, if there was one.
    fn end(&mut self, name: &Name) {
        if let Some(life) = self.live.remove(&key(name)).and_then(|at| self.lives.get_mut(at)) {
            life.name = None;
        }
    }

    fn life(&mut self, name: &Name) -> Option<&mut Life> {
        let at = match self.live.get(&key(name)) {
            Some(at) => *at,
            None => self.begin(name.clone(), Life::default()),
        };
        self.lives.get_mut(at)
    }

    /// A statement.
    pub(super) fn ddl(&mut self, ddl: &Ddl) {
        let at = ddl.commit_ts;
        let changes = Statement::parse(&ddl.query).changes();
        let renames = changes.iter().filter_map(|change| match change {
            Change::Rename { from, to } => Some((full(from), full(to))),
            _ => None,
        });
        self.rename(&renames.collect::<Vec<_>>());
        for change in changes {
            self.change(at, change);
        }
    }

    /// Those of one statement come one after the other, but in the end only the outcome counts.
    fn rename(&mut self, renames: &[(Name, Name)]) {
        for (from, to) in renames {
            let moved = match self.live.get(&key(from)) {
                Some(moved) => *moved,
                None => self.begin(from.clone(), Life::default()),
            };
            self.live.remove(&key(from));
            self.end(to);
            self.live.insert(key(to), moved);
            if let Some(life) = self.lives.get_mut(moved) {
                life.name = Some(to.clone());
            }
            self.absent.insert(key(from), from.clone());
        }
    }

    fn change(&mut self, at: CommitTs, change: Change) {
        match change {
            // Done, all at once.
            Change::Rename { .. } | Change::CreateDatabase(_) => {}
            Change::DropDatabase(schema) => {
                let of_it = |name: &&Name| name.0 == schema.to_lowercase();
                let names: Vec<Name> = self.live.keys().filter(of_it).cloned().collect();
                for name in names {
                    self.gone(&name);
                }
            }
            Change::RecoverDatabase(schema) => self.absent.retain(|name, _| name.0 != schema.to_lowercase()),
            Change::CreateTable(name) => {
                self.begin(full(&name), Life { born: true, ..Life::default() });
            }
            Change::CreateOther(name) => {
                self.begin(full(&name), Life { other: true, ..Life::default() });
            }
            Change::Drop(name) => self.gone(&full(&name)),
            Change::Truncate(name) => {
                self.begin(full(&name), Life { born: true, ..Life::default() });
            }
            Change::Recover(name) => {
                self.begin(full(&name), Life { known_after: at, ..Life::default() });
            }
            Change::Partitions(name) => {
                if let Some(life) = self.life(&full(&name)) {
                    (life.born, life.known_after) = (false, at);
                }
            }
            Change::Columns(name, columns) => {
                if let Some(life) = self.life(&full(&name)) {
                    life.columns.extend(columns.into_iter().map(|column| (at, column)));
                }
            }
            Change::Keys { table, primary } => {
                if let Some(life) = self.life(&full(&table)) {
                    life.keys.push((at, primary));
                }
            }
            Change::FlashbackCluster => {
                for life in &mut self.lives {
                    (life.born, life.known_after) = (false, at);
                }
            }
        }
    }

    fn gone(&mut self, name: &Name) {
        let life = self.live.get(&key(name)).and_then(|at| self.lives.get(*at));
        let known = life.and_then(|life| (!life.other).then(|| life.name.clone()).flatten());
        // A table that the files had not told of yet is gone all the same.
        let other = life.is_some_and(|life| life.other);
        if !other {
            self.absent.insert(key(name), known.unwrap_or_else(|| name.clone()));
        }
        self.end(name);
    }
}

fn full((schema, table): &Written) -> Name {
    (schema.clone().unwrap_or_default(), table.clone())
}

#[cfg(test)]
mod tests {
    use binlog_types::{JobId, SchemaVersion, StartTs};

    use super::*;

    fn ddl(at: u64, text: &str) -> Ddl {
        Ddl {
            start_ts: StartTs::ZERO,
            commit_ts: CommitTs::new(at),
            job_id: JobId(0),
            job_type: 0,
            schema: String::new(),
            schema_version: SchemaVersion(0),
            query: format!("use `d`; {text};"),
            typed: String::new(),
            zone: None,
            changes: Vec::new(),
            ahead: false,
        }
    }

    fn name(table: &str) -> Option<Name> {
        Some(("d".to_owned(), table.to_owned()))
    }

    #[test]
    fn tables_are_followed_by_name() {
        let mut lineage = Lineage::default();
        let old = lineage.of("d", "T");
        lineage.ddl(&ddl(1, "ALTER TABLE t CHANGE a b INT, ADD PRIMARY KEY (c)"));
        lineage.ddl(&ddl(2, "RENAME TABLE t TO u"));
        lineage.ddl(&ddl(3, "CREATE TABLE t (a INT)"));
        let new = lineage.of("d", "t");
        assert_ne!(old, new);
        let life = lineage.get(old).unwrap();
        assert_eq!((life.name.clone(), life.born), (name("u"), false));
        assert!(!life.keeps_column("A", CommitTs::new(0)) && life.keeps_column("A", CommitTs::new(1)));
        assert!(!life.keeps_key(true, CommitTs::new(0)) && life.keeps_key(true, CommitTs::new(1)));
        assert!(lineage.get(new).unwrap().born);
        lineage.ddl(&ddl(4, "DROP TABLE u, never_seen"));
        assert_eq!(lineage.get(old).unwrap().name, None);
        let absent = lineage.absent(&TableFilter::default());
        assert_eq!(absent, [name("u").unwrap(), name("never_seen").unwrap()].into());
        lineage.ddl(&ddl(5, "RENAME TABLE t TO x, x TO y"));
        assert_eq!(lineage.get(new).unwrap().name, name("y"));
        lineage.ddl(&ddl(6, "TRUNCATE y"));
        let emptied = lineage.of("d", "y");
        assert!(lineage.get(emptied).unwrap().born && lineage.get(new).unwrap().name.is_none());
        lineage.ddl(&ddl(7, "DROP DATABASE d"));
        assert_eq!(lineage.get(emptied).unwrap().name, None);
        assert!(lineage.absent(&TableFilter::default()).contains(&name("y").unwrap()));
    }
}
