//! A plan as a drawing: SVG, left to right, without any library.
//!
//! A layered layout (Sugiyama, Tagawa and Toda 1981): a node's layer is its longest way from a source; edges that skip layers
//! get a bend in each; nodes are ordered within their layers by the mean of their neighbours, and moved towards them. Boxes
//! have their own background, lines and labels a grey that shows on white and on black.

use std::fmt::Write;

use super::explain::{describe, describe_in, stream_of};
use super::{NodeId, Op, Plan};

/// Width of a character of the font, in pixels: boxes fit their text without measuring it.
const CHAR: f64 = 7.25;
const LINE: f64 = 16.0;
/// Characters per line of a box.
const WRAP: usize = 34;
const PAD: f64 = 10.0;
/// Between boxes of a layer.
const GAP: f64 = 30.0;
/// Between layers, at least.
const ALLEY: f64 = 56.0;
const MARGIN: f64 = 16.0;
/// Rounds of ordering and of moving; the drawings of a few dozen steps settle before.
const ROUNDS: usize = 12;

/// A box, or a bend of an edge.
struct Place {
    /// The step; none for a bend.
    node: Option<NodeId>,
    layer: usize,
    lines: Vec<String>,
    width: f64,
    height: f64,
    x: f64,
    /// Its middle.
    y: f64,
    before: Vec<usize>,
    after: Vec<usize>,
}

/// An edge: the places that it goes through, and what it says.
struct Edge {
    way: Vec<usize>,
    label: Vec<String>,
}

/// The plan as an SVG document; notes (`key_by`, `window`) label their edges.
///
/// Example: [`plan`](crate::plan).
pub fn svg(plan: &Plan) -> String {
    let (mut places, mut edges) = graph(plan);
    let layers = layout(&mut places, &edges);
    // where edges begin and end: spread over the side of the box, in the order of their other ends
    let mut ports: Vec<(f64, f64)> = Vec::new();
    for edge in &edges {
        let (Some(&from), Some(&to)) = (edge.way.first(), edge.way.last()) else { continue };
        ports.push((port(&places, &edges, from, edge, true), port(&places, &edges, to, edge, false)));
    }
    let (mut width, mut top, mut bottom) = (0.0_f64, f64::MAX, f64::MIN);
    for p in &places {
        width = width.max(p.x + p.width);
        top = top.min(p.y - p.height / 2.0);
        bottom = bottom.max(p.y + p.height / 2.0);
    }
    if places.is_empty() {
        (top, bottom) = (0.0, 0.0);
    }
    let (w, h) = (width + 2.0 * MARGIN, bottom - top + 2.0 * MARGIN);
    let (dx, dy) = (MARGIN, MARGIN - top);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{w:.0}\" height=\"{h:.0}\" viewBox=\"0 0 {w:.0} {h:.0}\" \
         font-family=\"ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace\" font-size=\"12\">\n<title>{}</title>\n",
        escape(&plan.pipeline)
    );
    out.push_str(
        "<defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\">",
    );
    out.push_str("<path d=\"M0 0 L8 4 L0 8 z\" fill=\"#808894\"/></marker></defs>\n");
    edges.iter_mut().zip(&ports).for_each(|(edge, ends)| line(&mut out, &places, edge, *ends, &layers, (dx, dy)));
    places.iter().for_each(|p| draw(&mut out, plan, p, (dx, dy)));
    out.push_str("</svg>\n");
    out
}

/// Boxes and edges, with a bend in every layer that an edge crosses.
fn graph(plan: &Plan) -> (Vec<Place>, Vec<Edge>) {
    let (mut places, mut edges): (Vec<Place>, Vec<Edge>) = (Vec::new(), Vec::new());
    let mut at: Vec<Option<usize>> = vec![None; plan.nodes.len()];
    for (number, node) in plan.nodes.iter().enumerate().filter(|(_, n)| !n.op.is_note()) {
        let lines = text(plan, number);
        let chars = lines.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        // room for an arrow and its label per input
        let froms: Vec<(usize, Vec<String>)> = node.inputs.iter().filter_map(|i| source(plan, &at, *i)).collect();
        let ports = if froms.len() > 1 { froms.iter().map(|(_, label)| (label.len() as f64 + 1.0) * LINE).sum() } else { 0.0 };
        let height = (lines.len() as f64 * LINE).max(ports) + 2.0 * PAD;
        let layer = froms.iter().filter_map(|(f, _)| places.get(*f)).map(|p| p.layer + 1).max().unwrap_or(0);
        let me = places.len();
        let place = |node, layer, lines, width, height| Place {
            node,
            layer,
            lines,
            width,
            height,
            x: 0.0,
            y: 0.0,
            before: Vec::new(),
            after: Vec::new(),
        };
        places.push(place(Some(number), layer, lines, chars as f64 * CHAR + 2.0 * PAD, height));
        if let Some(slot) = at.get_mut(number) {
            *slot = Some(me);
        }
        for (port, (from, mut label)) in froms.into_iter().enumerate() {
            if matches!(node.op, Op::Join { .. }) {
                let side = ["left", "right"].get(port).copied().unwrap_or_default();
                match label.first_mut() {
                    Some(first) => *first = format!("{side}: {first}"),
                    None => label.push(side.to_owned()),
                }
            }
            let mut way = vec![from];
            let first = places.get(from).map_or(0, |p| p.layer);
            for layer in first + 1..layer {
                way.push(places.len());
                places.push(place(None, layer, Vec::new(), 0.0, LINE));
            }
            way.push(me);
            for pair in way.windows(2) {
                if let [a, b] = pair {
                    places.get_mut(*a).into_iter().for_each(|p| p.after.push(*b));
                    places.get_mut(*b).into_iter().for_each(|p| p.before.push(*a));
                }
            }
            edges.push(Edge { way, label });
        }
    }
    (places, edges)
}

/// The box that an input comes from, and what the notes on the way say.
fn source(plan: &Plan, at: &[Option<usize>], mut input: NodeId) -> Option<(usize, Vec<String>)> {
    let mut label = Vec::new();
    loop {
        let node = plan.nodes.get(input)?;
        if !node.op.is_note() {
            label.reverse();
            return Some((at.get(input).copied().flatten()?, label));
        }
        label.push(describe(node));
        input = *node.inputs.first()?;
    }
}

/// The lines of a box: the stream, what is done, and the expressions of a run.
fn text(plan: &Plan, number: NodeId) -> Vec<String> {
    let Some(node) = plan.nodes.get(number) else { return Vec::new() };
    let mut lines = vec![stream_of(node).rsplit_once('/').map_or_else(|| stream_of(node), |(stream, _)| stream).to_owned()];
    match &node.op {
        Op::Run { steps, .. } => {
            for step in steps {
                // what an aggregate takes is shown by the aggregate
                for e in step.exprs.iter().filter(|_| step.step != "inputs") {
                    let made = if e.name.is_empty() { step.step.clone() } else { format!("{} {} =", step.step, e.name) };
                    wrap(&format!("{made} {}", e.text), &mut lines);
                }
            }
            if lines.len() == 1 {
                lines.push("inputs".into());
            }
        }
        _ => wrap(&describe_in(plan, node), &mut lines),
    }
    lines
}

fn wrap(text: &str, lines: &mut Vec<String>) {
    let mut line = String::new();
    for word in text.split(' ') {
        if !line.trim().is_empty() && line.chars().count() + word.chars().count() + 1 > WRAP {
            lines.push(std::mem::replace(&mut line, "  ".into()));
        } else if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines.push(line);
}

/// Gives every place its x and y; the x at which each layer begins.
fn layout(places: &mut [Place], edges: &[Edge]) -> Vec<f64> {
    let depth = places.iter().map(|p| p.layer + 1).max().unwrap_or(0);
    let mut layers: Vec<Vec<usize>> = vec![Vec::new(); depth];
    for (i, p) in places.iter().enumerate() {
        layers.get_mut(p.layer).into_iter().for_each(|l| l.push(i));
    }
    for layer in &layers {
        stack(places, layer);
    }
    for round in 0..ROUNDS {
        let forward = round % 2 == 0;
        let order: Vec<usize> = if forward { (0..depth).collect() } else { (0..depth).rev().collect() };
        for number in order {
            let Some(layer) = layers.get_mut(number) else { continue };
            let wish: Vec<f64> = places.iter().map(|p| mean(places, if forward { &p.before } else { &p.after }).unwrap_or(p.y)).collect();
            let wished = |i: &usize| wish.get(*i).copied().unwrap_or(0.0);
            layer.sort_by(|a, b| wished(a).total_cmp(&wished(b)));
            stack(places, layer);
            settle(places, layer, &wish);
        }
    }
    // the alley before a layer is as wide as the longest label in it
    let mut alleys = vec![0.0_f64; depth];
    for edge in edges {
        let chars = edge.label.iter().map(|l| l.chars().count()).max().unwrap_or(0);
        let layer = edge.way.last().and_then(|to| places.get(*to)).map_or(0, |p| p.layer);
        alleys.get_mut(layer).into_iter().for_each(|a| *a = a.max(ALLEY).max(chars as f64 * CHAR * 0.92 + 44.0));
    }
    let (mut x, mut begins) = (0.0, Vec::new());
    for (layer, alley) in layers.iter().zip(&alleys) {
        x += alley;
        begins.push(x);
        let width = layer.iter().filter_map(|i| places.get(*i)).map(|p| p.width).fold(0.0, f64::max);
        for i in layer {
            places.get_mut(*i).into_iter().for_each(|p| p.x = x);
        }
        x += width;
    }
    begins
}

fn mean(places: &[Place], of: &[usize]) -> Option<f64> {
    let ys: Vec<f64> = of.iter().filter_map(|i| places.get(*i)).map(|p| p.y).collect();
    (!ys.is_empty()).then(|| ys.iter().sum::<f64>() / ys.len() as f64)
}

/// One below the other, around zero.
fn stack(places: &mut [Place], layer: &[usize]) {
    let total: f64 = layer.iter().filter_map(|i| places.get(*i)).map(|p| p.height + GAP).sum::<f64>() - GAP;
    let mut y = -total / 2.0;
    for i in layer {
        if let Some(p) = places.get_mut(*i) {
            p.y = y + p.height / 2.0;
            y += p.height + GAP;
        }
    }
}

/// Moves places towards where they wish to be, as far as their neighbours in the layer let them.
fn settle(places: &mut [Place], layer: &[usize], wish: &[f64]) {
    for i in layer {
        places.get_mut(*i).into_iter().for_each(|p| p.y = wish.get(*i).copied().unwrap_or(p.y));
    }
    for _ in 0..ROUNDS {
        let mut moved = false;
        for pair in layer.windows(2) {
            let [a, b] = pair else { continue };
            let (Some((ya, ha)), Some((yb, hb))) = (places.get(*a).map(|p| (p.y, p.height)), places.get(*b).map(|p| (p.y, p.height)))
            else {
                continue;
            };
            let lack = ya + (ha + hb) / 2.0 + GAP - yb;
            if lack > 0.01 {
                moved = true;
                places.get_mut(*a).into_iter().for_each(|p| p.y -= lack / 2.0);
                places.get_mut(*b).into_iter().for_each(|p| p.y += lack / 2.0);
            }
        }
        if !moved {
            break;
        }
    }
    // what is left of overlaps goes down
    let mut free = f64::MIN;
    for i in layer {
        if let Some(p) = places.get_mut(*i) {
            p.y = p.y.max(free + p.height / 2.0);
            free = p.y + p.height / 2.0 + GAP;
        }
    }
}

/// The height at which an edge leaves or enters a box.
fn port(places: &[Place], edges: &[Edge], at: usize, edge: &Edge, leaves: bool) -> f64 {
    let Some(place) = places.get(at) else { return 0.0 };
    let other = |e: &Edge| if leaves { e.way.get(1).copied() } else { e.way.iter().rev().nth(1).copied() };
    let mine = |e: &&Edge| if leaves { e.way.first() == Some(&at) } else { e.way.last() == Some(&at) };
    let mut all: Vec<&Edge> = edges.iter().filter(mine).collect();
    let y = |e: &Edge| other(e).and_then(|i| places.get(i)).map_or(0.0, |p| p.y);
    all.sort_by(|a, b| y(a).total_cmp(&y(b)));
    let which = all.iter().position(|e| std::ptr::eq(*e, edge)).unwrap_or(0);
    place.y - place.height / 2.0 + place.height * (which as f64 + 1.0) / (all.len() as f64 + 1.0)
}

/// A curve through the bends, and its label above its end.
fn line(out: &mut String, places: &[Place], edge: &Edge, ends: (f64, f64), layers: &[f64], (dx, dy): (f64, f64)) {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (n, i) in edge.way.iter().enumerate() {
        let Some(p) = places.get(*i) else { continue };
        if n == 0 {
            points.push((p.x + p.width, ends.0));
        } else if n + 1 == edge.way.len() {
            points.push((p.x - 1.0, ends.1));
        } else {
            points.push((p.x, p.y));
            // straight through the layer, as wide as it is
            let next = layers.get(p.layer + 1).copied().unwrap_or(p.x);
            points.push((p.x.max(next - ALLEY), p.y));
        }
    }
    let Some(((x, y), rest)) = points.split_first().map(|(p, r)| (*p, r)) else { return };
    let _ = write!(out, "<path d=\"M{:.1} {:.1}", x + dx, y + dy);
    let (mut px, mut py) = (x, y);
    for (x, y) in rest {
        let bend = ((x - px) / 2.0).min(ALLEY);
        let _ = write!(out, " C{:.1} {:.1} {:.1} {:.1} {:.1} {:.1}", px + bend + dx, py + dy, x - bend + dx, y + dy, x + dx, y + dy);
        (px, py) = (*x, *y);
    }
    out.push_str("\" fill=\"none\" stroke=\"#808894\" stroke-width=\"1.5\" marker-end=\"url(#tip)\"/>\n");
    for (n, text) in edge.label.iter().rev().enumerate() {
        let (x, y) = (px - 12.0 + dx, py - 6.0 - n as f64 * 13.0 + dy);
        let _ =
            writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\" font-size=\"11\" fill=\"#808894\">{}</text>", escape(text));
    }
}

fn draw(out: &mut String, plan: &Plan, p: &Place, (dx, dy): (f64, f64)) {
    let Some(node) = p.node.and_then(|n| plan.nodes.get(n)) else { return };
    let (fill, stroke, round) = match &node.op {
        Op::Source { .. } => ("#d6e9fb", "#2f6fb0", 14),
        Op::Sink { .. } => ("#d9f0dc", "#3c8a4b", 14),
        Op::Run { .. } => ("#fdf1cf", "#b08a2a", 4),
        Op::FlatMap { .. } | Op::Batch { .. } | Op::Union => ("#e9ebef", "#6b7480", 4),
        _ => ("#f1def2", "#8f4a93", 4),
    };
    let (x, y) = (p.x + dx, p.y - p.height / 2.0 + dy);
    let _ = write!(out, "<g><title>{}</title>", escape(&node.id));
    let _ = writeln!(
        out,
        "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{:.1}\" rx=\"{round}\" fill=\"{fill}\" stroke=\"{stroke}\" stroke-width=\"1.3\"/>",
        p.width, p.height
    );
    let first = p.y + dy - p.lines.len() as f64 * LINE / 2.0 + 12.0;
    for (n, line) in p.lines.iter().enumerate() {
        let weight = if n == 0 { " font-weight=\"bold\"" } else { "" };
        let indent = line.len() - line.trim_start().len();
        let x = x + PAD + indent as f64 * CHAR;
        let _ = writeln!(
            out,
            "<text x=\"{x:.1}\" y=\"{:.1}\" fill=\"#1c2330\"{weight}>{}</text>",
            first + n as f64 * LINE,
            escape(line.trim_start())
        );
    }
    out.push_str("</g>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
