//! Who looks on while steps are taken: a test, which kills the process there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Where in a step a workflow is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Moment {
    /// The step's body is about to run.
    Before,
    /// The body has done what it does, and nothing of that is recorded.
    Done,
    /// The step's value is recorded; nothing that follows has begun.
    Recorded,
    /// The workflow's function has ended, and that is not recorded. Of no step.
    Over,
}

/// A workflow at a moment of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct At {
    /// The name of the workflow's definition.
    pub workflow: String,
    /// The workflow's id.
    pub id: String,
    /// The step's name; none at [`Moment::Over`].
    pub step: String,
    /// The moment.
    pub moment: Moment,
}

type Look = dyn Fn(At) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync;

/// Is told of each step that is taken, not of those whose values were recorded before. The workflow waits for the future that it answers with: what never
/// comes back holds the workflow there. For tests; a step goes on as if nobody looked.
#[derive(Clone)]
pub struct Watch(Arc<Look>);

impl Watch {
    /// Of a function.
    pub fn new<F, Fut>(look: F) -> Self
    where
        F: Fn(At) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Watch(Arc::new(move |at| Box::pin(look(at))))
    }
}
impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Watch")
    }
}

/// A watch on one workflow.
#[derive(Clone)]
pub(super) struct Watched {
    pub(super) watch: Watch,
    pub(super) workflow: Arc<str>,
}
impl Watched {
    pub(super) async fn tell(&self, id: &str, step: &str, moment: Moment) {
        let at = At { workflow: self.workflow.to_string(), id: id.to_owned(), step: step.to_owned(), moment };
        (self.watch.0)(at).await;
    }
}
