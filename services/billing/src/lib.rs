//! Contracts applied: rated items, ledger, invoices.
