//! How two streams are joined, as data.

use serde::{Deserialize, Serialize};

use super::Span;

/// The column that tells whether the left side of a joined row is there.
pub const HAS_LEFT: &str = "__has_left";
/// The column that tells whether the right side of a joined row is there.
pub const HAS_RIGHT: &str = "__has_right";

/// Which rows come out of a join.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JoinKind {
    /// Pairs of partners.
    Inner,
    /// And left rows without a partner; the right row is `None`.
    Left,
    /// And right rows without a partner; the left row is `None`.
    Right,
    /// And rows of both sides without a partner.
    Full,
    /// Left rows with a partner, as they are.
    Semi,
    /// Left rows without a partner, as they are.
    Anti,
}

impl JoinKind {
    /// Whether rows hold both sides; else they are left rows as they came.
    pub fn pairs(self) -> bool {
        !matches!(self, JoinKind::Semi | JoinKind::Anti)
    }
    /// Whether a left row without a partner comes out, beside nothing.
    pub fn keeps_left(self) -> bool {
        matches!(self, JoinKind::Left | JoinKind::Full)
    }
    /// Whether a right row without a partner comes out, beside nothing.
    pub fn keeps_right(self) -> bool {
        matches!(self, JoinKind::Right | JoinKind::Full)
    }
    /// Whether a row of the left side (port 0), or of the right one, that has no partner comes out, beside nothing or by itself.
    pub fn comes_alone(self, port: usize) -> bool {
        if port == 0 { self.keeps_left() || self == JoinKind::Anti } else { self.keeps_right() }
    }
}

/// Where an as-of join looks for the partner of a left row, in event time.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// The last right row that is not later. Of several at that time: the last in source order.
    #[default]
    Backward,
    /// The first right row that is not earlier. Of several at that time: the first in source order.
    Forward,
    /// The right row that is least far away; of two that are equally far, the earlier. Of several at that time: as
    /// `Backward` if it is not later, as `Forward` if it is.
    Nearest,
}

/// Which right rows of a left row's key are its partners. Spans are in microseconds.
///
/// Example: [`plan`](crate::plan).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    /// All.
    Equal,
    /// At most one: the nearest in event time.
    AsOf {
        /// Where to look.
        direction: Direction,
        /// How far away it may be, inclusive.
        tolerance: Option<i64>,
    },
    /// Those whose event time less that of the left row lies in a range.
    Within {
        /// The least difference, inclusive.
        from: i64,
        /// The largest difference, inclusive.
        to: i64,
    },
    /// Those in the same windows of event time.
    SameWindow {
        /// The windows of both sides.
        window: Span,
    },
}

/// The name of the step of this kind.
pub(super) fn step(kind: JoinKind, matching: Matching) -> &'static str {
    match (matching, kind) {
        (Matching::AsOf { .. }, _) => "asof_join",
        (Matching::Within { .. }, JoinKind::Inner) => "interval_join",
        (_, JoinKind::Inner) => "join",
        (_, JoinKind::Left) => "left_join",
        (_, JoinKind::Right) => "right_join",
        (_, JoinKind::Full) => "full_join",
        (_, JoinKind::Semi) => "semi_join",
        (_, JoinKind::Anti) => "anti_join",
    }
}
