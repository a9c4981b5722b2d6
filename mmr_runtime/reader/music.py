"""Two players that fade into each other; off until switched on, and silent where there is no sound device."""

from __future__ import annotations

from PySide6.QtCore import QEasingCurve, QObject, QUrl, QVariantAnimation
from PySide6.QtMultimedia import QAudioOutput, QMediaDevices, QMediaPlayer

from mmr_runtime.companion import Decision


class Music(QObject):
    """Plays what was decided.

    Attributes:
        has_device: whether anything can be heard here.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_device = bool(QMediaDevices.audioOutputs())
        self._players = [self._made() for _ in range(2)]
        self._now = 0
        self._gain = [1.0, 1.0]
        self._is_on = False
        self._wanted: Decision | None = None
        self._fade = QVariantAnimation(self)
        self._fade.setStartValue(0.0)
        self._fade.setEndValue(1.0)
        self._fade.setEasingCurve(QEasingCurve.Type.InOutSine)
        self._fade.valueChanged.connect(self._mix)
        self._fade.finished.connect(lambda: self._players[1 - self._now].stop())

    def _made(self) -> QMediaPlayer:
        player = QMediaPlayer(self)
        player.setAudioOutput(QAudioOutput(self))
        player.setLoops(QMediaPlayer.Loops.Infinite)
        return player

    @property
    def is_on(self) -> bool:
        """Whether it plays when there is something to play."""
        return self._is_on

    def switch(self, on: bool) -> None:
        """Begin or end to play."""
        self._is_on = on
        if on and self._wanted is not None:
            self._begin(self._wanted)
        elif not on:
            self._fade.stop()
            for player in self._players:
                player.stop()

    def follow(self, decision: Decision) -> None:
        """Do what was decided."""
        if decision.action == "switch":
            self._wanted = decision
            if self._is_on:
                self._begin(decision)
        elif decision.action == "stop":
            self._wanted = None
            self._fade.stop()
            for player in self._players:
                player.stop()

    def _begin(self, decision: Decision) -> None:
        assert decision.track is not None
        self._now = 1 - self._now
        player = self._players[self._now]
        # No player goes above full volume: all are played 6 dB lower, so that quiet songs can be raised by so much.
        self._gain[self._now] = float(min(1.0, 10 ** (((decision.gain_db or 0.0) - 6.0) / 20)))
        player.setSource(QUrl.fromLocalFile(str(decision.track.path)))
        player.setPosition(round(1000 * decision.start_s))
        self._mix(0.0)
        player.play()
        self._fade.stop()
        self._fade.setDuration(round(1000 * decision.fade_s))
        self._fade.start()

    def _mix(self, share: float) -> None:
        for i, part in ((self._now, share), (1 - self._now, 1 - share)):
            output = self._players[i].audioOutput()
            if output is not None:
                output.setVolume(self._gain[i] * part)
