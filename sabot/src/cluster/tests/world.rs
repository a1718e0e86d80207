//! A simulated world: one thread, a virtual clock, tasks that belong to processes, and a seed that decides who goes on.
//!
//! Any task that can go on may be next. Time stands still while one can, but for a microsecond per step, and jumps to the next timer then. A process may
//! be killed between any two steps: its tasks are dropped where they wait, and all that they held with them. One that is frozen goes on when it is thawed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::Random;
use crate::runtime::{Done, Executor, Run};
use crate::sync::lock;
use crate::{Error, Result};

/// The time of day at which it begins: 1 January 2020.
const EPOCH: Duration = Duration::from_secs(1_577_836_800);
/// What a step takes.
const STEP: Duration = Duration::from_micros(1);

/// The number of a process. 0 is the world's own: networks, users, whoever watches.
pub(in crate::cluster) type Process = u32;

type Body = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    /// What the tasks of this thread's world do.
    static BODIES: RefCell<BTreeMap<u64, Body>> = const { RefCell::new(BTreeMap::new()) };
    static HERE: RefCell<Option<Arc<World>>> = const { RefCell::new(None) };
}

/// The world of this thread, if it simulates one.
pub(in crate::cluster) fn here() -> Option<Arc<World>> {
    HERE.with_borrow(Clone::clone)
}

pub(in crate::cluster) struct World {
    state: Mutex<State>,
    /// Tasks that can go on. In order, since channels wake theirs in any.
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

struct State {
    random: Random,
    now: Duration,
    last: u64,
    current: Process,
    /// Which build of the program processes run.
    builds: BTreeMap<Process, u32>,
    tasks: BTreeMap<u64, Task>,
    timers: BTreeMap<(Duration, u64), Waker>,
    frozen: BTreeSet<Process>,
    /// Tasks of frozen processes that could go on.
    stalled: Vec<u64>,
    /// Waits for a condition that is looked at when somebody says that it may be true.
    waits: Vec<(Process, Condition, Run)>,
    notes: Vec<String>,
    /// Of who went on when.
    trace: u64,
}
type Condition = Box<dyn Fn() -> bool + Send>;

struct Task {
    process: Process,
    waker: Arc<Woken>,
}

struct Woken {
    ready: Arc<Mutex<BTreeSet<u64>>>,
    task: u64,
    queued: AtomicBool,
}
impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, SeqCst) {
            lock(&self.ready).insert(self.task);
        }
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
    pub(in crate::cluster) fn now(&self) -> Duration {
        self.state().now
    }
    pub(in crate::cluster) fn time_of_day(&self) -> Duration {
        EPOCH + self.now()
    }
    pub(in crate::cluster) fn below(&self, n: u64) -> u64 {
        self.state().random.below(n)
    }
    pub(in crate::cluster) fn chance(&self, percent: u64) -> bool {
        self.below(100) < percent
    }
    /// A time below this many milliseconds.
    pub(in crate::cluster) fn while_ms(&self, ms: u64) -> Duration {
        Duration::from_micros(self.below(ms * 1000))
    }
    /// Something for who looks at a seed that fails.
    pub(in crate::cluster) fn note(&self, line: &str) {
        let mut state = self.state();
        let line = format!("{:9.3} {line}", state.now.as_secs_f64());
        if std::env::var_os("SABOT_SIMULATED").is_some() {
            println!("{line}");
        }
        state.notes.push(line);
    }
    /// A number of all steps so far: who went on when.
    pub(in crate::cluster) fn trace(&self) -> u64 {
        self.state().trace
    }
    pub(in crate::cluster) fn notes(&self) -> Vec<String> {
        self.state().notes.clone()
    }
    /// Runs something in the process that runs now.
    pub(in crate::cluster) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        let process = self.state().current;
        self.spawn_in(process, task);
    }
    /// Runs something in a process.
    pub(in crate::cluster) fn spawn_in(&self, process: Process, task: impl Future<Output = ()> + 'static) {
        let waker = {
            let mut state = self.state();
            state.last += 1;
            let task_id = state.last;
            let waker = Arc::new(Woken { ready: Arc::clone(&self.ready), task: task_id, queued: AtomicBool::new(false) });
            state.tasks.insert(task_id, Task { process, waker: Arc::clone(&waker) });
            waker
        };
        BODIES.with_borrow_mut(|bodies| bodies.insert(waker.task, Box::pin(task)));
        waker.wake();
    }
    /// Does something as a process.
    pub(in crate::cluster) fn within<T>(&self, process: Process, work: impl FnOnce() -> T) -> T {
        let before = std::mem::replace(&mut self.state().current, process);
        let done = work();
        self.state().current = before;
        done
    }
    pub(in crate::cluster) async fn sleep(self: &Arc<Self>, time: Duration) {
        let due = self.now() + time;
        Sleep { world: Arc::clone(self), due, key: None, polled: false }.await;
    }
    /// A process runs this build of the program.
    pub(in crate::cluster) fn runs(&self, process: Process, build: u32) {
        self.state().builds.insert(process, build);
    }
    /// The build that the process that runs now is.
    pub(in crate::cluster) fn build(&self) -> u32 {
        let state = self.state();
        state.builds.get(&state.current).copied().unwrap_or(0)
    }
    /// Lets others go on, now and then for a while.
    pub(in crate::cluster) async fn breath(self: &Arc<Self>) {
        let wait = if self.below(4) == 0 { self.while_ms(4) } else { Duration::ZERO };
        self.sleep(wait).await;
    }
    /// Runs something in the process that runs now, when it is nudged and the condition holds.
    pub(in crate::cluster) fn spawn_when(self: &Arc<Self>, condition: impl Fn() -> bool + Send + 'static, run: Run) {
        let mut state = self.state();
        let process = state.current;
        state.waits.push((process, Box::new(condition), run));
    }
    fn nudge(&self) {
        let waits = std::mem::take(&mut self.state().waits);
        let (over, waits): (Vec<_>, Vec<_>) = waits.into_iter().partition(|(_, condition, _)| condition());
        self.state().waits.extend(waits);
        for (process, _, run) in over {
            self.spawn_in(process, async move { run() });
        }
    }
    /// What a lead runs on in the process that runs now.
    pub(in crate::cluster) fn executor(self: &Arc<Self>) -> Arc<dyn Executor> {
        let process = self.state().current;
        Arc::new(Virtual { world: Arc::clone(self), process })
    }
    /// Kills a process: nothing of it is left.
    pub(in crate::cluster) fn kill(&self, process: Process) {
        let (dead, waits): (Vec<u64>, Vec<_>) = {
            let mut state = self.state();
            let dead: Vec<u64> = state.tasks.iter().filter(|(_, t)| t.process == process).map(|(id, _)| *id).collect();
            state.tasks.retain(|_, t| t.process != process);
            state.frozen.remove(&process);
            let (waits, alive) = std::mem::take(&mut state.waits).into_iter().partition(|(p, ..)| *p == process);
            state.waits = alive;
            (dead, waits)
        };
        let bodies: Vec<Body> = BODIES.with_borrow_mut(|all| dead.iter().filter_map(|id| all.remove(id)).collect());
        drop((bodies, waits));
    }
    pub(in crate::cluster) fn freeze(&self, process: Process) {
        self.state().frozen.insert(process);
    }
    pub(in crate::cluster) fn thaw(&self, process: Process) {
        let mut state = self.state();
        state.frozen.remove(&process);
        let stalled = std::mem::take(&mut state.stalled);
        lock(&self.ready).extend(stalled);
    }
    /// Whether any task of a process is left.
    pub(in crate::cluster) fn lives(&self, process: Process) -> bool {
        self.state().tasks.values().any(|t| t.process == process)
    }

    /// One step; whether there was one.
    fn step(self: &Arc<Self>) -> bool {
        loop {
            let due: Vec<Waker> = {
                let mut state = self.state();
                let idle = lock(&self.ready).is_empty();
                if idle {
                    match state.timers.keys().next().copied() {
                        Some((due, _)) => state.now = state.now.max(due),
                        None => return false,
                    }
                }
                let now = state.now;
                let later = state.timers.split_off(&(now + Duration::from_nanos(1), 0));
                std::mem::replace(&mut state.timers, later).into_values().collect()
            };
            due.into_iter().for_each(Waker::wake);
            let (id, waker) = {
                let mut state = self.state();
                let mut ready = lock(&self.ready);
                if ready.is_empty() {
                    continue;
                }
                let at = state.random.below(ready.len() as u64) as usize;
                let Some(id) = ready.iter().nth(at).copied() else { continue };
                ready.remove(&id);
                drop(ready);
                let Some(process) = state.tasks.get(&id).map(|t| t.process) else { continue };
                if state.frozen.contains(&process) {
                    state.stalled.push(id);
                    continue;
                }
                state.now += STEP;
                state.current = process;
                let step = id ^ u64::try_from(state.now.as_micros()).unwrap_or_default().rotate_left(32);
                state.trace = (state.trace ^ step).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
                let Some(task) = state.tasks.get_mut(&id) else { continue };
                task.waker.queued.store(false, SeqCst);
                (id, Arc::clone(&task.waker))
            };
            let Some(mut body) = BODIES.with_borrow_mut(|bodies| bodies.remove(&id)) else { continue };
            let waker = Waker::from(waker);
            let polled = body.as_mut().poll(&mut Context::from_waker(&waker));
            let ended = {
                let mut state = self.state();
                state.current = 0;
                // one that is not there was killed by itself
                polled.is_ready() | !state.tasks.contains_key(&id)
            };
            if ended {
                drop(body);
                self.state().tasks.remove(&id);
            } else {
                BODIES.with_borrow_mut(|bodies| bodies.insert(id, body));
            }
            return true;
        }
    }
}

/// Runs something in a world of its own, with all that it begins, until it is done: its value.
///
/// # Panics
/// If nothing can go on, or the time is over.
pub(super) fn run<T: Send + 'static, Fut>(
    seed: u64,
    longest: Duration,
    work: impl FnOnce(Arc<World>) -> Fut,
) -> Result<T, (String, Vec<String>)>
where
    Fut: Future<Output = Result<T, String>> + 'static,
{
    let state = State {
        random: Random::new(seed),
        now: Duration::ZERO,
        last: 0,
        current: 0,
        builds: BTreeMap::new(),
        tasks: BTreeMap::new(),
        timers: BTreeMap::new(),
        frozen: BTreeSet::new(),
        stalled: Vec::new(),
        waits: Vec::new(),
        notes: Vec::new(),
        trace: 0,
    };
    let world = Arc::new(World { state: Mutex::new(state), ready: Arc::default() });
    HERE.set(Some(Arc::clone(&world)));
    let done: Arc<Mutex<Option<Result<T, String>>>> = Arc::default();
    let (answer, work) = (Arc::clone(&done), work(Arc::clone(&world)));
    world.spawn_in(0, async move {
        let value = work.await;
        *lock(&answer) = Some(value);
    });
    let ended = loop {
        if let Some(value) = lock(&done).take() {
            break value;
        }
        if !world.step() {
            break Err("nothing can go on".into());
        }
        if world.now() > longest {
            break Err(format!("it is not over after {longest:?}"));
        }
    };
    // what is left is dropped in this world
    let left: BTreeSet<Process> = world.state().tasks.values().map(|t| t.process).collect();
    left.into_iter().for_each(|process| world.kill(process));
    world.state().timers.clear();
    HERE.set(None);
    ended.map_err(|why| (why, world.notes()))
}

struct Sleep {
    world: Arc<World>,
    due: Duration,
    key: Option<(Duration, u64)>,
    polled: bool,
}
impl Future for Sleep {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let world = Arc::clone(&self.world);
        let mut state = world.state();
        let old = self.key.take().and_then(|key| state.timers.remove(&key));
        // one of no time lets others go on too
        if std::mem::replace(&mut self.polled, true) && state.now >= self.due {
            drop(state);
            drop(old);
            return Poll::Ready(());
        }
        state.last += 1;
        let key = (self.due, state.last);
        state.timers.insert(key, context.waker().clone());
        self.key = Some(key);
        Poll::Pending
    }
}
impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key.take() {
            let waker = self.world.state().timers.remove(&key);
            drop(waker);
        }
    }
}

/// A lead's executor in a process of the world.
struct Virtual {
    world: Arc<World>,
    process: Process,
}
impl Executor for Virtual {
    fn threads(&self) -> usize {
        1
    }
    fn worker(&self) -> usize {
        0
    }
    fn now(&self) -> Duration {
        self.world.now()
    }
    fn wall(&self) -> Duration {
        self.world.time_of_day()
    }
    fn random(&self) -> u64 {
        self.world.below(u64::MAX)
    }
    fn spawn(&self, run: Run) {
        self.world.spawn_in(self.process, async move { run() });
    }
    fn aside(&self, run: Run) {
        let world = Arc::clone(&self.world);
        self.world.spawn_in(self.process, async move {
            world.breath().await;
            run();
        });
    }
    fn after(&self, delay: Duration, run: Run) {
        let world = Arc::clone(&self.world);
        self.world.spawn_in(self.process, async move {
            world.sleep(delay).await;
            run();
        });
    }
    fn future(&self, _: crate::operator::Beside) -> Result<crate::operator::Flight> {
        Err(Error::internal("a lead runs no futures"))
    }
    fn drive(&self, done: &Done) -> bool {
        done.is_set()
    }
    fn nudge(&self) {
        self.world.nudge();
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    let trace = |seed| {
        run(seed, Duration::from_secs(60), |world| async move {
            let heard: Arc<Mutex<Vec<(u32, u32)>>> = Arc::default();
            for process in 1..4 {
                let (heard, mine) = (Arc::clone(&heard), Arc::clone(&world));
                world.spawn_in(process, async move {
                    for n in 0..50 {
                        mine.sleep(mine.while_ms(10)).await;
                        lock(&heard).push((process, n));
                    }
                });
            }
            world.sleep(Duration::from_millis(20)).await;
            world.freeze(2);
            world.kill(3);
            assert!(!world.lives(3) && world.lives(2));
            world.sleep(Duration::from_millis(900)).await;
            let before = lock(&heard).iter().filter(|(p, _)| *p == 2).count();
            world.thaw(2);
            world.sleep(Duration::from_millis(900)).await;
            let all = lock(&heard).clone();
            let of = |process| all.iter().filter(|(p, _)| *p == process).count();
            assert!(of(1) == 50 && before < 50 && of(2) == 50 && of(3) < 50);
            Ok(all)
        })
        .unwrap()
    };
    assert_eq!(trace(7), trace(7));
    assert_ne!(trace(7), trace(8));
}
