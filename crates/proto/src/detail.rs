//! Typed errors over gRPC: an [`ErrorDetail`] rides in the status's details.

use prost::Message;
use tonic::{Code, Status};

use crate::store::ErrorDetail;
use crate::store::error_detail::Kind;

/// A status that carries `kind` for programs and `message` for people.
pub fn status_with(code: Code, message: impl Into<String>, kind: Kind) -> Status {
    let detail = ErrorDetail { kind: Some(kind) };
    Status::with_details(code, message, detail.encode_to_vec().into())
}

/// The typed error that a status carries, if it carries one that this version knows.
pub fn detail_of(status: &Status) -> Option<Kind> {
    if status.details().is_empty() {
        return None;
    }
    ErrorDetail::decode(status.details()).ok()?.kind
}
