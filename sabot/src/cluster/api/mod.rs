//! The server's API over HTTP: JSON, documented in `docs/cluster.md`.

mod shapes;

pub use shapes::{
    AgentView, Begun, JobSummary, JobView, Logs, OperationView, OperatorView, Refused, RescaleAsked, SavepointAsked, ServerView, StepView,
    Submission,
};
