//! Queues, ranking, offers.
