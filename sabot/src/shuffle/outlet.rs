//! The producer's side of an exchange edge: rows are routed, marks go everywhere.

use std::sync::Arc;

use super::{ByNumber, Channel, Message, Partitioner};
use crate::Result;
use crate::kernel::Morsel;
use crate::operator::{Exchange, Places};

enum Route {
    One(usize),
    ByGroup(Partitioner),
    All,
    Turns(usize),
    Splits,
    Number(ByNumber),
}

/// Where one producer instance sends the rows of one edge.
pub struct Outlet {
    route: Route,
    channels: Vec<Arc<Channel>>,
    places: Option<Places>,
}

impl std::fmt::Debug for Outlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outlet").field("channels", &self.channels.len()).finish_non_exhaustive()
    }
}

impl Outlet {
    /// The outlet of producer instance `instance`, with a channel to every consumer instance in order.
    ///
    /// A `Forward` edge whose ends differ in their number of instances gathers or deals out in turns.
    pub fn new(exchange: &Exchange, instance: usize, of: usize, channels: Vec<Arc<Channel>>) -> Self {
        let route = match exchange {
            _ if channels.len() == 1 => Route::One(0),
            Exchange::Forward if channels.len() == of => Route::One(instance),
            Exchange::Forward | Exchange::Rebalance | Exchange::Turns => Route::Turns(instance),
            Exchange::Hash(columns) => Route::ByGroup(Partitioner::new(columns.clone(), channels.len())),
            Exchange::Range(column) => Route::ByGroup(Partitioner::by_range(column.clone(), channels.len())),
            Exchange::Gather => Route::One(0),
            Exchange::Broadcast => Route::All,
            Exchange::Splits => Route::Splits,
            Exchange::Custom(column) => Route::Number(ByNumber::new(column.clone(), channels.len())),
        };
        Outlet { route, channels, places: None }
    }
    /// Rows of a hash edge come [by key group](Partitioner::in_groups).
    #[must_use]
    pub fn in_groups(self) -> Self {
        match self.route {
            Route::ByGroup(partitioner) => Outlet { route: Route::ByGroup(partitioner.in_groups()), ..self },
            _ => self,
        }
    }
    /// Gives rows their places, so that their order can be restored behind this edge.
    #[must_use]
    pub fn placing(self, places: Places) -> Self {
        Outlet { places: Some(places), ..self }
    }
    /// Sends rows; calls `woken` with each consumer that has something to do.
    ///
    /// # Errors
    /// If a key column is missing or cannot be a key.
    pub fn rows(&mut self, morsel: Morsel, woken: &mut dyn FnMut(usize)) -> Result<()> {
        let morsel = match &mut self.places {
            Some(places) => places.give(morsel)?,
            None => morsel,
        };
        match &mut self.route {
            Route::One(i) => push(&self.channels, *i, Message::Rows(morsel), woken),
            Route::All => self.mark(&Message::Rows(morsel), woken),
            Route::Turns(next) => {
                push(&self.channels, *next % self.channels.len(), Message::Rows(morsel), woken);
                *next += 1;
            }
            Route::Splits => {
                let instance = morsel.origin.instance(self.channels.len());
                push(&self.channels, instance, Message::Rows(morsel), woken);
            }
            Route::Number(by_number) => {
                for (i, piece) in by_number.split(morsel)? {
                    push(&self.channels, i, Message::Rows(piece), woken);
                }
            }
            Route::ByGroup(partitioner) => {
                for (i, piece) in partitioner.split(morsel)? {
                    push(&self.channels, i, Message::Rows(piece), woken);
                }
            }
        }
        Ok(())
    }
    /// Sends a mark to every consumer instance.
    pub fn mark(&self, mark: &Message, woken: &mut dyn FnMut(usize)) {
        for i in 0..self.channels.len() {
            push(&self.channels, i, mark.clone(), woken);
        }
    }
    /// A channel of this outlet that is full, if any.
    pub fn full(&self) -> Option<&Channel> {
        self.channels.iter().map(Arc::as_ref).find(|c| c.full())
    }
}

fn push(channels: &[Arc<Channel>], i: usize, message: Message, woken: &mut dyn FnMut(usize)) {
    if let Some(channel) = channels.get(i) {
        channel.push(message);
        woken(channel.consumer);
    }
}
