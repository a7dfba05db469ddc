//! A client that follows agent-state's leader and retries with the same command id.
