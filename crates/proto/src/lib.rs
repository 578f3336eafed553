//! Messages and gRPC stubs. Clients that depend on this crate do not link RocksDB.
//!
//! - [`binlog`]: the original's protocol, as TiDB, the original pump and the original drainer speak it;
//! - [`store`]: our own range service of a pump;
//! - [`pb_binlog`]: the records of the original drainer's files;
//! - [`pdpb`], [`metapb`], [`errorpb`], [`kvrpcpb`], [`tikvpb`]: the parts of PD and TiKV that we call.

mod codec;
mod detail;
mod wire;

pub use codec::{SizedCodec, SizedEncoder};
pub use detail::{detail_of, status_with};
pub use wire::{Body, UnknownExtra, compose_commit, decode_extra, encode_extra, split_prewrite};

macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $package:literal) => {
        $(#[$doc])*
        #[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::allow_attributes_without_reason, reason = "generated code")]
        pub mod $name {
            tonic::include_proto!($package);
        }
    };
}

generated!(
    /// `package binlog` of the original: what TiDB writes, the pump's and the drainer's service.
    binlog,
    "binlog"
);
generated!(
    /// The records of the original drainer's binlog files.
    pb_binlog,
    "pb_binlog"
);
generated!(
    /// Our own service of a pump.
    store,
    "tidb_binlog.store.v1"
);
generated!(
    /// PD.
    pdpb,
    "pdpb"
);
generated!(
    /// Regions and stores.
    metapb,
    "metapb"
);
generated!(
    /// Region errors.
    errorpb,
    "errorpb"
);
generated!(
    /// Key-value messages of TiKV.
    kvrpcpb,
    "kvrpcpb"
);
generated!(
    /// The service of a TiKV store.
    tikvpb,
    "tikvpb"
);
