//! A store of an application, and answers that are none to what it was asked.

use std::collections::BTreeMap;

use coatroom_ffi::{Answer, Ask, EntryParts, ListingParts};

use crate::targets::choices::Choices;

/// No handle has 15 characters.
const NO_HANDLE: &str = "AAAAAAAAAAAAAAA";

#[derive(Default)]
pub struct Shelf {
    pub records: BTreeMap<String, Vec<u8>>,
    /// Handles and until when they are listed.
    index: BTreeMap<String, Vec<(String, i64)>>,
    revoked: BTreeMap<String, i64>,
}

impl Shelf {
    pub fn answer(&mut self, ask: &Ask) -> Answer {
        match ask {
            Ask::Load { handle } => match self.records.get(handle) {
                Some(record) => Answer::Found { record: record.clone() },
                None => Answer::Absent,
            },
            Ask::Swap { handle, expected, record, listing, .. } => {
                let present = self.records.get(handle);
                if present.map(|record| &record[2..18]) != expected.as_deref() {
                    return Answer::Conflict { record: present.cloned() };
                }
                match record {
                    Some(record) => drop(self.records.insert(handle.clone(), record.clone())),
                    None => drop(self.records.remove(handle)),
                }
                match listing {
                    ListingParts::Keep => Answer::Done,
                    ListingParts::Enter { entry } => self.enter(entry),
                    ListingParts::Leave { principal } => self.leave(principal, handle),
                }
            }
            Ask::Enter { entry } => self.enter(entry),
            Ask::Sessions { principal } => {
                let listed = self.index.get(principal).into_iter().flatten();
                Answer::Handles { handles: listed.map(|(handle, _)| handle.clone()).collect() }
            }
            Ask::Leave { principal, handle } => self.leave(principal, handle),
            Ask::Bar { principal, now_ms } => {
                let moment = self.revoked.get(principal).map_or(*now_ms, |before| (before + 1).max(*now_ms));
                self.revoked.insert(principal.clone(), moment);
                Answer::Moment { ms: moment }
            }
            Ask::Scan { .. } => Answer::Scanned { handles: self.records.keys().cloned().collect(), next: None },
            Ask::Roles { .. } => Answer::Roles { roles: Some(vec!["buyer".into()]) },
            Ask::Pause { .. } => Answer::Done,
        }
    }

    fn enter(&mut self, entry: &EntryParts) -> Answer {
        let listed = self.index.entry(entry.principal.clone()).or_default();
        listed.retain(|(_, until)| *until > entry.now_ms);
        let is_listed = listed.iter().any(|(handle, _)| *handle == entry.handle);
        listed.retain(|(handle, _)| *handle != entry.handle);
        let before = listed.iter().take(entry.names as usize).map(|(handle, _)| handle.clone()).collect();
        listed.push((entry.handle.clone(), entry.until_ms));
        Answer::Entered {
            revoked_ms: self.revoked.get(&entry.principal).copied().unwrap_or(0),
            ago_ms: None,
            count: listed.len() as u32,
            before: (!is_listed).then_some(before),
        }
    }

    fn leave(&mut self, principal: &str, handle: &str) -> Answer {
        self.index.entry(principal.to_owned()).or_default().retain(|(listed, _)| listed != handle);
        Answer::Done
    }

    /// Any answer, to any question.
    pub fn lie(&self, choices: &mut Choices<'_>) -> Answer {
        let record = |choices: &mut Choices<'_>| {
            let mut record = self.records.values().next().cloned().unwrap_or_default();
            let at = choices.below(record.len().clamp(1, 256));
            record.get_mut(at).into_iter().for_each(|byte| *byte ^= choices.byte());
            record
        };
        match choices.below(14) {
            0 => Answer::Found { record: record(choices) },
            1 => Answer::Absent,
            2 => Answer::Unavailable,
            3 => Answer::Done,
            4 => Answer::Conflict { record: Some(record(choices)) },
            5 => Answer::Conflict { record: None },
            6 => Answer::Unknown,
            7 => Answer::Full,
            8 => Answer::Moment { ms: choices.of(&[i64::MIN, 0, i64::MAX]) },
            9 => Answer::Handles { handles: vec!["AAAAAAAAAAAAAAAA".into()] },
            10 => Answer::Roles { roles: choices.of(&[None, Some("")]).map(|role| vec![role.to_owned()]) },
            11 => Answer::Scanned { handles: vec!["AAAAAAAAAAAAAAAA".into()], next: Some(Vec::new()) },
            12 => Answer::Entered {
                revoked_ms: choices.of(&[i64::MIN, 0, i64::MAX]),
                ago_ms: choices.of(&[None, Some(i64::MIN), Some(i64::MAX)]),
                count: choices.of(&[0, 1, u32::MAX]),
                before: Some(vec!["AAAAAAAAAAAAAAAA".into()]),
            },
            _ => Answer::Found { record: choices.some(24).to_vec() },
        }
    }
}

/// No answer to this question, by what [`Ask`] says of it.
pub fn misfit(ask: &Ask, choices: &mut Choices<'_>) -> Answer {
    let handles = || vec![NO_HANDLE.to_owned()];
    let moment = Answer::Moment { ms: 1 };
    let entered = Answer::Entered { revoked_ms: 0, ago_ms: None, count: 1, before: Some(handles()) };
    let [a, b, c] = match ask {
        Ask::Load { .. } => [Answer::Done, Answer::Full, moment],
        Ask::Swap { .. } => [Answer::Absent, Answer::Found { record: Vec::new() }, entered],
        Ask::Enter { .. } => [Answer::Done, Answer::Unknown, entered],
        Ask::Sessions { .. } => [Answer::Done, Answer::Absent, Answer::Handles { handles: handles() }],
        Ask::Leave { .. } => [Answer::Absent, Answer::Unknown, moment],
        Ask::Bar { .. } => [Answer::Done, Answer::Absent, entered],
        Ask::Scan { .. } => [Answer::Done, moment, Answer::Scanned { handles: handles(), next: None }],
        Ask::Roles { .. } => [Answer::Done, Answer::Absent, Answer::Handles { handles: Vec::new() }],
        Ask::Pause { .. } => [Answer::Unavailable, Answer::Absent, moment],
    };
    [a, b, c].into_iter().nth(choices.below(3)).unwrap()
}
