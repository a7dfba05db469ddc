//! Companies, numbers, queues, agents, contracts: versioned, dated, authored.
//!
//! A document says what the whole configuration shall be ([`document`]); the rules and the comparison with what is are
//! `trunkline_domain::directory`; the owner appends each revision to the directory log as one outcome.

pub mod document;
mod owner;
mod service;

pub use service::{DirectoryConfig, DirectoryError, run};
