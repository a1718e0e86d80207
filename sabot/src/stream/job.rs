//! A pipeline with its parameters, sources and sinks: ready to run.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use arrow_array::RecordBatch;

use crate::connect::{FoldedSink, MemorySink};
use crate::operator::{BoundSink, Changing};
use crate::plan::{Explanation, Op, Plan, explain, mermaid, prune, push_down, svg};
use crate::record::{Named, from_batch};
use crate::runtime::{self, Checkpoint, Control, Executor, Report, RunOptions};
use crate::words::unknown;
use crate::{Error, Result};

use super::Running;
use super::lower::{Asked, How, Lowered, lineages, lower};
use super::physical::{Assumed, physical};
use super::{
    Built, Graph, IntoSink, JobSpec, Params, PipelineEntry, Settings, SinkBinding, Source, SourceBinding, build_id, pipeline_named,
};

/// A pipeline with its parameters. Made by calling the pipeline's function; see [`run`](Self::run),
/// [`collect`](Self::collect), [`spawn`](Self::spawn).
/// ```standalone_crate
/// use sabot::prelude::*;
/// use sabot::runtime::Control;
/// use sabot::stream::{Job, Params};
///
/// #[derive(Record, Clone, Debug, PartialEq)]
/// struct Trade { symbol: Str, qty: i64 }
///
/// pipeline! {
///     /// Large trades.
///     pub fn large(trades: Source<Trade, Bounded>, least: i64);
///     large = trades -> filter(|t| t.qty >= least);
///     large -> sink;
/// }
///
/// # fn main() -> Result<()> {
/// let trades = vec![Trade { symbol: "A".into(), qty: 1 }, Trade { symbol: "B".into(), qty: 9 }];
/// let rows: Vec<Trade> = large(trades.clone(), 5).parallel(2).collect()?;
/// assert_eq!(rows, [Trade { symbol: "B".into(), qty: 9 }]);
///
/// // what would run, as text and drawn
/// let job = large(trades.clone(), 5);
/// assert_eq!((job.open_sources().len(), job.open_sinks()), (0, vec!["large".to_owned()]));
/// assert!(job.explain()?.contains("filter") && job.mermaid()?.starts_with("flowchart") && job.svg()?.starts_with("<svg"));
///
/// // into a file, under a control that could stop it
/// let path = std::env::temp_dir().join(format!("sabot-job-{}.csv", std::process::id()));
/// let uri = path.display().to_string();
/// let report = job.sink("large", to(&uri)).sequential().run_with(&Control::new())?;
/// assert_eq!(report.nodes.iter().map(|n| n.account.rows_out).max(), Some(2));
/// std::fs::remove_file(&path).map_err(|e| Error::usage(e.to_string()))?;
///
/// // by name, as the command line does
/// let job = Job::named("large", Params::new().with("least", &5))?.source::<Trade, Bounded>("trades", trades);
/// assert_eq!(job.collect_batches()?.iter().map(|b| b.num_rows()).sum::<usize>(), 1);
/// # Ok(()) }
/// ```
pub struct Job {
    entry: Option<&'static PipelineEntry>,
    params: Params,
    built: Built,
    plan: Option<Plan>,
    sources: BTreeMap<String, SourceBinding>,
    sinks: BTreeMap<String, SinkBinding>,
    pub(crate) options: RunOptions,
    settings: Settings,
    optimise: bool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Job({})", self.built.plan.pipeline)
    }
}

impl Job {
    /// A job of a registered pipeline; called by generated code.
    #[doc(hidden)]
    pub fn new(entry: &PipelineEntry, params: Params, build: impl FnOnce(&Graph)) -> Self {
        let graph = Graph::new(entry.name);
        build(&graph);
        let entry =
            inventory::iter::<PipelineEntry>.into_iter().find(|e| e.name == entry.name && e.file == entry.file && e.line == entry.line);
        Job { entry, params, ..Job::of(graph) }
    }
    /// A job of a graph that was built by hand.
    pub fn of(graph: Graph) -> Self {
        let built = graph.finish();
        let (sources, sinks) = (built.sources.clone(), built.sinks.clone());
        Job {
            entry: None,
            params: Params::new(),
            built,
            plan: None,
            sources,
            sinks,
            options: RunOptions::default(),
            settings: Settings::default(),
            optimise: true,
        }
    }
    /// A job of a registered pipeline from parameters as data.
    ///
    /// # Errors
    /// If there is no such pipeline, or a parameter does not fit.
    pub fn named(pipeline: &str, params: Params) -> Result<Self> {
        let entry = pipeline_named(pipeline)?;
        let graph = Graph::new(entry.name);
        (entry.build)(&params, &graph)?;
        Ok(Job { entry: Some(entry), params, ..Job::of(graph) })
    }
    /// A job from its specification: the code is rebuilt from (pipeline, parameters); plan, sources and sinks are taken as
    /// they are.
    ///
    /// # Errors
    /// If the specification comes from another build.
    pub fn from_spec(spec: &JobSpec) -> Result<Self> {
        if spec.build != build_id() {
            return Err(Error::Plan(format!("it was made by build {}, this is build {}", spec.build, build_id())));
        }
        let mut job = Job::named(&spec.pipeline, spec.params.clone())?;
        job.plan = Some(spec.plan.clone());
        job.settings = spec.settings.clone();
        job.sources.extend(spec.sources.iter().map(|(n, s)| (n.clone(), SourceBinding::Spec(s.clone()))));
        job.sinks.extend(spec.sinks.iter().map(|(n, s)| (n.clone(), SinkBinding::Spec(s.clone()))));
        Ok(job)
    }
    /// The specification of this job, with its sources and sinks as far as they are bound.
    ///
    /// # Errors
    /// If it is not of a registered pipeline, a source or sink was bound to a value of this process, or the plan cannot be optimised. Those that
    /// the pipeline itself makes are made in the other process too.
    pub fn spec(&self) -> Result<JobSpec> {
        let entry = self
            .entry
            .ok_or_else(|| Error::usage("a graph that was built by hand has no name in other processes; write it as a `pipeline!`"))?;
        let live = |kind: &str, name: &str, instead: &str| {
            Error::Usage(format!("{kind} `{name}` is bound to a value of this process, which another process cannot open; bind {instead}"))
        };
        let mut spec = JobSpec {
            pipeline: entry.name.to_owned(),
            params: self.params.clone(),
            plan: self.plan()?,
            sources: BTreeMap::new(),
            sinks: BTreeMap::new(),
            settings: self.settings.clone(),
            build: build_id(),
        };
        for (name, binding) in &self.sources {
            match (binding, self.built.sources.get(name)) {
                (SourceBinding::Spec(source), _) => drop(spec.sources.insert(name.clone(), source.clone())),
                // the pipeline makes it itself, in any process
                (SourceBinding::Live(now), Some(SourceBinding::Live(own))) if Arc::ptr_eq(now, own) => {}
                _ => return Err(live("source", name, "files, as in `parquet(\"in.parquet\")`")),
            }
        }
        for (name, binding) in &self.sinks {
            match (binding, self.built.sinks.get(name)) {
                (SinkBinding::Spec(sink), _) => drop(spec.sinks.insert(name.clone(), sink.clone())),
                (SinkBinding::Live(now), Some(SinkBinding::Live(own))) if Arc::ptr_eq(now, own) => {}
                _ => return Err(live("sink", name, "a file, as in `to(\"out.parquet\")`")),
            }
        }
        Ok(spec)
    }

    /// Binds a source parameter.
    #[must_use]
    pub fn source<R, B>(mut self, name: &str, source: impl Into<Source<R, B>>) -> Self {
        self.sources.insert(name.to_owned(), source.into().binding);
        self
    }
    /// Binds a source by a binding that was made elsewhere.
    #[must_use]
    pub fn bind_source(mut self, name: &str, binding: SourceBinding) -> Self {
        self.sources.insert(name.to_owned(), binding);
        self
    }
    /// Binds an open end, named by its stream, or replaces a fixed sink.
    #[must_use]
    pub fn sink(mut self, name: &str, sink: impl IntoSink<super::AnyRow>) -> Self {
        self.sinks.insert(name.to_owned(), sink.into_sink());
        self
    }
    /// Runs with this many worker threads; 0 is all cores.
    #[must_use]
    pub fn parallel(mut self, threads: usize) -> Self {
        self.options.threads = threads;
        self
    }
    /// Runs on one thread.
    #[must_use]
    pub fn sequential(self) -> Self {
        self.parallel(1)
    }
    /// Changes how the job is run.
    #[must_use]
    pub fn options(mut self, change: impl FnOnce(&mut RunOptions)) -> Self {
        change(&mut self.options);
        self
    }
    /// Changes what decides results besides plan and data: how disordered rows may be, when a join broadcasts.
    #[must_use]
    pub fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }
    /// Whether to optimise the plan; on by default.
    #[must_use]
    pub fn optimise(mut self, on: bool) -> Self {
        self.optimise = on;
        self
    }

    /// The registered pipeline.
    pub fn entry(&self) -> Option<&'static PipelineEntry> {
        self.entry
    }
    /// The names of the sources, with the record each must fit.
    pub fn source_names(&self) -> Vec<(String, String)> {
        let of = |op: &Op| if let Op::Source { name, record, .. } = op { Some((name.clone(), record.clone())) } else { None };
        self.built.plan.nodes.iter().filter_map(|n| of(&n.op)).collect()
    }
    /// The names of the sinks.
    pub fn sink_names(&self) -> Vec<String> {
        let of = |op: &Op| if let Op::Sink { name, .. } = op { Some(name.clone()) } else { None };
        self.built.plan.nodes.iter().filter_map(|n| of(&n.op)).collect()
    }
    /// The sinks that nothing is bound to.
    pub fn open_sinks(&self) -> Vec<String> {
        self.sink_names().into_iter().filter(|n| !self.sinks.contains_key(n)).collect()
    }
    /// The sources that nothing is bound to, with the record each must fit.
    pub fn open_sources(&self) -> Vec<(String, String)> {
        self.source_names().into_iter().filter(|(n, _)| !self.sources.contains_key(n)).collect()
    }
    /// Whether the rows may never end: some source is declared so, and not bound to files or the like.
    pub fn may_be_endless(&self) -> bool {
        let endless = |op: &Op| matches!(op, Op::Source { name, must_end: false, .. } if !matches!(self.sources.get(name), Some(SourceBinding::Spec(spec)) if spec.ends()));
        self.built.plan.nodes.iter().any(|n| endless(&n.op))
    }
    /// Refuses bindings of names that the pipeline does not have.
    pub(super) fn check_names(&self) -> Result<()> {
        let pipeline = &self.built.plan.pipeline;
        let sources = self.source_names();
        let known: Vec<&str> = sources.iter().map(|(n, _)| n.as_str()).collect();
        if let Some(name) = self.sources.keys().find(|n| !known.contains(&n.as_str())) {
            return Err(Error::Usage(unknown(&format!("pipeline `{pipeline}` has no source"), name, "its sources are", &known)));
        }
        let sinks = self.sink_names();
        let known: Vec<&str> = sinks.iter().map(String::as_str).collect();
        if let Some(name) = self.sinks.keys().find(|n| !known.contains(&n.as_str())) {
            return Err(Error::Usage(unknown(&format!("pipeline `{pipeline}` has no sink"), name, "its sinks are", &known)));
        }
        Ok(())
    }
    /// The plan: as given by a specification, else optimised now.
    ///
    /// # Errors
    /// If plan and code do not belong together.
    pub fn plan(&self) -> Result<Plan> {
        if let Some(problem) = self.built.problems.first() {
            return Err(Error::Usage(problem.clone()));
        }
        if let Some(plan) = &self.plan {
            return Ok(plan.clone());
        }
        let mut plan = self.built.plan.clone();
        if self.optimise {
            prune(&mut plan, &lineages(&self.built.table))?;
            push_down(&mut plan, &lineages(&self.built.table))?;
        }
        Ok(plan)
    }
    /// The plan as text.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn explain(&self) -> Result<String> {
        Ok(self.explanation()?.to_string())
    }
    /// The plan explained: what runs, how, and why so. Of sources that are bound to files it says how many rows they have.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn explanation(&self) -> Result<Explanation> {
        let plan = self.plan()?;
        let mut out = explain(&plan);
        let must_end: BTreeMap<&str, bool> = plan.nodes.iter().filter_map(|n| ends(&n.op)).collect();
        let mut open =
            |name: &str, record: &str, schema: &arrow_schema::SchemaRef, _: Asked<'_>| -> Result<Arc<dyn crate::operator::Source>> {
                if let Some(SourceBinding::Spec(spec)) = self.sources.get(name)
                    && let Ok(source) = spec.open(record, schema)
                {
                    return Ok(Arc::from(source));
                }
                let bounded = must_end.get(name).copied().unwrap_or(false);
                Ok(Arc::new(Assumed { schema: Arc::clone(schema), bounded }))
            };
        out.physical = physical(&plan, &self.built.table, &self.settings, &self.here(Vec::new()), &mut open).map_err(|e| e.to_string());
        Ok(out)
    }
    /// The plan as a mermaid flowchart.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn mermaid(&self) -> Result<String> {
        Ok(mermaid(&self.plan()?))
    }
    /// The plan as a drawing: an SVG document that shows on light and dark backgrounds.
    ///
    /// # Errors
    /// As for [`plan`](Self::plan).
    pub fn svg(&self) -> Result<String> {
        Ok(svg(&self.plan()?))
    }

    /// How it runs in this process, from a checkpoint with these physical nodes if there are any.
    fn here(&self, before: Vec<String>) -> How {
        How {
            apart: !before.is_empty() || self.options.cuts() || self.options.memory_budget.is_some(),
            spread: false,
            instances: None,
            before,
        }
    }
    /// The physical nodes of what it goes on with, if the way in which it runs depends on that.
    pub(super) fn before(&self, from: Option<&Checkpoint>) -> Result<Vec<String>> {
        match from {
            Some(checkpoint) => Ok(checkpoint.nodes.clone()),
            None if self.built.plan.nodes.iter().any(|n| matches!(n.op, Op::Sort { .. } | Op::Join { .. })) => {
                runtime::steps_before(&self.options)
            }
            None => Ok(Vec::new()),
        }
    }
    pub(super) fn lowered(&self, how: &How) -> Result<Lowered> {
        let plan = self.plan()?;
        let sources = &self.sources;
        type Opened = Result<Arc<dyn crate::operator::Source>>;
        let mut open = |name: &str, record: &str, schema: &arrow_schema::SchemaRef, asked: Asked<'_>| -> Opened {
            let binding = sources.get(name).ok_or_else(|| {
                Error::Usage(format!(
                    "source `{name}` is not bound: pass a source of `{record}` rows (on the command line: --source {name}=file.parquet)"
                ))
            })?;
            let mut source = match binding {
                SourceBinding::Spec(spec) => spec.open(record, schema)?,
                SourceBinding::Live(open) => crate::connect::fitted(open()?, record, schema)?,
            };
            if asked.bad {
                source.give_bad()?;
            }
            if let Some(filter) = asked.filter {
                source.leave_out(filter)?;
            }
            Ok(Arc::from(source))
        };
        lower(&plan, &self.built.table, &self.settings, how, &mut open)
    }
    fn bind(&self, lowered: &Lowered, extra: &BTreeMap<String, SinkBinding>) -> Result<Vec<BoundSink>> {
        self.bind_some(lowered, extra, |_| true)
    }
    /// Opens the sinks of these nodes.
    pub(super) fn bind_some(
        &self,
        lowered: &Lowered,
        extra: &BTreeMap<String, SinkBinding>,
        wanted: impl Fn(usize) -> bool,
    ) -> Result<Vec<BoundSink>> {
        let mut out = Vec::new();
        for (name, node) in lowered.sinks.iter().filter(|(_, node)| wanted(**node)) {
            let binding = extra.get(name).or_else(|| self.sinks.get(name)).ok_or_else(|| {
                Error::Usage(format!("sink `{name}` is not bound: use `.sink(\"{name}\", to(\"file.parquet\"))` or `.collect()` (on the command line: --sink {name}=file.parquet)"))
            })?;
            let mut sink = match binding {
                SinkBinding::Spec(spec) => spec.open()?,
                SinkBinding::Live(open) => open()?,
            };
            if let Some(keys) = lowered.changes.get(name) {
                if matches!(binding, SinkBinding::Spec(spec) if spec.is_file()) {
                    sink = Box::new(FoldedSink::new(sink));
                }
                let ends = lowered.plan.nodes.get(*node).is_some_and(|n| n.bounded);
                sink.changes(Changing { keys, ends })?;
            }
            out.push(BoundSink { node: *node, sink });
        }
        Ok(out)
    }
    fn go(
        &self,
        extra: &BTreeMap<String, SinkBinding>,
        control: &Control,
        executor: Option<Arc<dyn Executor>>,
        from: Option<&Checkpoint>,
    ) -> Result<Report> {
        self.check_names()?;
        let lowered = self.lowered(&self.here(self.before(from)?))?;
        let sinks = self.bind(&lowered, extra)?;
        let options = self.identified()?;
        match (executor, from) {
            (Some(executor), from) => runtime::run_on(executor, &lowered.plan, sinks, &options, control, from),
            (None, Some(checkpoint)) => runtime::resume(&lowered.plan, sinks, &options, control, checkpoint),
            (None, None) => runtime::run(&lowered.plan, sinks, &options, control),
        }
    }
    /// The options, with what identifies the job in its directory of checkpoints: hashes, so that no value is written there.
    /// A secret may change.
    pub(super) fn identified(&self) -> Result<RunOptions> {
        let mut options = self.options.clone();
        if options.checkpoint_dir.is_none() {
            return Ok(options);
        }
        let mut add = |what: String, value: serde_json::Result<Vec<u8>>| -> Result<()> {
            let value = value.map_err(|e| Error::internal(format!("{what} cannot be written: {e}")))?;
            options.identity.insert(what, format!("{:016x}", crate::kernel::hash::hash_bytes(&value)));
            Ok(())
        };
        for (name, value) in self.params.iter() {
            let secret = self.entry.is_some_and(|e| e.params.iter().any(|p| p.name == name && p.is_secret()));
            if !secret {
                add(format!("parameter `{name}`"), serde_json::to_vec(value))?;
            }
        }
        for (name, binding) in &self.sources {
            let SourceBinding::Spec(spec) = binding else { continue };
            add(format!("source `{name}`"), serde_json::to_vec(&spec.without_secrets()))?;
        }
        for (name, binding) in &self.sinks {
            let SinkBinding::Spec(spec) = binding else { continue };
            add(format!("sink `{name}`"), serde_json::to_vec(&spec.without_secrets()))?;
        }
        add("the settings".into(), serde_json::to_vec(&self.settings))?;
        add(format!("the plan of `{}`", self.built.plan.pipeline), serde_json::to_vec(&self.plan()?))?;
        Ok(options)
    }

    /// Runs to the end; every sink must be bound.
    ///
    /// # Errors
    /// The first error of any step, source or sink.
    pub fn run(&self) -> Result<Report> {
        self.go(&BTreeMap::new(), &Control::new(), None, None)
    }
    /// As [`run`](Self::run), under a control that can stop, cancel, and take checkpoints.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_with(&self, control: &Control) -> Result<Report> {
        self.go(&BTreeMap::new(), control, None, None)
    }
    /// As [`run_with`](Self::run_with), on an executor of your own, from a checkpoint if given.
    ///
    /// # Errors
    /// As for [`run`](Self::run).
    pub fn run_on(&self, executor: Arc<dyn Executor>, control: &Control, from: Option<&Checkpoint>) -> Result<Report> {
        self.go(&BTreeMap::new(), control, Some(executor), from)
    }
    /// What would become of each step if the job began with the savepoint at `path`; nothing is run or written. See
    /// [`check_savepoint`](crate::runtime::check_savepoint).
    ///
    /// # Errors
    /// If the savepoint cannot be read, or the job cannot be built with its sources.
    pub fn check_savepoint(&self, path: &std::path::Path) -> Result<runtime::SavepointCheck> {
        self.check_names()?;
        let before = Checkpoint::read_file(path)?.nodes;
        runtime::check_savepoint(&self.lowered(&self.here(before))?.plan, path)
    }
    /// Continues from a checkpoint.
    ///
    /// # Errors
    /// As for [`run`](Self::run), and if the checkpoint does not belong to this job.
    pub fn resume(&self, control: &Control, from: &Checkpoint) -> Result<Report> {
        self.go(&BTreeMap::new(), control, None, Some(from))
    }
    /// Runs to the end and returns the rows of the one open sink.
    ///
    /// # Errors
    /// As for [`run`](Self::run); if there is not exactly one open sink; if its columns do not fit `T`.
    pub fn collect<T: Named>(&self) -> Result<Vec<T>> {
        let batches = self.collect_batches()?;
        let mut rows = Vec::new();
        for batch in &batches {
            rows.extend(from_batch::<T>(batch, "the result")?);
        }
        Ok(rows)
    }
    /// Runs to the end and returns the batches of the one open sink.
    ///
    /// # Errors
    /// As for [`collect`](Self::collect).
    pub fn collect_batches(&self) -> Result<Vec<RecordBatch>> {
        Ok(self.collect_with(&Control::new(), None, None)?.0)
    }
    /// As [`collect_batches`](Self::collect_batches), under a control, on an executor, from a checkpoint.
    ///
    /// # Errors
    /// As for [`collect`](Self::collect).
    pub fn collect_with(
        &self,
        control: &Control,
        executor: Option<Arc<dyn Executor>>,
        from: Option<&Checkpoint>,
    ) -> Result<(Vec<RecordBatch>, Report)> {
        let open = self.open_sinks();
        let [name] = open.as_slice() else {
            return Err(Error::Usage(format!(
                "`collect` needs exactly one open `-> sink`, but there are {}: {}",
                open.len(),
                open.join(", ")
            )));
        };
        let (sink, collected) = MemorySink::new();
        let extra = BTreeMap::from([(name.clone(), live(sink))]);
        let report = self.go(&extra, control, executor, from)?;
        let batches = collected.batches().ok_or_else(|| Error::internal("the job ended without a commit"))?;
        Ok((batches, report))
    }
    /// Runs on a thread of its own. Works inside a running tokio: [`Running`] is a future too.
    pub fn spawn(self) -> Running {
        Running::start(self)
    }
}

/// A source's name, and whether it is declared to end.
fn ends(op: &Op) -> Option<(&str, bool)> {
    if let Op::Source { name, must_end, .. } = op { Some((name.as_str(), *must_end)) } else { None }
}

fn live(sink: MemorySink) -> SinkBinding {
    let sink = Mutex::new(Some(sink));
    SinkBinding::Live(Arc::new(move || {
        let taken = sink.lock().ok().and_then(|mut s| s.take());
        let sink = taken.ok_or_else(|| Error::internal("a memory sink was opened twice"))?;
        Ok(Box::new(sink))
    }))
}
