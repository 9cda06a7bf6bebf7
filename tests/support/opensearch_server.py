"""The real OpenSearch for tests, without Docker: its Maven distribution, started on 127.0.0.1 as a user that is not root."""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import fcntl
import json
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

VERSION = "3.6.0"
ARTIFACT = f"org.opensearch.distribution.integ-test-zip:opensearch:{VERSION}:zip"
IMAGE = f"opensearchproject/opensearch:{VERSION}"
SMALLEST_JDK = 21
START_S, STOP_S, FETCH_S = 300, 30, 280
SHORT_LIVED = "-XX:TieredStopAtLevel=1 -XX:-UseG1GC -XX:+UseSerialGC"  # the second compiler takes more time than it gives back in minutes
FOLDER = "splade-opensearch-"  # followed by the id of the process that made it
UNPRIVILEGED = ("opensearch", "nobody")


class Unavailable(Exception):
    """Why no server can be had here; the tests that need one are skipped with it."""


class OpenSearchServer:
    """One node, its data in a temporary folder. restart() keeps port and data.

    Args:
        settings: further settings of the node, such as {"thread_pool.write.queue_size": 1}.
        heap: of the JVM, as -Xmx takes it.
        port: for HTTP; None takes a free one.
    """

    def __init__(self, *, settings: Mapping[str, Any] | None = None, heap: str = "1g", port: int | None = None) -> None:
        self._java_home = find_jdk()
        self._zip = fetch_distribution()
        self._settings = dict(settings or {})
        self._heap = heap
        self._user = _unprivileged_user()
        _remove_orphans()
        self._folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-"))
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_ports(1)[0] if port is None else port

    @property
    def url(self) -> str:
        """Such as "http://127.0.0.1:41234"."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int | None:
        """The process of the node; None while it does not run."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the node and wait until it answers. Raises RuntimeError with the end of its log when it does not."""
        self.launch()
        self.wait_until(lambda: answers(self.url))

    def launch(self) -> None:
        """Start the node without waiting; it ends with the thread that calls this."""
        home = self._folder / f"opensearch-{VERSION}"
        if not home.exists():
            self._unpack(home)
        with open(self._folder / "out.log", "ab") as log:
            self._process = subprocess.Popen(
                [str(home / "bin/opensearch"), *(f"-E{name}={value}" for name, value in self._all_settings().items())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env={"PATH": os.environ["PATH"], "HOME": str(self._folder), **self._environment()},
                start_new_session=True,
                preexec_fn=_die_with_parent,
                **self._identity(),
            )
        atexit.register(self.stop)

    def stop(self) -> None:
        """Stop the node and remove its folder. Stopping twice is not an error."""
        atexit.unregister(self.stop)
        self._end(signal.SIGTERM)
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self) -> None:
        """kill -9: nothing is flushed."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same port and data, killed first if it still runs."""
        self.kill()
        self.start()

    def _all_settings(self) -> dict[str, Any]:
        return {
            "discovery.type": "single-node",
            "network.host": "127.0.0.1",
            "http.port": self.port,
            "path.data": self._folder / "data",
            "path.logs": self._folder / "logs",
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self._settings,
        }

    def _environment(self) -> dict[str, str]:
        return {"OPENSEARCH_JAVA_HOME": str(self._java_home), "OPENSEARCH_JAVA_OPTS": f"-Xms{self._heap} -Xmx{self._heap} {SHORT_LIVED}"}

    def _identity(self) -> dict[str, Any]:
        return {"user": self._user.pw_uid, "group": self._user.pw_gid, "extra_groups": []} if self._user else {}

    def _unpack(self, home: Path) -> None:
        with zipfile.ZipFile(self._zip) as archive:
            archive.extractall(self._folder)
        for script in (home / "bin").iterdir():
            script.chmod(0o755)
        if self._user:
            subprocess.run(["chown", "-R", f"{self._user.pw_uid}:{self._user.pw_gid}", str(self._folder)], check=True)

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for what the node, which runs, is about to do. Raises RuntimeError as start() does."""
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            if ready():
                return
            time.sleep(0.2)
        log = (self._folder / "out.log").read_text(errors="replace")[-4000:]
        self._end(signal.SIGKILL)
        raise RuntimeError(f"OpenSearch was not ready within {START_S} s; the end of its log:\n{log}")

    def _end(self, number: int) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for attempt in (number, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, attempt)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_S)
                return


class Running(NamedTuple):
    """A server that runs; `ours` is None where it is not this process that has started it, which may kill and restart it then."""

    url: str
    ours: OpenSearchServer | None = None


@contextlib.contextmanager
def running() -> Iterator[Running]:
    """A running server: at SPLADE_TEST_OPENSEARCH_URL, else in a container if allowed, else the Maven distribution.

    Raises:
        Unavailable: none of them can be had.
    """
    given = os.environ.get("SPLADE_TEST_OPENSEARCH_URL")
    if given:
        if not answers(given):
            raise Unavailable("nothing answers at SPLADE_TEST_OPENSEARCH_URL")
        yield Running(given.rstrip("/"))
    elif os.environ.get("SPLADE_TEST_CONTAINERS") == "1":
        with _container() as url:
            yield Running(url)
    else:
        server = OpenSearchServer()
        try:
            server.start()
            yield Running(server.url, server)
        finally:
            server.stop()


@contextlib.contextmanager
def _container() -> Iterator[str]:
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(IMAGE).with_exposed_ports(9200).with_env("discovery.type", "single-node")
    container = container.with_env("DISABLE_SECURITY_PLUGIN", "true").with_env("OPENSEARCH_JAVA_OPTS", "-Xms1g -Xmx1g")
    try:
        container.start()
    except Exception as error:  # whatever the Docker client raises: no daemon, no image, no permission
        raise Unavailable(f"the container {IMAGE} does not start ({type(error).__name__})") from error
    try:
        url = f"http://{container.get_container_host_ip()}:{container.get_exposed_port(9200)}"
        deadline = time.monotonic() + START_S
        while not answers(url):
            if time.monotonic() > deadline:
                raise RuntimeError(f"OpenSearch in its container did not answer within {START_S} s")
            time.sleep(0.5)
        yield url
    finally:
        container.stop()


def answers(url: str) -> bool:
    """Whether a node answers there and holds a usable cluster state."""
    try:
        with urllib.request.urlopen(f"{url}/_cluster/health", timeout=2) as response:
            return json.load(response)["status"] in ("green", "yellow")
    except (OSError, ValueError, KeyError, urllib.error.URLError):
        return False


def free_ports(count: int) -> list[int]:
    """Different ports that are free at this moment."""
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def fetch_distribution() -> Path:
    """The zip of the distribution in the cache, fetched by Maven the first time; two processes fetch it once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "splade-ptbr-tests"
    wanted = cache / f"opensearch-{VERSION}.zip"
    if wanted.is_file():
        return wanted
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"OpenSearch {VERSION} is not in {cache}, and there is no mvn to fetch it")
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_file():
            _fetch(maven, cache, wanted)
    return wanted


def _fetch(maven: str, cache: Path, wanted: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [maven, "-q", "dependency:copy", f"-Dartifact={ARTIFACT}", f"-DoutputDirectory={folder}"]
        try:
            subprocess.run(command, check=True, timeout=FETCH_S, cwd=folder, capture_output=True)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"mvn could not fetch {ARTIFACT} ({type(error).__name__})") from error
        Path(folder, f"opensearch-{VERSION}.zip").rename(wanted)


def find_jdk() -> Path:
    """The home of a JDK that is new enough."""
    named = [Path(os.environ[name]) for name in ("OPENSEARCH_JAVA_HOME", "JAVA_HOME") if os.environ.get(name)]
    on_path = shutil.which("java")
    found = [Path(on_path).resolve().parent.parent] if on_path else []
    for home in [*named, *found, *sorted(Path("/usr/lib/jvm").glob("*"), reverse=True)]:
        if _major_version(home) >= SMALLEST_JDK:
            return home
    raise Unavailable(f"no JDK of version {SMALLEST_JDK} or later (OPENSEARCH_JAVA_HOME, JAVA_HOME, PATH, /usr/lib/jvm)")


def _major_version(home: Path) -> int:
    try:
        shown = subprocess.run([home / "bin/java", "-version"], capture_output=True, text=True, timeout=30, check=True).stderr
    except (OSError, subprocess.SubprocessError):
        return 0
    found = re.search(r'version "(\d+)', shown)
    return int(found[1]) if found else 0


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: it refuses to run as root. None: as we are."""
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise Unavailable(f"OpenSearch does not run as root, and there is no user {' or '.join(UNPRIVILEGED)}")


def _remove_orphans() -> None:
    """Remove folders of processes that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        owner = folder.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists() and Path("/proc").exists():
            shutil.rmtree(folder, ignore_errors=True)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: no server outlives a test run that was killed
