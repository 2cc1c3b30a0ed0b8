//! The threads that hold the connections: one that writes, and a few that read.

use super::statements::{BEGIN, COMMIT, ROLLBACK, SAVEPOINT, SAVEPOINT_RELEASE, SAVEPOINT_UNDO};
use super::tx::Tx;
use crate::services::server::refusal::Refusal;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use tokio::sync::oneshot;

/// How many requests share a commit at most, so that the first of them does not wait long.
const MAX_BATCH: usize = 64;

/// What is left to do when the commit has succeeded, or has not.
type Answer = Box<dyn FnOnce(Result<(), Refusal>) + Send>;

type Question = Box<dyn FnOnce(&Tx) + Send>;

type Job = Box<dyn FnOnce(&Tx) -> Answer + Send>;

fn gone() -> Refusal {
    Refusal::unavailable("the database is closed: the server is ending")
}

/// A panic is a defect of one request, and must not be the end of the thread that all share.
fn guarded<T>(tx: &Tx, work: impl FnOnce(&Tx) -> Result<T, Refusal>) -> Result<T, Refusal> {
    catch_unwind(AssertUnwindSafe(|| work(tx)))
        .unwrap_or_else(|_| Err(Refusal::internal("this request met a defect in the server")))
}

/// The thread that writes.
#[derive(Debug, Clone)]
pub(super) struct Writer(mpsc::Sender<Job>);

impl Writer {
    pub(super) fn start(tx: Tx) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        thread::Builder::new().name("journal".to_owned()).spawn(move || {
            while let Ok(first) = jobs.recv() {
                write_together(&tx, std::iter::once(first).chain(jobs.try_iter()).take(MAX_BATCH));
            }
        })?;
        Ok(Self(sender))
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let job: Job = Box::new(move |tx| {
            let outcome = in_savepoint(tx, work);
            Box::new(move |committed| {
                // Who asked may have gone; what was asked for is done all the same. Its own refusal says more than that of the commit.
                let _ = sender.send(outcome.and_then(|value| committed.map(|()| value)));
            })
        });
        self.0.send(job).map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}

/// Does jobs in one transaction, and takes no more of them than belong into it.
fn write_together(tx: &Tx, jobs: impl Iterator<Item = Job>) {
    // If it cannot begin, one request stands alone and hears by itself what the database says.
    let begun = tx.execute(BEGIN, []).is_ok();
    let mut answers: Vec<Answer> = Vec::new();
    let mut is_undone = false;
    for job in jobs {
        answers.push(job(tx));
        // On a full disk, for one, SQLite ends the whole transaction by itself. What came before is undone with it, and what comes
        // next must not be done outside of one.
        is_undone = begun && tx.connection().is_autocommit();
        if is_undone || !begun {
            break;
        }
    }
    let committed = match (begun, is_undone) {
        (_, true) => Err(undone()),
        (true, false) => tx.execute(COMMIT, []).map(drop).map_err(Refusal::from),
        (false, false) => Ok(()),
    };
    // Nothing stays open that the next one would be part of without knowing.
    if !tx.connection().is_autocommit() {
        let _ = tx.execute(ROLLBACK, []);
    }
    for answer in answers {
        answer(committed.clone());
    }
}

fn undone() -> Refusal {
    Refusal::unavailable(
        "nothing was kept: the database undid this together with another request that it could not carry out",
    )
    .hint("ask again; if it goes on, look whether the disk is full")
}

fn in_savepoint<T>(tx: &Tx, work: impl FnOnce(&Tx) -> Result<T, Refusal>) -> Result<T, Refusal> {
    tx.execute(SAVEPOINT, [])?;
    let outcome = guarded(tx, work);
    let undone = if outcome.is_err() { tx.execute(SAVEPOINT_UNDO, []).map(drop) } else { Ok(()) };
    let released = undone.and_then(|()| tx.execute(SAVEPOINT_RELEASE, []));
    // Why it was refused says more than that the savepoint has gone with it.
    let value = outcome?;
    released?;
    Ok(value)
}

/// Threads that read, each with a connection of its own. What is asked is done by the first one that is idle.
#[derive(Debug, Clone)]
pub(super) struct Readers(mpsc::Sender<Question>);

impl Readers {
    pub(super) fn start(connections: Vec<Tx>) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Question>();
        let jobs = Arc::new(Mutex::new(jobs));
        for tx in connections {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new().name("reading".to_owned()).spawn(move || {
                loop {
                    // The lock is held while one thread waits for a job, and not while it does it.
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { break };
                    job(&tx);
                }
            })?;
        }
        Ok(Self(sender))
    }

    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Tx) -> Result<T, Refusal> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move |tx: &Tx| {
            let _ = sender.send(guarded(tx, work));
        });
        self.0.send(job).map_err(|_| gone())?;
        receiver.await.map_err(|_| gone())?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::Connection;

    fn insert(tx: &Tx, text: &str) -> Result<(), Refusal> {
        tx.connection().execute("INSERT INTO t (x) VALUES (?1)", [text])?;
        Ok(())
    }

    #[test]
    fn what_the_database_undoes_by_itself_is_answered_with_failure_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.db");
        let connection = Connection::open(&path).unwrap();
        // A small database is a small disk.
        connection.execute_batch("CREATE TABLE t (x TEXT) STRICT; PRAGMA max_page_count = 30").unwrap();
        let writer = Writer::start(Tx::new(connection)).unwrap();
        let (open, gate) = mpsc::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let [first, second, third, last] = runtime.block_on(async {
            // All three wait behind the first one, so they share its transaction.
            let first = writer.run(move |tx| {
                gate.recv().unwrap();
                insert(tx, "first")
            });
            let second = writer.run(|tx| insert(tx, "second"));
            let third = writer.run(|tx| insert(tx, &"long".repeat(100_000)));
            let last = writer.run(|tx| insert(tx, "last"));
            let opener = async { open.send(()).unwrap() };
            let (first, second, third, last, ()) = tokio::join!(first, second, third, last, opener);
            [first, second, third, last]
        });
        assert!(third.unwrap_err().to_string().contains("full"), "its own refusal");
        for undone in [first, second] {
            assert!(
                undone.unwrap_err().to_string().contains("together"),
                "it is not there, and it is said so"
            );
        }
        last.unwrap();
        let left = Connection::open(&path).unwrap();
        let kept: Vec<String> = left
            .prepare("SELECT x FROM t")
            .unwrap()
            .query_map([], |row| row.get(0))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        assert_eq!(kept, ["last"]);
    }
}
