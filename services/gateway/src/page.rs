//! The one page: the live board and the running invoices, read over the same REST interface as everybody's.

use axum::response::IntoResponse;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

/// Nothing from elsewhere, nothing inline, no frames.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    let headers = [
        (CONTENT_TYPE, kind),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // The key may be in the address until the script has taken it out.
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, text)
}

pub(crate) async fn html() -> impl IntoResponse {
    asset("text/html; charset=utf-8", include_str!("../assets/page.html"))
}

pub(crate) async fn css() -> impl IntoResponse {
    asset("text/css; charset=utf-8", include_str!("../assets/page.css"))
}

pub(crate) async fn js() -> impl IntoResponse {
    asset("text/javascript; charset=utf-8", include_str!("../assets/page.js"))
}
