//! Writers that hand over many transactions at once.

use super::fillsync::fill;
use crate::report::Report;
use crate::session::Session;

const BATCH: usize = 100;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    fill("fillbatch", session, |writer| {
        let mut goes_on = true;
        while goes_on {
            let (mut starts, mut prewrites) = (Vec::new(), Vec::new());
            while starts.len() < BATCH {
                goes_on = writer.quota.next();
                if !goes_on {
                    break;
                }
                let (start, prewrite) = writer.begin();
                starts.push(start);
                prewrites.push(prewrite);
            }
            if starts.is_empty() {
                break;
            }
            writer.write(prewrites)?;
            let commits = starts.into_iter().map(|start| writer.end(start)).collect();
            writer.write(commits)?;
        }
        Ok(())
    })
}
