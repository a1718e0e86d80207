//! Progress on standard error, if that is a terminal and the job takes its time.

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::runtime::{ProgressHook, Progressed};

/// Jobs that end sooner show nothing.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bar, once there is one.
#[derive(Clone)]
pub(super) struct Meter {
    started: Instant,
    bar: Arc<OnceLock<ProgressBar>>,
}

impl Meter {
    /// A meter, if there is a terminal to show it on.
    pub(super) fn new() -> Option<Self> {
        std::io::stderr().is_terminal().then(|| Meter { started: Instant::now(), bar: Arc::default() })
    }
    /// What tells the meter about progress.
    pub(super) fn hook(&self) -> ProgressHook {
        let meter = self.clone();
        Arc::new(move |p| meter.show(p))
    }
    fn show(&self, p: Progressed) {
        if self.started.elapsed() < PATIENCE {
            return;
        }
        let bar = self.bar.get_or_init(|| {
            let (bar, template) = match p.total_rows {
                Some(total) => (ProgressBar::new(total), "{bar:30} {percent}%  {human_pos} of {human_len} rows  {per_sec}  {eta} left"),
                None => (ProgressBar::no_length(), "{spinner} {human_pos} rows  {per_sec}  {elapsed}"),
            };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
            bar.with_style(style).with_elapsed(self.started.elapsed())
        });
        bar.set_position(p.rows);
    }
    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}
