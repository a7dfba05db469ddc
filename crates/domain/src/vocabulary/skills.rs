//! What agents can do, how well, and what of it a contact needs.
//!
//! ```text
//! an agent's skill   skl_german          at the highest level
//!                    skl_german 7        at level 7 of 10
//! a clause           skl_german          at any level
//!                    skl_german >= 5     at level 5 to 10;  <= 5 is 1 to 5,  3-7 is 3 to 7
//!                    not skl_trainee     not that, whatever the level
//!                    skl_german >= 5 or skl_dutch
//! ```
//!
//! A contact needs every clause of a list, and a clause holds when one of its conditions does: a conjunction of
//! disjunctions, which says whatever AND, OR and NOT can.

use std::fmt;
use std::str::FromStr;

use super::SkillId;

/// The highest level of a skill; the lowest is 1. Who lacks a skill is at level 0.
pub const LEVEL_MAX: u8 = 10;
/// Conditions of one clause, at most.
pub const CONDITIONS_MAX: usize = 20;

/// A skill an agent has.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SkillLevel {
    /// Which.
    pub skill_id: SkillId,
    /// How well: 1 to [`LEVEL_MAX`].
    pub level: u8,
}

/// A skill that is, or is not, at one of some levels.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Condition {
    /// Whether it must not be so.
    pub negated: bool,
    /// Which.
    pub skill_id: SkillId,
    /// The lowest level.
    pub level_min: u8,
    /// The highest.
    pub level_max: u8,
}

/// One of these must hold.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clause {
    /// At least one, at most [`CONDITIONS_MAX`].
    pub conditions: Vec<Condition>,
}

/// Why a text is no skill, or no clause.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SkillError {
    /// It does not read as one.
    #[error(
        "`{text}` is no condition: expected as skl_german, skl_german >= 5, skl_german 3-7 or not skl_german"
    )]
    Condition {
        /// What stood there.
        text: String,
    },
    /// It does not read as one.
    #[error("`{text}` is no skill: expected as skl_german, or skl_german 7")]
    Skill {
        /// What stood there.
        text: String,
    },
    /// The id is none.
    #[error(transparent)]
    Id(#[from] super::IdError),
    /// The level is none.
    #[error("`{text}` is no level: a level is from 1 to {LEVEL_MAX}")]
    Level {
        /// What stood there.
        text: String,
    },
    /// From more to less.
    #[error("no level is from {from} to {to}")]
    NoLevel {
        /// The lowest.
        from: u8,
        /// The highest.
        to: u8,
    },
    /// Too long a clause.
    #[error("{count} conditions stand in one clause, at most {CONDITIONS_MAX} can")]
    TooMany {
        /// How many.
        count: usize,
    },
}

impl SkillLevel {
    /// At the highest level.
    pub fn whole(skill_id: SkillId) -> Self {
        Self { skill_id, level: LEVEL_MAX }
    }
}

impl Condition {
    /// Whether it holds of somebody with these levels; 0 of a skill that is lacking.
    pub fn holds(&self, level_of: impl Fn(&SkillId) -> u8) -> bool {
        (self.level_min..=self.level_max).contains(&level_of(&self.skill_id)) != self.negated
    }
}

impl Clause {
    /// The skill, at any level.
    pub fn has(skill_id: SkillId) -> Self {
        let condition = Condition { negated: false, skill_id, level_min: 1, level_max: LEVEL_MAX };
        Self { conditions: vec![condition] }
    }

    /// Whether it asks for a skill at any level, and for nothing else.
    pub fn is_plain(&self) -> bool {
        match self.conditions.as_slice() {
            [only] => !only.negated && (only.level_min, only.level_max) == (1, LEVEL_MAX),
            _ => false,
        }
    }

    /// Whether one of the conditions holds.
    pub fn holds(&self, level_of: impl Fn(&SkillId) -> u8) -> bool {
        self.conditions.iter().any(|condition| condition.holds(&level_of))
    }
}

/// The level of a skill among those somebody has; 0 when it is lacking.
pub fn level_of(skills: &[SkillLevel], skill_id: &SkillId) -> u8 {
    skills.iter().find(|skill| skill.skill_id == *skill_id).map_or(0, |skill| skill.level)
}

fn level(text: &str) -> Result<u8, SkillError> {
    let level = text.parse().ok().filter(|level| (1..=LEVEL_MAX).contains(level));
    level.ok_or_else(|| SkillError::Level { text: text.to_owned() })
}

impl FromStr for SkillLevel {
    type Err = SkillError;

    fn from_str(text: &str) -> Result<Self, SkillError> {
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [skill] => Ok(Self::whole(SkillId::parse(skill)?)),
            [skill, at] => Ok(Self { skill_id: SkillId::parse(skill)?, level: level(at)? }),
            _ => Err(SkillError::Skill { text: text.to_owned() }),
        }
    }
}

impl FromStr for Condition {
    type Err = SkillError;

    fn from_str(text: &str) -> Result<Self, SkillError> {
        let spaced = text.replace(">=", " >= ").replace("<=", " <= ");
        let mut words: Vec<&str> = spaced.split_whitespace().collect();
        let negated = words.first() == Some(&"not");
        if negated {
            words.remove(0);
        }
        let (skill, levels) = match words.as_slice() {
            [skill] => (skill, (1, LEVEL_MAX)),
            [skill, ">=", from] => (skill, (level(from)?, LEVEL_MAX)),
            [skill, "<=", to] => (skill, (1, level(to)?)),
            [skill, span] => match span.split_once('-') {
                Some((from, to)) => (skill, (level(from)?, level(to)?)),
                None => return Err(SkillError::Condition { text: text.trim().to_owned() }),
            },
            _ => return Err(SkillError::Condition { text: text.trim().to_owned() }),
        };
        let (level_min, level_max) = levels;
        if level_min > level_max {
            return Err(SkillError::NoLevel { from: level_min, to: level_max });
        }
        Ok(Self { negated, skill_id: SkillId::parse(skill)?, level_min, level_max })
    }
}

impl FromStr for Clause {
    type Err = SkillError;

    fn from_str(text: &str) -> Result<Self, SkillError> {
        let conditions = text.split(" or ").map(str::parse).collect::<Result<Vec<_>, _>>()?;
        match conditions.len() {
            count if count > CONDITIONS_MAX => Err(SkillError::TooMany { count }),
            _ => Ok(Self { conditions }),
        }
    }
}

impl fmt::Display for SkillLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.level {
            LEVEL_MAX => write!(f, "{}", self.skill_id),
            level => write!(f, "{} {level}", self.skill_id),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = if self.negated { "not " } else { "" };
        match (self.level_min, self.level_max) {
            (1, LEVEL_MAX) => write!(f, "{not}{}", self.skill_id),
            (from, LEVEL_MAX) => write!(f, "{not}{} >= {from}", self.skill_id),
            (from, to) => write!(f, "{not}{} {from}-{to}", self.skill_id),
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, condition) in self.conditions.iter().enumerate() {
            let or = if nth == 0 { "" } else { " or " };
            write!(f, "{or}{condition}")?;
        }
        Ok(())
    }
}

macro_rules! shown_as_written {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

shown_as_written!(SkillLevel, Condition, Clause);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clause_is_read_and_written_in_one_way() {
        for (text, written) in [
            ("skl_a", "skl_a"),
            ("  skl_a  ", "skl_a"),
            ("skl_a>=5", "skl_a >= 5"),
            ("skl_a >= 1", "skl_a"),
            ("skl_a <= 5", "skl_a 1-5"),
            ("skl_a 3-7", "skl_a 3-7"),
            ("skl_a 3-10", "skl_a >= 3"),
            ("not skl_a", "not skl_a"),
            ("not skl_a <=4 or skl_b", "not skl_a 1-4 or skl_b"),
        ] {
            let clause: Clause = text.parse().unwrap();
            assert_eq!(clause.to_string(), written, "{text}");
            assert_eq!(written.parse::<Clause>().unwrap(), clause, "{written}");
        }
        for (text, why) in [
            ("", "`` is no condition"),
            ("skl_a 5", "`skl_a 5` is no condition"),
            ("skl_a > 5", "`skl_a > 5` is no condition"),
            ("skl_a >= 11", "`11` is no level: a level is from 1 to 10"),
            ("skl_a 0-3", "`0` is no level"),
            ("skl_a 7-3", "no level is from 7 to 3"),
            ("skl_a or", "`skl_a or` is no condition"),
            ("skl_a or  or skl_b", "`` is no condition"),
            ("agt_a", "agt_a"),
        ] {
            let refusal = text.parse::<Clause>().unwrap_err().to_string();
            assert!(refusal.contains(why), "{text}: {refusal}");
        }
        let many = vec!["skl_a"; CONDITIONS_MAX + 1].join(" or ");
        assert_eq!(many.parse::<Clause>().unwrap_err(), SkillError::TooMany { count: CONDITIONS_MAX + 1 });
    }

    #[test]
    fn an_agents_skill_is_at_the_highest_level_unless_it_says_otherwise() {
        let skill: SkillLevel = "skl_a".parse().unwrap();
        assert_eq!((skill.level, skill.to_string()), (10, "skl_a".to_owned()));
        let skill: SkillLevel = "skl_a 7".parse().unwrap();
        assert_eq!((skill.level, skill.to_string()), (7, "skl_a 7".to_owned()));
        for text in ["skl_a 0", "skl_a 11", "skl_a x", "skl_a 7 7", ""] {
            text.parse::<SkillLevel>().unwrap_err();
        }
    }

    #[test]
    fn a_clause_holds_when_one_of_its_conditions_does() {
        let skills: Vec<SkillLevel> = ["skl_a 5", "skl_b"].map(|text| text.parse().unwrap()).to_vec();
        for (text, holds) in [
            ("skl_a", true),
            ("skl_c", false),
            ("not skl_c", true),
            ("not skl_a", false),
            ("skl_a >= 5", true),
            ("skl_a >= 6", false),
            ("not skl_a >= 6", true),
            ("skl_a 1-4", false),
            ("not skl_b or skl_a 5-5", true),
            ("skl_c or skl_a >= 6", false),
        ] {
            let clause: Clause = text.parse().unwrap();
            assert_eq!(clause.holds(|skill_id| level_of(&skills, skill_id)), holds, "{text}");
        }
    }
}
