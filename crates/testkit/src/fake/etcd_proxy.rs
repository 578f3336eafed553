//! Passes etcd's calls on, message by message, trailers included: a PD serves its etcd at its own client URL.

use axum::body::Body;
use axum::http::{Request, Response, StatusCode, Version};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

/// A client of one etcd; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct EtcdProxy {
    client: Client<HttpConnector, Body>,
    authority: Option<String>,
}

impl EtcdProxy {
    pub(super) fn new(authority: Option<String>) -> Self {
        let client =
            Client::builder(TokioExecutor::new()).timer(TokioTimer::new()).http2_only(true).build_http();
        EtcdProxy { client, authority }
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
