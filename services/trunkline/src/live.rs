//! Tables that follow what they show, until Ctrl-C.

use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use crate::Failure;

/// The pause between two looks.
const PAUSE: Duration = Duration::from_secs(1);
/// Home, and everything behind it away: what a terminal shows is drawn over, without a flicker.
const REDRAW: &str = "\x1b[H\x1b[J";

/// Whether to look once: somebody said so, or nobody sits at a terminal.
pub(crate) fn once(said: bool) -> bool {
    said || !std::io::stdout().is_terminal()
}

/// Draws what each look gives over what was there; of a look that fails, why, below what was seen last.
pub(crate) async fn follow(look: impl AsyncFn() -> Result<String, Failure>) -> Result<(), Failure> {
    let mut shown = String::new();
    loop {
        let looked = tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(()),
            looked = look() => looked,
        };
        let screen = match looked {
            Ok(text) => {
                shown = text;
                format!("{REDRAW}{shown}")
            }
            // What was seen last stays, and says that it is not followed.
            Err(failure) => format!("{REDRAW}{shown}{}\n", failure.message),
        };
        let mut out = std::io::stdout();
        // A terminal that went away is the end of this.
        if out.write_all(screen.as_bytes()).and_then(|()| out.flush()).is_err() {
            return Ok(());
        }
        tokio::select! {
            biased;
            _ = tokio::signal::ctrl_c() => return Ok(()),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// `7 s`, `3:07` or `2:03:07`; a clock that is a little behind makes nothing negative.
pub(crate) fn span(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_at_a_glance() {
        for (ms, text) in
            [(-5, "0 s"), (59_999, "59 s"), (60_000, "1:00"), (3_599_000, "59:59"), (7_387_000, "2:03:07")]
        {
            assert_eq!(span(ms), text);
        }
    }
}
