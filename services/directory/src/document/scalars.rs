//! The small languages inside a document's scalars: spans, opening hours, prices. Each error is a whole reason.

use trunkline_domain::facts::OpeningSpan;
use trunkline_domain::vocabulary::{Currency, Millis, Money};

/// The units of a span, longest first: a span is written in this order, each at most once.
const UNITS: [(&str, i64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// `250ms`, `4s`, `2m`, `8h`, `1m30s`. Not negative.
pub(super) fn span(text: &str) -> Result<Millis, String> {
    let bad = || format!("`{text}` is not a span: expected as 250ms, 4s, 2m or 1m30s");
    let (mut rest, mut sum, mut units) = (text, 0_i64, UNITS.iter());
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let count: i64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[..letters];
        rest = &rest[letters..];
        let (_, width) = units.find(|(name, _)| *name == unit).ok_or_else(bad)?;
        sum = count.checked_mul(*width).and_then(|span| sum.checked_add(span)).ok_or_else(bad)?;
    }
    Ok(Millis(sum))
}

/// `mon-fri 08:00-18:00`, `mon,wed 09:00-12:30`, `daily 00:00-24:00`.
pub(super) fn opening(text: &str) -> Result<Vec<OpeningSpan>, String> {
    let bad = || format!("`{text}` is not an opening span: expected as mon-fri 08:00-18:00");
    let (days, hours) = text.split_once(' ').ok_or_else(bad)?;
    let (from, to) = hours.trim().split_once('-').ok_or_else(bad)?;
    let from_minute = clock(from).ok_or_else(bad)?;
    let to_minute = clock(to).ok_or_else(bad)?;
    if from_minute >= to_minute {
        return Err(format!("`{text}` ends before it begins: a span stays within its day, 24:00 is its end"));
    }
    let days = weekdays(days).ok_or_else(|| {
        format!("`{text}` names no days: expected mon, mon-fri, mon,wed,fri or daily, a range forwards")
    })?;
    Ok(days.into_iter().map(|weekday| OpeningSpan { weekday, from_minute, to_minute }).collect())
}

fn weekdays(text: &str) -> Option<Vec<u8>> {
    let day = |name: &str| -> Option<u8> {
        WEEKDAYS.iter().position(|day| *day == name).and_then(|index| u8::try_from(index + 1).ok())
    };
    if text == "daily" {
        return Some((1..=7).collect());
    }
    let mut days = Vec::new();
    for part in text.split(',') {
        match part.split_once('-') {
            Some((from, to)) => {
                let (from, to) = (day(from)?, day(to)?);
                if from > to {
                    return None;
                }
                days.extend(from..=to);
            }
            None => days.push(day(part)?),
        }
    }
    Some(days)
}

/// Minutes after midnight of `HH:MM`, up to `24:00`.
fn clock(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |text: &str| -> Option<u16> {
        (text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    (minutes < 60 && hours * 60 + minutes <= 1440).then_some(hours * 60 + minutes)
}

/// `500.00 EUR`.
pub(super) fn money(text: &str) -> Result<Money, String> {
    let (amount, currency) = text
        .split_once(' ')
        .ok_or_else(|| format!("`{text}` is not an amount of money: expected as 500.00 EUR"))?;
    let currency = Currency::parse(currency.trim()).map_err(|why| why.to_string())?;
    Money::parse(currency, amount).map_err(|why| why.to_string())
}

/// `0.12 EUR per minute` or `… per hour`: the price of one of these spans.
pub(super) fn price(text: &str) -> Result<(Money, Millis), String> {
    let bad = || format!("`{text}` is not a price: expected as 0.12 EUR per minute, or per hour");
    let (amount, span) = text.split_once(" per ").ok_or_else(bad)?;
    let span = match span {
        "minute" => Millis(60_000),
        "hour" => Millis(3_600_000),
        _ => return Err(bad()),
    };
    Ok((money(amount)?, span))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_units_in_order_each_once() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("4s", 4_000),
            ("2m", 120_000),
            ("1h30m", 5_400_000),
            ("1m30s5ms", 90_005),
        ] {
            assert_eq!(span(text), Ok(Millis(ms)), "{text}");
        }
        for bad in [
            "",
            "4",
            "s",
            "-4s",
            "4 s",
            "1.5s",
            "4S",
            "30s1m",
            "1s1s",
            "4sec",
            "99999999999999999999s",
            "9999999999999h",
            "4sä",
        ] {
            assert!(span(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn opening_hours_name_days_and_a_span_within_them() {
        let days = |text| opening(text).unwrap().iter().map(|it| it.weekday).collect::<Vec<_>>();
        assert_eq!(days("mon-fri 08:00-18:00"), [1, 2, 3, 4, 5]);
        assert_eq!(days("mon,wed,sat-sun 08:00-18:00"), [1, 3, 6, 7]);
        assert_eq!(days("daily 00:00-24:00"), [1, 2, 3, 4, 5, 6, 7]);
        let span = opening("sun 09:05-24:00").unwrap()[0];
        assert_eq!((span.weekday, span.from_minute, span.to_minute), (7, 545, 1440));
        for bad in [
            "",
            "mon",
            "mon 8:00-18:00",
            "mon 08:00",
            "mon 18:00-08:00",
            "mon 08:00-08:00",
            "mon 08:60-09:00",
            "mon 08:00-24:01",
            "fri-mon 08:00-18:00",
            "Monday 08:00-18:00",
            "mon, tue 08:00-18:00",
            "mon 08.00-18.00",
        ] {
            assert!(opening(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_price_is_money_per_minute_or_hour() {
        let (money, per) = price("0.125 EUR per minute").unwrap();
        assert_eq!((money.micros, money.currency.as_str(), per.0), (125_000, "EUR", 60_000));
        assert_eq!(price("34 USD per hour").unwrap().1, Millis(3_600_000));
        for bad in [
            "0.12",
            "0.12 EUR",
            "0.12 EUR per second",
            "EUR 0.12 per minute",
            "0,12 EUR per minute",
            "0.12 eur per minute",
        ] {
            assert!(price(bad).is_err(), "{bad}");
        }
    }
}
