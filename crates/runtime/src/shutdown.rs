//! One token, tracked tasks, an ordered drain with a deadline.
