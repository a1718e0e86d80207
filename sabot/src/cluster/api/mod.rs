//! The server's API over HTTP: JSON, documented in `docs/cluster.md`.

mod guard;
mod routes;
mod shapes;

pub(super) use guard::Guard;
pub(super) use routes::routes;

pub use shapes::{
    AgentView, Begun, JobSummary, JobView, JoinView, Logs, OperationView, OperatorView, OutputView, Refused, RescaleAsked, SavepointAsked,
    ServerView, StepView, Submission, TicketAsked, TicketView, UpgradeAsked,
};
