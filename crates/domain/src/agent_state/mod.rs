//! Agents, reservations and leases: the machine that Raft replicates.
