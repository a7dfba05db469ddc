//! An error as a log line and a person's screen show it.

use std::error::Error;

/// An error with everything that caused it, on one line: `could not open the log: could not read s-0: permission denied`.
///
/// A cause whose text the error above it ends with already is not said twice.
pub fn error_chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.ends_with(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Layer {
        #[error("could not start")]
        Outer(#[source] Box<Layer>),
        #[error("could not open the log: {0}")]
        Telling(#[source] Box<Layer>),
        #[error("permission denied")]
        Inner,
    }

    #[test]
    fn every_cause_is_said_once_and_in_order() {
        let outer = |layer| Layer::Outer(Box::new(layer));
        let telling = |layer| Layer::Telling(Box::new(layer));
        for (error, line) in [
            (Layer::Inner, "permission denied"),
            (outer(Layer::Inner), "could not start: permission denied"),
            (outer(outer(Layer::Inner)), "could not start: permission denied"),
            (outer(telling(Layer::Inner)), "could not start: could not open the log: permission denied"),
        ] {
            assert_eq!(error_chain(&error), line);
        }
    }
}
