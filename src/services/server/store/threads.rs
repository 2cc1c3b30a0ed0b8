//! The two threads that hold the connections.

use crate::services::server::refusal::Refusal;
use rusqlite::Connection;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use tokio::sync::oneshot;

/// So many requests share a commit at most: what waits for it must not wait for ever.
const BATCH: usize = 64;

/// What is left to do when the commit has succeeded, or has not.
type Answer = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

type Question = Box<dyn FnOnce(&Connection) + Send>;

type Job = Box<dyn FnOnce(&Connection) -> Answer + Send>;

fn gone() -> Refusal {
    Refusal::unavailable("the database is closed: the server is ending")
}

/// A panic is a defect of one request, and must not be the end of the thread that all share.
fn guarded<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(|| work(connection)))
        .unwrap_or_else(|_| Err(Refusal::internal("this request met a defect in the server")))
}

/// The thread that writes.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Job>);

impl Writer {
    pub(super) fn start(connection: Connection) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            while let Ok(first) = jobs.recv() {
                write_together(&connection, std::iter::once(first).chain(jobs.try_iter()).take(BATCH));
            }
        })?;
        Ok(Self(sender))
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let outcome = in_savepoint(connection, work);
            Box::new(move |committed| {
                // Who asked may have gone; what was asked for is done all the same.
                let _ = sender.send(committed.and(outcome));
            })
        });
        self.0.send(job).map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}

fn write_together(connection: &Connection, jobs: impl Iterator<Item = Job>) {
    // If it cannot begin, each request stands alone and hears by itself what the database says.
    let begun = connection.execute_batch("BEGIN IMMEDIATE").is_ok();
    let answers: Vec<Answer> = jobs.map(|job| job(connection)).collect();
    let committed = if begun { connection.execute_batch("COMMIT").map_err(Refusal::from) } else { Ok(()) };
    if committed.is_err() {
        let _ = connection.execute_batch("ROLLBACK");
    }
    for answer in answers {
        answer(committed.clone());
    }
}

fn in_savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    connection.execute_batch("SAVEPOINT request")?;
    let outcome = guarded(connection, work);
    let undo = if outcome.is_err() { "ROLLBACK TO request; " } else { "" };
    connection.execute_batch(&format!("{undo}RELEASE request"))?;
    outcome
}

/// The thread that reads.
#[derive(Debug, Clone)]
pub(super) struct Reader(mpsc::Sender<Question>);

impl Reader {
    pub(super) fn start(connection: Connection) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Question>();
        thread::Builder::new().name("reading".to_owned()).spawn(move || {
            for job in jobs {
                job(&connection);
            }
        })?;
        Ok(Self(sender))
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move |connection: &Connection| {
            let _ = sender.send(guarded(connection, work));
        });
        self.0.send(job).map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}
