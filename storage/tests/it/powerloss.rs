//! Power failures: the process dies *and* everything that it had not synced is gone.
//!
//! A small library, compiled here and preloaded into the process under test (`powerloss.c`), notes every fsync and fdatasync
//! of a file, and every fsync of the directory. From these notes [`Lab::image`] rebuilds the directory as a disk may hold
//! it: the names of the last directory sync, each file up to its last sync and a random part of what came after.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use binlog_storage::{FailPoints, Store, Write};
use binlog_types::CommitTs;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::failures::{POINTS, check};
use crate::support::*;

const DIR: &str = "POWERLOSS_DIR";
const KEEP: &str = "POWERLOSS_KEEP";
const POINT: &str = "POWERLOSS_POINT";
const PASS: &str = "POWERLOSS_PASS";
const SYNC: &str = "POWERLOSS_SYNC";
const BASE: &str = "POWERLOSS_BASE";

/// The preloaded library.
pub(crate) struct Lab {
    library: PathBuf,
    random: StdRng,
    _dir: TempDir,
}

impl Lab {
    pub(crate) fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join("powerloss.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/powerloss.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(&library).arg(source).arg("-ldl");
        assert!(cc.status().unwrap().success(), "{cc:?}");
        Lab { library, random: StdRng::seed_from_u64(seed), _dir: dir }
    }

    /// What a power failure leaves of `dir`, in a new directory; `keep` holds the notes.
    fn image(&mut self, dir: &Path, keep: &Path) -> TempDir {
        let notes = std::fs::read_to_string(keep.join("journal")).unwrap();
        // A kill may have cut the last line.
        let whole = &notes[..notes.rfind('\n').map_or(0, |end| end + 1)];
        let (mut names, mut synced) = (HashMap::new(), HashMap::new());
        for line in whole.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[0] {
                "D" => names = words[1..].chunks(2).map(|c| (c[0].to_owned(), c[1].to_owned())).collect(),
                "F" => drop(synced.insert(words[1].to_owned(), words[2].parse::<usize>().unwrap())),
                other => panic!("{other} in the notes"),
            }
        }
        let image = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
        for (name, inode) in names {
            // Files that were there before the process began are whole.
            let bytes = std::fs::read(keep.join(&inode)).or_else(|_| std::fs::read(dir.join(&name)));
            let Ok(bytes) = bytes else { continue };
            let fixed = if keep.join(&inode).exists() {
                synced.get(&inode).copied().unwrap_or(0)
            } else {
                bytes.len()
            };
            let torn = self.random.random_range(0..=bytes.len().saturating_sub(fixed));
            let kept = (fixed + torn * usize::from(self.random.random_bool(0.5))).min(bytes.len());
            std::fs::write(image.path().join(&name), &bytes[..kept]).unwrap();
        }
        image
    }
}

/// The process that dies: does nothing unless another test started it.
#[test]
fn child() {
    let (Ok(dir), Ok(point)) = (std::env::var(DIR), std::env::var(POINT)) else { return };
    let number = |name: &str| std::env::var(name).unwrap().parse::<u64>().unwrap();
    let (pass, passes) = (number(PASS), AtomicU64::new(0));
    let mut settings = if number(SYNC) == 1 { options() } else { unsynced() };
    settings.tuning.failpoints = FailPoints::new(move |at| {
        if format!("{at:?}") == point && passes.fetch_add(1, Ordering::SeqCst) + 1 == pass {
            std::process::abort();
        }
        None
    });
    let store = Store::open(dir.as_ref(), settings).unwrap();
    let base = number(BASE);
    for n in 0..400 {
        let at = base + 10 * n;
        for start in [at, at + 1] {
            store.write(prewrite(start)).unwrap();
        }
        let undone = if n % 20 == 3 { prewrite_of(at + 2, large_payload(at)) } else { prewrite(at + 2) };
        store.write(undone).unwrap();
        store.write(rollback(at + 2)).unwrap();
        for start in [at + 1, at] {
            store.write(commit(start, start + 5)).unwrap();
            println!("\nC {start} {}", start + 5);
        }
        if n % 40 == 39 {
            store.gc(CommitTs::new(at - 300)).unwrap();
        }
    }
    println!("\nthe point was not passed often enough");
    std::process::abort();
}

/// Lets a process die in `dir` at a pass of a point; gives what it had acknowledged, and what is left.
fn die(
    lab: &mut Lab,
    dir: &Path,
    point: &str,
    pass: u64,
    sync: bool,
    base: u64,
) -> (BTreeSet<(u64, u64)>, TempDir) {
    let keep = tempfile::tempdir_in(dir.parent().unwrap()).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["powerloss::child", "--exact", "--nocapture"])
        .env("LD_PRELOAD", &lab.library)
        .env(DIR, dir)
        .env(KEEP, keep.path())
        .env(POINT, point)
        .env(PASS, pass.to_string())
        .env(SYNC, u8::from(sync).to_string())
        .env(BASE, base.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut acknowledged = BTreeSet::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let numbers: Vec<u64> = line.split(' ').skip(1).filter_map(|word| word.parse().ok()).collect();
        if let ("C", [start, at]) = (line.split(' ').next().unwrap_or(""), &numbers[..]) {
            acknowledged.insert((*start, *at));
        }
    }
    assert!(!child.wait().unwrap().success(), "it was to die");
    let image = lab.image(dir, keep.path());
    (acknowledged, image)
}

fn seed() -> u64 {
    std::env::var("SEED").ok().map_or_else(rand::random, |seed| seed.parse().unwrap())
}

#[test]
fn a_power_failure_at_any_step_loses_nothing_acknowledged() {
    let seed = seed();
    println!("SEED={seed}");
    let mut lab = Lab::new(seed);
    for point in POINTS {
        let name = format!("{point:?}");
        let often = matches!(name.as_str(), "BeforeBatch" | "AfterBatch" | "BeforeSettle" | "AfterSettle");
        let first = quick_dir();
        let mut dir = first;
        let mut acknowledged = BTreeSet::new();
        // Twice in a row: the second process dies over what the first one left.
        for round in 0..2_u64 {
            let pass = lab.random.random_range(1..=if often { 300 } else { 4 });
            println!("{name}, pass {pass}");
            let base = 1000 + 10_000 * round;
            let (new, image) = die(&mut lab, dir.path(), &name, pass, true, base);
            acknowledged.extend(new);
            let dead = Store::open_read_only(image.path()).map(|dead| rows(&dead));
            let store = open(image.path());
            if let Ok(seen) = dead {
                assert!(rows(&store).starts_with(&seen), "{name}: what a reader of the dead store saw");
            }
            check(&store, &acknowledged, point);
            store.close().unwrap();
            dir = image;
        }
    }
}

/// The method itself: a store that does not sync does lose acknowledged commits, and this shows it.
#[test]
fn the_method_notices_what_was_not_synced() {
    let seed = seed();
    println!("SEED={seed}");
    let mut lab = Lab::new(seed);
    // A pass that happens to follow a flush closely has nothing to lose.
    let lost = (880..900).step_by(5).map(|pass| {
        let dir = quick_dir();
        let (acknowledged, image) = die(&mut lab, dir.path(), "AfterBatch", pass, false, 1000);
        let store = open(image.path());
        for undecided in store.unresolved(usize::MAX) {
            store.write(Write::Rollback(undecided.start_ts)).unwrap();
        }
        barrier(&store);
        let safe_point = store.safe_point().raw();
        let found: BTreeSet<_> = rows(&store).into_iter().map(|row| (row.start, row.commit)).collect();
        acknowledged.iter().filter(|r| r.1 > safe_point && !found.contains(*r)).count()
    });
    assert!(lost.into_iter().any(|lost| lost > 0), "no acknowledged commit was ever lost");
}
