//! The steps of a case.

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Call,
    Open,
    Accept,
    Refuse,
    Merge,
    Withdraw,
    Dispatch,
    Transfer,
    Sign,
    Contact,
    Escalate,
    Suspend,
    Resume,
    Supervise,
    Handle,
    Close,
    CallBack,
    Rework,
    Reopen,
}

impl Step {
    /// The type of its event.
    pub fn event_type(self) -> &'static str {
        match self {
            Step::Call => "call.received",
            Step::Open => "case.opened",
            Step::Accept => "case.accepted",
            Step::Refuse => "case.refused",
            Step::Merge => "case.merged",
            Step::Withdraw => "case.withdrawn",
            Step::Dispatch => "case.dispatched",
            Step::Transfer => "case.transferred",
            Step::Sign => "case.signed",
            Step::Contact => "case.contacted",
            Step::Escalate => "case.escalated",
            Step::Suspend => "case.suspended",
            Step::Resume => "case.resumed",
            Step::Supervise => "case.supervised",
            Step::Handle => "case.handled",
            Step::Close => "case.closed",
            Step::CallBack => "case.callback",
            Step::Rework => "case.reworked",
            Step::Reopen => "case.reopened",
        }
    }

    /// Whether somebody is responsible by then.
    pub fn has_handler(self) -> bool {
        !matches!(
            self,
            Step::Call
                | Step::Open
                | Step::Accept
                | Step::Refuse
                | Step::Merge
                | Step::Withdraw
                | Step::Dispatch
        )
    }
}
