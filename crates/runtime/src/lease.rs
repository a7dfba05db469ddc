//! Keeps a lease, and says at once when it is lost.
