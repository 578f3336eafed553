//! A process that writes is killed at a random moment, again and again, in the same directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use binlog_storage::{Store, Write};
use binlog_types::CommitTs;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::*;

const DIR: &str = "BINLOG_STORAGE_CRASH_DIR";
const BASE: &str = "BINLOG_STORAGE_CRASH_BASE";
const SEED: &str = "BINLOG_STORAGE_CRASH_SEED";

/// The process that is killed: does nothing unless the other test started it.
#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (base, seed) = (number(BASE), number(SEED));
    let store = Store::open(dir.as_ref(), unsynced()).unwrap();
    let tso = Arc::new(AtomicU64::new(base));
    std::thread::scope(|threads| {
        for thread in 0..4 {
            let (store, tso) = (&store, Arc::clone(&tso));
            threads.spawn(move || write_for_ever(store, &tso, seed * 4 + thread));
        }
    });
}

fn write_for_ever(store: &Store, tso: &AtomicU64, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let next = || tso.fetch_add(1, Ordering::SeqCst) + 1;
    // One line, one write to the pipe: a kill leaves no half of it behind a later one.
    let say = |line: String| std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    loop {
        let start = next();
        store.write(prewrite(start)).unwrap();
        say(format!("\nP {start}\n"));
        match random.random_range(0..20) {
            0 => {
                store.write(rollback(start)).unwrap();
                say(format!("\nR {start}\n"));
            }
            // Its client died.
            1 => {}
            2 => {
                let oldest = store.watermark().raw().saturating_sub(random.random_range(0..2000));
                store.gc(CommitTs::new(oldest)).unwrap();
            }
            _ => {
                let at = next();
                say(format!("\nT {start} {at}\n"));
                store.write(commit(start, at)).unwrap();
                say(format!("\nC {start} {at}\n"));
            }
        }
        // What a resolver would do, so that the watermark moves.
        if random.random_range(0..10) == 0 {
            for old in store.unresolved(1) {
                if old.start_ts.raw() + 100 < tso.load(Ordering::SeqCst) {
                    say(format!("\nX {}\n", old.start_ts));
                    // Its own thread may just have decided otherwise.
                    let _ = store.write(Write::Rollback(old.start_ts));
                }
            }
        }
    }
}

#[test]
fn a_killed_process_loses_nothing_that_it_acknowledged() {
    let seed: u64 = std::env::var("SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap());
    println!("SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = quick_dir();
    let mut base = 1000;
    let mut committed: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["crash::child", "--exact", "--nocapture"])
            .env(DIR, dir.path())
            .env(BASE, base.to_string())
            .env(SEED, random.random::<u32>().to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let enough = random.random_range(100..3000);
        let mut open = BTreeSet::new();
        let mut rolled_back = BTreeSet::new();
        let mut taken: BTreeMap<u64, u64> = BTreeMap::new();
        let mut seen = 0;
        let mut killed = false;
        // Lines that were in the pipe count too: they were acknowledged.
        while let Some(Ok(line)) = lines.next() {
            let mut words = line.split(' ');
            let kind = words.next();
            let numbers: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
            match (kind, &numbers[..]) {
                (Some("P"), [start]) => drop(open.insert(*start)),
                (Some("T"), [start, at]) => drop(taken.insert(*start, *at)),
                (Some("C"), [start, at]) => {
                    open.remove(start);
                    committed.insert(*at, *start);
                }
                (Some("R" | "X"), [start]) => {
                    open.remove(start);
                    rolled_back.insert(*start);
                }
                _ => continue,
            }
            base = base.max(numbers.iter().copied().max().unwrap_or(0));
            seen += 1;
            if seen >= enough && !killed {
                child.kill().unwrap();
                killed = true;
            }
        }
        child.wait().unwrap();
        assert!(killed, "the child ended by itself");
        // A transaction may have begun that nobody told of.
        base += 1000;
        verify(dir.path(), round, &mut committed, &open, &rolled_back, &taken);
    }
}

fn verify(
    dir: &std::path::Path,
    round: i32,
    committed: &mut BTreeMap<u64, u64>,
    open: &BTreeSet<u64>,
    rolled_back: &BTreeSet<u64>,
    taken: &BTreeMap<u64, u64>,
) {
    let dead = Store::open_read_only(dir).unwrap();
    let (dead_rows, dead_w) = (rows(&dead), dead.watermark());
    drop(dead);
    let store = Store::open(dir, unsynced()).unwrap();
    assert_eq!(store.watermark(), dead_w, "round {round}");
    assert_eq!(rows(&store), dead_rows, "round {round}");
    let undecided: BTreeSet<u64> = store.unresolved(usize::MAX).iter().map(|u| u.start_ts.raw()).collect();
    for start in &undecided {
        // What a resolver finds out: whose commit_ts was taken has committed.
        match taken.get(start) {
            Some(at) => store.write(commit(*start, *at)).unwrap(),
            None => store.write(rollback(*start)).unwrap(),
        }
    }
    barrier(&store);
    let safe_point = store.safe_point().raw();
    let found: BTreeMap<u64, u64> = rows(&store)
        .into_iter()
        .map(|row| {
            assert_eq!(row, Row::of(row.start, row.commit), "round {round}");
            (row.commit, row.start)
        })
        .collect();
    let kept = committed.range(safe_point + 1..);
    let lost: Vec<_> = kept.filter(|(at, start)| found.get(at) != Some(start)).collect();
    assert!(lost.is_empty(), "round {round}: lost {lost:?}, safe point {safe_point}");
    let starts: BTreeSet<_> = found.values().copied().collect();
    let lost: Vec<_> = open
        .iter()
        .filter(|start| !undecided.contains(start) && !starts.contains(start))
        .filter(|start| taken.get(start).is_none_or(|at| *at > safe_point))
        // The line of its rollback may have been lost with the process.
        .filter(|start| taken.contains_key(start))
        .collect();
    assert!(lost.is_empty(), "round {round}: lost prewrites {lost:?}");
    let risen: Vec<_> =
        rolled_back.iter().filter(|start| starts.contains(start) && !taken.contains_key(start)).collect();
    assert!(risen.is_empty(), "round {round}: rolled back, yet there: {risen:?}");
    // Acknowledged or not, what is there now stays there.
    committed.extend(found);
    assert_eq!(store.poisoned(), None);
    store.close().unwrap();
}
