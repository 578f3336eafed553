//! Random changes of the schema.

use binlog_catalog::meta::job_type;
use binlog_catalog::{Column, Database, Row, Table, Value, tp};
use binlog_types::{SchemaVersion, TableId, Zone};
use rand::Rng as _;
use rand::seq::IndexedRandom as _;

use super::tables::{Live, added_column, random_index, random_table};
use super::values::another_type;
use super::{Job, Source};

/// Tables at most.
const TABLES: usize = 10;

impl Source {
    pub(super) async fn change_schema(&mut self) -> anyhow::Result<()> {
        if self.databases.is_empty() {
            return self.create_database().await;
        }
        if self.tables.len() < 3 {
            return self.create_table().await;
        }
        let at = self.rng.random_range(0..self.tables.len());
        match self.rng.random_range(0..100) {
            0..13 if self.tables.len() < TABLES => self.create_table().await,
            0..19 => self.drop_table(at).await,
            19..27 => self.truncate(at).await,
            27..34 => {
                let name = self.name("t");
                self.rename(at, &name).await
            }
            34..39 => self.exchange_names(at).await,
            39..51 => self.add_column(at).await,
            51..60 => self.drop_column(at).await,
            60..69 => self.add_index(at).await,
            69..74 => self.drop_index(at).await,
            74..78 => self.widen(at).await,
            78..86 => self.retype(at).await,
            86..90 => self.change_much(at).await,
            90..93 => self.roll_back(at).await,
            93..97 => self.change_partitions(at).await,
            97..99 if self.databases.len() < 3 => self.create_database().await,
            _ if self.databases.len() > 1 => self.drop_database().await,
            _ => self.create_table().await,
        }
    }

    fn next_version(&mut self) -> SchemaVersion {
        self.version.0 += 1;
        self.version
    }

    fn database_of(&self, at: usize) -> Option<Database> {
        let live = self.tables.get(at)?;
        self.databases.iter().find(|database| database.name == live.database).cloned()
    }

    async fn create_database(&mut self) -> anyhow::Result<()> {
        let (id, name, version) = (self.id(), self.name("db"), self.next_version());
        let (charset, collate) = ("utf8mb4".to_owned(), "utf8mb4_bin".to_owned());
        let database = Database { id, name, charset, collate, version };
        let query = format!("CREATE DATABASE `{}`;", database.name);
        self.run_on_database(&database, job_type::CREATE_SCHEMA, query).await?;
        self.databases.push(database);
        Ok(())
    }

    async fn drop_database(&mut self) -> anyhow::Result<()> {
        let at = self.rng.random_range(0..self.databases.len());
        let mut database = self.databases.swap_remove(at);
        database.version = self.next_version();
        self.tables.retain(|live| live.database != database.name);
        let query = format!("DROP DATABASE `{}`;", database.name);
        self.run_on_database(&database, job_type::DROP_SCHEMA, query).await
    }

    async fn create_table(&mut self) -> anyhow::Result<()> {
        let at = self.rng.random_range(0..self.databases.len());
        let Some(database) = self.databases.get(at).cloned() else { return Ok(()) };
        let (id, name, version) = (TableId(self.id()), self.name("t"), self.next_version());
        let mut live = Live::new(&database.name, random_table(&mut self.rng, id, &name, version));
        let ids = [self.id(), self.id(), self.id()];
        if self.rng.random_bool(0.7) {
            live.divide(ids);
        }
        let query = format!("CREATE TABLE `{}`.`{name}` (…);", database.name);
        self.run_on(&database, job_type::CREATE_TABLE, &live.table, id, query).await?;
        self.tables.push(live);
        Ok(())
    }

    async fn drop_table(&mut self, at: usize) -> anyhow::Result<()> {
        let Some(database) = self.database_of(at) else { return Ok(()) };
        let live = self.tables.swap_remove(at);
        self.next_version();
        let query = format!("DROP TABLE `{}`.`{}`;", database.name, live.table.name);
        self.run_on(&database, job_type::DROP_TABLE, &live.table, live.table.id, query).await
    }

    async fn truncate(&mut self, at: usize) -> anyhow::Result<()> {
        let (id, version) = (TableId(self.id()), self.next_version());
        self.alter(at, job_type::TRUNCATE_TABLE, "TRUNCATE TABLE", |live| {
            live.rows.clear();
            let table = Table { id, ..live.table.clone() };
            live.becomes(table, version);
        })
        .await
    }

    async fn rename(&mut self, at: usize, name: &str) -> anyhow::Result<()> {
        let version = self.next_version();
        self.alter(at, job_type::RENAME_TABLE, "RENAME TABLE", |live| {
            let table = Table { name: name.to_owned(), ..live.table.clone() };
            live.becomes(table, version);
        })
        .await
    }

    /// Two tables exchange their names, by three jobs.
    async fn exchange_names(&mut self, at: usize) -> anyhow::Result<()> {
        let Some(one) = self.tables.get(at) else { return Ok(()) };
        let (database, first) = (one.database.clone(), one.table.name.clone());
        let other = self.tables.iter().position(|t| t.database == database && t.table.name != first);
        let Some(other) = other else { return Ok(()) };
        let second = self.tables.get(other).map(|t| t.table.name.clone()).unwrap_or_default();
        let between = self.name("between");
        self.rename(at, &between).await?;
        self.rename(other, &first).await?;
        self.transact(2).await?;
        self.rename(at, &second).await
    }

    async fn add_column(&mut self, at: usize) -> anyhow::Result<()> {
        let (name, version) = (self.name("added"), self.next_version());
        let Some(live) = self.tables.get_mut(at) else { return Ok(()) };
        live.last_column += 1;
        let (column, value) = added_column(&mut self.rng, live.last_column, &name);
        let place = self.rng.random_range(1..=live.table.columns.len());
        self.alter(at, job_type::ADD_COLUMN, "ALTER TABLE … ADD COLUMN", |live| {
            let mut table = live.table.clone();
            table.columns.insert(place, column);
            live.rows.values_mut().for_each(|row: &mut Row| row.insert(place, Some(value.clone())));
            live.becomes(table, version);
        })
        .await
    }

    async fn drop_column(&mut self, at: usize) -> anyhow::Result<()> {
        let Some(live) = self.tables.get(at) else { return Ok(()) };
        let free =
            |c: &&Column| !live.table.indexes.iter().any(|i| i.columns.iter().any(|p| p.offset == c.offset));
        let places: Vec<usize> = live.table.columns.iter().filter(free).map(|c| c.offset).collect();
        if live.table.columns.len() < 3 || places.is_empty() {
            return Ok(());
        }
        let Some(place) = places.get(self.rng.random_range(0..places.len())).copied() else { return Ok(()) };
        let version = self.next_version();
        self.alter(at, job_type::DROP_COLUMN, "ALTER TABLE … DROP COLUMN", |live| {
            let mut table = live.table.clone();
            table.columns.remove(place);
            live.rows.values_mut().for_each(|row: &mut Row| drop(row.remove(place)));
            live.becomes(table, version);
        })
        .await
    }

    async fn add_index(&mut self, at: usize) -> anyhow::Result<()> {
        let (name, unique) = (self.name("i"), self.rng.random_bool(0.5));
        let Some(live) = self.tables.get(at) else { return Ok(()) };
        let Some(index) = random_index(&mut self.rng, &live.table, &name, unique) else { return Ok(()) };
        // Other texts than words compare in ways that the model does not know.
        let plain = |value: &Option<Value>| match value {
            Some(Value::Text(text)) => !text.is_empty() && text.iter().all(u8::is_ascii_alphabetic),
            _ => true,
        };
        let known =
            index.columns.iter().all(|p| live.rows.values().all(|row| row.get(p.offset).is_some_and(plain)));
        if live.table.indexes.len() > 4 || (unique && !(known && live.could_be_unique(&index))) {
            return Ok(());
        }
        let version = self.next_version();
        self.alter(at, job_type::ADD_INDEX, "ALTER TABLE … ADD INDEX", |live| {
            let mut table = live.table.clone();
            table.indexes.push(index);
            live.becomes(table, version);
        })
        .await
    }

    async fn drop_index(&mut self, at: usize) -> anyhow::Result<()> {
        let Some(live) = self.tables.get(at) else { return Ok(()) };
        let Some(place) = live.table.indexes.iter().position(|index| !index.primary) else { return Ok(()) };
        if live.table.indexes.get(place).is_some_and(|index| index.unique) && self.rng.random_bool(0.8) {
            return self.drop_index_in_steps(at, place).await;
        }
        let version = self.next_version();
        self.alter(at, job_type::DROP_INDEX, "ALTER TABLE … DROP INDEX", |live| {
            let mut table = live.table.clone();
            table.indexes.remove(place);
            live.becomes(table, version);
        })
        .await
    }

    /// From the first step on rows may be equal in the index; the DDL's binlog comes with the last one.
    async fn drop_index_in_steps(&mut self, at: usize, place: usize) -> anyhow::Result<()> {
        let Some(database) = self.database_of(at) else { return Ok(()) };
        let version = self.next_version();
        let Some(live) = self.tables.get_mut(at) else { return Ok(()) };
        let mut table = live.table.clone();
        let index = table.indexes.remove(place);
        live.becomes(table, version);
        self.wire.step(database.id, &live.table).await?;
        for _ in 0..self.rng.random_range(1..4) {
            self.repeat_values(at, &index).await?;
            self.transact(4).await?;
            // Another table's DDL ends in between.
            let other = self.rng.random_range(0..self.tables.len());
            if other != at && self.rng.random_bool(0.3) {
                self.add_column(other).await?;
            }
        }
        let version = self.next_version();
        self.alter(at, job_type::DROP_INDEX, "ALTER TABLE … DROP INDEX", |live| {
            live.becomes(live.table.clone(), version);
        })
        .await
    }

    async fn widen(&mut self, at: usize) -> anyhow::Result<()> {
        let Some(live) = self.tables.get(at) else { return Ok(()) };
        let narrow = |c: &&Column| matches!(c.ty.tp, tp::LONG | tp::VARCHAR);
        let Some(place) = live.table.columns.iter().find(narrow).map(|c| c.offset) else { return Ok(()) };
        let version = self.next_version();
        self.alter(at, job_type::MODIFY_COLUMN, "ALTER TABLE … MODIFY COLUMN", |live| {
            let mut table = live.table.clone();
            if let Some(column) = table.columns.get_mut(place) {
                if column.ty.tp == tp::LONG {
                    (column.ty.tp, column.ty.flen) = (tp::LONGLONG, 20);
                } else {
                    column.ty.flen += 10;
                }
            }
            live.becomes(table, version);
        })
        .await
    }

    /// A column gets another type, and so another id; the session may be anywhere.
    async fn retype(&mut self, at: usize) -> anyhow::Result<()> {
        let Some(live) = self.tables.get_mut(at) else { return Ok(()) };
        let free =
            |c: &&Column| !live.table.indexes.iter().any(|i| i.columns.iter().any(|p| p.offset == c.offset));
        let fitting = live.table.columns.iter().filter(free).find_map(|old| {
            let ty = another_type(&mut self.rng, &old.ty)?;
            Some((old.clone(), ty))
        });
        let Some((old, ty)) = fitting else { return Ok(()) };
        live.last_column += 1;
        let new = Column { id: live.last_column, ty, ..old.clone() };
        let offset = *[0, 28_800, -12_600].choose(&mut self.rng).unwrap_or(&0);
        let zone = Zone::of_location("UTC", offset);
        let mut changed = Vec::with_capacity(live.rows.len());
        for (handle, row) in &live.rows {
            let value = row.get(old.offset).cloned().flatten().unwrap_or(Value::Null);
            changed.push((*handle, old.cast(&value, &new, zone.as_ref())?));
        }
        let version = self.next_version();
        self.alter_in(at, job_type::MODIFY_COLUMN, "ALTER TABLE … MODIFY COLUMN", offset, |live| {
            let mut table = live.table.clone();
            for (handle, value) in changed {
                if let Some(slot) = live.rows.get_mut(&handle).and_then(|row| row.get_mut(old.offset)) {
                    *slot = Some(value);
                }
            }
            if let Some(column) = table.columns.get_mut(old.offset) {
                *column = new;
            }
            live.becomes(table, version);
        })
        .await
    }

    /// One job adds a column in front of others, drops one and gives another one a new name.
    async fn change_much(&mut self, at: usize) -> anyhow::Result<()> {
        let (added, renamed, version) = (self.name("added"), self.name("renamed"), self.next_version());
        let Some(live) = self.tables.get_mut(at) else { return Ok(()) };
        let free =
            |c: &&Column| !live.table.indexes.iter().any(|i| i.columns.iter().any(|p| p.offset == c.offset));
        let places: Vec<usize> = live.table.columns.iter().filter(free).map(|c| c.offset).collect();
        live.last_column += 1;
        let (column, value) = added_column(&mut self.rng, live.last_column, &added);
        self.alter(at, job_type::MULTI_SCHEMA_CHANGE, "ALTER TABLE … ADD, DROP, RENAME COLUMN", |live| {
            let mut table = live.table.clone();
            if let [gone, .., other] = places.as_slice() {
                if let Some(column) = table.columns.get_mut(*other) {
                    column.name = renamed;
                }
                table.columns.remove(*gone);
                live.rows.values_mut().for_each(|row: &mut Row| drop(row.remove(*gone)));
            }
            table.columns.insert(1, column);
            live.rows.values_mut().for_each(|row: &mut Row| row.insert(1, Some(value.clone())));
            live.becomes(table, version);
        })
        .await
    }

    /// A job that failed, and left everything as it was.
    async fn roll_back(&mut self, at: usize) -> anyhow::Result<()> {
        let Some(database) = self.database_of(at) else { return Ok(()) };
        let Some(table) = self.tables.get(at).map(|live| live.table.clone()) else { return Ok(()) };
        let query = format!("ALTER TABLE `{}`.`{}` ADD UNIQUE INDEX (…);", database.name, table.name);
        let (kind, table_id) = (job_type::ADD_INDEX, table.id);
        let job = Job {
            kind,
            database: &database,
            makes_database: false,
            table: None,
            table_id,
            query,
            done: false,
            offset: 0,
        };
        self.run(job).await
    }

    /// The rows of a partition go, without a binlog that says so.
    async fn change_partitions(&mut self, at: usize) -> anyhow::Result<()> {
        let id = self.id();
        let Some(live) = self.tables.get(at) else { return Ok(()) };
        let count = live.partitions.len();
        if count == 0 {
            return Ok(());
        }
        let (place, dropping) = (self.rng.random_range(0..count), count > 1 && self.rng.random_bool(0.3));
        let (kind, query) = if dropping {
            (job_type::DROP_TABLE_PARTITION, "ALTER TABLE … DROP PARTITION")
        } else {
            (job_type::TRUNCATE_TABLE_PARTITION, "ALTER TABLE … TRUNCATE PARTITION")
        };
        let version = self.next_version();
        self.alter(at, kind, query, |live| {
            live.clear_partition(place);
            if dropping {
                live.partitions.remove(place);
                // There is a place for every row.
                if let Some(last) = live.partitions.last_mut() {
                    last.less_than = None;
                }
            } else if let Some(partition) = live.partitions.get_mut(place) {
                partition.id = id;
            }
            live.becomes(live.table.clone(), version);
        })
        .await
    }

    async fn alter(
        &mut self,
        at: usize,
        kind: u8,
        query: &str,
        change: impl FnOnce(&mut Live),
    ) -> anyhow::Result<()> {
        self.alter_in(at, kind, query, 0, change).await
    }

    async fn alter_in(
        &mut self,
        at: usize,
        kind: u8,
        query: &str,
        offset: i32,
        change: impl FnOnce(&mut Live),
    ) -> anyhow::Result<()> {
        let Some(database) = self.database_of(at) else { return Ok(()) };
        let Some(live) = self.tables.get_mut(at) else { return Ok(()) };
        let id = live.table.id;
        change(live);
        let table = live.table.clone();
        let query = format!("{query} `{}`.`{}`;", database.name, table.name);
        let (database, table) = (&database, Some(&table));
        self.run(Job {
            kind,
            database,
            makes_database: false,
            table,
            table_id: id,
            query,
            done: true,
            offset,
        })
        .await
    }

    async fn run_on(
        &mut self,
        database: &Database,
        kind: u8,
        table: &Table,
        table_id: TableId,
        query: String,
    ) -> anyhow::Result<()> {
        let table = Some(table);
        self.run(Job { kind, database, makes_database: false, table, table_id, query, done: true, offset: 0 })
            .await
    }
}
