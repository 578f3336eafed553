//! Passes etcd's calls on, message by message, trailers included: a PD serves its etcd at its own client URL. Reads and writes of keys are noted.

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, StatusCode, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::State;

/// What stands before a message of gRPC.
const PREFIX: usize = 5;

/// A client of one etcd; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct EtcdProxy {
    client: Client<HttpConnector, Body>,
    authority: Option<String>,
    state: Arc<State>,
}

impl EtcdProxy {
    pub(super) fn new(authority: Option<String>, state: Arc<State>) -> Self {
        let client =
            Client::builder(TokioExecutor::new()).timer(TokioTimer::new()).http2_only(true).build_http();
        EtcdProxy { client, authority, state }
    }

    pub(super) async fn pass(self, mut request: Request<Body>) -> Response<Body> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let target = self.authority.filter(|_| path.starts_with("/etcdserverpb."));
        let Some(authority) = target else {
            return unimplemented(&path);
        };
        let Ok(uri) = format!("http://{authority}{path}").parse() else {
            return unimplemented(&path);
        };
        *request.uri_mut() = uri;
        *request.version_mut() = Version::HTTP_2;
        if path.starts_with("/etcdserverpb.KV/") {
            let (head, body) = request.into_parts();
            let Ok(body) = to_bytes(body, usize::MAX).await else {
                return grpc_error(13, "the request broke off");
            };
            self.state.etcd_requests.lock().push((path, body.slice(PREFIX.min(body.len())..)));
            request = Request::from_parts(head, Body::from(body));
        }
        match self.client.request(request).await {
            Ok(response) => response.map(Body::new),
            Err(error) => grpc_error(14, &format!("etcd: {error}")),
        }
    }
}

fn unimplemented(path: &str) -> Response<Body> {
    grpc_error(12, &format!("no method {path}"))
}

fn grpc_error(code: u8, message: &str) -> Response<Body> {
    let text: String = message.chars().filter(|c| c.is_ascii_graphic() || *c == ' ').collect();
    Response::builder()
        .status(StatusCode::OK)
        .header("content-type", "application/grpc")
        .header("grpc-status", code.to_string())
        .header("grpc-message", text)
        .body(Body::empty())
        .expect("these headers are valid")
}
