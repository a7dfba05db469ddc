//! Service level: which share of contacts was served fast enough.
//!
//! There are at least eleven definitions in use, and on the same traffic they differ by more than seven points. A
//! definition is therefore a term of a contract, never a global setting; the formulas are named here after where they
//! are documented. A ratio is formed when it is shown, from numerators and denominators that add up. A wait of exactly
//! the threshold is within it, at millisecond resolution.

/// The visits of one cohort, split at the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Answered within the threshold.
    pub answered_within: u64,
    /// Answered after it.
    pub answered_after: u64,
    /// Abandoned within it, short ones included.
    pub abandoned_within: u64,
    /// Of these, abandoned sooner than the contract's short-abandon limit.
    pub abandoned_short: u64,
    /// Abandoned after it.
    pub abandoned_after: u64,
    /// Flowed out within it.
    pub flowed_out_within: u64,
    /// Flowed out after it.
    pub flowed_out_after: u64,
    /// Taken out by a callback request within it.
    pub callback_within: u64,
    /// Taken out by a callback request after it.
    pub callback_after: u64,
}

/// A definition of service level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Formula {
    /// answered ≤T / answered. Asterisk `ServicelevelPerf` (`app_queue.c`).
    AsteriskPerf,
    /// (answered ≤T + abandoned ≤T) / (answered + abandoned). Asterisk `ServicelevelPerf2`.
    AsteriskPerf2,
    /// answered ≤T / (visits with a service-level event − abandoned ≤T). Cisco, "abandoned ignored". An event is the
    /// answer, the abandon or the passing of T, so what flowed out before T has none.
    CiscoIgnored,
    /// answered ≤T / visits with an event. Cisco, "negative impact".
    CiscoNegative,
    /// (answered ≤T + abandoned ≤T) / visits with an event. Cisco, "positive impact".
    CiscoPositive,
    /// answered ≤T / (answered + abandoned). Genesys Cloud, base.
    Genesys,
    /// answered ≤T / (answered + abandoned − short abandons). Genesys Cloud without short abandons.
    GenesysNoShort,
    /// answered ≤T / (answered + abandoned + flowed out). Genesys Cloud with flow-outs.
    GenesysFlowOuts,
    /// answered ≤T / answered. Genesys Cloud without abandons.
    GenesysNoAbandons,
    /// (answered + abandoned + called back, each ≤T) / entered. Amazon Connect "Service level X".
    AmazonConnect,
    /// answered ≤T / entered: of everything that entered the queue. As ascribed to COPC.
    OfEntered,
}

/// A ratio that has not been divided yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Above the line.
    pub numerator: u64,
    /// Below it; zero when there was nothing to measure.
    pub denominator: u64,
}

impl Formula {
    /// What reports show unless a contract says otherwise: [`Formula::Genesys`], because it blames us for the caller
    /// who gave up and not for the one whom the plan sent elsewhere.
    pub const DEFAULT: Formula = Formula::Genesys;

    /// Every formula, in declaration order.
    pub const ALL: [Formula; 11] = [
        Self::AsteriskPerf,
        Self::AsteriskPerf2,
        Self::CiscoIgnored,
        Self::CiscoNegative,
        Self::CiscoPositive,
        Self::Genesys,
        Self::GenesysNoShort,
        Self::GenesysFlowOuts,
        Self::GenesysNoAbandons,
        Self::AmazonConnect,
        Self::OfEntered,
    ];

    /// The share of a cohort.
    pub fn share(self, tally: &Tally) -> Share {
        let answered = tally.answered_within + tally.answered_after;
        let abandoned = tally.abandoned_within + tally.abandoned_after;
        let flowed_out = tally.flowed_out_within + tally.flowed_out_after;
        let entered = answered + abandoned + flowed_out + tally.callback_within + tally.callback_after;
        let with_event = entered - tally.flowed_out_within - tally.callback_within;
        let good = tally.answered_within;
        let (numerator, denominator) = match self {
            Self::AsteriskPerf | Self::GenesysNoAbandons => (good, answered),
            Self::AsteriskPerf2 => (good + tally.abandoned_within, answered + abandoned),
            Self::CiscoIgnored => (good, with_event - tally.abandoned_within),
            Self::CiscoNegative => (good, with_event),
            Self::CiscoPositive => (good + tally.abandoned_within, with_event),
            Self::Genesys => (good, answered + abandoned),
            Self::GenesysNoShort => (good, answered + abandoned - tally.abandoned_short),
            Self::GenesysFlowOuts => (good, answered + abandoned + flowed_out),
            Self::AmazonConnect => (good + tally.abandoned_within + tally.callback_within, entered),
            Self::OfEntered => (good, entered),
        };
        Share { numerator, denominator }
    }
}

impl Share {
    /// In hundredths of a percent, rounded half-up; `None` when there was nothing to measure.
    pub fn basis_points(self) -> Option<u64> {
        let doubled = u128::from(self.numerator) * 20_000 + u128::from(self.denominator);
        (self.denominator > 0)
            .then(|| u64::try_from(doubled / (u128::from(self.denominator) * 2)).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eleven_definitions_give_up_to_seven_points_of_difference_on_one_day() {
        let day = Tally {
            answered_within: 812,
            answered_after: 118,
            abandoned_within: 40,
            abandoned_short: 25,
            abandoned_after: 30,
            flowed_out_after: 12,
            callback_within: 8,
            ..Tally::default()
        };
        let expected = [
            (Formula::AsteriskPerf, 8731),
            (Formula::AsteriskPerf2, 8520),
            (Formula::CiscoIgnored, 8354),
            (Formula::CiscoNegative, 8024),
            (Formula::CiscoPositive, 8419),
            (Formula::Genesys, 8120),
            (Formula::GenesysNoShort, 8328),
            (Formula::GenesysFlowOuts, 8024),
            (Formula::GenesysNoAbandons, 8731),
            (Formula::AmazonConnect, 8431),
            (Formula::OfEntered, 7961),
        ];
        assert_eq!(expected.map(|(formula, _)| formula), Formula::ALL);
        for (formula, basis_points) in expected {
            assert_eq!(formula.share(&day).basis_points(), Some(basis_points), "{formula:?}");
        }
    }

    #[test]
    fn the_worked_example_of_the_cti_server_guide_comes_out() {
        let tally =
            Tally { answered_within: 70, answered_after: 20, abandoned_within: 10, ..Tally::default() };
        assert_eq!(Formula::CiscoIgnored.share(&tally).basis_points(), Some(7778));
        assert_eq!(Formula::CiscoNegative.share(&tally).basis_points(), Some(7000));
        assert_eq!(Formula::CiscoPositive.share(&tally).basis_points(), Some(8000));
    }

    #[test]
    fn nothing_measured_is_not_zero_percent() {
        assert!(Formula::ALL.iter().all(|it| it.share(&Tally::default()).basis_points().is_none()));
    }
}
