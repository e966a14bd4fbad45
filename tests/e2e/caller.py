"""A caller with LiveKit's own client, in a process of its own: speaks a tone, says what it hears.

Arguments: URL, token, the tone in Hz. Prints a JSON object a line; ends when told `leave`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Coroutine

import numpy as np
from livekit import rtc

RATE_HZ = 48_000
FRAME = RATE_HZ // 100
HEARD_FRAMES = 60


def say(**said: object) -> None:
    print(json.dumps(said), flush=True)


async def speak(room: rtc.Room, tone_hz: int) -> None:
    source = rtc.AudioSource(RATE_HZ, 1)
    track = rtc.LocalAudioTrack.create_audio_track("microphone", source)
    options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
    await room.local_participant.publish_track(track, options)
    say(event="speaking")
    begins = 0
    while True:
        turns = tone_hz * (begins + np.arange(FRAME)) / RATE_HZ
        samples = (8_000 * np.sin(2 * np.pi * turns)).astype("<i2")
        await source.capture_frame(rtc.AudioFrame(samples.tobytes(), RATE_HZ, 1, FRAME))
        begins += FRAME


async def listen(track: rtc.Track, who: str) -> None:
    """Say once what tone the other speaks."""
    heard = []
    async for event in rtc.AudioStream(track, sample_rate=RATE_HZ, num_channels=1):
        samples = np.frombuffer(event.frame.data, dtype="<i2").astype(float)
        if np.abs(samples).max(initial=0) < 500:
            continue
        heard.append(samples)
        if len(heard) == HEARD_FRAMES:
            sound = np.concatenate(heard)
            loudness = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
            tone_hz = float(loudness.argmax()) * RATE_HZ / len(sound)
            say(event="heard", who=who, tone_hz=round(tone_hz))
            return


class Caller:
    """One connection, from joining to leaving or being sent away."""

    def __init__(self, tone_hz: int) -> None:
        self.room = rtc.Room()
        self._tone_hz = tone_hz
        self._over = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self.room.on("track_subscribed", self._subscribed)
        self.room.on("data_received", self._told)
        self.room.on("disconnected", self._disconnected)

    async def join(self, url: str, token: str) -> None:
        await self.room.connect(url, token)
        mine = self.room.local_participant
        say(
            event="joined",
            identity=mine.identity,
            sid=mine.sid,
            room=self.room.name,
            metadata=mine.metadata,
        )
        self._run(speak(self.room, self._tone_hz))
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._obey, args=(loop,), daemon=True).start()

    async def stay(self) -> None:
        await self._over.wait()
        for task in self._running:
            task.cancel()
        await self.room.disconnect()
        say(event="left")

    def _subscribed(
        self, track: rtc.Track, _published: object, participant: rtc.RemoteParticipant
    ) -> None:
        self._run(listen(track, participant.identity))

    def _told(self, packet: rtc.DataPacket) -> None:
        who = packet.participant.identity if packet.participant else ""
        say(event="told", who=who, text=packet.data.decode())

    def _disconnected(self, reason: int) -> None:
        say(event="gone", reason=rtc.DisconnectReason.Name(reason))
        self._over.set()

    def _run(self, work: Coroutine[None, None, None]) -> None:
        self._running.add(asyncio.ensure_future(work))

    def _obey(self, loop: asyncio.AbstractEventLoop) -> None:
        """Do what standard input says, a line at a time."""
        for line in sys.stdin:
            word, _, text = line.strip().partition(" ")
            if word == "leave":
                loop.call_soon_threadsafe(self._over.set)
            elif word == "tell":
                sent = self.room.local_participant.publish_data(text)
                asyncio.run_coroutine_threadsafe(sent, loop)


async def main(url: str, token: str, tone_hz: int) -> None:
    caller = Caller(tone_hz)
    try:
        await caller.join(url, token)
    except rtc.ConnectError as refused:
        say(event="refused", why=str(refused))
    else:
        await caller.stay()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
