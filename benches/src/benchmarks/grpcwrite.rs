//! Writers over gRPC against a pump of any make.

use crate::report::Report;
use crate::rpc;
use crate::session::{Session, Written};

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let target = session.target()?;
    let (mut report, after) = rpc::write("grpcwrite", &session.options, &target)?;
    session.written = Some(Written { after, transactions: report.operations });
    if let Some(bare) = session.report("grpcbare") {
        let above = report.cpu_micros_per_op - bare.cpu_micros_per_op;
        report = report.with("cpu us/op above bare", above);
    }
    Ok(report)
}
