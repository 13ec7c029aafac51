//! Closing an exchange: what it has to write, one task after the other.

use alloc::boxed::Box;
use alloc::collections::VecDeque;

use rand_core::TryCryptoRng;

use crate::attempt::{Attempt, Task};
use crate::bugs::{Bug, planted};
use crate::closing::{Closing, Save};
use crate::cookie::Kind;
use crate::entering::LONGEST_LOGIN;
use crate::error::Error;
use crate::id::{CommitId, Draws};
use crate::opening::{Exchange, Presence};
use crate::plan::Privilege;
use crate::policy::Policy;
use crate::record::{COMMITS_KEPT, Head, Record, Standing};
use crate::reply::{Draft, Reply};
use crate::serial::Queued;
use crate::session::Session;
use crate::time::Timestamp;

/// What the tasks of one closing share.
pub(crate) struct Closer {
    pub(crate) exchange: Box<Exchange>,
    pub(crate) opened_at: Timestamp,
    pub(crate) draws: Draws,
    /// Counts the swaps that went out.
    pub(crate) attempts: u64,
    /// How many of them led up to the last write that was acknowledged.
    pub(crate) settled: u64,
    /// Counts the handles tried for a create.
    pub(crate) creates: u32,
    /// Whether a due touch, and the end of a turn that led to nothing, are written.
    pub(crate) keeps_house: bool,
    pub(crate) tasks: VecDeque<Task>,
    /// The least version that an attempt of unknown outcome was based on.
    pub(crate) uncertain_since: Option<u64>,
    /// The answer once the tasks are done, if it is a refusal.
    pub(crate) verdict: Option<Error>,
    pub(crate) draft: Draft,
}

impl Session {
    /// Closes the exchange at `now`, the second reading of the clock. Every random byte that a retry may need is drawn
    /// here, at most 40 of them.
    // spec: TIME-6 8cae, WRITE-18 2fed, WRITE-20 620d, ID-8 2cc6
    pub fn close<R: TryCryptoRng + ?Sized>(mut self, now: Timestamp, rng: &mut R) -> Closing {
        let opened_at = self.exchange.waits_since.unwrap_or(self.exchange.now);
        let rotation_due = self.rotation_due();
        self.exchange.now = if planted(Bug::CommitByOpening) { opened_at } else { self.exchange.now.max(now) };
        let verdict = self.refusal(opened_at);
        let owes = !self.exchange.reactions.is_empty() || self.has_turn();
        if let Some(error) = verdict.filter(|_| !owes || planted(Bug::ReactionDropped)) {
            return Closing::Failed(self.exchange.fail(error));
        }
        if self.is_settled() {
            return Closing::Done(Reply::of_settled(&self));
        }
        let mut bytes = zeroize::Zeroizing::new([0; 40]);
        if rng.try_fill_bytes(&mut *bytes).is_err() {
            return Closing::Failed(self.exchange.fail(Error::NoRandomness));
        }
        self.exchange.plan.rotate |= rotation_due && self.exchange.plan.privilege.is_none();
        let draft = Draft::new(&self);
        let mut exchange = self.exchange;
        let reactions = core::mem::take(&mut exchange.reactions);
        let mut tasks: VecDeque<Task> = reactions.into_iter().map(Task::react).collect();
        // What a dead id calls for, and the end of a turn, are due even when nothing else can be promised.
        let of_plan =
            Task::of_plan(self.base, core::mem::take(&mut exchange.plan), core::mem::take(&mut exchange.reads));
        if verdict.is_none() {
            tasks.extend(of_plan);
        } else {
            tasks.extend(of_plan.into_iter().find_map(|task| task.release(&exchange)));
        }
        Closer::new(exchange, opened_at, Draws::from_bytes(&bytes), draft, tasks, verdict).begin()
    }

    /// Whether this exchange took its turn, and has yet to give it back.
    pub(crate) fn has_turn(&self) -> bool {
        self.exchange.token.is_some() && self.base.is_some()
    }

    /// What cannot be promised whatever the store says.
    // spec: COOK-13 1359, COOK-15 907f, WRITE-17 01cf, IDX-7 d24a
    fn refusal(&self, opened_at: Timestamp) -> Option<Error> {
        let plan = &self.exchange.plan;
        let logs_in = matches!(plan.privilege, Some(Privilege::Login(_)));
        if self.head_sent && !plan.is_empty() {
            return Some(Error::HeadSent);
        }
        let too_long = self.exchange.now.since(opened_at) >= LONGEST_LOGIN && !planted(Bug::LongLoginsPass);
        if logs_in && too_long {
            return Some(Error::Revoked);
        }
        if self.exchange.superseded && plan.logout {
            return Some(Error::LogoutRefused);
        }
        let sets_login = plan.logout || plan.privilege.is_some();
        if sets_login && self.exchange.login == Presence::Twice {
            return Some(Error::DuplicateCookie);
        }
        let leaves_visitor = plan.logout && !logs_in;
        (leaves_visitor && self.exchange.visitor == Presence::Twice).then_some(Error::DuplicateCookie)
    }

    /// Whether nothing is left to write or to say: the usual read of a session with a confirmed id, or no session at all.
    // spec: WRITE-18 2fed
    fn is_settled(&self) -> bool {
        let nothing_due = self.exchange.reactions.is_empty() && !self.exchange.clears_by_mistake();
        if !self.exchange.plan.is_empty() || !nothing_due || self.has_turn() {
            return false;
        }
        let Some(base) = &self.base else { return true };
        let mut head = base.record.head;
        let now = self.exchange.now;
        let touch = self.exchange.rules.policy().touch(head.idle);
        let confirmed = base.standing == Standing::Current && head.current.confirmed_at.is_some();
        // Once a limit has passed during the exchange, the end is written.
        let within_limits = now < head.limits().ends_at();
        let settled_id = confirmed || base.standing == Standing::Grace;
        settled_id && within_limits && !head.touch(now, touch) && !self.rotation_due()
    }
}

impl Closer {
    pub(crate) fn new(
        exchange: Box<Exchange>,
        opened_at: Timestamp,
        draws: Draws,
        draft: Draft,
        tasks: VecDeque<Task>,
        verdict: Option<Error>,
    ) -> Box<Self> {
        let (attempts, settled, creates, keeps_house, uncertain_since) = (0, 0, 0, true, None);
        Box::new(Self {
            exchange,
            opened_at,
            draws,
            attempts,
            settled,
            creates,
            keeps_house,
            tasks,
            uncertain_since,
            verdict,
            draft,
        })
    }

    /// An ending that a fresh session follows is begun only if that session can be made: refused whole, or not at all.
    // spec: WRITE-21 44b9
    pub(crate) fn begin(mut self: Box<Self>) -> Closing {
        if self.tasks.iter().any(|task| matches!(task, Task::End(_)))
            && let Some(mut last) = self.tasks.pop_back()
        {
            if let Err(error) = last.attempt(&self) {
                let tasks = core::mem::take(&mut self.tasks).into_iter();
                let exchange = &self.exchange;
                self.tasks = tasks.filter_map(|task| task.without_ending(exchange)).collect();
                self.verdict = self.verdict.or(Some(error));
            } else {
                self.tasks.push_back(last);
            }
        }
        self.go_on()
    }

    // spec: WRITE-9 839c, WRITE-16 ef0b, WRITE-20 620d
    pub(crate) fn go_on(mut self: Box<Self>) -> Closing {
        while let Some(mut task) = self.tasks.pop_front() {
            match task.attempt(&self) {
                Ok(Attempt::Swap(swap, outcome)) => {
                    self.attempts = self.attempts.saturating_add(1);
                    return Closing::Save(Save::new(self, task, swap, outcome));
                }
                Ok(Attempt::Nothing(outcome)) => {
                    self.uncertain_since = None;
                    self.draft.take(outcome);
                }
                Ok(Attempt::Instead(tasks, verdict)) => {
                    // The record moved on, and a swap based on what it was cannot land any more; or an end is in doubt,
                    // and nothing else of this exchange was ever sent.
                    self.uncertain_since = None;
                    self.verdict = self.verdict.or(verdict);
                    tasks.into_iter().rev().for_each(|task| self.tasks.push_front(task));
                }
                Ok(Attempt::Wait(_)) if self.uncertain_since.is_some() => return self.fail(Error::Unknown),
                Ok(Attempt::Wait(handle)) => return Closing::Wait(Queued::new(self, task, handle)),
                Err(error) => {
                    self.tasks.clear();
                    self.tasks.extend(task.release(&self.exchange));
                    self.verdict = Some(error);
                }
            }
        }
        match self.verdict {
            Some(error) => self.fail(error),
            None => Closing::Done(self.draft.finish(&mut self.exchange)),
        }
    }

    pub(crate) fn fail(mut self: Box<Self>, error: Error) -> Closing {
        self.exchange.events.append(&mut self.draft.events);
        Closing::Failed(self.exchange.fail(error))
    }

    pub(crate) fn policy(&self) -> &Policy {
        self.exchange.rules.policy()
    }

    pub(crate) fn count_trips(&mut self, trips: u32) {
        self.exchange.trips = self.exchange.trips.saturating_add(trips);
    }

    /// What has to be done before anything else.
    pub(crate) fn first(&mut self, task: Task) {
        self.tasks.push_front(task);
    }

    /// How often the cookie of this kind came.
    pub(crate) fn presence(&self, kind: Kind) -> Presence {
        match kind {
            Kind::Login => self.exchange.login,
            Kind::Visitor => self.exchange.visitor,
        }
    }

    /// What the present attempt signs its record with.
    // spec: WRITE-10 a015
    pub(crate) fn commit(&self) -> CommitId {
        self.draws.commit.of_attempt(self.attempts)
    }

    /// Whether one of the last writes of the record is what this exchange is trying to write.
    // spec: WRITE-10 a015
    pub(crate) fn wrote(&self, head: &Head) -> bool {
        let first = self.draws.commit.of_attempt(self.settled);
        let ours = |commit: &CommitId| commit.is_of(first, self.attempts.saturating_sub(self.settled));
        head.commits.iter().any(ours) && !planted(Bug::BlindRepeat)
    }

    /// Whether so many writes came in between that an attempt of unknown outcome can no longer be recognised.
    // spec: WRITE-11 c612
    pub(crate) fn lost_track(&self, current: Option<&Record>) -> bool {
        let kept = u64::try_from(COMMITS_KEPT).unwrap_or(u64::MAX);
        self.uncertain_since
            .is_some_and(|since| current.is_none_or(|record| record.head.version > since.saturating_add(kept)))
    }
}
