//! The server's API over HTTP: JSON, documented in `docs/cluster.md`.

pub(super) mod routes;
mod shapes;

pub use shapes::{
    AgentView, Begun, JobSummary, JobView, JoinView, Logs, OperationView, OperatorView, OutputView, Refused, RescaleAsked, SavepointAsked,
    ServerView, StepView, Submission, TicketAsked, TicketView, UpgradeAsked,
};
