//! From measured time to charged time.

use crate::vocabulary::Millis;

/// `measured` as charged: nothing for nothing, at least `first`, and beyond it whole increments of `next`, rounded up.
///
/// `bill(d) = 0 if d = 0; first if d ≤ first; first + ⌈(d − first) / next⌉ · next`. What telecoms write as `30/6` is
/// `first` 30 s, `next` 6 s. Milliseconds are not rounded to seconds before: 60.4 s under 60/60 are charged as 120 s.
/// A negative `measured` counts as nothing, an increment below 1 ms as 1 ms. The result is never less than `measured`.
pub fn billed(measured: Millis, first: Millis, next: Millis) -> Millis {
    if measured <= Millis::ZERO {
        return Millis::ZERO;
    }
    let (first, next) = (first.0.max(1), next.0.max(1));
    let beyond = measured.0.saturating_sub(first).max(0);
    let increments = beyond / next + i64::from(beyond % next != 0);
    Millis(first.saturating_add(increments.saturating_mul(next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_rounded_up_as_the_contract_says() {
        // Rows: seconds measured; columns: 1/1, 6/6, 20/20, 30/6, 30/30, 60/1, 60/6, 60/60.
        let schemes = [(1, 1), (6, 6), (20, 20), (30, 6), (30, 30), (60, 1), (60, 6), (60, 60)];
        let rows = [
            (0, [0, 0, 0, 0, 0, 0, 0, 0]),
            (1, [1, 6, 20, 30, 30, 60, 60, 60]),
            (7, [7, 12, 20, 30, 30, 60, 60, 60]),
            (29, [29, 30, 40, 30, 30, 60, 60, 60]),
            (30, [30, 30, 40, 30, 30, 60, 60, 60]),
            (31, [31, 36, 40, 36, 60, 60, 60, 60]),
            (59, [59, 60, 60, 60, 60, 60, 60, 60]),
            (61, [61, 66, 80, 66, 90, 61, 66, 120]),
            (85, [85, 90, 100, 90, 90, 85, 90, 120]),
            (121, [121, 126, 140, 126, 150, 121, 126, 180]),
        ];
        let bill = |secs: i64, (first, next): (i64, i64)| {
            billed(Millis::from_secs(secs), Millis::from_secs(first), Millis::from_secs(next)).0 / 1000
        };
        for (secs, expected) in rows {
            assert_eq!(schemes.map(|scheme| bill(secs, scheme)), expected, "{secs} s");
        }
        let mix = [0, 1, 5, 6, 7, 29, 30, 31, 59, 60, 61, 85, 119, 120, 121, 3600];
        let sums = schemes.map(|scheme| mix.iter().map(|secs| bill(*secs, scheme)).sum::<i64>());
        assert_eq!(sums, [4334, 4368, 4480, 4458, 4530, 4646, 4662, 4800]);
    }

    #[test]
    fn milliseconds_count() {
        let minute = Millis::from_secs(60);
        assert_eq!(billed(Millis(60_000), minute, minute), Millis(60_000));
        assert_eq!(billed(Millis(60_400), minute, minute), Millis(120_000));
        assert_eq!(billed(Millis(1), Millis::ZERO, Millis::ZERO), Millis(1));
        assert_eq!(billed(Millis(-5), minute, minute), Millis::ZERO);
    }
}
