//! What can end a media node.

/// Why the service ended, or could not start.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// The audio threads, prompts or music.
    #[error("could not start the media plane")]
    Plane(#[from] crate::plane::PlaneError),
    /// The SIP port.
    #[error("could not listen for SIP on {address}")]
    Sip {
        /// Where.
        address: std::net::SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The gRPC server.
    #[error("could not serve the media node's commands")]
    Serve(#[from] trunkline_runtime::grpc::ServeError),
    /// A log this node reads or writes.
    #[error("could not use the event log")]
    Log(#[from] trunkline_runtime::event_log::LogError),
    /// The node's lease.
    #[error("could not own this media node's lane")]
    Lease(#[from] trunkline_runtime::lease::LeaseError),
}
