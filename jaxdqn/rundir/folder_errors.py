"""What is raised where the folder of a run cannot be used."""

import errno
import pathlib

from jaxdqn import errors

_PASSING = {
    *(errno.EIO, errno.ESTALE, errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT, errno.EAGAIN),
    *(errno.EBUSY, errno.ENOLCK, errno.ENOMEM, errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EINTR),
    *(errno.ENOTCONN, errno.ESHUTDOWN),  # of a FUSE file system whose program has ended
}


def may_pass(error: OSError) -> bool:
    """Whether the next start may succeed: a disk is full, or a network disk absent."""
    return error.errno in _PASSING


def unusable(path: pathlib.Path, error: OSError) -> Exception:
    """The error to raise."""
    message = f"{path} cannot be used: {error.strerror}"
    if may_pass(error):
        return errors.RunError(f"--run_dir: {message}")
    return errors.SettingError("run_dir", message)
