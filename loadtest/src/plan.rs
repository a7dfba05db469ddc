//! Who calls, when, and what each side will do: all of it out of one seed.

use std::path::Path;

/// An agent of `deploy/demo/operator.yaml`.
#[derive(Debug, Clone, Copy)]
pub struct DemoAgent {
    /// Its id.
    pub id: &'static str,
    /// User of its phone.
    pub sip_user: &'static str,
    /// What its phone speaks: half of them A-law, so that legs differ.
    pub codec: (&'static str, u8),
}

const PCMU: (&str, u8) = ("PCMU", 0);
const PCMA: (&str, u8) = ("PCMA", 8);

/// The agents, whose passwords are `demo-<sip user>`.
pub const AGENTS: [DemoAgent; 8] = [
    DemoAgent { id: "agt_anna", sip_user: "1001", codec: PCMU },
    DemoAgent { id: "agt_ben", sip_user: "1002", codec: PCMA },
    DemoAgent { id: "agt_carla", sip_user: "1003", codec: PCMU },
    DemoAgent { id: "agt_david", sip_user: "1004", codec: PCMA },
    DemoAgent { id: "agt_emma", sip_user: "1005", codec: PCMU },
    DemoAgent { id: "agt_felix", sip_user: "1006", codec: PCMA },
    DemoAgent { id: "agt_greta", sip_user: "1007", codec: PCMU },
    DemoAgent { id: "agt_hugo", sip_user: "1008", codec: PCMA },
];

/// The team that Cygnus pays for by signed-in time.
pub const CYGNUS_TEAM: [&str; 3] = ["agt_emma", "agt_felix", "agt_greta"];

/// A company of the demo, and its key.
#[derive(Debug, Clone, Copy)]
pub struct DemoCompany {
    /// Its id.
    pub id: &'static str,
    /// Its API key.
    pub key: &'static str,
}

/// The companies.
pub const COMPANIES: [DemoCompany; 3] = [
    DemoCompany { id: "cmp_aurora", key: "demo-aurora-key" },
    DemoCompany { id: "cmp_borealis", key: "demo-borealis-key" },
    DemoCompany { id: "cmp_cygnus", key: "demo-cygnus-key" },
];

/// The operator's own key.
pub const OPERATOR_KEY: &str = "demo-operator-key";

/// A number that can be dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DemoNumber {
    /// E.164.
    pub number: &'static str,
    /// Whose; empty when nobody's.
    pub company: &'static str,
    /// The prompt heard first.
    pub prompt: &'static str,
}

/// Numbers that are open.
pub const OPEN: [DemoNumber; 4] = [
    DemoNumber { number: "+493023125100", company: "cmp_aurora", prompt: "hello-world" },
    DemoNumber { number: "+493023125101", company: "cmp_aurora", prompt: "hello-world" },
    DemoNumber { number: "+493023125200", company: "cmp_borealis", prompt: "hello" },
    DemoNumber { number: "+493023125300", company: "cmp_cygnus", prompt: "one-moment-please" },
];
/// The number that is always closed.
pub const CLOSED: DemoNumber =
    DemoNumber { number: "+493023125109", company: "cmp_aurora", prompt: "please-try-call-later" };
/// A number nobody owns.
pub const UNKNOWN: DemoNumber = DemoNumber { number: "+493023125999", company: "", prompt: "" };
/// Callers who hear busy: the first everywhere, the second at Borealis.
pub const BLOCKED: [&str; 2] = ["+491713920066", "+491713920067"];

/// What a caller means to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Intent {
    /// Talk until the agent hangs up.
    Talk,
    /// Hang up itself after a few seconds, whether served or not.
    TalkShortly,
    /// Hang up soon after the greeting.
    LeaveWaiting,
    /// Hang up within the greeting.
    LeaveInGreeting,
    /// Call the closed number.
    Closed,
    /// Call while on the blocklist.
    Blocked,
    /// Call a number nobody owns.
    Unknown,
}

/// One call.
#[derive(Debug, Clone)]
pub struct PlannedCall {
    /// From 0.
    pub index: usize,
    /// When it is placed, in ms after the first.
    pub at_ms: u64,
    /// The caller's number, E.164; no two calls have the same.
    pub caller: String,
    /// What is dialled.
    pub dialled: DemoNumber,
    /// What the caller means to do.
    pub intent: Intent,
    /// How long the caller stays after the answer, in ms.
    pub stay_ms: u64,
    /// The tone the caller speaks with, in Hz; its own within the plan.
    pub tone_hz: u32,
}

/// What an agent does with its nth call, as `agent.xml` reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlannedAnswer {
    /// 0 answer, 1 decline, 2 never answer.
    pub behaviour: u8,
    /// 0 to 2: how long it rings.
    pub ring: u8,
    /// 0 to 3: how long it talks.
    pub talk: u8,
}

/// A whole run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What it was made of.
    pub seed: u64,
    /// The calls, by time.
    pub calls: Vec<PlannedCall>,
    /// Each agent's answers, in order; after the last, from the first again.
    pub answers: Vec<Vec<PlannedAnswer>>,
}

impl Plan {
    /// The plan of a seed. Of every 20 calls one each is blocked, unknown, closed and left in the greeting, two are left
    /// waiting, four are short, the rest are talks; `greeting_ms` tells how long a prompt is.
    pub fn new(seed: u64, call_count: usize, greeting_ms: impl Fn(&str) -> u64) -> Self {
        let mut chance = Chance(seed ^ 0x5_7e1e_0af5);
        let mut intents: Vec<Intent> = (0..call_count)
            .map(|index| match index % 20 {
                3 => Intent::Blocked,
                7 => Intent::Unknown,
                11 => Intent::Closed,
                15 => Intent::LeaveInGreeting,
                5 | 18 => Intent::LeaveWaiting,
                1 | 8 | 13 | 17 => Intent::TalkShortly,
                _ => Intent::Talk,
            })
            .collect();
        chance.shuffle(&mut intents);
        let (mut at_ms, mut blocked) = (0, BLOCKED.iter().copied());
        let mut calls = Vec::with_capacity(call_count);
        for (index, mut intent) in intents.into_iter().enumerate() {
            let open = OPEN[chance.below(OPEN.len() as u64) as usize];
            let mut caller = format!("+4917139200{index:02}");
            let mut dialled = open;
            match intent {
                Intent::Closed => dialled = CLOSED,
                Intent::Unknown => dialled = UNKNOWN,
                Intent::Blocked => match blocked.next() {
                    Some(number) => {
                        number.clone_into(&mut caller);
                        dialled = OPEN[2];
                    }
                    None => intent = Intent::Talk,
                },
                Intent::Talk | Intent::TalkShortly | Intent::LeaveWaiting | Intent::LeaveInGreeting => {}
            }
            let greeting = greeting_ms(dialled.prompt);
            let stay_ms = match intent {
                Intent::TalkShortly => greeting + 2_500 + chance.below(2_500),
                Intent::LeaveWaiting => greeting + 200,
                Intent::LeaveInGreeting => greeting / 3,
                Intent::Talk | Intent::Closed | Intent::Blocked | Intent::Unknown => 90_000,
            };
            let tone_hz = 400 + 50 * (index as u32 % 40);
            calls.push(PlannedCall { index, at_ms, caller, dialled, intent, stay_ms, tone_hz });
            // Bursts of three, so that some must wait, then a pause.
            at_ms += if index % 3 == 2 { 1_800 + chance.below(1_600) } else { 100 + chance.below(500) };
        }
        let answers = (0..AGENTS.len()).map(|agent| Self::answers_of(&mut chance, agent)).collect();
        Self { seed, calls, answers }
    }

    fn answers_of(chance: &mut Chance, agent: usize) -> Vec<PlannedAnswer> {
        (0..40)
            .map(|nth| {
                let behaviour = match (agent, nth, chance.below(100)) {
                    (3, 0, _) => 1, // David declines his first
                    (6, 0, _) => 2, // Greta does not hear hers
                    (_, 1.., 0..8) => 1,
                    (_, 1.., 8..12) => 2,
                    _ => 0,
                };
                PlannedAnswer { behaviour, ring: chance.below(3) as u8, talk: chance.below(4) as u8 }
            })
            .collect()
    }

    /// An agent's answers as sipp's injection file.
    pub fn csv(&self, agent: usize) -> String {
        let mut csv = "SEQUENTIAL\n".to_owned();
        for answer in self.answers.get(agent).into_iter().flatten() {
            csv.push_str(&format!("{};{};{}\n", answer.behaviour, answer.ring, answer.talk));
        }
        csv
    }
}

/// The length of a prompt, in ms, out of its file of 16-bit samples at 8 kHz; 0 when there is none.
pub fn prompt_ms(directory: &Path, name: &str) -> u64 {
    let path = directory.join(format!("{name}.wav"));
    std::fs::metadata(path).map_or(0, |file| file.len().saturating_sub(44) / 16)
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and the same everywhere.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to `bound - 1`; the tiny bias of a remainder is no matter here.
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for index in (1..items.len()).rev() {
            items.swap(index, self.below(index as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn a_plan_is_a_function_of_its_seed_and_aims_at_every_outcome() {
        let plan = |seed| Plan::new(seed, 40, |_| 1_000);
        assert_eq!(format!("{:?}", plan(7)), format!("{:?}", plan(7)));
        assert_ne!(format!("{:?}", plan(7)), format!("{:?}", plan(8)));
        for seed in 0..20 {
            let plan = plan(seed);
            let mut counts = BTreeMap::<Intent, usize>::new();
            for call in &plan.calls {
                *counts.entry(call.intent).or_default() += 1;
            }
            let expected = [
                (Intent::Talk, 20),
                (Intent::TalkShortly, 8),
                (Intent::LeaveWaiting, 4),
                (Intent::LeaveInGreeting, 2),
                (Intent::Closed, 2),
                (Intent::Blocked, 2),
                (Intent::Unknown, 2),
            ];
            assert_eq!(counts, expected.into());
            let callers: BTreeSet<&str> = plan.calls.iter().map(|call| call.caller.as_str()).collect();
            let tones: BTreeSet<u32> = plan.calls.iter().map(|call| call.tone_hz).collect();
            assert_eq!((callers.len(), tones.len()), (40, 40));
            assert!(plan.calls.windows(2).all(|pair| pair[0].at_ms < pair[1].at_ms));
        }
    }

    /// The plan's cast must be in the document the demo applies.
    #[test]
    fn the_operators_document_has_everybody_the_plan_knows() {
        let document = include_str!("../../deploy/demo/operator.yaml");
        let numbers: String = document.chars().filter(|letter| *letter != ' ').collect();
        for agent in AGENTS {
            let user = format!("sip_user: \"{}\", sip_password: demo-{}", agent.sip_user, agent.sip_user);
            assert!(document.contains(agent.id) && document.contains(&user), "{}", agent.id);
            let in_team = CYGNUS_TEAM.contains(&agent.id);
            let line = document.lines().find(|line| line.contains(agent.id)).unwrap();
            assert_eq!(line.contains("team_company: cmp_cygnus"), in_team, "{}", agent.id);
        }
        for number in OPEN.iter().chain([&CLOSED]) {
            assert!(numbers.contains(&format!("\"{}\"", number.number)), "{}", number.number);
            assert!(document.contains(&format!("prompt: {}", number.prompt)), "{}", number.prompt);
        }
        for number in BLOCKED {
            assert!(numbers.contains(&format!("\"{number}\"")), "{number}");
        }
        assert!(!numbers.contains(UNKNOWN.number));
        for company in COMPANIES {
            assert!(document.contains(&format!("id: {}", company.id)));
        }
    }
}
