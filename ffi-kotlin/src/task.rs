//! A driver's work that stops whenever it needs the store of the application, and goes on with the answer.
//!
//! The driver is a future over [`crate::mailbox::Mailbox`], polled by hand: what it waits for lies on its desk, and nothing
//! else ever wakes it. So the loop of the driver is not written a second time in another language.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::asks::{Answer, Ask, Told};
use crate::error::Refusal;

thread_local! {
    /// The desk of the task that this thread is running.
    static DESK: RefCell<Option<Arc<Desk>>> = const { RefCell::new(None) };
}

/// Where a question and its answer are put down.
#[derive(Default)]
struct Desk(Mutex<Papers>);

#[derive(Default)]
struct Papers {
    ask: Option<Ask>,
    answer: Option<Answer>,
    /// The answer was none to the question.
    is_misfit: bool,
}

impl Desk {
    fn papers(&self) -> MutexGuard<'_, Papers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Work under way.
pub(crate) struct Task<T> {
    future: Pin<Box<dyn Future<Output = T> + Send>>,
    desk: Arc<Desk>,
}

impl<T> fmt::Debug for Task<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Task").field(&self.desk.papers().ask).finish()
    }
}

/// How far a task came.
pub(crate) enum Progress<T> {
    Asks(Ask),
    Over(T),
}

impl<T> Task<T> {
    pub(crate) fn new(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Box::pin(future), desk: Arc::default() }
    }

    /// Takes the answer to what was asked last; refuses what is none, and the question stands.
    pub(crate) fn answer(&mut self, answer: Answer) -> Result<Progress<T>, Refusal> {
        self.desk.papers().answer = Some(answer);
        let progress = self.go_on();
        if std::mem::take(&mut self.desk.papers().is_misfit) {
            return Err(Refusal::border("this is no answer to what the store was asked: `Ask` names those that are"));
        }
        progress
    }

    /// Runs until the store is needed.
    pub(crate) fn go_on(&mut self) -> Result<Progress<T>, Refusal> {
        let _sits = Sits::at(&self.desk);
        match self.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Ok(Progress::Over(value)),
            Poll::Pending => {
                let ask = self.desk.papers().ask.clone();
                ask.map(Progress::Asks).ok_or_else(|| Refusal::border("the exchange waits for something unasked"))
            }
        }
    }
}

/// This thread runs a task, until it is dropped.
struct Sits(Option<Arc<Desk>>);

impl Sits {
    fn at(desk: &Arc<Desk>) -> Self {
        Self(DESK.replace(Some(Arc::clone(desk))))
    }
}

impl Drop for Sits {
    fn drop(&mut self) {
        DESK.set(self.0.take());
    }
}

/// Puts a question on the desk of the task that runs, and waits for the answer.
pub(crate) fn ask<T: Told>(question: Ask) -> impl Future<Output = T> + Send {
    Asking { question: Some(question), told: PhantomData }
}

struct Asking<T> {
    question: Option<Ask>,
    told: PhantomData<fn() -> T>,
}

impl<T: Told> Future for Asking<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<T> {
        DESK.with_borrow(|desk| {
            let Some(desk) = desk else { return Poll::Pending };
            let mut papers = desk.papers();
            if let Some(question) = self.question.take() {
                papers.ask = Some(question);
                return Poll::Pending;
            }
            match papers.answer.take().map(T::told) {
                Some(Some(value)) => {
                    papers.ask = None;
                    Poll::Ready(value)
                }
                Some(None) => {
                    papers.is_misfit = true;
                    Poll::Pending
                }
                None => Poll::Pending,
            }
        })
    }
}
