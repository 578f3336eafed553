//! Random changes of rows.

use binlog_catalog::encode::{Mutation, delete_row, insert_row, update_row};
use binlog_catalog::{Index, Row, Table};
use rand::Rng as _;
use rand::rngs::SmallRng;

use super::tables::Live;
use super::values;

/// Changes `live` and adds the row changes; it may find nothing to do.
pub(super) fn change(live: &mut Live, rng: &mut SmallRng, out: &mut Vec<Mutation>) -> anyhow::Result<()> {
    match rng.random_range(0..100) {
        0..40 => insert(live, rng, out),
        40..70 => update(live, rng, out),
        70..80 => swap(live, rng, out),
        80..92 => delete(live, rng, out),
        92..95 => repeat(live, rng, out),
        95..98 => many(live, rng, out),
        _ => sweep(live, rng, out),
    }
}

fn insert(live: &mut Live, rng: &mut SmallRng, out: &mut Vec<Mutation>) -> anyhow::Result<()> {
    // A handle that was used before comes again at times.
    let handle = match live.next_handle {
        1.. if live.table.pk_is_handle && rng.random_bool(0.3) => rng.random_range(1..=live.next_handle),
        last => last + 1,
    };
    let row = values::random_row(rng, &live.table, handle);
    if live.rows.contains_key(&handle) || !live.fits(handle, &row) {
        return Ok(());
    }
    live.next_handle = live.next_handle.max(handle);
    out.push(insert_row(&live.table, handle, &row)?);
    live.put(handle, row);
    Ok(())
}

fn some_handle(live: &Live, rng: &mut SmallRng) -> Option<i64> {
    let at = rng.random_range(0..live.rows.len().max(1));
    live.rows.keys().nth(at).copied()
}

/// `row` with some values changed; never the integer key, which is the row itself.
fn changed(live: &Live, rng: &mut SmallRng, handle: i64, row: &Row) -> Row {
    let fresh = values::random_row(rng, &live.table, handle);
    row.iter().zip(fresh).map(|(old, new)| if rng.random_bool(0.4) { new } else { old.clone() }).collect()
}

fn update(live: &mut Live, rng: &mut SmallRng, out: &mut Vec<Mutation>) -> anyhow::Result<()> {
    let Some(handle) = some_handle(live, rng) else { return Ok(()) };
    // The same row several times in a transaction.
    for _ in 0..rng.random_range(1..3) {
        let Some(before) = live.rows.get(&handle).cloned() else { return Ok(()) };
        let after = changed(live, rng, handle, &before);
        if after != before && live.fits(handle, &after) {
            out.push(update_row(&live.table, handle, &before, &after)?);
            live.put(handle, after);
        }
    }
    Ok(())
}

/// Whether it is the column of the integer key, which is the row itself.
fn is_handle(table: &Table, at: usize) -> bool {
    let column = table.columns.get(at);
    table.pk_is_handle && column.is_some_and(|c| c.ty.flag & binlog_catalog::flag::PRI_KEY != 0)
}

/// Two rows change all their values but the integer key, those of unique keys too.
fn swap(live: &mut Live, rng: &mut SmallRng, out: &mut Vec<Mutation>) -> anyhow::Result<()> {
    let (Some(one), Some(two)) = (some_handle(live, rng), some_handle(live, rng)) else { return Ok(()) };
    let (Some(first), Some(second)) = (live.rows.get(&one).cloned(), live.rows.get(&two).cloned()) else {
        return Ok(());
    };
    let key = |at: usize| is_handle(&live.table, at);
    let exchanged = |own: &Row, other: &Row| -> Row {
        own.iter()
            .zip(other)
            .enumerate()
            .map(|(at, (a, b))| if key(at) { a.clone() } else { b.clone() })
            .collect()
    };
    let (to_first, to_second) = (exchanged(&first, &second), exchanged(&second, &first));
    if one == two || to_first == first {
        return Ok(());
    }
    // As in SQL, where no two rows may ever be equal in a unique key: one of them steps aside.
    let aside = values::random_row(rng, &live.table, one);
    if !live.fits(one, &aside) {
        return Ok(());
    }
    for (handle, before, after) in
        [(one, &first, &aside), (two, &second, &to_second), (one, &aside, &to_first)]
    {
        out.push(update_row(&live.table, handle, before, after)?);
        live.put(handle, after.clone());
    }
    Ok(())
}

fn delete(live: &mut Live, rng: &mut SmallRng, out: &mut Vec<Mutation>) -> anyhow::Result<()> {
    let Some(handle) = some_handle(live, rng) else { return Ok(()) };
    if let Some(row) = live.take(handle) {
        out.push(delete_row(&live.table, handle, &row)?);
    }
    Ok(())
}

/// The same row again and again, where nothing forbids it.
fn repeat(live: &mut Live, rng: &mut SmallRng, out: &mut Vec<Mutation>) -> anyhow::Result<()> {
    let template = some_handle(live, rng).and_then(|handle| live.rows.get(&handle).cloned());
    let Some(row) = template else { return Ok(()) };
    for _ in 0..rng.random_range(2..6) {
        let handle = live.next_handle + 1;
        if live.table.pk_is_handle || !live.fits(handle, &row) {
            return Ok(());
        }
        live.next_handle = handle;
        out.push(insert_row(&live.table, handle, &row)?);
        live.put(handle, row.clone());
    }
    Ok(())
}

/// New rows, and changes of others, that take the values that some row has in the index.
pub(super) fn repeat_values(
    live: &mut Live,
    rng: &mut SmallRng,
    index: &Index,
    out: &mut Vec<Mutation>,
) -> anyhow::Result<()> {
    for _ in 0..rng.random_range(1..5) {
        let template = some_handle(live, rng).and_then(|handle| live.rows.get(&handle).cloned());
        let Some(template) = template else { return Ok(()) };
        let table = live.table.clone();
        let like = |mut row: Row| {
            for part in index.columns.iter().filter(|part| !is_handle(&table, part.offset)) {
                if let (Some(slot), Some(value)) = (row.get_mut(part.offset), template.get(part.offset)) {
                    slot.clone_from(value);
                }
            }
            row
        };
        let handle = live.next_handle + 1;
        let row = like(values::random_row(rng, &live.table, handle));
        if live.fits(handle, &row) {
            live.next_handle = handle;
            out.push(insert_row(&live.table, handle, &row)?);
            live.put(handle, row);
        }
        let Some(handle) = some_handle(live, rng) else { return Ok(()) };
        let Some(before) = live.rows.get(&handle).cloned() else { return Ok(()) };
        let after = like(before.clone());
        if after != before && live.fits(handle, &after) {
            out.push(update_row(&live.table, handle, &before, &after)?);
            live.put(handle, after);
        }
    }
    Ok(())
}

fn many(live: &mut Live, rng: &mut SmallRng, out: &mut Vec<Mutation>) -> anyhow::Result<()> {
    for _ in 0..rng.random_range(20..200) {
        insert(live, rng, out)?;
    }
    Ok(())
}

/// All rows, or every other one, are deleted or changed.
fn sweep(live: &mut Live, rng: &mut SmallRng, out: &mut Vec<Mutation>) -> anyhow::Result<()> {
    let (deleting, step) = (rng.random_bool(0.5), rng.random_range(1..3));
    let handles: Vec<i64> = live.rows.keys().copied().step_by(step).collect();
    for handle in handles {
        let Some(before) = live.rows.get(&handle).cloned() else { continue };
        if deleting {
            live.take(handle);
            out.push(delete_row(&live.table, handle, &before)?);
            continue;
        }
        let after = changed(live, rng, handle, &before);
        if after != before && live.fits(handle, &after) {
            out.push(update_row(&live.table, handle, &before, &after)?);
            live.put(handle, after);
        }
    }
    Ok(())
}
