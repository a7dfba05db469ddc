//! Typed writers and readers over the event log port.
