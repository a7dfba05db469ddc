//! Telephone numbers, E.164.

use std::fmt;

/// A number in E.164 form: `+`, a country code, at most 15 digits in all (ITU-T E.164 §6).
///
/// Personal data: [`fmt::Display`] and [`fmt::Debug`] print it redacted (`+…42`); [`PhoneNumber::reveal`] gives the whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PhoneNumber(String);

/// Why a text is not an E.164 number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PhoneNumberError {
    /// No leading plus.
    #[error("a telephone number starts with `+` and its country code, as in +4930123456")]
    NoPlus,
    /// Something else than digits, or a leading zero.
    #[error("a telephone number holds digits only after the `+`, the first not 0")]
    Digits,
    /// Fewer than 7 or more than 15 digits.
    #[error("a telephone number has 7 to 15 digits (E.164), this has {0}")]
    Length(usize),
}

impl PhoneNumber {
    /// Reads a number. Spaces, dots, dashes and brackets between digits are dropped.
    ///
    /// # Errors
    /// When it is not E.164.
    pub fn parse(text: &str) -> Result<Self, PhoneNumberError> {
        let rest = text.trim().strip_prefix('+').ok_or(PhoneNumberError::NoPlus)?;
        let digits: String = rest.chars().filter(|c| !matches!(c, ' ' | '.' | '-' | '(' | ')')).collect();
        if digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return Err(PhoneNumberError::Digits);
        }
        if !(7..=15).contains(&digits.len()) {
            return Err(PhoneNumberError::Length(digits.len()));
        }
        Ok(Self(format!("+{digits}")))
    }

    /// The whole number, for signalling and storage only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+…{}", &self.0[self.0.len() - 2..])
    }
}

impl fmt::Debug for PhoneNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_e164_and_prints_redacted() {
        let number = PhoneNumber::parse("+49 (30) 123-456").unwrap();
        assert_eq!(number.reveal(), "+4930123456");
        assert_eq!(format!("{number} {number:?}"), "+…56 +…56");
        for bad in ["4930123456", "+0301234567", "+49 30 abc", "+12345", "+1234567890123456", ""] {
            assert!(PhoneNumber::parse(bad).is_err(), "{bad}");
        }
    }
}
