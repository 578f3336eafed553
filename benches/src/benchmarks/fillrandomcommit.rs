//! Writers with several transactions open, which end in any order.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::fillsync::fill;
use crate::report::Report;
use crate::session::Session;

/// Transactions that each writer has open.
const OPEN: usize = 8;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let seed = session.options.seed;
    fill("fillrandomcommit", session, |writer| {
        let mut random = SmallRng::seed_from_u64(seed ^ (writer.number as u64) << 32);
        let mut open = Vec::new();
        loop {
            let goes_on = writer.quota.next();
            if goes_on {
                let (start, prewrite) = writer.begin();
                writer.write(vec![prewrite])?;
                open.push(start);
            } else if open.is_empty() {
                return Ok(());
            }
            if open.len() >= OPEN || !goes_on {
                let commit = writer.end(open.swap_remove(random.random_range(0..open.len())));
                writer.write(vec![commit])?;
            }
        }
    })
}
