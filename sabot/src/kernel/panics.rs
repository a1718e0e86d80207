//! Panics of user code: caught, with their message and source position, and without a word on stderr.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

/// A caught panic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panicked {
    /// The message.
    pub message: String,
    /// `file:line:column`, if known.
    pub place: Option<String>,
    /// The operator whose source the place lies in, if any.
    pub operator: Option<&'static str>,
}

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "panicked: {}", self.message)?;
        match &self.place {
            Some(place) => write!(f, " ({place})"),
            None => Ok(()),
        }
    }
}

thread_local! {
    static CATCHING: Cell<u32> = const { Cell::new(0) };
    static LAST: RefCell<Option<Panicked>> = const { RefCell::new(None) };
}

/// Runs user code; a panic becomes a value. With `panic = "abort"` nothing is caught.
///
/// # Errors
/// The panic.
pub fn catch<T>(f: impl FnOnce() -> T) -> Result<T, Panicked> {
    install();
    CATCHING.set(CATCHING.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(f));
    CATCHING.set(CATCHING.get() - 1);
    result.map_err(|payload| LAST.take().unwrap_or_else(|| Panicked { message: text(payload.as_ref()), place: None, operator: None }))
}

fn text(payload: &(dyn std::any::Any + Send)) -> String {
    let plain = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    plain.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a value that is not text".into())
}

/// Adds, once, a panic hook that keeps message and place for [`catch`], and leaves all other panics to the hook before.
fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if CATCHING.get() == 0 {
                return before(info);
            }
            let at = info.location();
            let operator = at.and_then(|l| super::operator_at(l.file(), l.line()));
            LAST.set(Some(Panicked { message: text(info.payload()), place: at.map(ToString::to_string), operator }));
        }));
    });
}
