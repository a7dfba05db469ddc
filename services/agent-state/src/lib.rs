//! Agents, reservations and leases, replicated by Raft.
