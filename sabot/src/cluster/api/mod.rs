//! The server's API over HTTP: JSON, documented in `docs/cluster.md`.

mod guard;
pub(super) mod routes;
mod shapes;

pub(super) use guard::Guard;

pub use shapes::{
    AgentView, Begun, JobSummary, JobView, JoinView, Logs, OperationView, OperatorView, OutputView, Refused, RescaleAsked, SavepointAsked,
    ServerView, StepView, Submission, TicketAsked, TicketView, UpgradeAsked,
};
