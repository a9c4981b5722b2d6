"""`mmr-mcomix`: MComix (the comic viewer of Debian and others) with music.

MComix runs as it is, in the system's own Python; this file is its launcher there, with the standard library alone. It
listens to MComix's page changes, tells them to `mmr serve --stdio`, which runs in mmr's environment, and starts a
player for what comes back. Nothing of it blocks MComix: a page turn writes one line into a pipe.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
from typing import Any

PLAYERS = (
    "mpv --no-video --really-quiet --loop --start={start} --volume-gain={gain} {path}",
    "ffplay -nodisp -loglevel quiet -loop 0 -ss {start} {path}",
)
"""Players that are looked for; names in braces are filled in."""


class Player:
    """Plays one song at a time by another program.

    Args:
        command: with {path}, {start} (seconds) and {gain} (dB); empty: nothing is played.
    """

    def __init__(self, command: str) -> None:
        self._words = shlex.split(command)
        self._process: subprocess.Popen[bytes] | None = None

    def play(self, path: str, start: float, gain: float) -> None:
        """End what plays, and play this."""
        self.stop()
        if self._words:
            filled = [word.format(path=path, start=f"{start:.2f}", gain=f"{gain:.1f}") for word in self._words]
            quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            self._process = subprocess.Popen(filled, **quiet)  # type: ignore[call-overload]  # noqa: S603 (the user's own)

    def stop(self) -> None:
        """End what plays."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()
        self._process = None


class Companion:
    """Tells the server what is read, and the player what it decides.

    Args:
        window: MComix's main window; only its callbacks are used.
        server: command of the server.
        player: plays.
        taste: parameters of `open_book`.
    """

    def __init__(self, window: Any, server: list[str], player: Player, taste: dict[str, float]) -> None:
        self._window, self._player, self._taste = window, player, taste
        self._process = subprocess.Popen(server, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603
        self._lock = threading.Lock()
        self._count = 0
        self._opening = 0
        self._is_open = False
        self._page = -1
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        window.page_changed += self.turned
        window.filehandler.file_opened += self.opened
        if window.filehandler.file_loaded:
            self.opened()

    def opened(self, *_: object) -> None:
        """A book was opened."""
        path = self._window.filehandler.get_path_to_base()
        with self._lock:
            self._is_open = False
            self._page = self._window.imagehandler.get_current_page() - 1
            self._opening = self._send("open_book", {"path": path, **self._taste})

    def turned(self, *_: object) -> None:
        """A page was turned."""
        with self._lock:
            self._page = self._window.imagehandler.get_current_page() - 1
            if self._is_open and self._page >= 0:
                self._send("turn", {"page": self._page})

    def close(self) -> None:
        """End player and server."""
        self._player.stop()
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(OSError):  # what was not sent may be refused
            self._process.stdin.close()
        self._process.wait()
        self._listener.join()
        self._process.stdout.close()

    def _send(self, method: str, params: dict[str, Any]) -> int:
        self._count += 1
        line = json.dumps({"id": self._count, "method": method, "params": params}) + "\n"
        try:
            assert self._process.stdin
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
        except OSError:  # the server ended: MComix goes on without music
            return 0
        return self._count

    def _listen(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            message = json.loads(line)
            if message.get("id") == self._opening and "result" in message:
                with self._lock:
                    self._is_open = True
                    if self._page >= 0:
                        self._send("turn", {"page": self._page})
            elif "action" in message.get("result", {}):
                self._act(message["result"])
            elif "error" in message and message["error"]["code"] != "cancelled":
                print(f"mmr: {message['error']['message']}", flush=True)  # noqa: T201

    def _act(self, decision: dict[str, Any]) -> None:
        track = decision["track"]
        if decision["action"] == "switch":
            self._player.play(track["path"], decision["start_s"], decision["gain_db"] or 0.0)
        elif decision["action"] == "stop":
            self._player.stop()
        title = track["title"] if track else "-"
        print(f"page {decision['page'] + 1}: {decision['action']} {title} ({decision['reason']})", flush=True)  # noqa: T201


def arguments(words: list[str]) -> argparse.Namespace:
    """What was asked for; what is not known is MComix's."""
    parser = argparse.ArgumentParser(
        prog="mmr-mcomix",
        description="MComix with music. Other options and the book go to MComix.",
        epilog="Example: mmr-mcomix --library ~/Music volume.cbz",
    )
    parser.add_argument("--library", action="append", required=True, metavar="DIR", help="folder of songs")
    parser.add_argument("--index", help="folder of the index")
    parser.add_argument("--change", type=float, default=0.5, help="0 to 1: how readily the music changes")
    parser.add_argument("--player", help="command with {path}, {start} and {gain}; '' plays nothing")
    parser.add_argument("--python", default="/usr/bin/python3", help="the Python that MComix is installed in")
    parser.add_argument("--server", help=argparse.SUPPRESS)
    found, others = parser.parse_known_args(words)
    found.others = others
    return found


def main() -> int:
    """Start MComix in its own Python, with this file as its launcher."""
    words = sys.argv[1:]
    wanted = arguments(words)
    server = [sys.executable, "-m", "mmr_runtime.cli", "serve", "--stdio"]
    for folder in wanted.library:
        server += ["--library", folder]
    if wanted.index:
        server += ["--index", wanted.index]
    command = [wanted.python, os.path.abspath(__file__), "--server", shlex.join(server), *words]  # noqa: PTH100
    try:
        return subprocess.call(command)  # noqa: S603
    except OSError as error:
        print(f"error: {wanted.python} cannot be started: {error.strerror}\nhint: --python PATH", file=sys.stderr)  # noqa: T201
        return 2


def run_inside(words: list[str]) -> int:
    """Run MComix in this process, and listen to it."""
    wanted = arguments(words)
    try:
        from gi import require_version
        from mcomix import i18n, preferences, run

        # What `run` does before it imports the window, which needs it: its words, and which GTK.
        preferences.read_preferences_file()
        i18n.install_gettext()
        for name, version in (("PangoCairo", "1.0"), ("Gtk", "3.0"), ("Gdk", "3.0")):
            require_version(name, version)
        from mcomix import main as window_module
    except ImportError as error:
        print(f"error: MComix is not there: {error}\nhint: apt install mcomix, or --python PATH", file=sys.stderr)  # noqa: T201
        return 2
    installed = (line for line in PLAYERS if shutil.which(line.split()[0]))
    player = Player(next(installed, "") if wanted.player is None else wanted.player)
    companions: list[Companion] = []
    set_main_window = window_module.set_main_window

    def listen(window: Any) -> None:
        set_main_window(window)
        companions.append(Companion(window, shlex.split(wanted.server), player, {"change": wanted.change}))

    window_module.set_main_window = listen
    sys.argv = ["mcomix", *wanted.others]
    try:
        run.run()
    finally:
        for companion in companions:
            companion.close()
    return 0


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, where `mcomix` would be this file
    sys.exit(run_inside(sys.argv[1:]))
