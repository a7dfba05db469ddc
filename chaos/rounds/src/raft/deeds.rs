//! What is done to voters. Each deed does one thing, sees that a new reservation succeeds, and makes it good again.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use trunkline_loadtest::Failure;
use trunkline_loadtest::rig::{Place, Process};

use super::flood;
use super::load::{AGENT_COUNT, FLOODED_COUNT};
use super::netns::{self, Cut};
use super::sites;
use super::stage::{Blow, Stage, term};

/// One in so many that are killed is back by itself, and the longest it takes to come back, in µs.
const BACK_ONE_IN: u64 = 4;
const BACK_US_MAX: u64 = 1_500_000;
/// Kills in one storm of restarts, and the longest pause between two of them, in µs.
const STORM_COUNT: u64 = 9;
const STORM_PAUSE_US: u64 = 400_000;
/// How long a clock stays wrong.
const WRONG: Duration = Duration::from_secs(4);
const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
/// Who is cut off from both others, in both directions.
const LEADER_ALONE: &str = "leader alone";
const FOLLOWER_ALONE: &str = "follower alone";
/// The size of the disk that is filled, and how long its voter may take to notice.
const DISK: &str = "64m";
const NOTICED_WITHIN: Duration = Duration::from_secs(20);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    KillLeader,
    PauseLeader,
    PauseFollower,
    RestartStorm,
    JumpClock,
    EmptyVoter,
    Partition,
    LoseSite,
    FillDisk,
    Flood,
}

impl Deed {
    /// Whether it needs networks or disks of its own, which only namespaces give.
    pub fn needs_namespaces(self) -> bool {
        matches!(self, Self::Partition | Self::LoseSite | Self::FillDisk)
    }

    /// With fewer voters it makes no sense.
    pub fn voter_count_min(self) -> usize {
        if self == Self::LoseSite { sites::VOTER_COUNT_MIN } else { 3 }
    }

    /// How many agents there are.
    pub fn agent_count(self) -> usize {
        if self == Self::Flood { AGENT_COUNT + FLOODED_COUNT } else { AGENT_COUNT }
    }

    /// Where so many voters run, and with which settings; prepared here.
    ///
    /// # Errors
    /// When it cannot be prepared.
    pub fn prepare(self, dir: &Path, count: usize) -> Result<(Vec<Place>, &'static [&'static str]), Failure> {
        let usual = vec![Place::default(); count];
        Ok(match self {
            Self::KillLeader | Self::PauseLeader | Self::PauseFollower | Self::RestartStorm => (usual, &[]),
            Self::JumpClock => {
                if !PathBuf::from(FAKETIME).exists() {
                    return Err(Failure::new(format!("there is no {FAKETIME}: install libfaketime")));
                }
                let places = (1..=count).map(|number| clock_place(dir, number)).collect::<Result<_, _>>()?;
                (places, &[])
            }
            // So few entries are kept that an empty voter needs a snapshot.
            Self::EmptyVoter => (usual, &["agent_state.snapshot_every=1000", "agent_state.log_keep=100"]),
            Self::Flood => (usual, flood::SETTINGS),
            Self::Partition => (netns::open(count)?, &[]),
            Self::LoseSite => (sites::spread(netns::open(count)?), &[]),
            Self::FillDisk => {
                for number in 1..=count {
                    let data = dir.join(format!("voter-{number}"));
                    fs::create_dir_all(&data)?;
                    let size = format!("size={DISK}");
                    netns::run(&["mount", "-t", "tmpfs", "-o", &size, "tmpfs", &data.display().to_string()])?;
                }
                (
                    usual,
                    &[
                        "agent_state.wal_segment_bytes=1000000",
                        "agent_state.snapshot_every=5000",
                        "agent_state.log_keep=1000",
                    ],
                )
            }
        })
    }

    /// Does it once.
    ///
    /// # Errors
    /// When nothing recovers, or what must happen does not.
    pub async fn strike(self, stage: &mut Stage) -> Result<Blow, Failure> {
        stage.well().await;
        let before = stage.term().await?;
        let (at, kind) = match self {
            Self::KillLeader => kill_leader(stage).await,
            Self::PauseLeader => {
                let leader = stage.leader().await?;
                pause(stage, &leader, "leader").await
            }
            Self::PauseFollower => {
                let follower = stage.follower().await?;
                pause(stage, &follower, "follower").await
            }
            Self::RestartStorm => restart_storm(stage).await,
            Self::JumpClock => jump_clock(stage).await,
            Self::EmptyVoter => empty_voter(stage).await,
            Self::Partition => partition(stage).await,
            Self::LoseSite => sites::lose(stage).await,
            Self::FillDisk => fill_disk(stage).await,
            Self::Flood => flood::flood(stage).await,
        }?;
        stage.voters.ready().await?;
        let terms = stage.term().await?.saturating_sub(before);
        Ok(Blow { at, kind, terms })
    }
}

/// When it was struck, and what exactly was done.
pub type Struck = Result<(u64, &'static str), Failure>;

/// Three of four stay dead until another leads and a reservation has succeeded, as one does whose machine is gone. The
/// fourth comes back by itself: before, during or after the election of the next. One that is back before the others have
/// missed it goes on as leader in its old term, and no election is held.
async fn kill_leader(stage: &mut Stage) -> Struck {
    let leader = stage.leader().await?;
    let back = stage.once_in(BACK_ONE_IN);
    let back_after = Duration::from_micros(stage.chance.below(BACK_US_MAX));
    let at = stage.load.now();
    leader.signal(Signal::KILL)?;
    let restart = async {
        leader.gone().await;
        tokio::time::sleep(back_after).await;
        leader.start(stage.voters.program())
    };
    if back {
        let (recovered, started) = tokio::join!(stage.recovered(), restart);
        started?;
        recovered?;
        return Ok((at, "comes back"));
    }
    stage.recovered().await?;
    leader.gone().await;
    leader.start(stage.voters.program())?;
    Ok((at, "stays dead"))
}

async fn pause(stage: &mut Stage, voter: &Process, kind: &'static str) -> Struck {
    let span = stage.span();
    let at = stage.load.now();
    voter.signal(Signal::STOP)?;
    let (recovered, woken) = tokio::join!(stage.recovered(), async {
        tokio::time::sleep(span).await;
        voter.signal(Signal::CONT)
    });
    woken?;
    recovered?;
    Ok((at, kind))
}

/// Kills one after the other and starts each again at once, whoever leads; more than one may be down at a time.
async fn restart_storm(stage: &mut Stage) -> Struck {
    let mut at = stage.load.now();
    for _ in 0..STORM_COUNT {
        let nth = stage.chance.below(stage.voters.processes.len() as u64) as usize;
        let Some(voter) = stage.voters.processes.get(nth) else { continue };
        // It may not have got further than its start.
        if voter.pid().is_some() {
            at = stage.load.now();
            voter.kill().await?;
        }
        voter.start(stage.voters.program())?;
        tokio::time::sleep(Duration::from_micros(stage.chance.below(STORM_PAUSE_US))).await;
    }
    stage.recovered().await?;
    Ok((at, "all"))
}

/// A voter whose wall clock follows a file, and whose monotonic clock does not.
fn clock_place(dir: &Path, number: usize) -> Result<Place, Failure> {
    fs::create_dir_all(dir)?;
    let file = clock_file(dir, &format!("voter-{number}"));
    fs::write(&file, "+0\n")?;
    let wrap = vec![
        "env".to_owned(),
        format!("LD_PRELOAD={FAKETIME}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "FAKETIME_DONT_FAKE_MONOTONIC=1".to_owned(),
        "FAKETIME_CACHE_DURATION=1".to_owned(),
    ];
    Ok(Place { wrap, ..Place::default() })
}

fn clock_file(dir: &Path, voter: &str) -> PathBuf {
    dir.join(format!("{voter}.clock"))
}

/// The wall clock of a running voter is set an hour ahead or back, and right again.
async fn jump_clock(stage: &mut Stage) -> Struck {
    let (voter, leads) = stage.anybody().await?;
    let (offset, kind) = match (leads, stage.once_in(2)) {
        (true, true) => ("+3600", "leader an hour ahead"),
        (true, false) => ("-3600", "leader an hour back"),
        (false, true) => ("+3600", "follower an hour ahead"),
        (false, false) => ("-3600", "follower an hour back"),
    };
    let file = clock_file(&stage.dir, &voter.name);
    let at = stage.load.now();
    fs::write(&file, format!("{offset}\n"))?;
    // It reads the file once a second.
    tokio::time::sleep(WRONG / 2).await;
    stage.recovered().await?;
    tokio::time::sleep(WRONG / 2).await;
    fs::write(&file, "+0\n")?;
    stage.recovered().await?;
    Ok((at, kind))
}

/// A voter loses its log, its state and its identity; a new one takes its place, and is given a snapshot under load.
async fn empty_voter(stage: &mut Stage) -> Struck {
    let (voter, leads) = stage.anybody().await?;
    let node_id = stage.node_id(&voter.grpc).await?;
    let at = stage.load.now();
    begin_anew(stage, &voter, Some(&node_id)).await?;
    Ok((at, if leads { "leader" } else { "follower" }))
}

/// Has a new replica where a voter was, without anything that one had.
async fn begin_anew(stage: &Stage, voter: &Process, replaced: Option<&str>) -> Result<(), Failure> {
    voter.kill().await?;
    // Not the event log beside it, which is the cluster's.
    fs::remove_dir_all(voter.data.join("agent-state"))?;
    stage.recovered().await?;
    voter.start(stage.voters.program())?;
    add(stage, &voter.grpc, replaced).await
}

/// Makes who answers there a voter.
async fn add(stage: &Stage, address: &str, replaced: Option<&str>) -> Result<(), Failure> {
    let mut words = vec!["add", address];
    words.extend(replaced.iter().flat_map(|id| ["--replace", id]));
    change(stage, &words).await
}

/// Changes who belongs to the voters. Asked again as an operator would: nobody may answer there yet, or one was asked that
/// takes itself for the leader still.
async fn change(stage: &Stage, words: &[&str]) -> Result<(), Failure> {
    let voters = stage.voters.addresses().join(",");
    let words = [&["raft"], words, &["--voters", &voters]].concat();
    let until = Instant::now() + NOTICED_WITHIN;
    loop {
        let output = stage.voters.trunkline.run(&words).await?;
        if output.code == 0 {
            return Ok(());
        }
        if Instant::now() > until {
            let said = output.stderr.trim();
            return Err(Failure::new(format!("`trunkline {}` failed: {said}", words.join(" "))));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The network between voters is cut, not that to those who ask. Meanwhile the leadership is handed over, or who is cut off is
/// taken out of the cluster; it comes back as a replica that is no member, and then as a new one.
async fn partition(stage: &mut Stage) -> Struck {
    let (voter, leads) = stage.anybody().await?;
    let places = &stage.voters.processes;
    let own = places.iter().position(|it| it.name == voter.name).unwrap_or_default();
    let others: Vec<usize> = (0..places.len()).filter(|it| *it != own).collect();
    let one = others.get(stage.chance.below(others.len() as u64) as usize).copied().unwrap_or_default();
    let speaks: Vec<Cut> = others.iter().map(|to| Cut { from: own, to: *to }).collect();
    let hears: Vec<Cut> = others.iter().map(|from| Cut { from: *from, to: own }).collect();
    let (cuts, kind) = match (stage.chance.below(4), leads) {
        (0, true) => ([speaks, hears].concat(), LEADER_ALONE),
        (0, false) => ([speaks, hears].concat(), FOLLOWER_ALONE),
        (1, true) => (speaks, "leader mute"),
        (1, false) => (speaks, "follower mute"),
        (2, true) => (hears, "leader deaf"),
        (2, false) => (hears, "follower deaf"),
        (_, true) => (vec![Cut { from: own, to: one }, Cut { from: one, to: own }], "leader and one other"),
        (_, false) => {
            (vec![Cut { from: own, to: one }, Cut { from: one, to: own }], "follower and one other")
        }
    };
    let span = stage.span();
    let node_id = stage.node_id(&voter.grpc).await?;
    let asked = stage.chance.below(3);
    cuts.iter().try_for_each(|cut| cut.begin())?;
    // Not before: between two cuts there may be a majority still.
    let at = stage.load.now();
    let kind = match (asked, kind) {
        (0, LEADER_ALONE) => "leader alone, removed",
        (0, FOLLOWER_ALONE) => "follower alone, removed",
        (_, kind) => kind,
    };
    let removed = kind.ends_with("removed");
    let meanwhile = async {
        if removed {
            return change(stage, &["remove", &node_id]).await;
        }
        if asked == 1 {
            // Whether it can be is not the point.
            let voters = stage.voters.addresses().join(",");
            stage.voters.trunkline.run(&["raft", "transfer", "--voters", &voters]).await?;
        }
        Ok(())
    };
    let (recovered, changed, ()) = tokio::join!(stage.recovered(), meanwhile, tokio::time::sleep(span));
    cuts.iter().try_for_each(|cut| cut.end())?;
    recovered?;
    changed?;
    if removed {
        stage.well().await;
        begin_anew(stage, &voter, None).await?;
    }
    Ok((at, kind))
}

/// The disk under one voter is full: it ends, says why, and goes on when there is room.
async fn fill_disk(stage: &mut Stage) -> Struck {
    let (voter, leads) = stage.anybody().await?;
    let ballast = voter.data.join("ballast");
    let at = stage.load.now();
    let full = File::create(&ballast).and_then(|mut file| {
        let block = vec![1_u8; 64 << 10];
        loop {
            file.write_all(&block)?;
        }
        #[allow(unreachable_code, reason = "it ends with an error")]
        Ok(())
    });
    match full {
        Err(error) if error.kind() == std::io::ErrorKind::StorageFull => {}
        other => return Err(Failure::new(format!("could not fill the disk of {}: {other:?}", voter.name))),
    }
    stage.recovered().await?;
    let noticed = tokio::time::timeout(NOTICED_WITHIN, voter.gone()).await;
    let words = voter.last_words();
    fs::remove_file(&ballast)?;
    if noticed.is_err() {
        return Err(Failure::new(format!("{} runs on a full disk: {}", voter.name, voter.state().await)));
    }
    if !words.contains("No space left") && !words.contains("no space") && !words.contains("full") {
        return Err(Failure::new(format!("{} does not say that its disk is full: {words}", voter.name)));
    }
    voter.start(stage.voters.program())?;
    let _ = term(&voter).await;
    Ok((at, if leads { "leader" } else { "follower" }))
}
