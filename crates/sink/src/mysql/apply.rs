//! Rows of tables with a key: chunks of a fold, spread over the workers.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use binlog_catalog::{ChangeKind, Row};

use super::connection::Connection;
use crate::Error;
use crate::dml::batch::{self, Ordered};
use crate::dml::fold::{Folded, Net};
use crate::dml::statement;
use crate::layout::Layout;

/// One piece of work: each takes one connection, and is idempotent as a whole.
#[derive(Debug)]
enum Job<'a> {
    Delete(&'a Folded<'a>, &'a [Net<'a>]),
    Put(&'a Folded<'a>, &'a [Net<'a>]),
    Steps(&'a [Ordered<'a>]),
}

/// The work of a batch, in two phases: within a table all deletes come before all puts.
#[derive(Debug)]
pub(super) struct Keyed<'a> {
    phases: [VecDeque<Job<'a>>; 2],
    statement_bytes: usize,
}

impl<'a> Keyed<'a> {
    pub(super) fn new(tables: &'a [batch::Keyed<'a>], rows: usize, statement_bytes: usize) -> Self {
        let mut first = VecDeque::new();
        let mut second = VecDeque::new();
        for table in tables {
            match table {
                batch::Keyed::Net(folded) => {
                    first.extend(folded.deletes.chunks(rows).map(|chunk| Job::Delete(folded, chunk)));
                    second.extend(folded.puts.chunks(rows).map(|chunk| Job::Put(folded, chunk)));
                }
                batch::Keyed::Steps(steps) => first.push_back(Job::Steps(steps)),
            }
        }
        Keyed { phases: [first, second], statement_bytes }
    }

    /// Runs everything; the first error is returned after the statements under way have ended.
    pub(super) async fn run(self, workers: &mut [Connection]) -> Result<(), Error> {
        for phase in self.phases {
            let queue = Mutex::new(phase);
            let failed = Mutex::new(None);
            let tasks = workers.iter_mut().map(|connection| {
                let (queue, failed) = (&queue, &failed);
                async move {
                    loop {
                        let job = lock(queue).pop_front();
                        let Some(job) = job else { return };
                        if let Err(error) = run_job(connection, &job, self.statement_bytes).await {
                            lock(queue).clear();
                            lock(failed).get_or_insert(error);
                            return;
                        }
                    }
                }
            });
            futures::future::join_all(tasks).await;
            if let Some(error) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
                return Err(error);
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run_job(connection: &mut Connection, job: &Job<'_>, bytes: usize) -> Result<(), Error> {
    match job {
        Job::Delete(folded, chunk) => delete(connection, &folded.layout, chunk, bytes).await,
        Job::Put(folded, chunk) => put(connection, &folded.layout, chunk, bytes).await,
        Job::Steps(steps) => {
            for step in *steps {
                run_step(connection, step).await?;
            }
            Ok(())
        }
    }
}

async fn delete(
    connection: &mut Connection,
    layout: &Layout,
    chunk: &[Net<'_>],
    bytes: usize,
) -> Result<(), Error> {
    let head = statement::delete_head(layout);
    let mut sql = String::new();
    for (count, net) in chunk.iter().enumerate() {
        sql.push_str(if sql.is_empty() { &head } else { "," });
        statement::push_key(&mut sql, layout, net);
        if sql.len() >= bytes || count + 1 == chunk.len() {
            sql.push(')');
            run(connection, layout, net, &sql).await?;
            sql.clear();
        }
    }
    Ok(())
}

async fn put(
    connection: &mut Connection,
    layout: &Layout,
    chunk: &[Net<'_>],
    bytes: usize,
) -> Result<(), Error> {
    let mut sql = String::new();
    let mut columns: Vec<usize> = Vec::new();
    let mut last = None;
    for net in chunk {
        let Some(row) = net.row else { continue };
        let full = layout.is_full(row);
        let same = if full { columns.len() == layout.writable.len() } else { columns == layout.bound(row) };
        if let Some(previous) = last.filter(|_| !same || sql.len() >= bytes) {
            run(connection, layout, previous, &sql).await?;
            sql.clear();
        }
        if sql.is_empty() {
            columns = if full { layout.writable.clone() } else { layout.bound(row) };
            sql.push_str(&statement::insert_head("REPLACE", layout, &columns));
        } else {
            sql.push(',');
        }
        statement::push_values(&mut sql, layout, &columns, row);
        last = Some(net);
    }
    match last {
        Some(net) if !sql.is_empty() => run(connection, layout, net, &sql).await,
        _ => Ok(()),
    }
}

async fn run(connection: &mut Connection, layout: &Layout, net: &Net<'_>, sql: &str) -> Result<(), Error> {
    match connection.execute_rows(sql).await {
        Ok(_) => Ok(()),
        Err(source) => Err(Error::statement(&layout.place(net.commit_ts), sql, source)),
    }
}

/// A change that must not be folded, because an update leaves columns unbound that only the target knows.
async fn run_step(connection: &mut Connection, step: &Ordered<'_>) -> Result<(), Error> {
    let layout = &*step.layout;
    let replace = |row: &Row| {
        let columns = layout.bound(row);
        let mut sql = statement::insert_head("REPLACE", layout, &columns);
        statement::push_values(&mut sql, layout, &columns, row);
        sql
    };
    let sql = match step.kind {
        ChangeKind::Insert(row) => replace(row),
        ChangeKind::Delete(row) => {
            format!(
                "DELETE FROM {} WHERE {}",
                statement::table(layout),
                statement::key_condition(layout, row)
            )
        }
        ChangeKind::Update { before, after } => format!(
            "UPDATE {} SET {} WHERE {}",
            statement::table(layout),
            statement::assignments(layout, after),
            statement::key_condition(layout, before)
        ),
    };
    let failed = |sql: &str, source| Error::statement(&layout.place(step.commit_ts), sql, source);
    let found = connection.execute_rows(&sql).await.map_err(|e| failed(&sql, e))?;
    if let ChangeKind::Update { after, .. } = step.kind
        && found == 0
    {
        // Repeated after a crash: the row has moved on to its later key already, or was deleted by a later change that will come
        // again. Writing what the update binds, and nothing over what is there beside it, is right in both cases.
        let columns = layout.bound(after);
        let mut sql = statement::insert_head("INSERT", layout, &columns);
        statement::push_values(&mut sql, layout, &columns, after);
        sql.push_str(&format!(" ON DUPLICATE KEY UPDATE {}", statement::assignments(layout, after)));
        connection.execute_rows(&sql).await.map_err(|e| failed(&sql, e))?;
    }
    Ok(())
}
