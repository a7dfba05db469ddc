//! Contacts: SIP dialogs, RTP, prompts, bridges.

pub mod plane;
pub mod wire;
