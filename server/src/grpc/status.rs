//! Errors as gRPC statuses.
//!
//! The original answers every failed call with code `Unknown` and the bare text, and TiDB matches on those texts; so
//! `binlog.Pump` does the same. Our own service uses telling codes and typed details.

use axum::http::{HeaderValue, Response};
use binlog_proto::status_with;
use binlog_proto::store::error_detail::Kind;
use binlog_proto::store::{GapInfo, NotOnline, NotYet, Purged, SchemaNotYet, WrongCluster, WrongStore};
use binlog_storage::Error;
use binlog_types::{ClusterId, CommitTs, Gap, SchemaVersion, StoreUuid};
use tonic::{Code, Status};

/// The wrong cluster, in the original's words.
pub(super) fn wrong_cluster(requested: u64, own: ClusterId, code: Code) -> Status {
    let text = format!("cluster ID are mismatch, {requested} vs {own}");
    status_with(code, text, Kind::WrongCluster(WrongCluster { requested, own: own.0 }))
}

/// A prewrite while the node does not take any; the original's words and code.
pub(super) fn not_online(state: &'static str) -> Status {
    status_with(
        Code::Unknown,
        format!("no online: {state}"),
        Kind::NotOnline(NotOnline { state: state.to_owned() }),
    )
}

/// The client remembers another store.
pub(super) fn wrong_store(requested: &[u8], own: StoreUuid) -> Status {
    let text = format!(
        "this pump's store is {own}, not the one that was read before: it was restored or made anew, so what was read and what is here may differ"
    );
    let detail = WrongStore { requested: requested.to_vec().into(), own: own.0.to_vec().into() };
    status_with(Code::FailedPrecondition, text, Kind::WrongStore(detail))
}

/// The range begins below the safe point.
pub(super) fn purged(safe_point: CommitTs) -> Status {
    let text = format!("binlogs at or below {safe_point} are purged");
    status_with(Code::OutOfRange, text, Kind::Purged(Purged { safe_point: safe_point.raw() }))
}

/// The range reaches above the watermark.
pub(super) fn not_yet(through: CommitTs, watermark: CommitTs) -> Status {
    let text = format!("binlogs are complete up to {watermark}, not yet up to {through}");
    status_with(Code::Unavailable, text, Kind::NotYet(NotYet { watermark: watermark.raw() }))
}

/// The schema history does not reach what is asked for.
pub(super) fn schema_not_yet(wanted: &str, known: SchemaVersion) -> Status {
    let text = format!("the schema history is complete up to version {known}, {wanted} is not here yet");
    status_with(Code::Unavailable, text, Kind::SchemaNotYet(SchemaNotYet { known_version: known.0 }))
}

/// The pump is about to stop.
pub(super) fn stopping() -> Status {
    Status::unavailable("the pump is shutting down")
}

/// A gap as the wire has it.
pub(super) fn gap_info(gap: &Gap) -> GapInfo {
    GapInfo { after: gap.range.after.raw(), through: gap.range.through.raw(), reason: gap.reason.to_string() }
}

/// Binlogs are missing where a reader wants to go on.
pub(super) fn gap(gap: &Gap) -> Status {
    let text = format!("binlogs are missing in {}: {}", gap.range, gap.reason);
    status_with(Code::DataLoss, text, Kind::Gap(gap_info(gap)))
}

/// An error of the store, for our own service.
pub(super) fn of_store(error: &Error) -> Status {
    use binlog_storage::ErrorKind as K;
    if let Error::Purged { safe_point } = error {
        return purged(*safe_point);
    }
    let code = match error.kind() {
        K::Closed | K::Unavailable => Code::Unavailable,
        K::Invalid => Code::InvalidArgument,
        K::Corrupted => Code::DataLoss,
        K::NoSpace => Code::ResourceExhausted,
        K::Purged => Code::OutOfRange,
        K::Internal => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// tonic's answer to a message above the limit, turned into the one that TiDB knows: it looks for `ResourceExhausted` and
/// `received message larger than max`. The one place that reads tonic's words.
pub(crate) fn oversize_as_the_original<B>(mut response: Response<B>) -> Response<B> {
    let headers = response.headers_mut();
    if headers.get("grpc-status").is_none_or(|code| code != "11") {
        return response;
    }
    let numbers = headers.get("grpc-message").and_then(|m| m.to_str().ok()).and_then(|text| {
        // "Error, decoded message length too large: found N bytes, the limit is: M bytes", percent-encoded.
        let text = text.replace("%20", " ");
        let (_, rest) = text.split_once("decoded message length too large: found ")?;
        let (found, rest) = rest.split_once(" bytes")?;
        let (_, rest) = rest.split_once("the limit is: ")?;
        Some((found.to_owned(), rest.trim_end_matches(" bytes").to_owned()))
    });
    if let Some((found, limit)) = numbers {
        let text = format!("grpc: received message larger than max ({found} vs. {limit})");
        if let Ok(value) = HeaderValue::from_str(&text.replace(' ', "%20")) {
            headers.insert("grpc-status", HeaderValue::from_static("8"));
            headers.insert("grpc-message", value);
        }
    }
    response
}
