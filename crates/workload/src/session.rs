//! What one connection does next. A session draws from its own generator, so that its work does not depend on the others'.

use std::collections::BTreeSet;
use std::sync::Arc;

use binlog_catalog::{Row, TimeKind, Value};
use binlog_types::SchemaVersion;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::{Mutex, MutexGuard};

use crate::Error;
use crate::model::{Change, ChangeKind};
use crate::schema::{ACCOUNTS, AUDIT, KINDS, TRANSFERS};
use crate::txn::{Engine, Outcome};

/// Ids are dealt out by `counter × MAX_SESSIONS + session`, as TiDB servers deal out cached ranges.
pub const MAX_SESSIONS: usize = 64;

/// Cents on each account at the beginning.
pub(crate) const OPENING_CENTS: i64 = 100_000;

const BALANCE: usize = 3;
const NOTE: usize = 5;
/// 2026-01-01 00:00:00 in TiDB's packed form is built from these parts.
const YEAR: u64 = 2026;

const FIRST: &[&str] =
    &["Ada", "Björn", "Chen", "Dörte", "Emeka", "Fatima", "Giulia", "Håkon", "Ines", "Jun", "Kemal", "Łucja"];
const LAST: &[&str] =
    &["Adeyemi", "Bianchi", "Curie", "Díaz", "Ekström", "Fischer", "Gödel", "Hopper", "Ito", "Joshi"];
const MEMOS: &[&str] = &[
    "rent",
    "coffee",
    "it's \"urgent\"",
    "line one\nline two",
    "back\\slash",
    "押金",
    "🎁",
    "tab\there",
    "",
];
const EVENTS: &[&str] = &["login", "transfer", "statement", "card blocked"];

/// Locks of accounts, by stripes.
#[derive(Debug)]
pub(crate) struct Locks(Vec<Mutex<()>>);

impl Locks {
    /// Enough stripes that sessions rarely meet by chance.
    pub(crate) fn new() -> Self {
        Locks((0..256).map(|_| Mutex::new(())).collect())
    }

    /// Locks all of `accounts`, in one order for everyone.
    async fn lock(&self, accounts: &[i64]) -> Vec<MutexGuard<'_, ()>> {
        let stripes: BTreeSet<usize> =
            accounts.iter().map(|a| a.unsigned_abs() as usize % self.0.len()).collect();
        let mut guards = Vec::with_capacity(stripes.len());
        for stripe in stripes {
            guards.push(self.0[stripe].lock().await);
        }
        guards
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    number: usize,
    rng: StdRng,
    accounts: i64,
    counter: i64,
    transfers: Vec<i64>,
    audits: Vec<i64>,
}

/// What a step did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) rows: usize,
}

impl Session {
    /// Session `number` of a workload with `seed`, over accounts 1 to `accounts`.
    pub(crate) fn new(seed: u64, number: usize, accounts: i64) -> Self {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(number as u64);
        let rng = StdRng::seed_from_u64(mixed);
        Session { number, rng, accounts, counter: 0, transfers: Vec::new(), audits: Vec::new() }
    }

    /// Its number, from 0.
    pub(crate) fn number(&self) -> usize {
        self.number
    }

    fn next_id(&mut self) -> i64 {
        self.counter += 1;
        self.counter * MAX_SESSIONS as i64 + self.number as i64
    }

    /// Runs one transaction.
    pub(crate) async fn step(
        &mut self,
        engine: &Arc<Engine>,
        locks: &Locks,
        version: SchemaVersion,
    ) -> Result<Done, Error> {
        let dice = self.rng.random_range(0..100);
        match dice {
            0..72 => self.transfer(engine, locks, version, Outcome::Commit).await,
            72..80 => self.transfer(engine, locks, version, Outcome::Rollback).await,
            80..88 => self.change_note(engine, locks, version).await,
            88..94 => self.forget(engine, version).await,
            _ => self.log_in(engine, version).await,
        }
    }

    /// Money from one account to another, with its transfer and audit rows.
    async fn transfer(
        &mut self,
        engine: &Arc<Engine>,
        locks: &Locks,
        version: SchemaVersion,
        outcome: Outcome,
    ) -> Result<Done, Error> {
        let from = self.rng.random_range(1..=self.accounts);
        let to = 1 + (from - 1 + self.rng.random_range(1..self.accounts)) % self.accounts;
        let cents = self.rng.random_range(1..5_000);
        let (id, audit) = (self.next_id(), self.next_id());
        let transfer = self.transfer_row(id, from, to, cents);
        let audit_row = self.audit_row("transfer", Some(from));
        let _held = locks.lock(&[from, to]).await;
        let mut changes = Vec::with_capacity(4);
        for (account, delta) in [(from, -cents), (to, cents)] {
            let before = account_row(engine, account)?;
            let after = add_cents(&before, delta)?;
            changes.push(Change {
                table: ACCOUNTS,
                handle: account,
                kind: ChangeKind::Update { before, after },
            });
        }
        changes.push(Change { table: TRANSFERS, handle: id, kind: ChangeKind::Insert(transfer) });
        changes.push(Change { table: AUDIT, handle: audit, kind: ChangeKind::Insert(audit_row) });
        let rows = changes.len();
        engine.execute(version, changes, outcome).await?;
        if outcome == Outcome::Commit {
            self.transfers.push(id);
            self.audits.push(audit);
        }
        Ok(Done { outcome, rows })
    }

    /// An account's note changes, to NULL at times.
    async fn change_note(
        &mut self,
        engine: &Arc<Engine>,
        locks: &Locks,
        version: SchemaVersion,
    ) -> Result<Done, Error> {
        let account = self.rng.random_range(1..=self.accounts);
        let note = self.memo();
        let _held = locks.lock(&[account]).await;
        let before = account_row(engine, account)?;
        let mut after = before.clone();
        if let Some(slot) = after.get_mut(NOTE) {
            *slot = Some(note);
        }
        let change = Change { table: ACCOUNTS, handle: account, kind: ChangeKind::Update { before, after } };
        engine.execute(version, vec![change], Outcome::Commit).await?;
        Ok(Done { outcome: Outcome::Commit, rows: 1 })
    }

    /// Deletes a transfer and an audit row that this session wrote; others have the same audit row, and keep it.
    async fn forget(&mut self, engine: &Arc<Engine>, version: SchemaVersion) -> Result<Done, Error> {
        let mut changes = Vec::new();
        for (table, own) in [(TRANSFERS, &mut self.transfers), (AUDIT, &mut self.audits)] {
            if own.is_empty() {
                continue;
            }
            let handle = own.swap_remove(self.rng.random_range(0..own.len()));
            let row = engine.model().row(table, handle).ok_or_else(|| missing(table, handle))?;
            changes.push(Change { table, handle, kind: ChangeKind::Delete(row) });
        }
        if changes.is_empty() {
            return self.log_in(engine, version).await;
        }
        let rows = changes.len();
        engine.execute(version, changes, Outcome::Commit).await?;
        Ok(Done { outcome: Outcome::Commit, rows })
    }

    /// Audit rows only: equal ones, in the table without a key.
    async fn log_in(&mut self, engine: &Arc<Engine>, version: SchemaVersion) -> Result<Done, Error> {
        let event = EVENTS.choose(&mut self.rng).copied().unwrap_or("login");
        let row = self.audit_row(event, None);
        let mut changes = Vec::new();
        for _ in 0..self.rng.random_range(1..4) {
            let handle = self.next_id();
            self.audits.push(handle);
            changes.push(Change { table: AUDIT, handle, kind: ChangeKind::Insert(row.clone()) });
        }
        let rows = changes.len();
        engine.execute(version, changes, Outcome::Commit).await?;
        Ok(Done { outcome: Outcome::Commit, rows })
    }

    fn memo(&mut self) -> Value {
        match self.rng.random_range(0..4) {
            0 => Value::Null,
            _ => text(MEMOS.choose(&mut self.rng).copied().unwrap_or_default()),
        }
    }

    fn transfer_row(&mut self, id: i64, from: i64, to: i64, cents: i64) -> Row {
        let millis = self.rng.random_range(0..365 * 86_400_000u64);
        let memo = self.memo();
        row([Value::Int(id), Value::Int(from), Value::Int(to), decimal(cents), moment(millis, 3), memo])
    }

    fn audit_row(&mut self, event: &str, account: Option<i64>) -> Row {
        let teller = LAST.choose(&mut self.rng).copied().unwrap_or_default();
        row([text(event), account.map_or(Value::Null, |a| Value::Int(a % 10)), text(teller)])
    }
}

/// The rows of the accounts that the bank opens with.
pub(crate) fn opening_accounts(seed: u64, accounts: i64) -> Vec<(i64, Row)> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut account = |id: i64| {
        let owner = format!(
            "{} {}",
            FIRST.choose(&mut rng).copied().unwrap_or_default(),
            LAST.choose(&mut rng).copied().unwrap_or_default()
        );
        let kind = Value::Enum(rng.random_range(1..=KINDS.len() as u64));
        let opened = moment(rng.random_range(0..365 * 86_400u64) * 1000, 0);
        (id, row([Value::Int(id), text(&owner), kind, decimal(OPENING_CENTS), opened, Value::Null]))
    };
    (1..=accounts).map(&mut account).collect()
}

fn account_row(engine: &Engine, account: i64) -> Result<Row, Error> {
    engine.model().row(ACCOUNTS, account).ok_or_else(|| missing(ACCOUNTS, account))
}

fn missing(table: usize, handle: i64) -> Error {
    let name = crate::schema::TABLES.get(table).map_or("?", |t| t.name);
    Error::Usage(format!("row {handle} of {name} is gone; run needs the rows that create_schema made"))
}

fn row<const N: usize>(values: [Value; N]) -> Row {
    values.into_iter().map(Some).collect()
}

fn text(text: &str) -> Value {
    Value::Text(bytes::Bytes::copy_from_slice(text.as_bytes()))
}

fn decimal(cents: i64) -> Value {
    let sign = if cents < 0 { "-" } else { "" };
    let cents = cents.unsigned_abs();
    Value::Decimal(format!("{sign}{}.{:02}", cents / 100, cents % 100).into())
}

/// The balance of a row of `accounts`.
pub(crate) fn cents_of(row: &Row) -> Option<i64> {
    let Some(Some(Value::Decimal(text))) = row.get(BALANCE) else { return None };
    text.replace('.', "").parse().ok()
}

fn add_cents(row: &Row, delta: i64) -> Result<Row, Error> {
    let cents = cents_of(row).ok_or_else(|| Error::Usage("an account's balance is unreadable".to_owned()))?;
    let mut row = row.clone();
    if let Some(slot) = row.get_mut(BALANCE) {
        *slot = Some(decimal(cents + delta));
    }
    Ok(row)
}

/// The moment `millis` after the beginning of [`YEAR`] (a common year), packed as TiDB packs it.
fn moment(millis: u64, fsp: u8) -> Value {
    const DAYS: [u64; 12] = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let (mut day, of_day) = (millis / 86_400_000 % 365, millis % 86_400_000);
    let mut month = 1;
    for days in DAYS {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    let seconds = of_day / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let date = (YEAR * 13 + month) << 5 | (day + 1);
    let packed = (date << 17 | hour << 12 | minute << 6 | second) << 24 | (of_day % 1000 * 1000);
    Value::Time { kind: TimeKind::DateTime, packed, fsp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cents_and_decimals_are_one() {
        for cents in [0, 5, -5, 99, 100, -100, -12_345, 123_456_789] {
            let row = row([Value::Null, Value::Null, Value::Null, decimal(cents)]);
            assert_eq!(cents_of(&row), Some(cents));
        }
        assert_eq!(decimal(-5), Value::Decimal("-0.05".into()));
    }

    #[test]
    fn moments_are_valid_dates() {
        let Value::Time { packed, .. } = moment((31 + 28) * 86_400_000 + 3_723_004, 3) else {
            panic!("no time")
        };
        let (date, clock) = (packed >> 41, packed >> 24 & 0x1ffff);
        assert_eq!((date >> 5, date & 31), (2026 * 13 + 3, 1));
        assert_eq!((clock >> 12, clock >> 6 & 63, clock & 63, packed & 0xff_ffff), (1, 2, 3, 4000));
        let Value::Time { packed, .. } = moment(365 * 86_400_000 - 1, 3) else { panic!("no time") };
        assert_eq!((packed >> 46) - 2026 * 13, 12);
        assert_eq!(packed >> 41 & 31, 31);
    }

    #[test]
    fn the_seed_decides_the_content() {
        assert_eq!(opening_accounts(7, 20), opening_accounts(7, 20));
        assert_ne!(opening_accounts(7, 20), opening_accounts(8, 20));
        let draw = |seed, number| {
            let mut session = Session::new(seed, number, 20);
            let id = session.next_id();
            (id, session.transfer_row(id, 1, 2, 3))
        };
        assert_eq!(draw(7, 1), draw(7, 1));
        assert_ne!(draw(7, 1), draw(7, 2));
    }
}
