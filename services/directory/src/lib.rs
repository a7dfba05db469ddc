//! Companies, numbers, queues, agents, contracts: versioned, dated, authored.
