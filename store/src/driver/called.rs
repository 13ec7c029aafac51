//! The driver where the store calls whoever asked. That is how nearly every exchange goes, and takes neither a task nor a
//! future; whatever else there is to do is handed back, for the ways of [`Driver::finish_opening`] and [`Driver::finish_after`].

use std::sync::Arc;

use coatroom_core::{Closing, Opening};

use super::Driver;
use crate::observe::{Call, Observer};
use crate::{Calling, Host, Swapped};

impl<S: Calling + 'static, H: Host + 'static> Driver<S, H> {
    /// Asks for the record that an opening needs, and calls `then` with the opening after that. It may need more.
    pub fn begin_opening(self: &Arc<Self>, opening: Opening, then: impl FnOnce(Opening) + Send + 'static) {
        let Opening::Load(load) = opening else { return then(opening) };
        let (this, started) = (Arc::clone(self), self.calls().clock());
        self.store.begin_load(load.handle(), move |loaded| {
            let Some(loaded) = loaded else { return then(Opening::Load(load)) };
            this.calls().told(Call::Load, Some(load.handle()), &loaded, started);
            let opening = load.found(loaded);
            if let Opening::Unavailable(failure) = &opening {
                this.watch.refused_to_open(failure);
            }
            then(opening);
        });
    }

    /// Sends the swap of a closing that begins with a plain one, and calls `then` with the closing after that; or with the
    /// same and what came of its swap, for [`Driver::finish_after`].
    // spec: STORE-4 194b
    pub fn begin_closing(
        self: &Arc<Self>,
        closing: Closing,
        then: impl FnOnce(Closing, Option<Swapped>) + Send + 'static,
    ) {
        let save = match closing {
            Closing::Save(save) if self.is_plain(&save) => save,
            closing => return then(closing, None),
        };
        let Some(mut place) = self.front(&save) else { return then(Closing::Save(save), None) };
        let (this, started) = (Arc::clone(self), self.calls().clock());
        self.store.begin_swap(save, move |save, swapped| {
            if let Some(swapped) = &swapped {
                this.calls().told(Call::Swap, Some(save.swap().handle), swapped, started);
            }
            if swapped != Some(Swapped::Done) {
                drop(place);
                return then(Closing::Save(save), swapped);
            }
            place.leave(&save);
            let closing = save.saved();
            drop(place);
            this.watch_end(&closing);
            then(closing, None);
        });
    }
}
