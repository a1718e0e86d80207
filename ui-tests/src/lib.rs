//! The mistakes that Sabot's users make, and what the compiler says about them. All of it is in `cases/` and `tests/`.
