//! Where a request goes: to the pump's services, by the first part of its path, or to the HTTP endpoints.
//!
//! Each request of each session of a TiDB cluster comes through here, so it is done without a router.

use std::convert::Infallible;
use std::pin::Pin;

use axum::Router;
use axum::http::{HeaderName, Request, Response};
use binlog_proto::binlog::pump_server::PumpServer;
use binlog_proto::store::store_server::StoreServer;
use futures::FutureExt as _;
use hyper::body::Incoming;
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::codegen::Service;
use tonic::server::NamedService;

use crate::bridge::Bridge;
use crate::budget::{Budget, Guarded};
use crate::context::Shared;
use crate::grpc::{PumpService, StoreService, oversize_as_the_original};
use crate::http;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// The services of one runtime; cheap to clone.
#[derive(Clone)]
pub(crate) struct Gate {
    pump: PumpServer<PumpService>,
    store: StoreServer<StoreService>,
    http: Router,
    budget: Budget,
}

type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

impl Gate {
    /// Services that write through `bridge`.
    pub(crate) fn new(context: Shared, bridge: Bridge) -> Self {
        let limit = context.settings.max_message_size;
        let pump = PumpServer::new(PumpService::new(context.clone(), bridge))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let store = StoreServer::new(StoreService::new(context.clone()))
            .max_decoding_message_size(limit)
            .max_encoding_message_size(usize::MAX)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let budget = context.budget.clone();
        Gate { pump, store, http: http::router(context).with_state(()), budget }
    }

    /// Answers as grpc-go does: compressed only if the request was, and oversize in grpc-go's words. Large requests take their share of the
    /// budget.
    fn grpc<S>(&self, mut service: S, mut request: Request<Incoming>) -> Answer
    where
        S: Service<Request<Guarded<Incoming>>, Response = Response<Body>, Error = Infallible>,
        S::Future: Send + 'static,
    {
        if !request.headers().contains_key(ENCODING) {
            request.headers_mut().remove(ACCEPT_ENCODING);
        }
        let (head, body) = request.into_parts();
        let (body, share) = self.budget.guard(body);
        let answer = service.call(Request::from_parts(head, body));
        Box::pin(answer.map(|answer| {
            drop(share);
            answer.map(oversize_as_the_original)
        }))
    }
}

/// Whether a path is one of a service's methods.
fn is_of<S: NamedService>(_: &S, path: &str) -> bool {
    path.strip_prefix('/')
        .and_then(|path| path.strip_prefix(S::NAME))
        .is_some_and(|path| path.starts_with('/'))
}

impl hyper::service::Service<Request<Incoming>> for Gate {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path();
        if is_of(&self.pump, path) {
            self.grpc(self.pump.clone(), request)
        } else if is_of(&self.store, path) {
            self.grpc(self.store.clone(), request)
        } else {
            let answer = self.http.clone().call(request.map(axum::body::Body::new));
            Box::pin(answer.map(|answer| answer.map(|answer| answer.map(Body::new))))
        }
    }
}
