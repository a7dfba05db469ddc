//! Interval cells, contact records, timesheets, live counts.
