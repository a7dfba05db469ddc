//! Contacts: SIP dialogs, RTP, prompts, bridges.
