//! The promises, as checkers over the logs.
