//! Typed errors over gRPC: an [`ErrorDetail`] rides in the status's details, packed as gRPC wants it.
//!
//! The trailer `grpc-status-details-bin` holds a `google.rpc.Status`, which says code and message once more. Clients in Go read it as one, and take
//! code and message from there: anything else in that trailer would be another error to them, or none.

use bytes::Bytes;
use prost::Message;
use tonic::{Code, Status};

use crate::store::ErrorDetail;
use crate::store::error_detail::Kind;

const TYPE_URL: &str = "type.googleapis.com/tidb_binlog.store.v1.ErrorDetail";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, prost::Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, prost::Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// A status that carries `kind` for programs and `message` for people.
pub fn status_with(code: Code, message: impl Into<String>, kind: Kind) -> Status {
    let message = message.into();
    let detail = ErrorDetail { kind: Some(kind) }.encode_to_vec();
    let status = RpcStatus {
        code: code.into(),
        message: message.clone(),
        details: vec![Any { type_url: TYPE_URL.to_owned(), value: detail.into() }],
    };
    Status::with_details(code, message, status.encode_to_vec().into())
}

/// The typed error that a status carries, if it carries one that this version knows. Earlier builds sent it bare.
pub fn detail_of(status: &Status) -> Option<Kind> {
    if status.details().is_empty() {
        return None;
    }
    let packed = RpcStatus::decode(status.details())
        .ok()
        .and_then(|status| status.details.into_iter().find(|detail| detail.type_url == TYPE_URL));
    match packed {
        Some(detail) => ErrorDetail::decode(detail.value).ok()?.kind,
        None => ErrorDetail::decode(status.details()).ok()?.kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{GapInfo, NotOnline, NotYet, Purged, SchemaNotYet, WrongCluster, WrongStore};

    fn kinds() -> Vec<Kind> {
        vec![
            Kind::Purged(Purged { safe_point: 9 }),
            Kind::Gap(GapInfo { after: 1, through: 2, reason: "lost".to_owned() }),
            Kind::NotYet(NotYet { watermark: 5 }),
            Kind::SchemaNotYet(SchemaNotYet { known_version: 3 }),
            Kind::WrongCluster(WrongCluster { requested: 1, own: 2 }),
            Kind::WrongStore(WrongStore {
                requested: Bytes::from_static(b"a"),
                own: Bytes::from_static(b"b"),
            }),
            Kind::NotOnline(NotOnline { state: "paused".to_owned() }),
        ]
    }

    #[test]
    fn the_trailer_says_code_and_message_as_the_status_does() {
        for kind in kinds() {
            let status = status_with(Code::Unknown, "no online: paused", kind.clone());
            let packed = RpcStatus::decode(status.details()).unwrap();
            assert_eq!((packed.code, packed.message.as_str()), (2, "no online: paused"));
            assert_eq!(packed.details.len(), 1);
            assert_eq!(detail_of(&status), Some(kind));
        }
    }

    #[test]
    fn a_bare_detail_and_a_foreign_one_are_told_apart() {
        for kind in kinds() {
            let bare = ErrorDetail { kind: Some(kind.clone()) }.encode_to_vec();
            assert_eq!(detail_of(&Status::with_details(Code::Unknown, "old", bare.into())), Some(kind));
        }
        let foreign = RpcStatus {
            code: 5,
            message: "gone".to_owned(),
            details: vec![Any {
                type_url: "type.googleapis.com/google.rpc.Help".to_owned(),
                ..Any::default()
            }],
        };
        assert_eq!(
            detail_of(&Status::with_details(Code::NotFound, "gone", foreign.encode_to_vec().into())),
            None
        );
        assert_eq!(detail_of(&Status::not_found("gone")), None);
    }
}
