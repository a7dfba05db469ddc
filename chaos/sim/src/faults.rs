//! What goes wrong, and when it is over.

use trunkline_domain::vocabulary::{Millis, Timestamp};

use crate::bug::Bug;
use crate::clients::routed::{Node, Partition};
use crate::clients::{Media, Owner};
use crate::message::Address;
use crate::turn::Phase;
use crate::voter::Voter;
use crate::voter::disk::Disk;
use crate::world::{Event, World, node};

const HOUR: i64 = 3_600_000;

/// One fault.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    CrashVoter,
    CrashLeader,
    /// Armed now, counted when it happens.
    CrashBeforeReply,
    CrashAll,
    PauseVoter,
    PauseLeader,
    LoseDisk,
    Isolate,
    CutOneWay,
    CutPair,
    BadNetwork,
    SlowDisk,
    SlowDisks,
    /// All disks are slow, and soon the power fails: what was said before it was on a disk is gone.
    PowerFails,
    ClockJump,
    ClockJumpFar,
    LogAway,
    OwnerDies,
    OwnerPauses,
    MediaDies,
    MediaIsReplaced,
    MediaPauses,
    PartitionDies,
    PartitionPauses,
    NodeDies,
    NodePauses,
}

/// What is over.
#[derive(Debug, Clone)]
pub(crate) enum Mended {
    Heard(Address),
    Hears(Address),
    Pair(Address, Address),
    Network,
    Disk(u32),
    Clock(u32),
    /// Disks are as fast as ever, but first the power fails.
    Power,
}

/// Every fault and how often it is chosen.
const FAULTS: [(Fault, u32); 26] = [
    (Fault::CrashVoter, 6),
    (Fault::CrashLeader, 8),
    (Fault::CrashBeforeReply, 14),
    (Fault::CrashAll, 4),
    (Fault::PauseVoter, 4),
    (Fault::PauseLeader, 8),
    (Fault::LoseDisk, 6),
    (Fault::Isolate, 8),
    (Fault::CutOneWay, 8),
    (Fault::CutPair, 5),
    (Fault::BadNetwork, 12),
    (Fault::SlowDisk, 4),
    (Fault::SlowDisks, 5),
    (Fault::PowerFails, 5),
    (Fault::ClockJump, 4),
    (Fault::ClockJumpFar, 4),
    (Fault::LogAway, 5),
    (Fault::OwnerDies, 5),
    (Fault::OwnerPauses, 8),
    (Fault::MediaDies, 5),
    (Fault::MediaIsReplaced, 3),
    (Fault::MediaPauses, 6),
    (Fault::PartitionDies, 6),
    (Fault::PartitionPauses, 8),
    (Fault::NodeDies, 5),
    (Fault::NodePauses, 6),
];

impl Fault {
    /// As it is counted.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::CrashVoter => "fault voter crashes",
            Self::CrashLeader => "fault leader crashes",
            Self::CrashBeforeReply => "fault armed: crash between append and reply",
            Self::CrashAll => "fault all voters crash",
            Self::PauseVoter => "fault voter pauses",
            Self::PauseLeader => "fault leader pauses",
            Self::LoseDisk => "fault voter loses its disk",
            Self::Isolate => "fault somebody is isolated",
            Self::CutOneWay => "fault cut off in one direction",
            Self::CutPair => "fault two are cut off in one direction",
            Self::BadNetwork => "fault network loses, doubles and delays",
            Self::SlowDisk => "fault disk is slow",
            Self::SlowDisks => "fault all disks are slow",
            Self::PowerFails => "fault power fails while all disks are slow",
            Self::ClockJump => "fault clock jumps by seconds",
            Self::ClockJumpFar => "fault clock jumps by an hour",
            Self::LogAway => "fault event log is away",
            Self::OwnerDies => "fault blind owner dies",
            Self::OwnerPauses => "fault blind owner pauses",
            Self::MediaDies => "fault blind media node dies",
            Self::MediaIsReplaced => "fault blind media node is replaced",
            Self::MediaPauses => "fault blind media node pauses",
            Self::PartitionDies => "fault routing owner dies",
            Self::PartitionPauses => "fault routing owner pauses",
            Self::NodeDies => "fault media node dies",
            Self::NodePauses => "fault media node pauses",
        }
    }
}

impl World {
    /// The next fault.
    pub(crate) fn storm(&mut self) {
        if self.sight.phase != Phase::Storm {
            return;
        }
        let next = self.agenda.now() + Millis(self.chance.between(200, 1_500));
        self.agenda.at(next, Event::Fault);
        let all: u32 = FAULTS.iter().map(|(_, weight)| weight).sum();
        let mut drawn = self.chance.below(all as usize) as u32;
        for (fault, weight) in FAULTS {
            if drawn < weight {
                return self.strike(fault);
            }
            drawn -= weight;
        }
    }

    fn strike(&mut self, fault: Fault) {
        let struck = match fault {
            Fault::CrashVoter => self.any_voter().map(|id| self.crash_for_a_while(id)),
            Fault::CrashLeader => self.leader().map(|id| self.crash_for_a_while(id)),
            Fault::CrashBeforeReply => self.leader().map(|id| {
                if let Some(voter) = self.voters.get_mut(&id) {
                    voter.dies_before_reply = true;
                }
            }),
            Fault::CrashAll => {
                self.crash_all();
                Some(())
            }
            Fault::PauseVoter => self.any_voter().map(|id| self.pause(Address::Voter(id))),
            Fault::PauseLeader => self.leader().map(|id| self.pause(Address::Voter(id))),
            Fault::LoseDisk => self.lose_disk(),
            Fault::Isolate => self.anybody().map(|who| {
                self.net.mute.insert(who);
                self.net.deaf.insert(who);
                let over = self.later(500, 5_000);
                self.agenda.at(over, Event::Mended(Mended::Heard(who)));
                self.agenda.at(over, Event::Mended(Mended::Hears(who)));
            }),
            Fault::CutOneWay => self.anybody().map(|who| {
                let over = self.later(500, 5_000);
                if self.chance.happens(500) {
                    self.net.mute.insert(who);
                    self.agenda.at(over, Event::Mended(Mended::Heard(who)));
                } else {
                    self.net.deaf.insert(who);
                    self.agenda.at(over, Event::Mended(Mended::Hears(who)));
                }
            }),
            Fault::CutPair => self.anybody().zip(self.anybody()).map(|(from, to)| {
                self.net.cut.insert((from, to));
                let over = self.later(500, 6_000);
                self.agenda.at(over, Event::Mended(Mended::Pair(from, to)));
            }),
            Fault::BadNetwork => {
                self.net.loss = self.chance.between(20, 300) as u32;
                self.net.doubled = self.chance.between(0, 300) as u32;
                self.net.delay_max = self.chance.between(50, 1_500);
                let over = self.later(500, 4_000);
                self.agenda.at(over, Event::Mended(Mended::Network));
                Some(())
            }
            Fault::SlowDisk => self.any_voter().map(|id| {
                self.slow_disks.insert(id);
                let over = self.later(500, 4_000);
                self.agenda.at(over, Event::Mended(Mended::Disk(id)));
            }),
            Fault::SlowDisks => {
                let ids: Vec<u32> = self.voters.keys().copied().collect();
                let over = self.later(500, 4_000);
                for id in ids {
                    self.slow_disks.insert(id);
                    self.agenda.at(over, Event::Mended(Mended::Disk(id)));
                }
                Some(())
            }
            Fault::PowerFails => {
                self.slow_disks.extend(self.voters.keys().copied());
                let over = self.later(50, 600);
                self.agenda.at(over, Event::Mended(Mended::Power));
                Some(())
            }
            Fault::ClockJump => self.jump(4_000),
            Fault::ClockJumpFar => self.jump(HOUR),
            Fault::LogAway => {
                self.net.deaf.insert(Address::Log);
                let over = self.later(500, 4_000);
                self.agenda.at(over, Event::Mended(Mended::Hears(Address::Log)));
                Some(())
            }
            Fault::OwnerDies => self.renew_owner(),
            Fault::OwnerPauses => {
                let at = self.chance.below(self.owners.len()) as u32;
                self.pause(Address::Owner(at));
                Some(())
            }
            Fault::MediaDies => self.renew_media(true),
            Fault::MediaIsReplaced => self.renew_media(false),
            Fault::MediaPauses => {
                let at = self.chance.below(self.medias.len()) as u32;
                self.pause(Address::Media(at));
                Some(())
            }
            Fault::PartitionDies => self.renew_partition(),
            Fault::PartitionPauses => {
                let at = self.chance.below(self.partitions.len()) as u32;
                self.pause(Address::Partition(at));
                Some(())
            }
            Fault::NodeDies => self.renew_node(),
            Fault::NodePauses => {
                let at = self.chance.below(self.nodes.len()) as u32;
                self.pause(Address::Node(at));
                Some(())
            }
        };
        if struck.is_some() {
            self.inject(&fault);
        }
    }

    /// A fault ends.
    pub(crate) fn mend(&mut self, mended: Mended) {
        self.trace.say(self.agenda.now(), format_args!("mended: {mended:?}"));
        match mended {
            Mended::Heard(who) => drop(self.net.mute.remove(&who)),
            Mended::Hears(who) => drop(self.net.deaf.remove(&who)),
            Mended::Pair(from, to) => drop(self.net.cut.remove(&(from, to))),
            Mended::Network => (self.net.loss, self.net.doubled, self.net.delay_max) = (0, 0, 0),
            Mended::Disk(id) => drop(self.slow_disks.remove(&id)),
            Mended::Power => {
                self.slow_disks.clear();
                if self.sight.phase == Phase::Storm {
                    self.crash_all();
                }
            }
            Mended::Clock(id) => {
                if let Some(voter) = self.voters.get_mut(&id) {
                    voter.clock_ahead = Millis::ZERO;
                }
            }
        }
    }

    fn later(&mut self, from: i64, to: i64) -> Timestamp {
        self.agenda.now() + Millis(self.chance.between(from, to))
    }

    fn any_voter(&mut self) -> Option<u32> {
        let up: Vec<u32> = self.voters.values().filter(|it| it.up).map(|it| it.id).collect();
        self.chance.pick(&up).copied()
    }

    /// Whoever leads in the highest term.
    fn leader(&self) -> Option<u32> {
        self.voters.values().filter(|it| it.leads()).max_by_key(|it| it.term()).map(|it| it.id)
    }

    /// Mostly a voter, sometimes the leader, sometimes a client.
    fn anybody(&mut self) -> Option<Address> {
        match self.chance.below(12) {
            0..4 => self.leader().map(Address::Voter),
            4..7 => self.any_voter().map(Address::Voter),
            7 => Some(Address::Owner(self.chance.below(self.owners.len()) as u32)),
            9 => Some(Address::Partition(self.chance.below(self.partitions.len()) as u32)),
            10 => Some(Address::Node(self.chance.below(self.nodes.len()) as u32)),
            8 => Some(Address::Media(self.chance.below(self.medias.len()) as u32)),
            _ => Some(Address::Person(1 + self.chance.below(self.sight.agents.len()) as u32)),
        }
    }

    fn crash_all(&mut self) {
        let ids: Vec<u32> = self.voters.keys().copied().collect();
        ids.into_iter().for_each(|id| self.crash_for_a_while(id));
    }

    fn crash_for_a_while(&mut self, id: u32) {
        self.crash(id);
        let back = self.later(100, 3_500);
        self.agenda.at(back, Event::Start { voter: id });
    }

    fn pause(&mut self, who: Address) {
        let until = self.later(500, 6_000);
        self.paused.insert(who, until);
    }

    /// A voter loses its disk, and a new one takes its place. One at a time: while a replacement is under way another loss
    /// could take the only copies of what a majority had.
    fn lose_disk(&mut self) -> Option<()> {
        if self.replaced.is_some() || !self.voters.keys().eq(self.sight.voters.iter()) {
            return None;
        }
        let lost = self.any_voter()?;
        self.crash(lost);
        let voter = self.voters.get_mut(&lost)?;
        if self.bug == Some(Bug::LostDiskKeepsNumber) {
            let members = self.sight.voters.iter().copied().collect();
            voter.disk = Disk::founding(&members);
            let back = self.later(50, 400);
            self.agenda.at(back, Event::Start { voter: lost });
            // Found where the others do not have everything either: with whoever lags a voter that forgot is a majority.
            if let Some(leader) = self.leader() {
                self.crash_for_a_while(leader);
            }
            return Some(());
        }
        self.voters.remove(&lost);
        self.life_count += 1;
        let fresh = 100 + self.life_count;
        self.voters.insert(fresh, Voter::new(fresh, Disk::default(), 60));
        self.replaced = Some((lost, fresh));
        let back = self.later(100, 1_500);
        self.agenda.at(back, Event::Start { voter: fresh });
        Some(())
    }

    /// One clock at a time: what most clocks say is the time.
    fn jump(&mut self, far: i64) -> Option<()> {
        if self.voters.values().any(|it| it.clock_ahead != Millis::ZERO) {
            return None;
        }
        let id = self.any_voter()?;
        let by = if self.chance.happens(500) { far } else { -far };
        self.voters.get_mut(&id)?.clock_ahead = Millis(by - self.chance.between(0, 500) * by.signum());
        let over = self.later(1_000, 6_000);
        self.agenda.at(over, Event::Mended(Mended::Clock(id)));
        Some(())
    }

    fn renew_owner(&mut self) -> Option<()> {
        self.life_count += 1;
        let at = self.chance.below(self.owners.len());
        let owner = self.owners.get_mut(at)?;
        let (cell, ahead) = (owner.cell, owner.clock_ahead);
        *owner = Owner::new(node(&format!("o{at}-{}", self.life_count)), cell, ahead);
        Some(())
    }

    fn renew_partition(&mut self) -> Option<()> {
        self.life_count += 1;
        let at = self.chance.below(self.partitions.len());
        let partition = self.partitions.get_mut(at)?;
        *partition = Partition::new(node(&format!("r{at}-{}", self.life_count)), partition.clock_ahead);
        Some(())
    }

    /// It keeps its name, and with it the lane in which it has to end what it lost.
    fn renew_node(&mut self) -> Option<()> {
        self.life_count += 1;
        let at = self.chance.below(self.nodes.len());
        let node = self.nodes.get_mut(at)?;
        *node = Node::new(node.node_id.clone(), self.life_count);
        Some(())
    }

    fn renew_media(&mut self, keeps_name: bool) -> Option<()> {
        self.life_count += 1;
        let at = self.chance.below(self.medias.len());
        let media = self.medias.get_mut(at)?;
        let fresh = node(&format!("m{at}-{}", self.life_count));
        let node_id = if keeps_name { media.node_id.clone() } else { fresh };
        *media = Media::new(node_id, self.life_count);
        Some(())
    }
}
