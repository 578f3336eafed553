//! The baseline of grpcwrite: what the transport alone costs a server.

use crate::child::Bare;
use crate::report::Report;
use crate::rpc;
use crate::session::Session;

pub(super) fn run(session: &mut Session) -> anyhow::Result<Report> {
    let server = Bare::start()?;
    let mut report = rpc::write(&session.options, &server.target())?.report("grpcbare", None);
    if let Some(write) = session.report("grpcwrite") {
        let above = write.cpu_micros_per_op - report.cpu_micros_per_op;
        report = report.with("cpu us/op of grpcwrite above", above);
    }
    Ok(report)
}
