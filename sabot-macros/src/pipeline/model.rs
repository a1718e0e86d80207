//! A pipeline as plain data: what was written, in the user's own tokens.

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};

/// The whole block.
#[derive(Debug, Default)]
pub(crate) struct Pipeline {
    /// Doc comments and other attributes.
    pub(crate) attrs: TokenStream,
    /// Visibility.
    pub(crate) vis: TokenStream,
    /// The name; missing while it is being typed.
    pub(crate) name: Option<Ident>,
    /// Sources and parameters.
    pub(crate) params: Vec<Param>,
    /// `-> Record`: the rows that it returns to a pipeline that uses it.
    pub(crate) output: Option<TokenStream>,
    /// What is wrong with the header; it was read as what was meant.
    pub(crate) mistakes: Vec<(Span, String)>,
    /// Where the block begins.
    pub(crate) first: Option<Span>,
    /// The statements in order.
    pub(crate) stmts: Vec<Stmt>,
}

/// One parameter.
#[derive(Debug)]
pub(crate) struct Param {
    /// Its name.
    pub(crate) name: Ident,
    /// Its type as written.
    pub(crate) ty: TokenStream,
    /// `Source<Record[, Bound]>`: the arguments.
    pub(crate) source: Option<(TokenStream, Option<TokenStream>)>,
}

/// `name = head -> step(..) -> step(..);`
#[derive(Debug)]
pub(crate) struct Stmt {
    /// The stream that it defines; a statement without one ends in a sink.
    pub(crate) name: Option<Ident>,
    /// `(good, bad) = ..`: what was written on the left instead of one name.
    pub(crate) pair: Option<Pair>,
    /// Where its rows come from and what happens to them.
    pub(crate) chain: Chain,
}

impl Stmt {
    /// The second stream that it defines.
    pub(crate) fn bad(&self) -> Option<&Ident> {
        self.pair.as_ref().and_then(|p| p.bad.as_ref())
    }
}

/// Two streams that a statement defines.
#[derive(Debug)]
pub(crate) struct Pair {
    /// The second name.
    pub(crate) bad: Option<Ident>,
    /// What is wrong with it.
    pub(crate) odd: bool,
    /// Where it stands.
    pub(crate) span: Span,
}

/// A head and its steps.
#[derive(Debug)]
pub(crate) struct Chain {
    /// Where the rows come from.
    pub(crate) head: Head,
    /// The steps.
    pub(crate) steps: Vec<Step>,
}

/// Where a chain's rows come from.
#[derive(Debug)]
pub(crate) enum Head {
    /// A stream or a source parameter by name.
    Stream(Ident),
    /// `source(..)`.
    Source(Ident, TokenStream),
    /// `clean(raw, limit)`: another pipeline, or a function over streams; its path and arguments.
    Call(Vec<TokenTree>, Group),
    /// Something else: passed on, so that the editor can complete it.
    Other(TokenStream),
    /// Nothing yet.
    Missing(Span),
}

/// `-> name(..)`.
#[derive(Debug)]
pub(crate) struct Step {
    /// The step's name; missing while it is being typed.
    pub(crate) name: Option<Ident>,
    /// Its arguments.
    pub(crate) args: Option<Group>,
    /// The dot, if it was written `.name(..)`.
    pub(crate) dot: Option<Span>,
    /// What follows the arguments and should not be there.
    pub(crate) rest: TokenStream,
    /// Where to report problems.
    pub(crate) span: Span,
}
