//! The protocol of one exchange: one edge, from one agent to another, over connections that may be cut at any moment.
//!
//! Both ends are state machines without threads, clocks or sockets. An exchange carries several links (one per pair of instances).
//!
//! - **Order.** The producer numbers all frames of the exchange from 0. The consumer takes each number once: those it has had are
//!   dropped, a gap is refused. So frames of one link arrive in order, whatever the other links do.
//! - **Credits.** Each link has a number of bytes that it may send, which only grows: what the consumer has received plus the room that
//!   it has now. A link with credit left sends one more unit, whatever its size, so that a unit larger than the window passes. Marks have no
//!   bytes and need no credit, but they wait for the rows before them. Nothing else holds a link back: not another link's want of credit.
//! - **Acknowledgement.** The consumer says which number it wants next. What is below it is delivered, and forgotten by the producer.
//! - **Replay.** When a connection is made the consumer says first what it wants next and what each link may send ([`Resume`]); the
//!   producer goes on from there. Since all of it is absolute, answers may be lost, repeated or late.
//! - **Generation.** Each frame has the generation of its attempt of the job; others are refused, so that a zombie does no harm.
//! - **End.** The last frame says that nothing follows; when it is acknowledged, everything has been delivered.
//!
//! Memory: the consumer holds at most its windows and one unit per link; the producer, of what was sent and is not acknowledged, no more
//! than that either.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// What every frame says beside its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The attempt of the job.
    pub generation: u64,
    /// The number within the exchange.
    pub seq: u64,
    /// The number of the link within the exchange.
    pub link: u32,
    /// What it takes of the link's credit: a unit in several frames takes it with the first.
    pub bytes: u64,
}

/// A frame as it is sent. Without contents it is the last one.
#[derive(Clone, Debug)]
pub struct Frame<P> {
    /// Which.
    pub head: Head,
    /// The contents.
    pub payload: Option<P>,
}

/// What the consumer says first on each connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The attempt of the job.
    pub generation: u64,
    /// The number of the frame that it wants next.
    pub next: u64,
    /// The bytes that each link may have sent, counted from its start.
    pub granted: Vec<u64>,
}

/// What the consumer says from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// The number of the frame that it wants next.
    pub next: u64,
    /// Links that may send more than was said before, and how many bytes counted from their start.
    pub granted: Vec<(u32, u64)>,
}

/// Why one end does not go on with the other.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The other end is of another attempt.
    #[error("attempt {theirs} of the job cannot go on with attempt {ours}")]
    Generation {
        /// This end's.
        ours: u64,
        /// The other end's.
        theirs: u64,
    },
    /// A frame is missing.
    #[error("frame {got} came, where frame {wanted} was to come")]
    Gap {
        /// The number that was to come.
        wanted: u64,
        /// The number that came.
        got: u64,
    },
    /// The other end has other links.
    #[error("link {0} is not one of this exchange's")]
    Link(u32),
    /// The consumer wants what was never sent, or was acknowledged.
    #[error("frame {wanted} is wanted, which is none of {first}..{end}")]
    Lost {
        /// The number that is wanted.
        wanted: u64,
        /// The first that is still there.
        first: u64,
        /// The next one to be made.
        end: u64,
    },
    /// Something came behind the last frame.
    #[error("frame {0} came behind the last one")]
    Closed(u64),
}

/// The end that sends.
#[derive(Debug)]
pub struct Producer<P> {
    generation: u64,
    links: Vec<Sending<P>>,
    /// Sent or about to be, and not acknowledged; the first has number `first`.
    kept: VecDeque<Frame<P>>,
    first: u64,
    /// The number to send next on this connection, if the consumer has said what it wants.
    cursor: Option<u64>,
    turn: usize,
    closing: bool,
    closed: bool,
}

#[derive(Debug)]
struct Sending<P> {
    waiting: VecDeque<(u64, P)>,
    sent: u64,
    granted: u64,
}

impl<P: Clone> Producer<P> {
    /// Of an exchange of so many links.
    pub fn new(generation: u64, links: usize) -> Self {
        let links = (0..links).map(|_| Sending { waiting: VecDeque::new(), sent: 0, granted: 0 }).collect();
        Producer { generation, links, kept: VecDeque::new(), first: 0, cursor: None, turn: 0, closing: false, closed: false }
    }
    /// Whether nothing of this link waits: offer what comes next.
    pub fn idle(&self, link: usize) -> bool {
        self.links.get(link).is_some_and(|l| l.waiting.is_empty())
    }
    /// The bytes that this link may still send.
    pub fn credit(&self, link: usize) -> u64 {
        self.links.get(link).map_or(0, |l| l.granted.saturating_sub(l.sent))
    }
    /// Puts a frame behind those of its link. Frames of a unit behind its first, and marks, have no bytes.
    pub fn offer(&mut self, link: usize, bytes: u64, payload: P) {
        if let Some(l) = self.links.get_mut(link) {
            l.waiting.push_back((bytes, payload));
        }
    }
    /// Nothing is offered any more.
    pub fn close(&mut self) {
        self.closing = true;
    }
    /// Whether the consumer has everything, and knows that it is everything.
    pub fn delivered(&self) -> bool {
        self.closed && self.kept.is_empty()
    }
    /// The connection is gone. What was sent on it may have arrived or not.
    pub fn cut(&mut self) {
        self.cursor = None;
    }
    /// A connection was made, and the consumer has said what it wants.
    ///
    /// # Errors
    /// If this end cannot go on from there.
    pub fn resumed(&mut self, resume: &Resume) -> Result<(), Refusal> {
        if resume.generation != self.generation {
            return Err(Refusal::Generation { ours: self.generation, theirs: resume.generation });
        }
        if resume.granted.len() != self.links.len() {
            return Err(Refusal::Link(resume.granted.len() as u32));
        }
        let end = self.end();
        if !(self.first..=end).contains(&resume.next) {
            return Err(Refusal::Lost { wanted: resume.next, first: self.first, end });
        }
        self.cursor = Some(resume.next);
        let granted = resume.granted.iter().zip(0..).map(|(bytes, link)| (link, *bytes)).collect();
        self.answered(&Answer { next: resume.next, granted })
    }
    /// The consumer has said more.
    ///
    /// # Errors
    /// If it has had what was never sent, or knows other links.
    pub fn answered(&mut self, answer: &Answer) -> Result<(), Refusal> {
        let end = self.end();
        if answer.next > end {
            return Err(Refusal::Lost { wanted: answer.next, first: self.first, end });
        }
        while self.first < answer.next {
            self.kept.pop_front();
            self.first += 1;
        }
        // An answer of the connection before may be ahead of what this one began with.
        self.cursor = self.cursor.map(|c| c.max(self.first));
        for (link, granted) in &answer.granted {
            let l = self.links.get_mut(*link as usize).ok_or(Refusal::Link(*link))?;
            l.granted = l.granted.max(*granted);
        }
        Ok(())
    }
    /// The next frame for this connection, and whether it is sent for the first time. `None` if there is none for now.
    pub fn next_frame(&mut self) -> Option<(Frame<P>, bool)> {
        let cursor = self.cursor?;
        if cursor < self.end() {
            let frame = self.kept.get((cursor - self.first) as usize)?.clone();
            self.cursor = Some(cursor + 1);
            return Some((frame, false));
        }
        let frame = self.make()?;
        self.kept.push_back(frame.clone());
        self.cursor = Some(cursor + 1);
        Some((frame, true))
    }
    /// What was made and is not acknowledged, the oldest first.
    pub fn kept_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut Frame<P>> {
        self.kept.iter_mut()
    }
    fn end(&self) -> u64 {
        self.first + self.kept.len() as u64
    }
    /// A new frame: links take turns.
    fn make(&mut self) -> Option<Frame<P>> {
        let (generation, seq, of) = (self.generation, self.end(), self.links.len());
        for step in 0..of {
            let at = (self.turn + step) % of;
            let Some(l) = self.links.get_mut(at) else { continue };
            let may = l.waiting.front().is_some_and(|(bytes, _)| *bytes == 0 || l.sent < l.granted);
            if !may {
                continue;
            }
            let (bytes, payload) = l.waiting.pop_front()?;
            l.sent += bytes;
            self.turn = at + 1;
            return Some(Frame { head: Head { generation, seq, link: at as u32, bytes }, payload: Some(payload) });
        }
        if self.closing && !self.closed && self.links.iter().all(|l| l.waiting.is_empty()) {
            self.closed = true;
            return Some(Frame { head: Head { generation, seq, link: 0, bytes: 0 }, payload: None });
        }
        None
    }
}

/// The end that receives.
#[derive(Debug)]
pub struct Consumer {
    generation: u64,
    next: u64,
    told: u64,
    links: Vec<Receiving>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Receiving {
    received: u64,
    granted: u64,
    told: u64,
}

/// What becomes of a frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is next: deliver it.
    New,
    /// It came before: drop it.
    Again,
    /// It is next and the last.
    Last,
}

impl Consumer {
    /// Of an exchange of so many links. They may send nothing before there is a [grant](Self::grant).
    pub fn new(generation: u64, links: usize) -> Self {
        Consumer { generation, next: 0, told: 0, links: (0..links).map(|_| Receiving::default()).collect(), closed: false }
    }
    /// A frame came; `last` if it has no contents.
    ///
    /// # Errors
    /// If it is of another attempt or another link, if one before it is missing, or if it is behind the last.
    pub fn accept(&mut self, head: &Head, last: bool) -> Result<Taken, Refusal> {
        if head.generation != self.generation {
            return Err(Refusal::Generation { ours: self.generation, theirs: head.generation });
        }
        if head.seq > self.next {
            return Err(Refusal::Gap { wanted: self.next, got: head.seq });
        }
        if head.seq < self.next {
            return Ok(Taken::Again);
        }
        if self.closed {
            return Err(Refusal::Closed(head.seq));
        }
        let link = self.links.get_mut(head.link as usize).ok_or(Refusal::Link(head.link))?;
        link.received += head.bytes;
        self.next += 1;
        self.closed = last;
        Ok(if last { Taken::Last } else { Taken::New })
    }
    /// There is room for so many bytes of this link, beyond what has been received. What was granted once stays granted.
    pub fn grant(&mut self, link: usize, room: u64) {
        if let Some(l) = self.links.get_mut(link) {
            l.granted = l.granted.max(l.received + room);
        }
    }
    /// The bytes that this link may still send, as far as is known here.
    pub fn open(&self, link: usize) -> u64 {
        self.links.get(link).map_or(0, |l| l.granted.saturating_sub(l.received))
    }
    /// Whether the last frame has come.
    pub fn closed(&self) -> bool {
        self.closed
    }
    /// A connection was made: what to say first.
    pub fn resume(&mut self) -> Resume {
        self.told = self.next;
        self.links.iter_mut().for_each(|l| l.told = l.granted);
        Resume { generation: self.generation, next: self.next, granted: self.links.iter().map(|l| l.granted).collect() }
    }
    /// What there is to say since the last time, if anything.
    pub fn answer(&mut self) -> Option<Answer> {
        let mut granted = Vec::new();
        for (l, at) in self.links.iter_mut().zip(0..) {
            if l.granted > l.told {
                l.told = l.granted;
                granted.push((at, l.granted));
            }
        }
        if self.told == self.next && granted.is_empty() {
            return None;
        }
        self.told = self.next;
        Some(Answer { next: self.next, granted })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    /// Random numbers of a seed (xorshift).
    struct Dice(u64);

    impl Dice {
        fn below(&mut self, n: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % n
        }
        fn one_in(&mut self, n: u64) -> bool {
            self.below(n) == 0
        }
    }

    /// A message: which of its link, and its bytes; 0 is a mark.
    type Sent = (u64, u64);

    /// One exchange between a producer with messages and a consumer whose channels are emptied at random, over connections that are cut.
    struct World {
        dice: Dice,
        producer: Producer<Sent>,
        consumer: Consumer,
        window: u64,
        to_send: Vec<VecDeque<Sent>>,
        /// In the consumer's channels.
        held: Vec<VecDeque<u64>>,
        got: Vec<Vec<Sent>>,
        most_held: u64,
        connected: bool,
        frames: VecDeque<Frame<Sent>>,
        answers: VecDeque<Result<Resume, Answer>>,
        largest: u64,
        cuts: usize,
        replayed: usize,
        again: usize,
    }

    impl World {
        fn new(seed: u64) -> Self {
            let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
            let links = 1 + dice.below(4) as usize;
            let window = 1 + dice.below(100);
            let messages = |dice: &mut Dice| {
                let n = dice.below(40);
                (0..n).map(|i| (i, if dice.one_in(3) { 0 } else { 1 + dice.below(60) })).collect::<VecDeque<Sent>>()
            };
            let to_send: Vec<VecDeque<Sent>> = (0..links).map(|_| messages(&mut dice)).collect();
            let largest = to_send.iter().flatten().map(|m| m.1).max().unwrap_or(0);
            World {
                producer: Producer::new(7, links),
                consumer: Consumer::new(7, links),
                window,
                to_send,
                held: vec![VecDeque::new(); links],
                got: vec![Vec::new(); links],
                most_held: 0,
                connected: false,
                frames: VecDeque::new(),
                answers: VecDeque::new(),
                largest,
                cuts: 0,
                replayed: 0,
                again: 0,
                dice,
            }
        }
        fn grant(&mut self, link: usize) {
            let held: u64 = self.held[link].iter().sum();
            self.most_held = self.most_held.max(held);
            self.consumer.grant(link, self.window.saturating_sub(held));
        }
        fn connect(&mut self) {
            (0..self.held.len()).for_each(|l| self.grant(l));
            self.connected = true;
            self.answers.push_back(Ok(self.consumer.resume()));
        }
        fn cut(&mut self) {
            self.cuts += 1;
            self.connected = false;
            self.frames.clear();
            self.answers.clear();
            self.producer.cut();
        }
        fn feed(&mut self) {
            for (link, messages) in self.to_send.iter_mut().enumerate() {
                while self.producer.idle(link) && !messages.is_empty() {
                    // a unit of up to three frames, whose bytes count with the first
                    let Some((number, bytes)) = messages.pop_front() else { break };
                    self.producer.offer(link, bytes, (number, bytes));
                }
            }
            if self.to_send.iter().all(VecDeque::is_empty) {
                self.producer.close();
            }
        }
        fn send(&mut self) {
            self.feed();
            if let Some((frame, new)) = self.producer.next_frame() {
                self.replayed += usize::from(!new);
                self.frames.push_back(frame);
            }
        }
        fn receive(&mut self) {
            let Some(frame) = self.frames.pop_front() else { return };
            if self.dice.one_in(8) {
                // the transport repeats it
                self.frames.push_front(frame.clone());
            }
            match self.consumer.accept(&frame.head, frame.payload.is_none()).unwrap() {
                Taken::New => {
                    let link = frame.head.link as usize;
                    self.got[link].push(frame.payload.unwrap());
                    self.held[link].push_back(frame.head.bytes);
                    self.grant(link);
                }
                Taken::Again => self.again += 1,
                Taken::Last => {}
            }
        }
        fn answer(&mut self) {
            if let Some(answer) = self.consumer.answer() {
                self.answers.push_back(Err(answer));
            }
        }
        fn hear(&mut self) {
            match self.answers.pop_front() {
                Some(Ok(resume)) => self.producer.resumed(&resume).unwrap(),
                Some(Err(answer)) => self.producer.answered(&answer).unwrap(),
                None => {}
            }
        }
        fn release(&mut self) {
            let link = self.dice.below(self.held.len() as u64) as usize;
            self.held[link].pop_front();
            self.grant(link);
        }
        fn step(&mut self, release: bool) {
            if !self.connected {
                self.connect();
            }
            match self.dice.below(if release { 6 } else { 5 }) {
                0 => self.send(),
                1 => self.receive(),
                2 => self.answer(),
                3 => self.hear(),
                4 if self.dice.one_in(30) => self.cut(),
                5 => self.release(),
                _ => {}
            }
        }
        /// Everything that goes without room being made.
        fn settle(&mut self) {
            for _ in 0..5_000 {
                self.step(false);
            }
            if !self.connected {
                self.connect();
            }
            loop {
                let before = (self.got.iter().map(Vec::len).sum::<usize>(), self.producer.end(), self.producer.first);
                for _ in 0..200 {
                    self.send();
                    self.receive();
                    self.answer();
                    self.hear();
                }
                if before == (self.got.iter().map(Vec::len).sum::<usize>(), self.producer.end(), self.producer.first) {
                    return;
                }
            }
        }
    }

    #[test]
    fn everything_arrives_once_and_in_order_over_connections_that_are_cut() {
        let (mut cuts, mut replayed, mut again, mut held_back) = (0, 0, 0, 0);
        for seed in 1..=1000 {
            let mut world = World::new(seed);
            let all = world.to_send.clone();
            let mut steps = 0;
            while !world.producer.delivered() {
                world.step(true);
                steps += 1;
                assert!(steps < 2_000_000, "seed {seed} does not end");
                let kept: u64 = world.producer.kept.iter().map(|f| f.head.bytes).sum();
                let most = all.len() as u64 * (world.window + world.largest);
                assert!(kept <= most, "seed {seed}: {kept} bytes are kept for replay");
            }
            assert!(world.consumer.closed());
            for (link, messages) in all.iter().enumerate() {
                assert_eq!(world.got[link], Vec::from(messages.clone()), "seed {seed}, link {link}");
            }
            assert!(world.most_held <= world.window + world.largest, "seed {seed}: {} of {}", world.most_held, world.window);
            cuts += world.cuts;
            replayed += world.replayed;
            again += world.again;
            held_back += usize::from(world.most_held >= world.window);
        }
        // the test reaches what it is for
        assert!(cuts > 1000 && replayed > 1000 && again > 1000 && held_back > 300, "{cuts} {replayed} {again} {held_back}");
    }

    #[test]
    fn marks_pass_without_credit_and_wait_only_for_the_rows_before_them() {
        for seed in 1..=1000 {
            let mut world = World::new(seed);
            let all = world.to_send.clone();
            world.settle();
            for (link, messages) in all.iter().enumerate() {
                // with nothing released, rows pass until the window is used, then marks up to the next rows
                let mut sent = 0;
                let passes = |m: &&Sent| {
                    let may = m.1 == 0 || sent < world.window;
                    sent += m.1;
                    may
                };
                let expected: Vec<Sent> = messages.iter().take_while(passes).copied().collect();
                assert_eq!(world.got[link], expected, "seed {seed}, link {link}");
            }
        }
    }

    #[test]
    fn what_does_not_belong_is_refused() {
        let mut consumer = Consumer::new(3, 2);
        let head = |generation, seq, link| Head { generation, seq, link, bytes: 0 };
        assert_eq!(consumer.accept(&head(2, 0, 0), false), Err(Refusal::Generation { ours: 3, theirs: 2 }));
        assert_eq!(consumer.accept(&head(3, 1, 0), false), Err(Refusal::Gap { wanted: 0, got: 1 }));
        assert_eq!(consumer.accept(&head(3, 0, 2), false), Err(Refusal::Link(2)));
        assert_eq!(consumer.accept(&head(3, 0, 1), false), Ok(Taken::New));
        assert_eq!(consumer.accept(&head(3, 0, 1), false), Ok(Taken::Again));
        assert_eq!(consumer.accept(&head(3, 1, 0), true), Ok(Taken::Last));
        assert_eq!(consumer.accept(&head(3, 1, 0), true), Ok(Taken::Again));
        assert_eq!(consumer.accept(&head(3, 2, 0), false), Err(Refusal::Closed(2)));

        let mut producer: Producer<u8> = Producer::new(3, 1);
        assert!(producer.next_frame().is_none());
        let resume = |generation, next, links| Resume { generation, next, granted: vec![10; links] };
        assert_eq!(producer.resumed(&resume(4, 0, 1)), Err(Refusal::Generation { ours: 3, theirs: 4 }));
        assert_eq!(producer.resumed(&resume(3, 0, 2)), Err(Refusal::Link(2)));
        assert_eq!(producer.resumed(&resume(3, 1, 1)), Err(Refusal::Lost { wanted: 1, first: 0, end: 0 }));
        producer.offer(0, 1, 1);
        producer.resumed(&resume(3, 0, 1)).unwrap();
        assert_eq!(producer.next_frame().map(|(f, new)| (f.head.seq, new)), Some((0, true)));
        producer.answered(&Answer { next: 1, granted: Vec::new() }).unwrap();
        // a consumer that forgot what it had is another process
        assert_eq!(producer.resumed(&resume(3, 0, 1)), Err(Refusal::Lost { wanted: 0, first: 1, end: 1 }));
        assert_eq!(producer.answered(&Answer { next: 1, granted: vec![(1, 5)] }), Err(Refusal::Link(1)));
    }
}
