//! The list of cases every log must pass.
