//! How much of an exchange may be on its way: enough to keep the network busy, and little enough that nothing queues for long.
//!
//! What a connection takes is not what has arrived: HTTP/2 and sockets hold megabytes. On a slow network these are minutes, in which a
//! barrier waits behind rows. So the producer looks at how long frames take until they are acknowledged. The shortest time, at first that in which the
//! connection was made, is the network's; what a frame takes beyond it, it has waited. While frames wait for less than [`WAIT`], the limit grows as fast as they are acknowledged; when
//! they wait for longer, it becomes what fits. This is the idea of TCP Vegas (Brakmo and Peterson, 1995), with bytes of frames for segments.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long frames may wait for those before them. A barrier is late by about this at each exchange that is slower than its producers.
const WAIT: Duration = Duration::from_millis(250);
/// The limit at first.
const BEGIN: usize = 256 << 10;
/// The least: a few small frames, so that a network's acknowledgements do not run dry.
const LEAST: usize = 32 << 10;

struct Sent {
    number: u64,
    bytes: usize,
    at: Instant,
    /// Whether the limit was in use: if not, its time says nothing of whether more would do.
    used: bool,
}

pub(super) struct Window {
    limit: usize,
    /// Sent on this connection and not acknowledged.
    sent: VecDeque<Sent>,
    on_way: usize,
    shortest: Option<Duration>,
    /// The frame from which on times tell of the limit as it is now.
    judged_from: u64,
    next: u64,
}

impl Window {
    pub(super) fn new() -> Self {
        Window { limit: BEGIN, sent: VecDeque::new(), on_way: 0, shortest: None, judged_from: 0, next: 0 }
    }
    /// Bytes that may be on their way.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }
    /// Whether another frame may be sent. A first one always may.
    pub(super) fn open(&self) -> bool {
        self.sent.is_empty() || self.on_way < self.limit
    }
    /// There is a new connection, perhaps another way, with nothing on it; its first answer came after this time. Without that, a network so slow that already
    /// the first frames took long would seem to be a long one.
    pub(super) fn connected(&mut self, took: Duration) {
        *self = Window { shortest: Some(took), ..Window::new() };
    }
    /// A frame goes off.
    pub(super) fn sent(&mut self, number: u64, bytes: usize, now: Instant) {
        self.on_way += bytes;
        self.sent.push_back(Sent { number, bytes, at: now, used: self.on_way >= self.limit / 2 });
        self.next = number + 1;
    }
    /// The frames before this number have arrived.
    pub(super) fn acknowledged(&mut self, next: u64, now: Instant) {
        while let Some(frame) = self.sent.pop_front_if(|f| f.number < next) {
            self.on_way -= frame.bytes;
            let took = now.saturating_duration_since(frame.at);
            let shortest = self.shortest.map_or(took, |s| s.min(took));
            self.shortest = Some(shortest);
            if took <= shortest + WAIT {
                self.limit += if frame.used { frame.bytes } else { 0 };
            } else if frame.number >= self.judged_from {
                let part = (shortest + WAIT).as_secs_f64() / took.as_secs_f64();
                self.limit = ((self.limit as f64 * part) as usize).max(LEAST);
                self.judged_from = self.next;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A network with a rate and a way there and back, on which as much is sent as the window allows. How long frames wait at most and how many bytes
    /// arrive in a second, once it has settled.
    fn run(rate: f64, back: f64, frame: impl Fn(u64, usize) -> usize) -> (f64, f64) {
        let begin = Instant::now();
        let at = |s: f64| begin + Duration::from_secs_f64(s);
        let mut window = Window::new();
        window.connected(Duration::from_secs_f64(back + 300.0 / rate));
        let mut acks: VecDeque<(f64, u64)> = VecDeque::new();
        let (mut now, mut free, mut number) = (0.0f64, 0.0f64, 0u64);
        let (settled, end) = (30.0, 90.0);
        let (mut worst, mut bytes) = (0.0f64, 0.0);
        while now < end {
            while window.open() {
                let size = frame(number, window.limit());
                window.sent(number, size, at(now));
                // behind what is on the wire
                free = free.max(now) + size as f64 / rate;
                if now > settled {
                    worst = worst.max(free - now);
                    bytes += size as f64;
                }
                number += 1;
                acks.push_back((free + back, number));
            }
            let Some((when, next)) = acks.pop_front() else { break };
            now = when;
            window.acknowledged(next, at(now));
        }
        (worst, bytes / (end - settled))
    }

    #[test]
    fn a_network_is_used_and_nothing_waits_for_long() {
        for rate in [20e3, 100e3, 1e6, 30e6, 300e6] {
            for back in [0.0002, 0.02, 0.3] {
                for kind in 0..3 {
                    let frame = |number: u64, limit: usize| match kind {
                        0 => 700,
                        1 => (limit / 2).min(128 << 10),
                        _ => 500 + (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) as usize % (limit / 2).min(256 << 10),
                    };
                    if kind == 0 && rate > 1e6 {
                        continue; // millions of frames, and nothing new
                    }
                    let (worst, got) = run(rate, back, frame);
                    // the least window is on the way even where it takes longer
                    let least = 2.0 * LEAST as f64 / rate;
                    assert!(worst < 4.0 * WAIT.as_secs_f64() + least, "{rate} B/s, {back} s, frames {kind}: waits {worst} s");
                    assert!(got > 0.85 * rate, "{rate} B/s, {back} s, frames {kind}: {got} B/s");
                }
            }
        }
    }
    #[test]
    fn what_is_not_used_does_not_grow_and_a_first_frame_always_goes() {
        let (mut window, now) = (Window::new(), Instant::now());
        for number in 0..1000 {
            assert!(window.open());
            window.sent(number, 1000, now);
            window.acknowledged(number + 1, now);
        }
        assert_eq!(window.limit(), BEGIN);
        window.sent(1000, 100 << 20, now);
        assert!(!window.open());
        window.connected(Duration::ZERO);
        assert!(window.open());
    }
}
