//! One side of an exchange, with a host that remembers, and messages of a seed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray,
};
use arrow_schema::DataType;
use tokio::runtime::Runtime;

use super::super::*;
use crate::Error;
use crate::kernel::{Morsel, Origin, Selection};
use crate::shuffle::{Carrier, Channel, Host, LinkId, Links, Message, Remote};

pub(super) const KEY: &str = "a key for the tickets of tests";
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

pub(super) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

pub(super) fn node(runtime: &Runtime) -> Node {
    let options =
        NodeOptions { token: Some(Token::new("hunter2").unwrap()), tickets: Some(TicketKey::new(KEY).unwrap()), ..NodeOptions::default() };
    Node::start(&options, runtime.handle()).unwrap()
}

pub(super) fn peer(name: &str, address: &str, patience: Duration, runtime: &Runtime) -> Peer {
    let options = PeerOptions { token: Some(Token::new("hunter2").unwrap()), patience, ..PeerOptions::default() };
    Peer::new(name, address, &options, runtime.handle()).unwrap()
}

pub(super) fn ticket(generation: u64) -> String {
    TicketKey::new(KEY).unwrap().sign(&Grant::new("job", generation, Purpose::Exchange, Duration::from_secs(600))).unwrap()
}

#[derive(Default)]
pub(super) struct Watcher {
    pub(super) failures: Mutex<Vec<Error>>,
}

impl Host for Watcher {
    fn wake(&self, _: usize) {}
    fn failed(&self, error: Error) {
        self.failures.lock().unwrap().push(error);
    }
}

/// A share with channels to and from one peer.
pub(super) struct Side {
    pub(super) carrier: FlightCarrier,
    pub(super) host: Arc<Watcher>,
    pub(super) outgoing: Vec<Arc<Channel>>,
    pub(super) incoming: Vec<Arc<Channel>>,
}

pub(super) fn link(consumer: u32, from: u32, to: u32) -> LinkId {
    LinkId { consumer, edge: 0, from, to }
}

impl Side {
    /// Agent `me` of two, with these links to and from the other, each of `limit` bytes.
    pub(super) fn new(node: &Node, me: usize, generation: u64, other: Peer, out: &[LinkId], into: &[LinkId], limit: usize) -> Self {
        Side::with(node, me, generation, other, (out, into), limit, |carrier| carrier)
    }
    /// The same, with a carrier that is set up further.
    pub(super) fn with(
        node: &Node,
        me: usize,
        generation: u64,
        other: Peer,
        (out, into): (&[LinkId], &[LinkId]),
        limit: usize,
        set_up: impl FnOnce(FlightCarrier) -> FlightCarrier,
    ) -> Self {
        let side = Side::ready(node, me, generation, other, (out, into), limit, set_up);
        side.carrier.begin();
        side
    }
    /// The same, of which the other is not known to be ready.
    pub(super) fn ready(
        node: &Node,
        me: usize,
        generation: u64,
        other: Peer,
        (out, into): (&[LinkId], &[LinkId]),
        limit: usize,
        set_up: impl FnOnce(FlightCarrier) -> FlightCarrier,
    ) -> Self {
        let mut peers = vec![None, None];
        peers[1 - me] = Some(other);
        let options = CarrierOptions { node: node.clone(), job: "job".into(), generation, me, peers, ticket: ticket(generation) };
        let carrier = set_up(FlightCarrier::new(options));
        let host = Arc::new(Watcher::default());
        let remote = |link: &LinkId| Remote { link: *link, peer: 1 - me, channel: Arc::new(Channel::new(0, 0, limit)) };
        let links =
            Links { outgoing: out.iter().map(remote).collect(), incoming: into.iter().map(remote).collect(), host: Arc::clone(&host) as _ };
        let (outgoing, incoming) = (channels(&links.outgoing), channels(&links.incoming));
        carrier.start(links).unwrap();
        Side { carrier, host, outgoing, incoming }
    }
    /// Pushes what has room. Returns whether there was something to push.
    pub(super) fn push(&self, messages: &mut [VecDeque<Message>]) -> bool {
        let mut left = false;
        for (at, (channel, messages)) in self.outgoing.iter().zip(messages).enumerate() {
            while !channel.full() {
                let Some(message) = messages.pop_front() else { break };
                channel.push(message);
                self.carrier.pushed(at);
            }
            left |= !messages.is_empty();
        }
        left
    }
    /// Takes what has come on a link.
    pub(super) fn pop(&self, at: usize, into: &mut Vec<Message>) {
        while let Some((message, bytes)) = self.incoming[at].pop() {
            into.push(message);
            if self.incoming[at].release(bytes) {
                self.carrier.room(at);
            }
        }
    }
    pub(super) fn failure(&self) -> Option<String> {
        self.host.failures.lock().unwrap().first().map(ToString::to_string)
    }
}

fn channels(remotes: &[Remote]) -> Vec<Arc<Channel>> {
    remotes.iter().map(|r| Arc::clone(&r.channel)).collect()
}

/// Carries all messages from one side to the other; `each` is called in every turn.
pub(super) fn carry(from: &Side, to: &Side, mut messages: Vec<VecDeque<Message>>, mut each: impl FnMut()) -> Vec<Vec<Message>> {
    let mut got = vec![Vec::new(); messages.len()];
    let begun = Instant::now();
    while !got.iter().all(|g: &Vec<Message>| matches!(g.last(), Some(Message::End))) {
        from.push(&mut messages);
        (0..got.len()).for_each(|at| to.pop(at, &mut got[at]));
        each();
        std::thread::sleep(Duration::from_micros(200));
        for side in [from, to] {
            assert_eq!(side.failure(), None);
        }
        assert!(begun.elapsed() < DEADLINE, "{:?} arrived", got.iter().map(Vec::len).collect::<Vec<_>>());
    }
    got
}

/// That the same messages came; rows as they are behind an exchange.
pub(super) fn assert_same<'a>(sent: impl IntoIterator<Item = &'a Message>, got: &[Message]) {
    let sent: Vec<&Message> = sent.into_iter().collect();
    for (at, (sent, got)) in sent.iter().zip(got).enumerate() {
        match (sent, got) {
            (Message::Rows(a), Message::Rows(b)) => {
                assert_eq!(a.origin, b.origin, "message {at}");
                assert!(
                    plain(&a.compact().unwrap()) == plain(&b.compact().unwrap()),
                    "the rows of message {at}: {} and {}",
                    a.rows(),
                    b.rows()
                );
            }
            (a, b) => assert_eq!(format!("{a:?}"), format!("{b:?}"), "message {at}"),
        }
    }
    assert_eq!(sent.len(), got.len());
}

/// Without dictionaries, whose values may be in another order.
fn plain(batch: &RecordBatch) -> RecordBatch {
    let schema = batch.schema();
    let columns = batch.columns().iter().zip(schema.fields()).map(|(column, field)| match column.data_type() {
        DataType::Dictionary(_, values) => (field.name(), arrow_cast::cast(column, values).unwrap()),
        _ => (field.name(), Arc::clone(column)),
    });
    let columns: Vec<_> = columns.collect();
    assert!(schema.fields().iter().all(|f| f.name() != "d" || matches!(f.data_type(), DataType::Dictionary(..))));
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, c)| (n, c, true))).unwrap()
}

/// Random numbers of a seed (xorshift).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

/// Messages of one link, ending with `End`: rows of many types, sizes and selections, marks between them.
pub(super) fn messages(dice: &mut Dice, n: usize, largest: u64) -> VecDeque<Message> {
    let dictionary: ArrayRef = Arc::new(StringArray::from(vec!["red", "green", "a colour with a long name"]));
    let mut messages: VecDeque<Message> = (0..n)
        .map(|i| {
            let origin =
                Origin { source: dice.below(3) as u32, partition: dice.below(2) as u32, split: i as u64, row: dice.below(1 << 40) };
            match dice.below(13) {
                0 => Message::Watermark(dice.below(1000) as i64 - 500),
                1 => Message::Barrier(dice.below(1000)),
                2 => Message::SplitEnd(origin),
                3 => Message::Idle,
                12 => Message::Active,
                4 => Message::Ascending(origin),
                kind => rows(dice, origin, largest, kind == 5, &dictionary),
            }
        })
        .collect();
    messages.push_back(Message::End);
    messages
}

fn rows(dice: &mut Dice, origin: Origin, largest: u64, other_columns: bool, dictionary: &ArrayRef) -> Message {
    let all = dice.below(largest) as usize;
    let text = |i: usize| (i % 7 != 3).then(|| format!("row {i} of a text that is long enough"));
    let mut columns: Vec<(&str, ArrayRef)> = vec![
        ("n", Arc::new((0..all as i64).map(|i| (i % 5 != 1).then_some(i * 3)).collect::<Int64Array>())),
        ("f", Arc::new((0..all).map(|i| i as f64 / 3.0).collect::<Float64Array>())),
        ("t", Arc::new((0..all).map(text).collect::<StringArray>())),
        ("v", Arc::new((0..all).map(text).collect::<StringViewArray>())),
        ("b", Arc::new((0..all).map(|i| Some(i % 3 == 0)).collect::<BooleanArray>())),
        (
            "l",
            Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(
                (0..all).map(|i| (i % 4 > 0).then(|| (0..i % 4).map(|x| Some(x as i32)))),
            )),
        ),
    ];
    let keys = (0..all).map(|i| (i % 9 > 0).then_some((i % 3) as i32)).collect();
    let values = if origin.row.is_multiple_of(2) { Arc::clone(dictionary) } else { Arc::new(StringArray::from(vec!["x", "y", "z"])) };
    columns.push(("d", Arc::new(DictionaryArray::<Int32Type>::try_new(keys, values).unwrap())));
    if other_columns {
        columns.truncate(2);
    }
    let fields: Vec<_> = columns.iter().map(|(n, c)| arrow_schema::Field::new(*n, c.data_type().clone(), true)).collect();
    let batch = RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), columns.into_iter().map(|c| c.1).collect()).unwrap();
    // a slice of it, of which some rows are kept
    let start = dice.below(all as u64 + 1) as usize / 2;
    let batch = batch.slice(start, all - start);
    let mut morsel = Morsel::new(batch, origin);
    if dice.below(2) == 0 {
        let rows = morsel.batch.num_rows();
        let word = |w: usize| dice.below(u64::MAX) & if rows - w * 64 >= 64 { u64::MAX } else { (1 << (rows - w * 64)) - 1 };
        morsel.selection = Some(Selection::new((0..rows.div_ceil(64)).map(word).collect::<Vec<u64>>()));
    }
    Message::Rows(morsel)
}
