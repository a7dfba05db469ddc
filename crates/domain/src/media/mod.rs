//! The life of one contact: flow, queue, offer, bridge, end.
