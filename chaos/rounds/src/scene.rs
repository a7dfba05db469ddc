//! The cluster the rounds are played on: its processes, the demo's operator, eight agents at work.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use trunkline_loadtest::Failure;
use trunkline_loadtest::cluster::Trunkline;
use trunkline_loadtest::http::{Rest, list, text};
use trunkline_loadtest::plan::{AGENTS, OPERATOR_KEY};
use trunkline_loadtest::rig::{self, Rig, Shape};
use trunkline_loadtest::sipp::{Scenarios, Sipp};
use trunkline_loadtest::stage::{agent_does, phone};

use crate::faults::Fault;
use crate::judge::{self, Outcome, Told};
use crate::wave::Wave;

/// Callers of a wave before the fault; twenty of them must be up when it comes.
const CALLERS: usize = 26;
/// How many must be up, and how many of those talking.
const UP_MIN: usize = 20;
const TALKING_MIN: usize = 6;
/// Callers before the first round.
const WARM_UP_CALLERS: usize = 16;
/// Callers while the fault lasts, and as many after it is healed.
const LATE_CALLERS: usize = 4;
/// How long the cluster may take to be as it was.
const SETTLED_WITHIN: Duration = Duration::from_secs(60);

/// A running cluster with agents at work.
pub struct Scene {
    /// Its processes.
    pub rig: Rig,
    /// The command line, on the cluster's directory.
    pub trunkline: Trunkline,
    /// The operator's view.
    pub operator: Rest,
    pub(crate) scenarios: Scenarios,
    pub(crate) dir: PathBuf,
    _phones: Vec<Sipp>,
    seed: u64,
    round: usize,
    brought_down: bool,
}

impl Scene {
    /// Makes a cluster in `dir`, emptied first, with the demo's operator, its phones registered and its agents ready.
    ///
    /// # Errors
    /// When any of it fails; the message says what, and where to look.
    pub async fn open(dir: &Path, program: &Path, shape: Shape, seed: u64) -> Result<Self, Failure> {
        rig::clear(dir)?;
        std::fs::create_dir_all(dir)?;
        let dir = dir.canonicalize()?;
        let scenarios = Scenarios::write(&dir.join("scenarios"))?;
        let rig = Rig::make(&dir.join("data"), program, shape).await?;
        // From here on what was started is ended again, whatever fails.
        let mut scene = Self {
            trunkline: Trunkline { program: rig.program.clone(), data: rig.dir.clone() },
            operator: rig.operator(OPERATOR_KEY),
            rig,
            scenarios,
            dir,
            _phones: Vec::new(),
            seed,
            round: 0,
            brought_down: false,
        };
        scene.rig.up().await?;
        scene.trunkline.demand(&["apply", "-f", "deploy/demo/operator.yaml", "--author", "chaos"]).await?;
        let sip = scene.rig.sip();
        for agent in 0..AGENTS.len() {
            // Every call is answered after 300 ms and lasts until the caller hangs up.
            let (csv, server) = ("SEQUENTIAL\n0;0;4\n", &sip[agent % sip.len()]);
            let phone = phone(&scene.scenarios, &scene.dir.join("phones"), agent, csv, server).await?;
            scene._phones.push(phone);
        }
        for agent in AGENTS {
            agent_does(&scene.operator, agent.id, "signIn", json!({"siteId": ""})).await?;
            agent_does(&scene.operator, agent.id, "goReady", json!({})).await?;
        }
        eprintln!("chaos: cluster ready in {}, {} agents at work", scene.dir.display(), AGENTS.len());
        scene.warm_up().await?;
        Ok(scene)
    }

    /// Calls that nobody judges: brokers compile what they do often, and all of that at once is a fault of its own.
    async fn warm_up(&self) -> Result<(), Failure> {
        let mut wave = Wave::new(self, 0, self.seed);
        wave.place(WARM_UP_CALLERS, Duration::from_millis(250));
        wave.ended().await?;
        self.settled().await
    }

    /// One wave of calls with one fault in it, and what is to be said of it.
    ///
    /// # Errors
    /// When the round cannot be carried through: nobody to hit, something that does not come back.
    pub async fn round(&mut self, fault: &'static Fault) -> Result<Outcome, Failure> {
        self.round += 1;
        let began = Instant::now();
        eprintln!("chaos: round {}: {}: {}", self.round, fault.name, fault.what);
        let before = judge::before(self).await?;
        let mut wave = Wave::new(self, self.round, self.seed);
        wave.place(CALLERS, Duration::from_millis(110));
        let (up_count, talking_count) = self.until_busy(&wave).await?;
        let victims = fault.whom.find(&self.rig).await?;
        let named: Vec<String> = victims.iter().map(|victim| victim.name().to_owned()).collect();
        let hit_at = trunkline_loadtest::ear::unix_ms();
        fault.deed.inflict(&self.rig, &victims).await?;
        eprintln!("chaos: {} calls up, {talking_count} talking; hit {}", up_count, named.join(", "));
        wave.place(LATE_CALLERS, Duration::from_millis(400));
        tokio::time::sleep(fault.deed.lasts()).await;
        let healed_at = trunkline_loadtest::ear::unix_ms();
        let mut troubles = fault.deed.unnoticed(&victims).await;
        fault.deed.heal(&self.rig, &victims).await?;
        if let Err(failure) = self.rig.ready().await {
            troubles.push(failure.to_string());
        }
        wave.place(LATE_CALLERS, Duration::from_millis(400));
        let calls = wave.ended().await?;
        if let Err(failure) = self.settled().await {
            troubles.push(failure.to_string());
        }
        let told = Told { fault, named, hit_at, healed_at, up_count, talking_count, calls, troubles };
        judge::judge(self, &before, told, began).await
    }

    /// Waits until enough calls are up; gives how many are up, and how many talk.
    async fn until_busy(&self, wave: &Wave) -> Result<(usize, usize), Failure> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let agents = self.operator.get("/v1/agents").await.unwrap_or_default();
            let talking =
                list(&agents, "agents").iter().filter(|it| text(it, "activity").ends_with("TALKING"));
            let (up, talking) = (wave.up_count(), talking.count());
            if up >= UP_MIN && talking >= TALKING_MIN {
                return Ok((up, talking));
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!("only {up} calls are up and {talking} talk after 20 s")));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until every agent is free again.
    async fn settled(&self) -> Result<(), Failure> {
        let deadline = Instant::now() + SETTLED_WITHIN;
        loop {
            let agents = self.operator.get("/v1/agents").await.unwrap_or_default();
            let stuck: Vec<String> = list(&agents, "agents")
                .iter()
                .filter(|it| {
                    !text(it, "activity").ends_with("_READY") || text(it, "activity").ends_with("NOT_READY")
                })
                .map(|it| format!("{} is {}", text(it, "agent_id"), text(it, "activity")))
                .collect();
            if stuck.is_empty() && list(&agents, "agents").len() == AGENTS.len() {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(Failure::new(format!("not as before after 60 s: {}", stuck.join(", "))));
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Ends everything in order, unless it is to be kept.
    ///
    /// # Errors
    /// When something does not end.
    pub async fn close(mut self, keep: bool) -> Result<(), Failure> {
        self.brought_down = true;
        if keep {
            eprintln!("chaos: still up; `trunkline-loadtest down --dir {}` ends it", self.rig.dir.display());
            return Ok(());
        }
        self.rig.down().await.map(drop)
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !self.brought_down {
            self.rig.kill_all();
        }
    }
}
