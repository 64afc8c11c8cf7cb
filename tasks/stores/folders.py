"""Names of the folders of copies, `runs/<time>-<run>`, and what their age decides.

For some hours a later attempt goes on with a folder; then it begins another. After twice that time
nobody will point to a folder any more that no pointer names, so it can be deleted, whatever other
publishers are doing: it never depends on who is faster.
"""

from datetime import UTC, datetime, timedelta

from tasks.stores.store import Store, list_folders

FOLDER = "runs"
STAMP = "%Y%m%dT%H%M%SZ"
MOST_AGE = timedelta(hours=12)
"""A folder that is older is neither gone on with nor pointed to."""
LEAST_AGE = 2 * MOST_AGE
"""A folder that is younger is never deleted; the difference allows for clocks that differ."""


def list_copies(store: Store) -> list[str]:
    """All folders of copies, relative to the store's address, oldest first."""
    return [f"{FOLDER}/{name}" for name in list_folders(f"{FOLDER}/", store)]


def choose_folder(run: str, store: Store) -> str:
    """The folder of an earlier attempt to copy a run, or a new one."""
    for folder in reversed(list_copies(store)):
        if folder.partition("-")[2] == run and age_of(folder) < MOST_AGE:
            return folder
    return f"{FOLDER}/{datetime.now(UTC):{STAMP}}-{run}"


def age_of(folder: str) -> timedelta:
    """How long ago a folder was begun; no time where its name is not one of ours."""
    stamp = folder.removeprefix(f"{FOLDER}/").partition("-")[0]
    try:
        return datetime.now(UTC) - datetime.strptime(stamp, STAMP).replace(tzinfo=UTC)
    except ValueError:
        return timedelta(0)
