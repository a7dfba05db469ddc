//! Companies, numbers, queues, agents, contracts: versioned, dated, authored.
//!
//! A document says what the whole configuration shall be ([`document`]); the rules and the comparison with what is are
//! `trunkline_domain::directory`; the owner ([`service`]) appends each revision to the directory log as one outcome.

pub mod document;
