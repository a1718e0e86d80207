//! Whether a function can be seen never to panic: then it may run on all 64 lanes of a window, null and dropped rows
//! included. Only what needs no thought: float arithmetic, comparisons, bit operations, wrapping arithmetic, casts.

use std::collections::HashMap;

use proc_macro2::TokenStream;
use syn::{BinOp, Block, Expr, Lit, Stmt, UnOp};

use super::model::Param;
use crate::common::{Known, bare};

/// The kinds of value that matter here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ty {
    Float,
    Int,
    Bool,
}

fn of_type(ty: &syn::Type) -> Option<Ty> {
    match Known::of(ty)? {
        Known::Float => Some(Ty::Float),
        Known::Int => Some(Ty::Int),
        Known::Bool => Some(Ty::Bool),
        _ => None,
    }
}

/// Whether the body is one such expression of the parameters.
pub(super) fn obvious(params: &[Param], body: &TokenStream) -> bool {
    let mut scope = HashMap::new();
    for p in params {
        let (Some(ident), Some(ty)) = (&p.ident, of_type(&p.ty)) else { return false };
        scope.insert(bare(ident), ty);
    }
    syn::parse2::<Block>(body.clone()).ok().and_then(|b| block(&b, &scope)).is_some()
}

type Scope = HashMap<String, Ty>;

fn block(block: &Block, scope: &Scope) -> Option<Ty> {
    match block.stmts.as_slice() {
        [Stmt::Expr(e, None)] => expr(e, scope),
        _ => None,
    }
}

fn expr(e: &Expr, scope: &Scope) -> Option<Ty> {
    match e {
        Expr::Paren(p) => expr(&p.expr, scope),
        Expr::Group(g) => expr(&g.expr, scope),
        Expr::Path(p) if p.qself.is_none() => scope.get(&bare(p.path.get_ident()?)).copied(),
        Expr::Lit(l) => match &l.lit {
            Lit::Float(_) => Some(Ty::Float),
            Lit::Int(i) if matches!(i.suffix(), "f32" | "f64") => Some(Ty::Float),
            Lit::Int(_) => Some(Ty::Int),
            Lit::Bool(_) => Some(Ty::Bool),
            _ => None,
        },
        Expr::Cast(c) => {
            expr(&c.expr, scope)?;
            of_type(&c.ty)
        }
        Expr::Unary(u) => match (&u.op, expr(&u.expr, scope)?) {
            (UnOp::Not(_), t @ (Ty::Bool | Ty::Int)) => Some(t),
            (UnOp::Neg(_), Ty::Float) => Some(Ty::Float),
            // a negative literal, which the compiler checks
            (UnOp::Neg(_), Ty::Int) if matches!(&*u.expr, Expr::Lit(_)) => Some(Ty::Int),
            _ => None,
        },
        Expr::Binary(b) => {
            let (left, right) = (expr(&b.left, scope)?, expr(&b.right, scope)?);
            match b.op {
                BinOp::Add(_) | BinOp::Sub(_) | BinOp::Mul(_) | BinOp::Div(_) | BinOp::Rem(_)
                    if left == Ty::Float && right == Ty::Float =>
                {
                    Some(Ty::Float)
                }
                BinOp::BitAnd(_) | BinOp::BitOr(_) | BinOp::BitXor(_) if left == right && left != Ty::Float => Some(left),
                BinOp::And(_) | BinOp::Or(_) if left == Ty::Bool && right == Ty::Bool => Some(Ty::Bool),
                BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_) if left == right => Some(Ty::Bool),
                _ => None,
            }
        }
        Expr::MethodCall(m) if m.turbofish.is_none() => {
            let on = expr(&m.receiver, scope)?;
            let args = m.args.iter().map(|a| expr(a, scope)).collect::<Option<Vec<_>>>()?;
            method(on, &m.method.to_string(), &args)
        }
        Expr::If(i) => {
            let Ty::Bool = expr(&i.cond, scope)? else { return None };
            let then = block(&i.then_branch, scope)?;
            let (_, other) = i.else_branch.as_ref()?;
            (expr(other, scope)? == then).then_some(then)
        }
        Expr::Block(b) if b.label.is_none() => block(&b.block, scope),
        _ => None,
    }
}

fn method(on: Ty, name: &str, args: &[Ty]) -> Option<Ty> {
    match (on, name, args) {
        (Ty::Float, "abs" | "sqrt" | "floor" | "ceil" | "round" | "trunc" | "signum" | "exp" | "ln" | "recip", []) => Some(Ty::Float),
        (Ty::Float, "min" | "max" | "copysign" | "powf", [Ty::Float]) => Some(Ty::Float),
        (Ty::Float, "mul_add", [Ty::Float, Ty::Float]) => Some(Ty::Float),
        (Ty::Float, "is_nan" | "is_finite" | "is_infinite", []) => Some(Ty::Bool),
        (Ty::Int, "wrapping_add" | "wrapping_sub" | "wrapping_mul", [Ty::Int]) => Some(Ty::Int),
        (Ty::Int, "wrapping_neg" | "wrapping_abs", []) => Some(Ty::Int),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::model::Item;
    use crate::common::Errors;

    fn obvious(item: &str) -> bool {
        match super::super::parse::parse(Default::default(), item.parse().unwrap(), &mut Errors::default()) {
            Some(Item::Function(f)) => super::obvious(&f.params, &f.body),
            _ => false,
        }
    }

    #[test]
    fn only_what_needs_no_thought() {
        for item in [
            "fn f(p: f64, q: i64) -> f64 { p * q as f64 }",
            "fn f(p: f64, q: i64) -> bool { p >= 1e6 || q > 10_000 }",
            "fn f(a: i64, b: i64) -> i64 { a.wrapping_add(b) & 0xff }",
            "fn f(a: f64) -> f64 { if a.is_nan() { 0.0 } else { (a.abs() / 2.0) as f64 } }",
            "fn f(a: i32) -> bool { a != -1 }",
            "fn f(delay: i64, distance: i64) -> f64 { delay as f64 * 100.0 / distance as f64 }",
        ] {
            assert!(obvious(item), "{item}");
        }
        for item in [
            "fn f(a: i64, b: i64) -> i64 { a + b }",
            "fn f(a: i64, b: i64) -> i64 { a / b }",
            "fn f(a: i64) -> i64 { a.abs() }",
            "fn f(a: i64) -> i64 { -a }",
            "fn f(a: f64, b: f64) -> i64 { a as i64 / b as i64 }",
            "fn f(a: i64, b: i64) -> i64 { a.wrapping_div(b) }",
            "fn f(a: i64) -> i64 { a << 70 }",
            "fn f(a: &str) -> bool { true }",
            "fn f(a: Option<f64>) -> f64 { a.unwrap() }",
            "fn f(a: f64) -> f64 { helper(a) }",
            "fn f(a: f64) -> f64 { panic!() }",
            "fn f(a: f64) -> f64 { let b = a; b }",
            "fn f(a: f64) -> f64 { loop {} }",
            "fn f(a: f64) -> f64 { A[0] }",
        ] {
            assert!(!obvious(item), "{item}");
        }
    }
}
