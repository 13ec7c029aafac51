//! The life of one issued id: five states, four inputs, twenty cells.
//!
//! The table has no data, no time and no randomness. Everything else in this crate decides *which* input applies; what
//! the input then does to an id is written here and nowhere else. `spec/lifecycle.md` is printed from it.

/// The state of one issued id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum State {
    /// Issued, not yet presented by the client.
    Created,
    /// Presented, within its limits.
    Active,
    /// The idle or the absolute limit of the session has passed.
    Expired,
    /// The session was ended (logout, revocation, theft), or nothing is stored for it.
    Destroyed,
    /// Replaced by a newer id: usable for a short grace, then never again.
    Regenerated,
}

/// What can happen to an id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Input {
    /// The client presents the id.
    Present,
    /// The idle or the absolute limit passes.
    Elapse,
    /// The session is to be ended.
    Destroy,
    /// The id is to be replaced.
    Regenerate,
}

/// What an input means beyond the next state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Nothing beyond the next state.
    None,
    /// A successor is issued and carries the data of the session.
    CarryData,
    /// A successor is issued in a fresh session: nothing of the dead one reaches it.
    StartFresh,
    /// Within the grace the session of the successor ends; past it the input is refused.
    EndSuccessor,
    /// Refused: the answer is the successor that already exists.
    AnswerSuccessor,
}

/// One cell of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Step {
    /// The state after the input.
    pub next: State,
    /// What else follows.
    pub effect: Effect,
}

impl State {
    /// All states, in the order of the table's rows.
    pub const ALL: [Self; 5] = [Self::Created, Self::Active, Self::Expired, Self::Destroyed, Self::Regenerated];

    /// The cell of the table for this state and `input`. Total.
    #[must_use]
    // spec: LIFE-2 ac29
    pub const fn on(self, input: Input) -> Step {
        use Effect::{AnswerSuccessor, CarryData, EndSuccessor, StartFresh};
        use State::{Active, Destroyed, Expired, Regenerated};
        match (self, input) {
            (Self::Created | Self::Active, Input::Present) => to(Active, Effect::None),
            (Self::Created | Self::Active, Input::Elapse) => to(Expired, Effect::None),
            (Self::Created | Self::Active, Input::Destroy) => to(Destroyed, Effect::None),
            (Self::Created | Self::Active, Input::Regenerate) => to(Regenerated, CarryData),

            (Self::Expired, Input::Present | Input::Elapse) => to(Expired, Effect::None),
            (Self::Expired, Input::Destroy) => to(Destroyed, Effect::None),
            (Self::Expired, Input::Regenerate) => to(Regenerated, StartFresh),

            (Self::Destroyed, Input::Present | Input::Elapse | Input::Destroy) => to(Destroyed, Effect::None),
            (Self::Destroyed, Input::Regenerate) => to(Regenerated, StartFresh),

            (Self::Regenerated, Input::Present | Input::Elapse) => to(Regenerated, Effect::None),
            (Self::Regenerated, Input::Destroy) => to(Regenerated, EndSuccessor),
            (Self::Regenerated, Input::Regenerate) => to(Regenerated, AnswerSuccessor),
        }
    }

    /// The name used in specifications, events and bindings.
    #[must_use]
    // spec: LIFE-1 aad4
    pub const fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Active => "Active",
            Self::Expired => "Expired",
            Self::Destroyed => "Destroyed",
            Self::Regenerated => "Regenerated",
        }
    }
}

impl Input {
    /// All inputs, in the order of the table's columns.
    pub const ALL: [Self; 4] = [Self::Present, Self::Elapse, Self::Destroy, Self::Regenerate];

    /// The name used in specifications.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Present => "Present",
            Self::Elapse => "Elapse",
            Self::Destroy => "Destroy",
            Self::Regenerate => "Regenerate",
        }
    }
}

impl Effect {
    /// The words printed in the table.
    #[must_use]
    // spec: LIFE-3 2614
    pub const fn words(self) -> &'static str {
        match self {
            Self::None => "",
            Self::CarryData => "successor carries the data",
            Self::StartFresh => "successor carries nothing",
            Self::EndSuccessor => "ends the successor's session in grace, else refused",
            Self::AnswerSuccessor => "refused: the answer is the successor",
        }
    }
}

const fn to(next: State, effect: Effect) -> Step {
    Step { next, effect }
}
