//! Exact money. Rates and items are exact rationals; a sum is rounded once, half-up, where a line is shown.

use std::fmt;

/// An ISO 4217 currency code with two minor digits (EUR, USD, GBP, …).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// Why money could not be read or added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Not three capital letters.
    #[error("`{0}` is not a currency code: expected three capital letters, as in EUR")]
    Currency(String),
    /// Not a decimal number, or finer than a micro-unit.
    #[error("`{0}` is not an amount: expected digits with at most six decimals, as in 0.125")]
    Amount(String),
    /// Two currencies met.
    #[error("cannot add {0} to {1}")]
    Mixed(Currency, Currency),
    /// Outside the range of 64-bit micro-units (about nine trillion).
    #[error("amount out of range")]
    OutOfRange,
}

impl Currency {
    /// Reads a code.
    ///
    /// # Errors
    /// When it is not three capital letters.
    pub fn parse(text: &str) -> Result<Self, MoneyError> {
        match <[u8; 3]>::try_from(text.as_bytes()) {
            Ok(code) if code.iter().all(u8::is_ascii_uppercase) => Ok(Self(code)),
            _ => Err(MoneyError::Currency(text.chars().take(12).collect())),
        }
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An amount in integer micro-units (1 EUR = 1,000,000).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Money {
    /// The currency.
    pub currency: Currency,
    /// Micro-units; negative for a credit.
    pub micros: i64,
}

impl Money {
    /// Nothing.
    pub fn zero(currency: Currency) -> Self {
        Self { currency, micros: 0 }
    }

    /// Reads a decimal number with at most six decimals.
    ///
    /// # Errors
    /// When it is no such number or out of range.
    pub fn parse(currency: Currency, text: &str) -> Result<Self, MoneyError> {
        let bad = || MoneyError::Amount(text.chars().take(24).collect());
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1_i64, rest),
            None => (1, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 6 {
            return Err(bad());
        }
        if digits.contains('.') && fraction.is_empty() {
            return Err(bad());
        }
        let micros = format!("{whole}{fraction:0<6}").parse::<i64>().map_err(|_| MoneyError::OutOfRange)?;
        Ok(Self { currency, micros: sign * micros })
    }

    /// The sum.
    ///
    /// # Errors
    /// When the currencies differ or the sum is out of range.
    pub fn checked_add(self, other: Money) -> Result<Money, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed(other.currency, self.currency));
        }
        let micros = self.micros.checked_add(other.micros).ok_or(MoneyError::OutOfRange)?;
        Ok(Money { currency: self.currency, micros })
    }
}

/// Two decimals when that is the whole of it, else as many as needed: `1.50 EUR`, `0.125 EUR`.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.micros.unsigned_abs();
        let sign = if self.micros < 0 { "-" } else { "" };
        let fraction = format!("{:06}", magnitude % 1_000_000);
        let trimmed = fraction.trim_end_matches('0');
        let shown = if trimmed.len() < 2 { &fraction[..2] } else { trimmed };
        write!(f, "{sign}{}.{shown} {}", magnitude / 1_000_000, self.currency)
    }
}

impl fmt::Debug for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// An exact rational number of micro-units, in lowest terms, denominator positive.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Exact {
    numerator: i128,
    denominator: i128,
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a.abs()
}

impl Exact {
    /// Nothing.
    pub const ZERO: Exact = Exact { numerator: 0, denominator: 1 };

    /// `numerator / denominator` micro-units; `None` when the denominator is not positive.
    pub fn new(numerator: i128, denominator: i128) -> Option<Self> {
        if denominator <= 0 {
            return None;
        }
        let divisor = gcd(numerator, denominator).max(1);
        Some(Self { numerator: numerator / divisor, denominator: denominator / divisor })
    }

    /// A whole amount.
    pub fn from_money(money: Money) -> Self {
        Self { numerator: i128::from(money.micros), denominator: 1 }
    }

    /// The numerator, in lowest terms.
    pub fn numerator(self) -> i128 {
        self.numerator
    }

    /// The denominator, in lowest terms, positive.
    pub fn denominator(self) -> i128 {
        self.denominator
    }

    /// The exact sum; `None` when it leaves 128 bits.
    pub fn checked_add(self, other: Exact) -> Option<Exact> {
        let left = self.numerator.checked_mul(other.denominator)?;
        let right = other.numerator.checked_mul(self.denominator)?;
        Exact::new(left.checked_add(right)?, self.denominator.checked_mul(other.denominator)?)
    }

    /// The exact product with a whole number; `None` when it leaves 128 bits.
    pub fn checked_mul(self, factor: i128) -> Option<Exact> {
        Exact::new(self.numerator.checked_mul(factor)?, self.denominator)
    }

    /// Rounded half-up (away from zero at the half) to a multiple of `step` micro-units: 10,000 for cents.
    /// `None` when `step` is not positive or the result leaves 64 bits.
    pub fn round_half_up(self, step: i64) -> Option<i64> {
        if step <= 0 {
            return None;
        }
        let divisor = self.denominator.checked_mul(i128::from(step))?;
        let magnitude = self.numerator.checked_abs()?;
        let steps = magnitude.checked_mul(2)?.checked_add(divisor)? / divisor.checked_mul(2)?;
        let micros = i64::try_from(steps.checked_mul(i128::from(step))?).ok()?;
        Some(if self.numerator < 0 { -micros } else { micros })
    }
}

impl fmt::Debug for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}µ", self.numerator, self.denominator)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eur() -> Currency {
        Currency::parse("EUR").unwrap()
    }

    #[test]
    fn amounts_are_read_exactly_or_refused() {
        for (text, micros) in [("0", 0), ("1.5", 1_500_000), ("-0.000001", -1), ("0.125", 125_000)] {
            assert_eq!(Money::parse(eur(), text).unwrap().micros, micros, "{text}");
        }
        for bad in ["", ".", "1.", ".5", "1e3", "0.0000001", "--1", "1,5", "99999999999999"] {
            assert!(Money::parse(eur(), bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sum_of_thirds_is_rounded_once() {
        let third = Exact::new(1_000_000, 3).unwrap();
        let sum = third.checked_add(third).unwrap().checked_add(third).unwrap();
        assert_eq!(sum.round_half_up(10_000), Some(1_000_000));
        assert_eq!(Exact::new(5_000, 1).unwrap().round_half_up(10_000), Some(10_000));
        assert_eq!(Exact::new(-5_000, 1).unwrap().round_half_up(10_000), Some(-10_000));
        assert_eq!(Exact::new(4_999, 1).unwrap().round_half_up(10_000), Some(0));
    }

    #[test]
    fn money_shows_cents_and_no_more_than_needed() {
        assert_eq!(Money { currency: eur(), micros: 1_500_000 }.to_string(), "1.50 EUR");
        assert_eq!(Money { currency: eur(), micros: -125_000 }.to_string(), "-0.125 EUR");
    }
}
