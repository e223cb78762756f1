"""Somebody else commits something while a verification has its file in hand."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from portal.adapters.blobs import LocalBlobStore
from portal.db import TenantSession, open_session
from tests.factories.queue import RecordingQueue

Act = Callable[[TenantSession], object]


class Interrupted(LocalBlobStore):
    """The first `times` files that are opened are read only after `act` was done."""

    def __init__(self, root: Path, act: Callable[[], None], times: int) -> None:
        super().__init__(root)
        self.act, self.left, self.opened = act, times, 0

    @contextmanager
    def get_local_path(self, sha256: str) -> Iterator[Path]:
        with super().get_local_path(sha256) as path:
            self.opened += 1
            if self.left:
                self.left -= 1
                self.act()
            yield path


@contextmanager
def meanwhile(
    jobs: RecordingQueue, act: Act, *, then: Callable[[], object] = lambda: None, times: int = 1
) -> Iterator[Interrupted]:
    """While the next jobs verify, `act` happens and is committed, then `then`: by another thread, as another
    worker would, and as often as `times` says."""
    problems: list[BaseException] = []

    def work() -> None:
        try:
            with open_session(jobs.engine) as session:
                act(session)
                session.commit()
            then()
        except BaseException as error:  # noqa: BLE001  # shown by the test itself
            problems.append(error)

    def once() -> None:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert problems == []

    before, store = jobs.store, Interrupted(jobs.store.root, once, times)
    jobs.store = store
    try:
        yield store
    finally:
        jobs.store = before
    assert store.left == 0
