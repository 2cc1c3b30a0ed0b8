"""The files of one execution: a directory that its tools cannot leave.

A path is taken apart here and walked name by name, without ever following a link, so neither `..` nor an absolute path
nor a link that somebody put there leads out. Where the system can, each step starts from the directory that the last
one opened, and a directory that is replaced in the meantime changes nothing.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

# What one call of a tool gives to the model, in characters.
MAX_READ = 64 * 1024
MAX_FILE = 1024 * 1024
MAX_TOTAL = 64 * 1024 * 1024
MAX_ENTRIES = 1000
MAX_DEPTH = 16
_MAX_NAME = 200
_HAS_STEPS = os.open in os.supports_dir_fd and os.mkdir in os.supports_dir_fd and hasattr(os, "O_NOFOLLOW")
# Windows gives these names to devices, with any ending.
_DEVICES = frozenset(
    [
        "con",
        "prn",
        "aux",
        "nul",
        "conin$",
        "conout$",
        *(f"{kind}{n}" for kind in ("com", "lpt") for n in "0123456789¹²³"),
    ]
)


class WorkspaceError(ValueError):
    """Why a tool cannot do this; the model reads it."""


class Workspace:
    """A directory that is made when it is first needed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._is_used = False

    def is_used(self) -> bool:
        """Whether anything was written."""
        return self._is_used

    def list(self, path: str) -> list[str]:
        """What is in a directory: directories with a `/` at their end, files with their size."""
        names = _names(path, may_be_empty=True)
        if not names and not self.root.exists():
            return []
        with _Steps(self.root, names) as place:
            entries = []
            for name in sorted(place.entries()):
                status = place.status(name)
                if stat.S_ISDIR(status.st_mode):
                    entries.append(f"{name}/")
                elif stat.S_ISREG(status.st_mode):
                    entries.append(f"{name} ({status.st_size} bytes)")
            if len(entries) > MAX_ENTRIES:
                entries[MAX_ENTRIES:] = [f"({len(entries) - MAX_ENTRIES} more)"]
            return entries

    def read(self, path: str, offset: int = 0) -> str:
        """The text of a file, from the character `offset` on."""
        names = _names(path)
        if offset < 0:
            raise WorkspaceError("an offset is not below 0")
        with _Steps(self.root, names[:-1]) as place, os.fdopen(place.open(names[-1]), "rb") as file:
            if os.fstat(file.fileno()).st_size > MAX_FILE:
                raise WorkspaceError(f"{path} has more than {MAX_FILE} bytes, which is too large to be read")
            data = file.read(MAX_FILE)
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise WorkspaceError(f"{path} is not a text in UTF-8") from None
        part = text[offset : offset + MAX_READ]
        left = len(text) - offset - len(part)
        return f"{part}\n({left} more characters; read on with offset {offset + len(part)})" if left > 0 else part

    def write(self, path: str, text: str) -> int:
        """Makes a file hold `text`; gives its size in bytes. It is there as a whole or not at all."""
        names = _names(path)
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise WorkspaceError("the text has half of a surrogate pair, which no file can hold") from None
        if len(data) > MAX_FILE:
            raise WorkspaceError(f"the text has {len(data)} bytes; a file may have {MAX_FILE}")
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        count, total = self._extent()
        if count + len(names) > MAX_ENTRIES:
            raise WorkspaceError(f"the workspace holds {count} files and directories; it may hold {MAX_ENTRIES}")
        if total + len(data) > MAX_TOTAL:
            raise WorkspaceError(f"the workspace holds {total} bytes; it may hold {MAX_TOTAL}")
        with _Steps(self.root, names[:-1], make=True) as place:
            place.replace(names[-1], data)
        self._is_used = True
        return len(data)

    def _extent(self) -> tuple[int, int]:
        """How many files and directories there are, and the bytes in them. Links are not followed."""
        count = total = 0
        for folder, folders, files in os.walk(self.root):
            count += len(folders) + len(files)
            for name in files:
                total += os.lstat(os.path.join(folder, name)).st_size
        return count, total


def _names(path: str, *, may_be_empty: bool = False) -> list[str]:
    """The names a path consists of. What could lead out, or mean something else on another system, is refused."""
    if path.startswith(("/", "\\", "~")) or (len(path) > 1 and path[1] == ":"):
        raise WorkspaceError(f"{path!r} is not inside the workspace: use a path relative to it")
    if "\\" in path:
        raise WorkspaceError(f"{path!r} has a backslash: names are separated by /")
    names = [name for name in path.split("/") if name not in ("", ".")]
    if ".." in names:
        raise WorkspaceError(f"{path!r} is not inside the workspace: .. leads out of it")
    if not names and not may_be_empty:
        raise WorkspaceError(f"{path!r} names no file")
    if len(names) > MAX_DEPTH:
        raise WorkspaceError(f"{path!r} is too deep: at most {MAX_DEPTH} names")
    for name in names:
        if (
            len(name.encode("utf-8", "replace")) > _MAX_NAME
            or any(
                character < " " or character in '\x7f:*?"<>|' or "\ud800" <= character <= "\udfff" for character in name
            )
            or name.endswith((" ", "."))
            or name.partition(".")[0].strip().lower() in _DEVICES
        ):
            raise WorkspaceError(f"{name!r} is no name for a file here")
    return names


class _Steps:
    """A directory below the root, reached name by name without following a link."""

    def __init__(self, root: Path, names: list[str], *, make: bool = False) -> None:
        self._root = root
        self._names = names
        self._make = make
        self._path = root
        self._fd: int | None = None

    def __enter__(self) -> _Steps:
        if _HAS_STEPS:
            self._fd = self._enter_directory(str(self._root), None)
        else:
            self._refuse_links(".")
        try:
            for name in self._names:
                self._step(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def entries(self) -> list[str]:
        """The names in this directory."""
        return os.listdir(self._path if self._fd is None else self._fd)

    def status(self, name: str) -> os.stat_result:
        """What `name` is; of a link, the link."""
        if self._fd is None:
            # Joining drops a dot, so this is the directory itself, or the link in its place.
            return os.lstat(self._path / name)
        return os.lstat(name, dir_fd=self._fd)

    def open(self, name: str) -> int:
        """Opens a file that is nothing but a file, for reading. A pipe would block, a device would do worse."""
        self._refuse_links(name)
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            found = os.open(self._path / name if self._fd is None else name, flags, dir_fd=self._fd)
        except OSError as error:
            raise self._cannot(name, error) from None
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            os.close(found)
            what = "a directory" if stat.S_ISDIR(status.st_mode) else "not a file of its own"
            raise WorkspaceError(f"{name!r} is {what}")
        return found

    def replace(self, name: str, data: bytes) -> None:
        """Puts a file of this name here. What had the name before is not written to: it may be a link."""
        try:
            if stat.S_ISDIR(self.status(name).st_mode):
                raise WorkspaceError(f"{name!r} is a directory")
        except FileNotFoundError:
            pass
        self._refuse_links(name, missing_ok=True)
        temporary = f".{secrets.token_hex(8)}.part"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        here = self._fd
        try:
            file = os.open(self._path / temporary if here is None else temporary, flags, 0o600, dir_fd=here)
            try:
                with os.fdopen(file, "wb") as stream:
                    stream.write(data)
                if here is None:
                    os.replace(self._path / temporary, self._path / name)
                else:
                    os.replace(temporary, name, src_dir_fd=here, dst_dir_fd=here)
            except BaseException:
                os.unlink(self._path / temporary if here is None else temporary, dir_fd=here)
                raise
        except OSError as error:
            raise self._cannot(name, error) from None

    def _step(self, name: str) -> None:
        if self._make:
            try:
                os.mkdir(self._path / name if self._fd is None else name, 0o700, dir_fd=self._fd)
            except FileExistsError:
                pass
            except OSError as error:
                raise self._cannot(name, error) from None
        self._refuse_links(name)
        if self._fd is None:
            if not stat.S_ISDIR(self.status(name).st_mode):
                raise WorkspaceError(f"{name!r} is not a directory")
        else:
            inner = self._enter_directory(name, self._fd)
            os.close(self._fd)
            self._fd = inner
        self._path = self._path / name

    def _enter_directory(self, name: str, above: int | None) -> int:
        try:
            return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=above)
        except OSError as error:
            raise self._cannot(name if above is not None else "the workspace", error) from None

    def _refuse_links(self, name: str, *, missing_ok: bool = False) -> None:
        try:
            status = self.status(name)
        except FileNotFoundError as error:
            if missing_ok:
                return
            raise self._cannot(name, error) from None
        # On Windows, what leads elsewhere without being called a link: junctions and the like.
        leads_away = getattr(status, "st_file_attributes", 0) & getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0)
        if stat.S_ISLNK(status.st_mode) or leads_away:
            raise WorkspaceError(f"{name!r} is a link, and links are not followed")

    def _cannot(self, name: str, error: OSError) -> WorkspaceError:
        return WorkspaceError(f"{name!r}: {(error.strerror or str(error)).lower()}")
