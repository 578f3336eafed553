//! Writers over gRPC against a pump of any make.

use crate::report::Report;
use crate::rpc;
use crate::session::{Session, Written};

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let target = session.target()?;
    let calls = rpc::write(&session.options, &target)?;
    let after = calls.begin;
    // A pump of our own is stopped, so that what it has still to write counts; one of somebody else's goes on.
    let in_the_end = session.settle_pump(&calls.meter)?;
    let mut report = calls.report("grpcwrite", in_the_end);
    session.written = Some(Written { after, transactions: report.operations });
    if let Some(bare) = session.report("grpcbare") {
        let above = report.cpu_micros_per_op - bare.cpu_micros_per_op;
        report = report.with("cpu us/op above bare", above);
    }
    Ok(report)
}
