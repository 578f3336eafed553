//! Transactions that come in parts.

use binlog_catalog::{ColumnType, Event, Part, RowChange, Transaction};
use binlog_sink::Checkpoint;
use binlog_types::{CommitTs, SchemaVersion, StartTs};

use crate::support::{Database, builder, created, delete, in_db, insert, int, txn, update};

/// The changes of one transaction, cut at these places.
fn parts(commit_ts: u64, changes: &[RowChange], cuts: &[usize]) -> Vec<Event> {
    let ends = cuts.iter().copied().chain([changes.len()]);
    let mut before = 0;
    let part = |end: usize| {
        let through = (end < changes.len()).then_some(end as u64);
        let part = Part { before: before as u64, through };
        let changes = changes[before..end].to_vec();
        before = end;
        Event::Transaction(Transaction {
            start_ts: StartTs::new(commit_ts - 1),
            commit_ts: CommitTs::new(commit_ts),
            schema_version: SchemaVersion(1),
            part,
            changes,
        })
    };
    ends.map(part).collect()
}

fn checkpoint(commit_ts: u64) -> Checkpoint {
    Checkpoint { commit_ts: CommitTs::new(commit_ts), schema_version: SchemaVersion(1), consistent: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_are_applied_once_wherever_a_crash_falls_between_them() {
    for database in Database::both() {
        let keyed = in_db(
            builder(1, "k")
                .column("id", ColumnType::bigint())
                .column("v", ColumnType::int())
                .primary_key(&["id"])
                .build(),
        );
        let bare = in_db(builder(2, "b").column("v", ColumnType::int()).build());
        // Rows of the table without a key are all alike: only counting tells whether one was applied twice.
        let mut changes = Vec::new();
        for n in 0..40 {
            changes.push(insert(&keyed, vec![int(n), int(0)]));
            changes.push(insert(&bare, vec![int(7)]));
            if n % 4 == 3 {
                changes.push(update(&keyed, vec![int(n - 1), int(0)], vec![int(n - 1), int(1)]));
                changes.push(delete(&keyed, vec![int(n), int(0)]));
                changes.push(delete(&bare, vec![int(7)]));
                changes.push(update(&bare, vec![int(7)], vec![int(8)]));
            }
        }
        let cuts = [31, 62, 90];
        let mut sink = database.open().await;
        sink.apply(vec![created(10, &[&keyed, &bare])]).await.unwrap();
        sink.save(checkpoint(10)).await.unwrap();
        for (round, first, again) in [
            // Cut off behind the second part, and read again in the same parts, then in others, then as a whole.
            (0, 2, parts(20, &changes, &cuts)),
            (1, 2, parts(40, &changes, &[20, 70])),
            (2, 3, vec![txn(60, changes.clone())]),
        ] {
            let commit_ts = 20 * (round + 1);
            // The last one in the file before it is a part, too.
            for part in parts(commit_ts, &changes, &cuts).into_iter().take(first) {
                sink.apply(vec![part]).await.unwrap();
            }
            drop(sink);
            sink = database.open().await;
            assert_eq!(sink.checkpoint().await.unwrap().map(|c| c.commit_ts.raw()), Some(commit_ts - 10));
            sink.apply(again).await.unwrap();
            sink.apply(vec![txn(commit_ts + 5, vec![insert(&bare, vec![int(9)])])]).await.unwrap();
            // Once more from the checkpoint on: all of it is there already.
            drop(sink);
            sink = database.open().await;
            sink.apply(parts(commit_ts, &changes, &cuts)).await.unwrap();
            sink.apply(vec![txn(commit_ts + 5, vec![insert(&bare, vec![int(9)])])]).await.unwrap();

            let rows = database.rows("d", "b").await;
            let count = |value: &str| rows.iter().filter(|row| *row == value).count();
            let rounds = round as usize + 1;
            assert_eq!((count("7"), count("8"), count("9")), (20 * rounds, 10 * rounds, rounds));
            let rows = database.rows("d", "k").await;
            assert_eq!(rows.len(), 30);
            assert_eq!(rows.iter().filter(|row| row.ends_with(",1")).count(), 10);

            // All keys go again, so that the next round finds none of them.
            let present: Vec<RowChange> = (0..40)
                .filter(|n| n % 4 != 3)
                .map(|n| delete(&keyed, vec![int(n), int(i64::from(n % 4 == 2))]))
                .collect();
            sink.apply(vec![txn(commit_ts + 9, present)]).await.unwrap();
            sink.save(checkpoint(commit_ts + 10)).await.unwrap();
        }
    }
}
