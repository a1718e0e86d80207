//! The bodies that run in this process, and how they are ended.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

use serde_json::Value;
use tokio::sync::watch;

use crate::sync::lock;
use crate::{Error, Result};

/// How the run of a body ended.
pub(super) enum Ended {
    /// By itself.
    With(Result<Value>),
    /// It was told to.
    Cancelled,
    /// All were.
    Stopped,
}

#[derive(Clone, Copy, PartialEq)]
enum Told {
    GoOn,
    Cancel,
    Stop,
}

/// The far ends of a body: what it is told, and whether it is gone.
#[derive(Clone)]
struct Body {
    number: u64,
    tell: Arc<watch::Sender<Told>>,
    gone: watch::Receiver<()>,
}
impl Body {
    async fn end(mut self, told: Told) {
        self.tell.send_replace(told);
        // the sender goes with the body
        while self.gone.changed().await.is_ok() {}
    }
}

#[derive(Default)]
struct Inner {
    bodies: BTreeMap<String, Body>,
    next: u64,
    stopped: bool,
}

/// All bodies of an engine. Of one workflow at most one runs: a second displaces the first.
#[derive(Default)]
pub(super) struct Running {
    inner: Mutex<Inner>,
}
impl Running {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.inner)
    }
    /// Runs a body until it ends or is ended. When it is ended, it is dropped at its `await` before this returns. A panic is an error.
    pub(super) async fn run(&self, id: &str, body: impl Future<Output = Result<Value>> + Send) -> Ended {
        let (tell, mut told) = watch::channel(Told::GoOn);
        let (here, gone) = watch::channel(());
        let (number, older) = {
            let mut inner = self.inner();
            if inner.stopped {
                return Ended::Stopped;
            }
            inner.next += 1;
            let number = inner.next;
            (number, inner.bodies.insert(id.to_owned(), Body { number, tell: Arc::new(tell), gone }))
        };
        // declared before the body, so dropped after it
        let _entry = Entry { running: self, id, number, _here: here };
        if let Some(older) = older {
            older.end(Told::Cancel).await;
        }
        tokio::select! {
            biased;
            told = told.wait_for(|t| *t != Told::GoOn) => match told.as_deref() {
                Ok(Told::Cancel) => Ended::Cancelled,
                _ => Ended::Stopped,
            },
            ended = caught(body) => Ended::With(ended),
        }
    }
    /// Ends the body of a workflow, if there is one, and waits until it is gone.
    pub(super) async fn cancel(&self, id: &str) {
        let body = self.inner().bodies.get(id).cloned();
        if let Some(body) = body {
            body.end(Told::Cancel).await;
        }
    }
    /// Ends all, and lets none begin.
    pub(super) async fn stop(&self) {
        let bodies: Vec<Body> = {
            let mut inner = self.inner();
            inner.stopped = true;
            inner.bodies.values().cloned().collect()
        };
        for body in &bodies {
            body.tell.send_replace(Told::Stop);
        }
        for body in bodies {
            body.end(Told::Stop).await;
        }
    }
}

struct Entry<'a> {
    running: &'a Running,
    id: &'a str,
    number: u64,
    _here: watch::Sender<()>,
}
impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut inner = self.running.inner();
        if inner.bodies.get(self.id).is_some_and(|b| b.number == self.number) {
            inner.bodies.remove(self.id);
        }
    }
}

/// The body's value, or the error that it panicked.
async fn caught(body: impl Future<Output = Result<Value>>) -> Result<Value> {
    let mut body = pin!(body);
    poll_fn(|context| match catch_unwind(AssertUnwindSafe(|| body.as_mut().poll(context))) {
        Ok(polled) => polled,
        Err(panic) => Poll::Ready(Err(Error::Control(format!("the workflow panicked: {}", said(&*panic))))),
    })
    .await
}

/// What a panic said.
pub(super) fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn bodies_end_when_they_are_told_to_and_never_run_twice() {
        let running = Arc::new(Running::default());
        let (at_once, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
        struct Count(Arc<AtomicU32>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        let spawn = |id: &'static str| {
            let (running, at_once, most) = (Arc::clone(&running), Arc::clone(&at_once), Arc::clone(&most));
            tokio::spawn(async move {
                let body = async {
                    let now = at_once.fetch_add(1, Ordering::SeqCst) + 1;
                    let _count = Count(Arc::clone(&at_once));
                    most.fetch_max(now, Ordering::SeqCst);
                    std::future::pending().await
                };
                running.run(id, body).await
            })
        };
        let first = spawn("a");
        tokio::time::sleep(Duration::from_millis(20)).await;
        let second = spawn("a");
        assert!(matches!(first.await, Ok(Ended::Cancelled)));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(most.load(Ordering::SeqCst), 1);
        running.cancel("a").await;
        assert_eq!(at_once.load(Ordering::SeqCst), 0);
        assert!(matches!(second.await, Ok(Ended::Cancelled)));
        running.cancel("unknown").await;
        let others = [spawn("a"), spawn("b")];
        tokio::time::sleep(Duration::from_millis(20)).await;
        running.stop().await;
        assert_eq!(at_once.load(Ordering::SeqCst), 0);
        for other in others {
            assert!(matches!(other.await, Ok(Ended::Stopped)));
        }
        assert!(matches!(spawn("c").await, Ok(Ended::Stopped)));
        assert!(running.inner().bodies.is_empty());
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        #[allow(clippy::panic)]
        let ended = Running::default().run("a", async { panic!("no {}", "luck") }).await;
        assert!(matches!(ended, Ended::With(Err(Error::Control(e))) if e == "the workflow panicked: no luck"));
    }
}
