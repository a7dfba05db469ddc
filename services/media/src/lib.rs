//! Contacts: SIP dialogs, RTP, prompts, bridges.
//!
//! [`run`] is the service. It listens for SIP, owns the lane `media/<node>` of the contacts log under a lease, and answers
//! routing's commands. What a contact does is decided in `trunkline_domain::media`; one task owns one contact.

mod arrival;
pub mod config;
mod contact_task;
mod effects;
pub mod error;
mod generation;
mod legs;
pub mod plane;
mod recovery;
mod registrar;
mod rpc;
mod service;
mod shell;
pub mod sip;
mod trace;
pub mod wire;

pub use config::MediaConfig;
pub use error::MediaError;
pub use service::{Media, run};
