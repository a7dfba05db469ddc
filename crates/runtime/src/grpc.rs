//! Server and client builders with deadlines, and the one map from rejection to status.
