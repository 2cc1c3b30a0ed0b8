//! What keeps an expression from running for ever, and from seeing more of the world than it is given.
//!
//! In jq only two things go on without end: filters that call themselves, and `range`. So every definition, ours and the
//! library's, begins with a step (`__step`), and `range` takes one for each number. A step is counted, and it is refused when
//! too many were taken or when the calls are nested so deeply that the stack would soon be used up.

use jaq_core::data::HasLut;
use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::native::{Fun, v};
use jaq_core::path::{Part, Path};
use jaq_core::{Cv, DataT, Error, Exn, Lut, Native, ValX, ValXs};
use jaq_json::Val;
use std::cell::Cell;
use std::collections::BTreeSet;

/// So many steps may an expression take.
const MOST_STEPS: u64 = 250_000;

/// Filters that would make what an expression gives depend on when or where it is evaluated, or end more than itself.
const REFUSED: [&str; 13] = [
    "now",
    "env",
    "halt",
    "halt_error",
    "debug",
    "debug_empty",
    "stderr",
    "stderr_empty",
    "localtime",
    "strflocaltime",
    "input",
    "inputs",
    "range",
];

/// What the filters of an expression work on.
pub(super) struct Kind;

impl DataT for Kind {
    type V<'a> = Val;
    type Data<'a> = Data<'a>;
}

/// What the filters share during one evaluation.
#[derive(Clone, Copy)]
pub(super) struct Data<'a> {
    pub(super) lut: &'a Lut<Kind>,
    pub(super) budget: &'a Budget,
}

impl<'a> HasLut<'a, Kind> for Data<'a> {
    fn lut(&self) -> &'a Lut<Kind> {
        self.lut
    }
}

/// What an evaluation may still use.
pub(super) struct Budget {
    steps: Cell<u64>,
    base: usize,
    depth: usize,
}

impl Budget {
    /// A whole budget, with `depth` bytes of stack from here.
    pub(super) fn new(depth: usize) -> Self {
        Self { steps: Cell::new(MOST_STEPS), base: here(), depth }
    }

    fn step(&self) -> Result<(), Error<Val>> {
        let left = self.steps.get();
        if left == 0 {
            return Err(Error::str(format_args!("it takes more than {MOST_STEPS} steps")));
        }
        self.steps.set(left - 1);
        if self.base.abs_diff(here()) > self.depth {
            return Err(Error::str("its filters call each other too deeply"));
        }
        Ok(())
    }
}

/// About where the stack ends now.
#[inline(never)]
fn here() -> usize {
    let mark = 0_u8;
    std::hint::black_box(&raw const mark).addr()
}

/// What is defined in jq itself.
pub(super) fn definitions<'s>() -> Vec<Def<&'s str>> {
    let library = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let mut all = Vec::new();
    for def in library {
        // The short forms of `range` call the long one, which is ours.
        if !REFUSED.contains(&def.name) || def.name == "range" {
            all.push(definition(def, &mut BTreeSet::new()));
        }
    }
    all
}

/// What is built in.
pub(super) fn functions() -> impl Iterator<Item = Fun<Kind>> {
    let step_everywhere =
        Native::<Kind>::new(|cv| step(cv)).with_paths(|cv| step(cv)).with_update(|cv, change| {
            match cv.0.data().budget.step() {
                Ok(()) => change(cv.1),
                Err(error) => Box::new(std::iter::once(Err(error.into()))),
            }
        });
    let library = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    library.filter(|(name, ..)| !REFUSED.contains(name)).chain([
        ("__step", v(0), step_everywhere),
        (
            "range",
            v(3),
            Native::<Kind>::new(|mut cv| {
                let by = cv.0.pop_var();
                let to = cv.0.pop_var();
                let from = cv.0.pop_var();
                Box::new(range(cv.0.data().budget, from, to, by))
            }),
        ),
    ])
}

/// One step, and then what was there before.
fn step<'a, T: 'a>(cv: Cv<'a, Kind, T>) -> ValXs<'a, T, Val> {
    let outcome = cv.0.data().budget.step().map(|()| cv.1);
    Box::new(std::iter::once(outcome.map_err(Exn::from)))
}

fn range(budget: &Budget, from: Val, to: Val, by: Val) -> impl Iterator<Item = ValX<'_, Val>> {
    let zero = Val::from(0_isize);
    let mut next = Some(Ok(from));
    std::iter::from_fn(move || {
        let here = match next.take()? {
            Ok(here) => here,
            Err(error) => return Some(Err(Exn::from(error))),
        };
        let goes_on = match by.cmp(&zero) {
            std::cmp::Ordering::Greater => here < to,
            std::cmp::Ordering::Less => here > to,
            std::cmp::Ordering::Equal => here != to,
        };
        if !goes_on {
            return None;
        }
        if let Err(error) = budget.step() {
            return Some(Err(error.into()));
        }
        next = Some(here.clone() + by.clone());
        Some(Ok(here))
    })
}

/// A definition that begins with a step.
fn definition<'s>(def: Def<&'s str>, named: &mut BTreeSet<String>) -> Def<&'s str> {
    let step = Term::Call("__step", Vec::new());
    let body = Term::BinOp(step.into(), BinaryOp::Pipe(None), term(def.body, named).into());
    Def { name: def.name, args: def.args, body }
}

/// The same term, in which every definition begins with a step; notes the variables that it names.
pub(super) fn term<'s>(term: Term<&'s str>, named: &mut BTreeSet<String>) -> Term<&'s str> {
    Guard(named).term(term)
}

struct Guard<'n>(&'n mut BTreeSet<String>);

impl Guard<'_> {
    fn boxed<'s>(&mut self, mut term: Box<Term<&'s str>>) -> Box<Term<&'s str>> {
        *term = self.term(std::mem::take(&mut *term));
        term
    }

    fn term<'s>(&mut self, term: Term<&'s str>) -> Term<&'s str> {
        match term {
            // The time is a variable that nobody can name.
            Term::Call("now", args) if args.is_empty() => {
                self.0.insert(super::NOW.to_owned());
                Term::Var(super::NOW)
            }
            Term::Call(name, args) => Term::Call(name, args.into_iter().map(|arg| self.term(arg)).collect()),
            Term::Var(name) => {
                self.0.insert(name.to_owned());
                Term::Var(name)
            }
            Term::Def(defs, rest) => {
                let defs = defs.into_iter().map(|def| definition(def, self.0)).collect();
                Term::Def(defs, self.boxed(rest))
            }
            Term::Str(format, parts) => {
                let parts = parts.into_iter().map(|part| match part {
                    StrPart::Term(term) => StrPart::Term(self.term(term)),
                    other => other,
                });
                Term::Str(format, parts.collect())
            }
            Term::Arr(inner) => Term::Arr(inner.map(|inner| self.boxed(inner))),
            Term::Obj(pairs) => {
                let pair =
                    |(key, value): (_, Option<_>)| (self.term(key), value.map(|value| self.term(value)));
                Term::Obj(pairs.into_iter().map(pair).collect())
            }
            Term::Neg(inner) => Term::Neg(self.boxed(inner)),
            Term::BinOp(left, op, right) => {
                let op = match op {
                    BinaryOp::Pipe(Some(pattern)) => BinaryOp::Pipe(Some(self.pattern(pattern))),
                    other => other,
                };
                Term::BinOp(self.boxed(left), op, self.boxed(right))
            }
            Term::Label(name, inner) => Term::Label(name, self.boxed(inner)),
            Term::Fold(name, over, pattern, args) => {
                let over = self.boxed(over);
                let pattern = self.pattern(pattern);
                Term::Fold(name, over, pattern, args.into_iter().map(|arg| self.term(arg)).collect())
            }
            Term::TryCatch(inner, catch) => {
                Term::TryCatch(self.boxed(inner), catch.map(|catch| self.boxed(catch)))
            }
            Term::IfThenElse(cases, otherwise) => {
                let cases = cases.into_iter().map(|(if_, then)| (self.term(if_), self.term(then))).collect();
                Term::IfThenElse(cases, otherwise.map(|otherwise| self.boxed(otherwise)))
            }
            Term::Path(inner, path) => {
                // A secret that is named in plain sight is noted as such: `$secrets.NAME`.
                let inner = match (*inner, path.0.first()) {
                    (Term::Var("$secrets"), Some((Part::Index(Term::Str(None, parts)), _)))
                        if matches!(parts[..], [StrPart::Str(_)]) =>
                    {
                        if let [StrPart::Str(name)] = parts[..] {
                            self.0.insert(format!("$secrets.{name}"));
                        }
                        Box::new(Term::Var("$secrets"))
                    }
                    (inner, _) => Box::new(self.term(inner)),
                };
                Term::Path(inner, self.path(path))
            }
            Term::Id | Term::Recurse | Term::Num(_) | Term::Break(_) => term,
        }
    }

    fn path<'s>(&mut self, path: Path<Term<&'s str>>) -> Path<Term<&'s str>> {
        let part = |(part, opt)| {
            let part = match part {
                Part::Index(index) => Part::Index(self.term(index)),
                Part::Range(from, to) => {
                    Part::Range(from.map(|from| self.term(from)), to.map(|to| self.term(to)))
                }
            };
            (part, opt)
        };
        Path(path.0.into_iter().map(part).collect())
    }

    fn pattern<'s>(&mut self, pattern: Pattern<&'s str>) -> Pattern<&'s str> {
        match pattern {
            Pattern::Var(name) => Pattern::Var(name),
            Pattern::Arr(parts) => Pattern::Arr(parts.into_iter().map(|part| self.pattern(part)).collect()),
            Pattern::Obj(parts) => {
                let part = |(key, part)| (self.term(key), self.pattern(part));
                Pattern::Obj(parts.into_iter().map(part).collect())
            }
        }
    }
}
