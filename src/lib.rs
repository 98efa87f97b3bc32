//! Paymaster pays social-protection payrolls: nobody twice, nobody forgotten, every end with evidence.
//!
//! # The rooms
//!
//! `A <- B` means that B may look at A; nothing else may. `tests/tidy.rs` holds this.
//!
//! ```text
//! contract <- domain <- store <- engine <- api | jobs | cli <- main
//! contract <- connectors (a package of their own), opened by config, used by engine
//! ```
//!
//! | room | what it is for | what is not there |
//! |---|---|---|
//! | [`paymaster_connectors::contract`] | the words engine and connectors share | I/O |
//! | [`domain`] | rules as pure functions of values | clock, randomness, SQL, HTTP, logging |
//! | [`store`] | all SQL, one text for SQLite and PostgreSQL | decisions |
//! | [`engine`] | load, decide, save: one verb a file | how a call arrives |
//! | [`api`], [`cli`] | doors: translate and call one verb | rules; each other |
//! | [`jobs`] | a job names an id; the row is the truth | retries of a payment |
//! | [`simulation`] | the real engine and store in worlds made of a seed, judged by the providers' ledgers | real sockets and processes |
//! | [`config`], [`clock`] | the file; the only place that asks the time | |
//!
//! # What always holds
//!
//! - One row is one *disbursement*: one sum for one payee in one generation. Its identity is a hash of tenant,
//!   programme, cycle, beneficiary, entitlement and instalment ([`domain::identity`]), unique for ever.
//! - A disbursement follows its *batch* until it departs alone: the batch's state is the row's
//!   ([`domain::batch::effective`]), so that a payment is written at intake and at its end and not between.
//! - Intent before act: reference, exact bytes, copy count, lease and ledger line are durable before a byte leaves
//!   (`engine/submit.rs`). One attempt for each intent; nothing below it retries.
//! - A time-out, a lost answer, a crash while sending: *in doubt*, never failed and never sent again under a new name.
//!   Out of doubt leads evidence ([`domain::judge`]), or the same bytes under the same reference to a provider that
//!   executes a reference once, while it surely remembers ([`domain::batch::may_resend`]).
//! - An end state names the message that proved it; the database refuses one that does not.
//! - The ledger moves money from one account to another in the same unit of work as the states it tells of.
//! - `paymaster verify` recomputes all of this from the rows.
//!
//! # The states of a disbursement
//!
//! Drawn from [`domain::disbursement::TRANSITIONS`]; a test holds this picture to the table.
//!
//! ```text
#![doc = include_str!("../tests/snapshots/states.txt")]
//! ```
//!
//! # Four walks
//!
//! **A payroll is paid.** `cli/payroll.rs` or `api` calls [`engine::Engine::take_in`]: `engine/intake/parse.rs` reads
//! rows on a thread of its own, `engine/intake/load.rs` loads them chunk by chunk and cuts batches on the way. Then
//! [`engine::Engine::submit_payroll`], [`engine::Engine::approve_payroll`] by somebody else, and
//! [`engine::Engine::release_payroll`], which reserves the money and makes the batches due without touching a row.
//! The sweep in [`jobs`] finds them due, a job calls [`engine::Engine::drive`], `engine/submit.rs` takes the intent and
//! sends. What the provider says arrives at `engine/said.rs` and is applied set by set in `engine/apply.rs`: evidence,
//! ends, ledger, journal and the messages to the registry in one unit of work. `engine/publish.rs` sends those.
//!
//! **A reply is lost.** [`paymaster_connectors::http`] gives `InDoubt`; `engine/submit.rs` moves the batch to
//! `in_doubt` and makes it due. `engine/inquire.rs` asks: the provider has it (its answers are applied), or does not
//! have it (the same bytes go again while that is safe; after the fence and the quiet time it is proven not paid).
//! A worker that was killed while sending leaves the same doubt: its lease runs out, [`engine::Engine::drive`] finds it.
//!
//! **A provider contradicts itself.** [`domain::judge`] answers with a contradiction; nothing is overwritten.
//! `engine/apply/suspense.rs` moves the payment's money to suspense and opens an exception; a newer generation is held
//! (`engine/hold.rs`). One person proposes what is true, another confirms ([`engine::Engine::confirm`]), and
//! `engine/exception/rule.rs` moves payment and money by that, with a decision as evidence that names both persons.
//! A payroll of kind reissue then pays again what was rejected, as the next generation.
//!
//! **A bank's statement comes.** The sweep finds the bank's mailbox due and a job calls [`engine::Engine::collect`]: the
//! connector fetches files, `engine/collect/inbox.rs` stores each in parts with its hash, and only then it may be
//! archived. `engine/collect/stored.rs` reads it on a thread of its own; `statement.rs` stages the entries and lets a
//! statement count only if it adds up; `matched.rs` and `total.rs` turn entries into reports by [`domain::matching`],
//! batch by batch, and those are applied like any other. `engine/reconcile.rs` then compares what was instructed,
//! acknowledged and booked ([`domain::reconcile`]), and moves a payroll to reconciled when nothing differs.

pub mod api;
pub mod chance;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod jobs;
pub mod sample;
pub mod simulation;
pub mod store;
