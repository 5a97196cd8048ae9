"""XRootD: how long its client waits, and what a server says of a file.

Its packages are optional: `pip install '.[xrootd]'`.
"""

import re
from importlib.util import find_spec

# All are one protocol; the first is the name that fsspec and the storage plugin know.
SCHEMES = ("root", "xroot", "xrootd")
PACKAGES = ("fsspec_xrootd", "XRootD")
# Settings of the client, in s but for the number of attempts; a variable XRD_… of the environment
# wins. As it comes, the client tries for ten minutes to connect and waits for half an hour.
SETTINGS = {
    "ConnectionWindow": 30,  # for one attempt to connect
    "ConnectionRetry": 1,  # attempts, each at all addresses of a host
    "RequestTimeout": 60,  # for an answer
    "StreamErrorWindow": 0,  # before a server that was lost may be asked again
    "TimeoutResolution": 1,  # between looks at the clock
}
UNSUPPORTED = 3013  # kXR_Unsupported
# What stands before the cause in what the client says, and causes that say too little.
PREFIX = re.compile(r"^.*\[(ERROR|FATAL)\] (Server responded with an error: \[\d+\] )?")
CAUSES = {
    "Invalid address": "unknown host",
    "Operation expired": "no answer in time",
    "Socket timeout": "no connection in time",
}


def is_installed() -> bool:
    """Return whether files can be read over XRootD."""
    return all(find_spec(name) is not None for name in PACKAGES)


def canonical(address: str) -> str:
    """Return an address with the scheme that all clients know."""
    scheme, separator, rest = address.partition("://")
    return f"root{separator}{rest}" if scheme in SCHEMES else address


def cause(text: str) -> str:
    """Return the cause in what the client says, any other text as it is."""
    said = PREFIX.sub("", text)
    return CAUSES.get(said, said)


def limit_waits() -> None:
    """Tell the client of this process how long to wait, before it connects."""
    from XRootD.client import env

    for name, value in SETTINGS.items():
        env.EnvPutInt(name, value)


def stated_adler32(address: str) -> str | None:
    """Return the adler32 checksum that a server states of a file, None where it states none.

    Raises
    ------
    OSError
        When the server cannot be asked or has no such file.
    """
    from XRootD import client
    from XRootD.client.flags import QueryCode

    url = client.URL(address)
    separator = "&" if "?" in url.path_with_params else "?"
    status, reply = client.FileSystem(f"root://{url.hostid}").query(
        QueryCode.CHECKSUM, f"{url.path_with_params}{separator}cks.type=adler32"
    )
    if not status.ok:
        if status.errno == UNSUPPORTED:
            return None
        raise OSError(f"its checksum: {status.message.strip()}")
    kind, _, value = reply.decode("ascii", "replace").strip("\0 \n").partition(" ")
    return value.strip() if kind.lower() == "adler32" else None
