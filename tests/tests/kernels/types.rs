//! All value types, through all row-wise steps.

use sabot::prelude::*;
use sabot::record::to_batch;

use crate::kit::{LENGTHS, NULLS, Rng, check};

#[derive(Record, Clone, Debug, PartialEq)]
pub struct Inner {
    pub x: i64,
    pub y: Option<Str>,
}

/// One column of each type.
#[derive(Record, Clone, Debug)]
pub struct Every {
    pub a: bool,
    pub b: i8,
    pub c: i16,
    pub d: i32,
    pub e: i64,
    pub f: u8,
    pub g: u16,
    pub h: u32,
    pub i: u64,
    pub j: f32,
    pub k: f64,
    pub l: Str,
    pub m: Bytes,
    pub n: Dict<Str>,
    pub o: Decimal<20, 2>,
    pub p: Date,
    pub q: Time<Millis>,
    pub r: Timestamp<Micros>,
    pub s: Timestamp<Nanos, Utc>,
    pub t: Duration<Seconds>,
    pub u: List<i64>,
    pub v: Inner,
    pub w: Option<bool>,
    pub x: Option<f64>,
    pub y: Option<Str>,
    pub z: Option<i16>,
}

fn every(n: usize, nulls: u64) -> Vec<Every> {
    let mut r = Rng(7 + n as u64 * 31 + nulls);
    (0..n)
        .map(|at| {
            let v = r.next();
            let text = format!("{}{}", "word ".repeat((v % 5) as usize), v % 11);
            let special = [f64::NAN, -0.0, f64::INFINITY, 1e-310, 0.1];
            let float = if v.is_multiple_of(9) { special[at % 5] } else { v as f64 / 3.0 };
            Every {
                a: v & 1 == 0,
                b: v as i8,
                c: v as i16,
                d: v as i32,
                e: v as i64,
                f: v as u8,
                g: v as u16,
                h: v as u32,
                i: v,
                j: v as f32,
                k: float,
                l: text.as_str().into(),
                m: text.as_bytes().into(),
                n: format!("k{}", v % 6).as_str().into(),
                o: Decimal::from_units(i128::from(v)),
                p: Date(v as i32),
                q: Time::new((v % 86_400_000) as i64),
                r: Timestamp::new(v as i64),
                s: Timestamp::new((v >> 3) as i64),
                t: Duration::new((v >> 5) as i64),
                u: List((0..v % 4).map(|x| x as i64).collect()),
                v: Inner { x: v as i64, y: r.maybe(nulls, text.as_str().into()) },
                w: r.maybe(nulls, v & 2 == 0),
                x: r.maybe(nulls, float),
                y: r.maybe(nulls, text.as_str().into()),
                z: r.maybe(nulls, v as i16),
            }
        })
        .collect()
}

/// Values that are computed from each column.
#[derive(Record, Clone, Debug)]
pub struct Computed {
    pub a: bool,
    pub b: i8,
    pub c: i16,
    pub d: i32,
    pub e: i64,
    pub f: u8,
    pub g: u16,
    pub h: u32,
    pub i: u64,
    pub j: f32,
    pub k: f64,
    pub l: Str,
    pub m: Bytes,
    pub n: Str,
    pub o: Decimal<20, 2>,
    pub p: Date,
    pub q: Time<Millis>,
    pub r: Timestamp<Micros>,
    pub s: Timestamp<Nanos, Utc>,
    pub t: Duration<Seconds>,
    pub u: i64,
    pub v: i64,
    pub w: Option<bool>,
    pub x: Option<f64>,
    pub y: Option<Str>,
    pub z: Option<i16>,
}

pipeline! {
    pub fn every_type(rows: Source<Every>);
    out = rows -> filter(|t| t.c > -20000) -> select(|t| row {
        a: !t.a,
        b: t.b.wrapping_add(1),
        c: t.c.wrapping_mul(3),
        d: t.d ^ 5,
        e: t.e.wrapping_sub(9),
        f: t.f & 15,
        g: t.g | 1,
        h: t.h.wrapping_add(7),
        i: t.i >> 3,
        j: t.j * 0.5,
        k: t.k * 1.1 + 0.3,
        l: t.l.trim_end(),
        m: t.m,
        n: t.n.trim_start_matches('k'),
        o: Decimal::<20, 2>::from_units(t.o.units() + 1),
        p: Date(t.p.0 / 2),
        q: t.q,
        r: t.r + 5.sec(),
        s: t.s,
        t: -t.t,
        u: t.u.iter().sum::<i64>(),
        v: t.v.x ^ 1,
        w: t.w.map(|b| !b),
        x: Some(t.x? * 2.0),
        y: t.y.map(|s| s.trim_end()),
        z: Some(t.z?.wrapping_add(1)),
    });
    out -> sink;
}

fn every_type_naive(t: &Every) -> Option<Computed> {
    let trimmed = |s: &Str| Str::from(s.trim_end());
    (t.c > -20000).then(|| Computed {
        a: !t.a,
        b: t.b.wrapping_add(1),
        c: t.c.wrapping_mul(3),
        d: t.d ^ 5,
        e: t.e.wrapping_sub(9),
        f: t.f & 15,
        g: t.g | 1,
        h: t.h.wrapping_add(7),
        i: t.i >> 3,
        j: t.j * 0.5,
        k: t.k * 1.1 + 0.3,
        l: trimmed(&t.l),
        m: t.m.clone(),
        n: t.n.trim_start_matches('k').into(),
        o: Decimal::from_units(t.o.units() + 1),
        p: Date(t.p.0 / 2),
        q: t.q,
        r: t.r + 5.sec(),
        s: t.s,
        t: -t.t,
        u: t.u.iter().sum(),
        v: t.v.x ^ 1,
        w: t.w.map(|b| !b),
        x: t.x.map(|x| x * 2.0),
        y: t.y.as_ref().map(trimmed),
        z: t.z.map(|z| z.wrapping_add(1)),
    })
}

#[test]
fn every_type_computes() {
    for n in [0, 1, 64, 65, 129] {
        for nulls in NULLS {
            if n < 65 && nulls == 500 {
                continue;
            }
            let rows = every(n, nulls);
            check("every_type", &rows, &to_batch(&rows), every_type_naive);
        }
    }
}

#[derive(Record, Clone, Debug)]
pub struct Kept {
    pub l: Str,
    pub u: List<i64>,
    pub v: Inner,
    pub w: Option<bool>,
    pub o: Decimal<20, 2>,
    pub half: f64,
}

pipeline! {
    pub fn passes(rows: Source<Every>);
    out = rows -> with(|t| row { half: t.k / 2.0 }) -> filter(|t| t.half > 0.0 || t.a)
               -> select(|t| row { l: t.l, u: t.u, v: t.v, w: t.w, o: t.o, half: t.half });
    out -> sink;
}

#[test]
fn every_type_passes() {
    for n in LENGTHS {
        let rows = every(n, 300);
        check("passes", &rows, &to_batch(&rows), |t| {
            let half = t.k / 2.0;
            let kept = Kept { l: t.l.clone(), u: t.u.clone(), v: t.v.clone(), w: t.w, o: t.o, half };
            (half > 0.0 || t.a).then_some(kept)
        });
    }
}

#[derive(Record, Clone, Debug)]
pub struct Lanes {
    pub twice: f64,
    pub big: bool,
    pub small: i32,
}

#[operator]
fn twice(k: f64, e: i64) -> f64 {
    k * 2.0 + e as f64
}
#[operator]
fn big(k: f64) -> bool {
    k > 1e18
}

pipeline! {
    /// Nothing here can panic: all of it runs on 64 lanes.
    pub fn lanes(rows: Source<Every>);
    out = rows -> filter(|t| big(t.k)) -> with(|t| row { twice: twice(t.k, t.e) }) -> filter(|t| t.twice > 3e18 || t.j > 9e18)
               -> select(|t| row { twice: t.twice, big: big(t.k), small: t.d.wrapping_mul(3) });
    out -> sink;
}

#[test]
fn lanes_agree() {
    for n in LENGTHS {
        let rows = every(n, 0);
        check("lanes", &rows, &to_batch(&rows), |t| {
            let twice = t.k * 2.0 + t.e as f64;
            let made = Lanes { twice, big: t.k > 1e18, small: t.d.wrapping_mul(3) };
            (t.k > 1e18 && (twice > 3e18 || t.j > 9e18)).then_some(made)
        });
    }
}
