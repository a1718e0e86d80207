//! When keys came, when they were touched last, and what is due for them: the side of keyed state that knows time.
//!
//! A key lives from the first call that it gets until nothing touched it for the time to live. Both are looked at twice: when the key
//! is touched again, so that what a key sees depends on its own rows and timers alone; and when time passes, so that its memory
//! is freed although it never comes back. A key that waits for a timer does not die.

use super::timers::Timers;
use crate::kernel::hash::KEY_GROUPS;
use crate::operator::EventTime;
use crate::operator::key_ctx::By;

/// How long state lives that nothing touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Ttl {
    /// In microseconds.
    pub micros: i64,
    /// By the clock, not by event time.
    pub clock: bool,
}

/// A key's life. Not born: there is no state.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Life {
    /// Its number among the keys of its group, in order of birth; 0 is not born.
    pub(super) birth: u64,
    pub(super) touched: EventTime,
    /// When its entry among those that may die is looked at, if it has one.
    looked_at: Option<EventTime>,
    /// Timers that are set.
    waiting: u32,
}

#[derive(Debug)]
pub(super) struct Lives {
    ttl: Option<Ttl>,
    lives: Vec<Life>,
    /// Births in each key group.
    births: Vec<u64>,
    living: usize,
    /// Keys that may die.
    mortal: Timers,
    event: Timers,
    clock: Timers,
    /// Keys that died and were not told of yet.
    died: u64,
}

impl Lives {
    pub(super) fn new(ttl: Option<Ttl>) -> Self {
        Lives {
            ttl,
            lives: Vec::new(),
            births: vec![0; usize::from(KEY_GROUPS)],
            living: 0,
            mortal: Timers::default(),
            event: Timers::default(),
            clock: Timers::default(),
            died: 0,
        }
    }
    /// Makes room for this many keys.
    pub(super) fn reach(&mut self, keys: usize) {
        self.lives.resize(keys, Life::default());
    }
    pub(super) fn life(&self, number: u32) -> Life {
        self.lives.get(number as usize).copied().unwrap_or_default()
    }
    pub(super) fn living(&self) -> usize {
        self.living
    }
    /// Whether state dies by the clock.
    pub(super) fn by_clock(&self) -> bool {
        self.ttl.is_some_and(|t| t.clock)
    }
    fn timers(&mut self, by: By) -> &mut Timers {
        match by {
            By::Event => &mut self.event,
            By::Clock => &mut self.clock,
        }
    }

    /// A key gets a call at `at`, in the time of the ttl. Returns whether it starts with fresh state.
    #[inline]
    pub(super) fn enter(&mut self, number: u32, group: u16, at: EventTime) -> bool {
        let Some(life) = self.lives.get_mut(number as usize) else { return false };
        let dead = |ttl: Ttl| life.waiting == 0 && life.touched.saturating_add(ttl.micros) <= at;
        let gone = life.birth != 0 && self.ttl.is_some_and(dead);
        if life.birth != 0 && !gone {
            life.touched = life.touched.max(at);
            return false;
        }
        self.bear(number, group, at, gone);
        true
    }
    #[cold]
    fn bear(&mut self, number: u32, group: u16, at: EventTime, gone: bool) {
        if gone {
            self.bury(number, group);
        }
        let Some(birth) = self.births.get_mut(usize::from(group)) else { return };
        *birth += 1;
        let birth = *birth;
        if let Some(life) = self.lives.get_mut(number as usize) {
            *life = Life { birth, touched: at, looked_at: None, waiting: 0 };
            self.living += 1;
        }
        self.look_later(number, group);
    }
    /// Puts a key among those that may die, unless it is there or waits for a timer.
    fn look_later(&mut self, number: u32, group: u16) {
        let (Some(ttl), Some(life)) = (self.ttl, self.lives.get_mut(number as usize)) else { return };
        if life.looked_at.is_none() && life.waiting == 0 {
            let at = life.touched.saturating_add(ttl.micros);
            life.looked_at = Some(at);
            self.mortal.set(group, (at, life.birth), number);
        }
    }
    fn bury(&mut self, number: u32, group: u16) {
        if let Some(life) = self.lives.get_mut(number as usize) {
            if let Some(at) = life.looked_at {
                self.mortal.delete(group, (at, life.birth));
            }
            *life = Life::default();
            self.living -= 1;
            self.died += 1;
        }
    }
    /// A time at which a key that nothing touched before has died, in the time of the ttl; `None` if there is no such key.
    pub(super) fn next_death(&self) -> Option<EventTime> {
        self.mortal.earliest()
    }
    /// Buries the keys that are dead at `now`, and calls `f` with each.
    pub(super) fn sweep(&mut self, now: EventTime, mut f: impl FnMut(u32)) {
        let Some(ttl) = self.ttl else { return };
        for group in self.mortal.due(now) {
            self.sweep_group(ttl, group, now, &mut f);
        }
    }
    fn sweep_group(&mut self, ttl: Ttl, group: u16, now: EventTime, f: &mut impl FnMut(u32)) {
        while let Some((_, number)) = self.mortal.pop(group, now) {
            let Some(life) = self.lives.get_mut(number as usize) else { continue };
            life.looked_at = None;
            if life.waiting > 0 {
                continue;
            }
            if life.touched.saturating_add(ttl.micros) > now {
                self.look_later(number, group);
            } else {
                self.bury(number, group);
                f(number);
            }
        }
    }
    /// Keys that died since this was asked last.
    pub(super) fn take_died(&mut self) -> u64 {
        std::mem::take(&mut self.died)
    }

    /// Sets a timer of a living key.
    pub(super) fn set(&mut self, by: By, number: u32, group: u16, at: EventTime) {
        let birth = self.life(number).birth;
        if birth != 0
            && self.timers(by).set(group, (at, birth), number)
            && let Some(life) = self.lives.get_mut(number as usize)
        {
            life.waiting += 1;
        }
    }
    pub(super) fn delete(&mut self, by: By, number: u32, group: u16, at: EventTime) {
        let birth = self.life(number).birth;
        if self.timers(by).delete(group, (at, birth)) {
            self.done(number, group);
        }
    }
    /// A timer is set no more.
    fn done(&mut self, number: u32, group: u16) {
        if let Some(life) = self.lives.get_mut(number as usize) {
            life.waiting -= life.waiting.min(1);
        }
        self.look_later(number, group);
    }
    /// Takes the first timer of a group that is due, as time and key. The key is touched at `touch`, or else at that time.
    pub(super) fn fire(&mut self, by: By, group: u16, until: EventTime, touch: Option<EventTime>) -> Option<(EventTime, u32)> {
        let ((at, _), number) = self.timers(by).pop(group, until)?;
        if let Some(life) = self.lives.get_mut(number as usize) {
            life.touched = life.touched.max(touch.unwrap_or(at));
        }
        self.done(number, group);
        Some((at, number))
    }
    #[inline]
    pub(super) fn is_due(&self, group: u16, until: EventTime) -> bool {
        self.event.is_due(group, until)
    }
    /// The groups with timers that are due.
    pub(super) fn due(&self, by: By, until: EventTime) -> Vec<u16> {
        match by {
            By::Event => self.event.due(until),
            By::Clock => self.clock.due(until),
        }
    }
    pub(super) fn next_timer(&self, by: By) -> Option<EventTime> {
        match by {
            By::Event => self.event.earliest(),
            By::Clock => self.clock.earliest(),
        }
    }
    pub(super) fn set_timers(&self, by: By, group: u16) -> usize {
        match by {
            By::Event => self.event.count(group),
            By::Clock => self.clock.count(group),
        }
    }
    /// The timers of a group: kind, time, key.
    pub(super) fn all_timers(&self, group: u16) -> impl Iterator<Item = (By, EventTime, u32)> + '_ {
        let of = |by, timers: &'_ Timers| timers.of(group).map(|((at, _), n)| (by, at, n)).collect::<Vec<_>>();
        of(By::Event, &self.event).into_iter().chain(of(By::Clock, &self.clock))
    }

    /// A key out of a checkpoint.
    pub(super) fn load(&mut self, number: u32, group: u16, touched: EventTime) {
        self.bear(number, group, touched, false);
    }
    /// Forgets a key group.
    pub(super) fn release(&mut self, group: u16) {
        [&mut self.mortal, &mut self.event, &mut self.clock].into_iter().for_each(|t| t.clear(group));
        if let Some(births) = self.births.get_mut(usize::from(group)) {
            *births = 0;
        }
    }
    /// Keeps these keys, under new numbers in this order. Those left out are not counted as dead.
    pub(super) fn renumber(&mut self, kept: &[u32]) {
        let mut to = vec![u32::MAX; self.lives.len()];
        for (new, old) in (0u32..).zip(kept) {
            if let Some(slot) = to.get_mut(*old as usize) {
                *slot = new;
            }
        }
        self.lives = kept.iter().map(|n| self.life(*n)).collect();
        self.living = self.lives.iter().filter(|l| l.birth != 0).count();
        [&mut self.mortal, &mut self.event, &mut self.clock].into_iter().for_each(|t| t.renumber(&to));
    }
    pub(super) fn bytes(&self) -> usize {
        self.lives.capacity() * size_of::<Life>() + self.mortal.bytes() + self.event.bytes() + self.clock.bytes()
    }
}
