//! Every schema that outlives a process, and the translation to core types.
//!
//! Translate here, nowhere else: [`convert`] is the only place where a core value becomes bytes or bytes a core value.

pub mod convert;
pub mod prose;

#[allow(missing_docs, dead_code, clippy::all, clippy::pedantic, reason = "generated from the schemas")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/trunkline.rs"));
}
pub use generated::trunkline::*;

/// Every schema as one `google.protobuf.FileDescriptorSet`, for reflection, REST and the lint test.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.binpb"));
