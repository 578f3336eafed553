//! The gRPC services: the original's [`pump`], and our own [`store`] beside it.

mod malformed;
mod mapping;
mod pull;
mod pump;
mod reader;
mod scan;
pub(crate) mod schema;
mod status;
mod store;
mod tables;

pub(crate) use pump::PumpService;
pub(crate) use status::oversize_as_the_original;
pub(crate) use store::StoreService;
