//! The operator's configuration: what may be said, and what a new version changes.
