//! A queue from one producer instance to one consumer instance, bounded in bytes.
//!
//! Idea: the bound is soft. A push never fails and never blocks; a producer asks [`Channel::full`] *before* it makes
//! more rows and suspends. So a channel holds at most its limit plus what one operator call emits. Marks are free.
//!
//! Bytes count from the push until [`Channel::release`], not until the pop: rows that the consumer took out but holds
//! back (to put them into source order, or because its operator is not ready) still press on the producer.
//!
//! The limit is a wish, not a law: when every task of a job is stuck, the runtime [relaxes](Channel::relax) the full
//! channels, so no shape of graph can deadlock.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use super::Message;

/// What is in a channel, and what went through it.
#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<(Message, usize)>,
    pushed: u64,
    popped: u64,
}

/// A byte-counted queue between two tasks.
#[derive(Debug)]
pub struct Channel {
    queue: Mutex<Queue>,
    length: AtomicUsize,
    bytes: AtomicUsize,
    peak: AtomicUsize,
    limit: AtomicUsize,
    waiting: AtomicBool,
    /// The task that pushes.
    pub producer: usize,
    /// The task that pops.
    pub consumer: usize,
}

impl Channel {
    /// An empty channel between two tasks that is full at `limit` bytes.
    pub fn new(producer: usize, consumer: usize, limit: usize) -> Self {
        Channel {
            queue: Mutex::default(),
            length: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit.max(1)),
            waiting: AtomicBool::new(false),
            producer,
            consumer,
        }
    }
    /// Appends a message. The caller wakes the consumer.
    pub fn push(&self, message: Message) {
        let bytes = message.bytes();
        let now = self.bytes.fetch_add(bytes, SeqCst) + bytes;
        self.peak.fetch_max(now, SeqCst);
        let mut queue = self.lock();
        queue.pushed += 1;
        queue.messages.push_back((message, bytes));
        self.length.store(queue.messages.len(), SeqCst);
    }
    /// Takes the next message and its size. The size stays counted until it is [released](Self::release).
    pub fn pop(&self) -> Option<(Message, usize)> {
        if self.length.load(SeqCst) == 0 {
            return None;
        }
        let mut queue = self.lock();
        let message = queue.messages.pop_front();
        queue.popped += u64::from(message.is_some());
        self.length.store(queue.messages.len(), SeqCst);
        message
    }
    /// The consumer has used these bytes. Returns whether the producer waits for room and now has it: wake it.
    #[must_use]
    pub fn release(&self, bytes: usize) -> bool {
        let before = self.bytes.fetch_sub(bytes, SeqCst);
        // Half a limit of slack keeps producer and consumer from taking turns morsel by morsel.
        self.waiting.load(SeqCst) && before - bytes <= self.limit.load(SeqCst) / 2 && self.waiting.swap(false, SeqCst)
    }
    /// Whether the producer should make no more rows for now.
    pub fn full(&self) -> bool {
        self.bytes.load(SeqCst) >= self.limit.load(SeqCst)
    }
    /// The bytes that fit in before it is full.
    pub fn room(&self) -> usize {
        self.limit.load(SeqCst).saturating_sub(self.bytes.load(SeqCst))
    }
    /// The producer announces that it waits for room. Returns `false` if there is room by now.
    #[must_use]
    pub fn wait(&self) -> bool {
        self.waiting.store(true, SeqCst);
        if self.full() {
            return true;
        }
        self.waiting.store(false, SeqCst);
        false
    }
    /// Whether a producer waits for room.
    pub fn waited_for(&self) -> bool {
        self.waiting.load(SeqCst)
    }
    /// Raises the limit over the bytes held now, to end a standstill. Returns whether a producer waited: wake it.
    #[must_use]
    pub fn relax(&self) -> bool {
        if !self.waiting.swap(false, SeqCst) {
            return false;
        }
        self.limit.fetch_max(self.bytes.load(SeqCst).saturating_mul(2), SeqCst);
        true
    }
    /// How many messages were pushed, and how many popped.
    pub fn passed(&self) -> (u64, u64) {
        let queue = self.lock();
        (queue.pushed, queue.popped)
    }
    /// The bytes that count now.
    pub fn bytes(&self) -> usize {
        self.bytes.load(SeqCst)
    }
    /// The most bytes ever held.
    pub fn peak(&self) -> usize {
        self.peak.load(SeqCst)
    }
    fn lock(&self) -> std::sync::MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
