//! What is counted: interval cells, contact records, timesheets, live counts.
